"""Main memory: what this process may use, what it uses, and how to give it back."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

from blazen.hardware.cgroups import ROOT, memory_limits
from blazen.types.record import Record

_MMAP_THRESHOLD = -3  # of glibc's mallopt
_LARGE = 1 << 20


@dataclass(frozen=True)
class Memory(Record):
    """How much memory there is and how much of it can still be had, in bytes."""

    total: int
    available: int


def memory() -> Memory:
    """Measure the main memory now: the machine's, or what its container leaves of it."""
    import psutil

    system = psutil.virtual_memory()
    return _within_limits(Memory(total=system.total, available=system.available), ROOT)


def rss_bytes() -> int:
    """Give this process's resident memory; pages that it shares with others count in full."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def pss_bytes() -> int:
    """Give this process's resident memory, with each shared page divided among those who share it.

    Only Linux tells; elsewhere this is `rss_bytes`.
    """
    try:
        with Path("/proc/self/smaps_rollup").open(encoding="ascii") as lines:
            for line in lines:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return rss_bytes()


def release_memory() -> None:
    """Give freed memory back to the system, as after an unload."""
    import gc

    gc.collect()
    if sys.platform == "linux":
        import ctypes

        # Only glibc has it; and it keeps what was freed unless it is asked.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


@functools.cache
def map_large_blocks() -> None:
    """Have each large block of memory mapped by itself, so that freeing it gives it back.

    glibc does so at first. But when such a block is freed it learns to take the next of its size
    from a heap, whose freed parts stay with the process: a second model's weights and caches would
    in part outlive it.
    """
    if sys.platform == "linux":
        import ctypes

        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, _LARGE)  # set once, it no longer moves


def _within_limits(system: Memory, root: Path) -> Memory:
    limits = memory_limits(root)
    if limits is None:
        return system
    limit, room = limits
    return Memory(total=min(system.total, limit), available=min(system.available, room))
