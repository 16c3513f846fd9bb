"""How much memory this process holds and how much there still is, measured pool by pool."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from blazen import hardware

if TYPE_CHECKING:
    import psutil


class Meter(Protocol):
    """What a manager measures memory with; tests and simulations bring their own."""

    def used(self, pool: str) -> int | None:
        """Give the bytes of the pool that this process holds; ``None`` where it can't be told."""
        ...

    def available(self, pool: str) -> int | None:
        """Give the bytes of it that can still be had now; ``None`` where it can't be told."""
        ...


class MachineMeter:
    """Measures the machine itself: the system for ``cpu``, the GPU's driver for ``gpu:N``.

    Of a GPU ``used`` is what all programs hold together, since a driver often does not tell them
    apart (not in a container, for one): compare two readings rather than trust one.
    """

    def used(self, pool: str) -> int | None:
        """Give the bytes of the pool that this process and its children hold."""
        if pool == "cpu":
            own = _process(os.getpid()).memory_info()
            return int(own.rss) + _children_bytes(own.vms)
        gpu = _gpu(pool)
        return None if gpu is None else max(0, gpu.total - gpu.free)

    def used_by(self, pid: int) -> int:
        """Give the bytes of RAM that a child and its own hold and no other process has."""
        return sum(_own_bytes(each, own_vms=-1) for each in (pid, *_descendants(pid)))

    def available(self, pool: str) -> int | None:
        """Give the bytes that the machine, or this process's container, has left."""
        if pool == "cpu":
            return hardware.memory().available
        gpu = _gpu(pool)
        return None if gpu is None else gpu.free


def _gpu(pool: str) -> hardware.Gpu | None:
    if not pool.startswith("gpu:"):
        return None
    # A GPU without memory of its own fills the pool 'cpu', and none of its own name.
    return next((gpu for gpu in hardware.find_gpus() if gpu.pool == pool), None)


@functools.lru_cache(maxsize=1)
def _process(pid: int) -> psutil.Process:
    """Keep the one of this process; a fork has another number, and so one of its own."""
    import psutil

    return psutil.Process(pid)


def _children_bytes(own_vms: int) -> int:
    """Add up what each child, and each of theirs, holds that no other process shares with it.

    A fork shares nearly all that it has with this process, where it is counted already.
    """
    if not _has_children():
        return 0
    return sum(_own_bytes(pid, own_vms) for pid in _descendants(os.getpid()))


def _has_children() -> bool:
    wait = getattr(os, "waitid", None)
    if wait is None:
        return True
    try:
        # It leaves a child that has ended to whoever waits for it.
        wait(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _descendants(pid: int) -> Iterator[int]:
    """Go through the children of a process and theirs.

    Where the kernel lists them this costs a file for each thread; elsewhere, a look at every
    process of the machine.
    """
    try:
        found = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text(encoding="ascii").split()
        ]
    except OSError:
        yield from _searched(pid)
        return
    for child in found:
        yield child
        yield from _descendants(child)


def _searched(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []  # it has just ended


def _own_bytes(pid: int, own_vms: int) -> int:
    import psutil

    try:
        process = psutil.Process(pid)
        held = process.memory_info()
        # A program that is just being started runs for a moment within its parent's own memory.
        return 0 if held.vms == own_vms else _unshared(process, int(held.rss))
    except psutil.Error:
        return 0  # it has just ended


def _unshared(process: psutil.Process, rss: int) -> int:
    import psutil

    whole: Any = process  # a newer psutil has another name for it, which its types don't know yet
    try:
        footprint = getattr(whole, "memory_footprint", None) or whole.memory_full_info
        return int(footprint().uss)
    except psutil.AccessDenied:
        return rss  # macOS tells this to nobody, and its worker processes share little
