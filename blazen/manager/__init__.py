"""Many models by name, within the memory that they are allowed."""

from blazen.manager.events import Event, EventKind
from blazen.manager.learned import Learned, LearnedFootprints
from blazen.manager.lease import Lease
from blazen.manager.manager import ModelManager
from blazen.manager.meter import MachineMeter, Meter
from blazen.manager.policy import (
    Holding,
    Policy,
    ReloadCost,
    Snapshot,
    choose,
    least_recently_used,
)
from blazen.manager.simulation import traces
from blazen.manager.simulation.report import SimulationReport
from blazen.manager.simulation.simulator import simulate
from blazen.manager.simulation.trace import Request, SimulatedModel, Trace
from blazen.manager.status import Explanation, ManagerStatus, ModelStatus, PoolStatus, State
from blazen.types.footprint import Footprint

__all__ = [
    "Event",
    "EventKind",
    "Explanation",
    "Footprint",
    "Holding",
    "Learned",
    "LearnedFootprints",
    "Lease",
    "MachineMeter",
    "ManagerStatus",
    "Meter",
    "ModelManager",
    "ModelStatus",
    "Policy",
    "PoolStatus",
    "ReloadCost",
    "Request",
    "SimulatedModel",
    "SimulationReport",
    "Snapshot",
    "State",
    "Trace",
    "choose",
    "least_recently_used",
    "simulate",
    "traces",
]
