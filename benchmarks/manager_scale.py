"""What ten thousand registered models cost: each registration, and each decision who goes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import time
from typing import Any

from blazen.manager import ModelManager, Policy, ReloadCost, least_recently_used
from blazen.manager.entries import Entry, Load, Ticket, Unload
from blazen.manager.scheduler import Scheduler
from blazen.types.footprint import Footprint

MODELS = 10_000
RESIDENT = (10, 100)
ROUNDS = 9
DECISIONS = 1_000
REGISTER_BUDGET_US = 20.0
DECISION_BUDGET_US = 50.0
SIZE = 2**30


def run() -> dict[str, Any]:
    """Register them in a manager; then have its scheduler make room again and again."""
    register = statistics.median(asyncio.run(_register()) for _ in range(ROUNDS))
    decisions = {
        f"{name}_of_{resident}_resident": _decide(resident, policy)
        for resident in RESIDENT
        for name, policy in (
            ("least_recently_used", least_recently_used),
            ("reload_cost", ReloadCost()),
        )
    }
    return {
        "register_us": register,
        "register_ratio_to_budget": register / REGISTER_BUDGET_US,
        "decision_us": decisions,
        "decision_ratio_to_budget": {
            name: us / DECISION_BUDGET_US for name, us in decisions.items()
        },
        "register_budget_us": REGISTER_BUDGET_US,
        "decision_budget_us": DECISION_BUDGET_US,
        "models": MODELS,
        "rounds": ROUNDS,
        "decisions": DECISIONS,
    }


async def _register() -> float:
    manager = ModelManager(cpu_ram_gb=64, learn=False)
    models = [_Model() for _ in range(MODELS)]
    names = [f"model-{number}" for number in range(MODELS)]
    gc.collect()
    began = time.perf_counter()
    for name, model in zip(names, models, strict=True):
        await manager.register(name, model, memory_estimate_bytes=SIZE)
    return (time.perf_counter() - began) / MODELS * 1e6


def _decide(resident: int, policy: Policy) -> float:
    """Give the median of what a request takes that finds the pool full, until a model goes for it.

    That is all of it: queueing, the snapshot, the choice and the order to unload.
    """
    scheduler = Scheduler({"cpu": resident * SIZE}, policy=policy)
    entries = [
        Entry(f"model-{number}", footprint=Footprint({"cpu": SIZE})) for number in range(MODELS)
    ]
    for entry in entries:
        scheduler.add(entry)
    clock = itertools.count()
    times = []
    for entry in itertools.islice(itertools.cycle(entries), resident + DECISIONS):
        ticket = Ticket(entry)
        began = time.perf_counter()
        scheduler.wait(ticket, float(next(clock)))
        took = time.perf_counter() - began
        if _carry_out(scheduler, float(next(clock))):
            times.append(took * 1e6)
        scheduler.release(ticket, float(next(clock)))
    assert len(times) == DECISIONS
    return statistics.median(times)


def _carry_out(scheduler: Scheduler, now: float) -> bool:
    """Do what was decided, at once; say whether a model went."""
    went = False
    while actions := scheduler.take_actions():
        for action in actions:
            if isinstance(action, Unload):
                went = True
                scheduler.unloaded(action.entry, {}, now)
            elif isinstance(action, Load):
                scheduler.loaded(action.entry, {"cpu": SIZE}, 1.0, now)
    return went


class _Model:
    device = "cpu"
    memory_bytes = None
    is_loaded = False

    async def load(self) -> None:
        pass

    async def unload(self) -> None:
        pass

    async def complete(self, messages: Any, options: Any = None) -> Any:
        pass
