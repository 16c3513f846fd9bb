"""Limits that a container or a service puts on this process: CPU time and memory, cgroups 1 and 2.

A limit may stand on any level above the process, so that each is walked from the process's own
group up to the mount. Every function takes the root of the file system, which tests replace.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def cpu_quota(root: Path = ROOT) -> float | None:
    """Give how many CPUs' worth of time this process may use, or ``None`` where nobody set it."""
    quotas: list[float] = []
    for version, group in _levels("cpu", root):
        if version == 2:
            quota, _, period = _read(group / "cpu.max").partition(" ")
        else:
            quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        allowed, every = _number(quota), _number(period)
        if allowed and every:
            quotas.append(allowed / every)
    return min(quotas, default=None)


def memory_limits(root: Path = ROOT) -> tuple[int, int] | None:
    """Give the lowest memory limit and the least room below one, in bytes, or ``None``.

    The two may come from different levels: a roomy group can sit in one that its neighbours fill.
    """
    found: list[tuple[int, int]] = []
    for version, group in _levels("memory", root):
        if version == 2:
            names, usage, cache = ["memory.max", "memory.high"], "memory.current", "inactive_file"
        else:
            names, usage = ["memory.limit_in_bytes"], "memory.usage_in_bytes"
            cache = "total_inactive_file"
        limits = [n for n in (_number(_read(group / name)) for name in names) if n is not None]
        if not limits:
            continue
        # The kernel drops this page cache before it refuses memory, so that it counts as free.
        used = (_number(_read(group / usage)) or 0) - _statistic(group, cache)
        found.append((min(limits), max(min(limits) - max(used, 0), 0)))
    if not found:
        return None
    return min(limit for limit, _ in found), min(room for _, room in found)


def _levels(controller: str, root: Path) -> Iterator[tuple[int, Path]]:
    own: dict[str, str] = {}
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        own.update(dict.fromkeys(names.split(","), path))
    for version, mounted, mount in _mounts(controller, root):
        place = own.get("" if version == 2 else controller)
        if place is None:
            continue
        group = mount.joinpath(*_below(place, mounted))
        # Inside a container the path can be the one that the host sees, which is not there.
        while group != mount and not group.is_dir():
            group = group.parent
        yield version, group
        while group != mount:
            group = group.parent
            yield version, group


def _mounts(controller: str, root: Path) -> Iterator[tuple[int, str, Path]]:
    for line in _read(root / "proc/self/mountinfo").splitlines():
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(), tail.split()
        if len(fields) < 5 or not kind:
            continue
        mount = root / fields[4].replace("\\040", " ").lstrip("/")
        if kind[0] == "cgroup2":
            yield 2, fields[3], mount
        elif kind[0] == "cgroup" and controller in kind[-1].split(","):
            yield 1, fields[3], mount


def _below(path: str, mounted: str) -> tuple[str, ...]:
    own, top = PurePosixPath(path), PurePosixPath(mounted)
    if ".." in own.parts or not own.is_relative_to(top):
        return ()
    return own.relative_to(top).parts


def _statistic(group: Path, name: str) -> int:
    for line in _read(group / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return _number(value) or 0
    return 0


def _number(text: str) -> int | None:
    # 'max' (version 2) and -1 (version 1) both mean that there is no limit.
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
