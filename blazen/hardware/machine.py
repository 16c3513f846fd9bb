"""The whole machine in one value."""

from __future__ import annotations

from dataclasses import dataclass

from blazen.hardware.cores import Cores, count_cores
from blazen.hardware.gpus import Gpu, find_gpus
from blazen.hardware.ram import Memory, memory
from blazen.types.record import Record


@dataclass(frozen=True)
class Hardware(Record):
    """What this process can use of the machine, at the time of asking."""

    cores: Cores
    memory: Memory
    gpus: tuple[Gpu, ...] = ()

    @property
    def unified(self) -> bool:
        """Whether a GPU shares its memory with the CPU."""
        return any(gpu.unified for gpu in self.gpus)

    @property
    def pools(self) -> dict[str, Memory]:
        """Each memory that models fill: ``cpu``, and one for each GPU that has its own."""
        own = {g.pool: Memory(g.total, g.free) for g in self.gpus if not g.unified}
        return {"cpu": self.memory, **own}

    def describe(self) -> str:
        """Say in one line what there is."""
        cores = f"{self.cores.usable} core{'' if self.cores.usable == 1 else 's'}"
        parts = [f"cpu ({cores}, {gib(self.memory.available)} of {gib(self.memory.total)} free)"]
        parts += [f"{g.device} ({g.name}, {gib(g.free)} of {gib(g.total)} free)" for g in self.gpus]
        return ", ".join(parts)


def detect(*, refresh: bool = False) -> Hardware:
    """Look at the machine: cores, memory and GPUs, as this process may use them.

    Memory is measured at each call; names and numbers of GPUs are remembered until ``refresh``.
    """
    return Hardware(cores=count_cores(), memory=memory(), gpus=find_gpus(refresh=refresh))


def gib(size: int) -> str:
    """Write a size in bytes as a person reads it."""
    return f"{size / 2**30:.1f} GiB"
