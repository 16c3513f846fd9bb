"""Cores: how many there are, how many this process may use, and what one engine's share is."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.hardware.cgroups import ROOT, cpu_quota
from blazen.types.record import Record

_log = logging.getLogger("blazen.hardware")
_sharing: contextvars.ContextVar[int] = contextvars.ContextVar("blazen_sharing", default=1)


@dataclass(frozen=True)
class Cores(Record):
    """The cores of the machine, and the part of them that this process may use.

    ``usable`` is what affinity and container quotas leave of ``logical``; ``usable_physical``
    counts two hyper-threads of one core once.
    """

    physical: int
    logical: int
    usable: int
    usable_physical: int


def count_cores() -> Cores:
    """Count the cores; affinity and quotas are read anew at each call."""
    return _count(ROOT, _allowed_cpus())


@contextlib.contextmanager
def sharing_cores(engines: int) -> Iterator[None]:
    """Have `thread_budget` count with so many engines at once, where it is not told otherwise.

    It holds for the code inside and for what that code starts: a model that loads within it takes
    its share of the cores. The innermost number counts.
    """
    check_range("engines", engines, at_least=1, integer=True)
    token = _sharing.set(engines)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # dropped by the collector, in another context
            _sharing.reset(token)


def engines_sharing() -> int:
    """Give how many engines `sharing_cores` counts with here; 1 where it says nothing."""
    return _sharing.get()


def thread_budget(
    wanted: int | None = None, *, engines: int | None = None, cores: int | None = None
) -> int:
    """Give how many threads one engine may use when ``engines`` of them run at once.

    Engines that spin on a barrier collapse when together they have more threads than there are
    cores, so that a larger ``wanted`` is cut to the share, with a warning in the log. ``cores``
    is what there is to share out: by default ``BLAZEN_THREADS`` if it is set, else every core
    that this process may use, hyper-threads left aside unless they are ``wanted``. ``engines`` is
    by default what `sharing_cores` says, else one.
    """
    check_range("threads", wanted, at_least=1, integer=True)
    check_range("engines", engines, at_least=1, integer=True)
    check_range("cores", cores, at_least=1, integer=True)
    if engines is None:
        engines = _sharing.get()
    if cores is None:
        cores = _configured()
    if cores is None:
        found = count_cores()
        usual, most = found.usable_physical, found.usable
    else:
        usual = most = cores
    if wanted is None:
        return max(usual // engines, 1)
    share = max(most // engines, 1)
    if wanted > share:
        _log.warning(
            "using %d threads instead of %d: %d cores are shared by %d engine%s, and more threads "
            "than cores make each engine slower (BLAZEN_THREADS sets the number of cores)",
            share,
            wanted,
            most,
            engines,
            "" if engines == 1 else "s",
        )
    return min(wanted, share)


def _configured() -> int | None:
    text = os.environ.get("BLAZEN_THREADS", "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValidationError(
            f"BLAZEN_THREADS must be a whole number of at least 1, not {text!r}: set it to the "
            "number of cores that engines may use together, or unset it"
        )
    return int(text)


def _count(root: Path, allowed: frozenset[int] | None) -> Cores:
    physical, logical = _totals()
    siblings = None if allowed is None else _distinct_cores(root, allowed)
    usable = logical if allowed is None else min(len(allowed), logical)
    if sys.version_info >= (3, 13):
        # It obeys PYTHON_CPU_COUNT and -X cpu_count.
        usable = min(usable, os.process_cpu_count() or usable)
    quota = cpu_quota(root)
    if quota is not None:
        # Rounded down: a thread more than the quota pays for stalls the others at each barrier.
        usable = min(usable, int(quota))
    usable = max(usable, 1)
    return Cores(
        physical=physical,
        logical=logical,
        usable=usable,
        usable_physical=min(usable, physical if siblings is None else siblings),
    )


@functools.cache
def _totals() -> tuple[int, int]:
    import psutil

    logical = psutil.cpu_count() or os.cpu_count() or 1
    return min(psutil.cpu_count(logical=False) or logical, logical), logical


def _allowed_cpus() -> frozenset[int] | None:
    # Linux keeps an affinity for each thread, and an engine's threads inherit the caller's.
    if sys.platform == "linux":
        return frozenset(os.sched_getaffinity(0))
    import psutil

    affinity = getattr(psutil.Process(), "cpu_affinity", None)
    return None if affinity is None else frozenset(affinity())


@functools.cache
def _distinct_cores(root: Path, allowed: frozenset[int]) -> int | None:
    """Count the cores behind these CPUs, or give ``None`` where the kernel does not tell."""
    cores = set()
    for cpu in allowed:
        place = root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        try:
            cores.add(place.read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            return None
    return len(cores)
