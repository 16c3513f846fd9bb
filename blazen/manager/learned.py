"""What models were seen to take, kept between runs of the program.

::

    <cache root>/
    ├── footprints.json         what was learned, by model, options and machine
    └── .footprints.json.lock   held while one of several processes writes

The file is a convenience: where it can't be read or written, everything works as if nothing had
been learned before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import hashlib
import json
import logging
import os
import platform
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blazen import hardware
from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.manager.abilities import innermost
from blazen.types.footprint import Amounts, Footprint, largest
from blazen.types.record import Record, decode, parse_json
from blazen.weights.cache import cache_root

_log = logging.getLogger("blazen.manager")

_VERSION = 1
_MOST = 1_000  # models; each is a few hundred bytes, and those that nobody loads any more go
_LOCK_SECONDS = 1.0
_LEAST_BYTES = 1 << 20  # a measurement can't tell less
_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


@dataclass(frozen=True)
class Learned(Record):
    """What a model was seen to take."""

    footprint: Footprint
    load_seconds: float
    runs: int = 1
    """How many loads this is drawn from."""

    def __post_init__(self) -> None:
        check_range("load_seconds", self.load_seconds, at_least=0)
        check_range("runs", self.runs, at_least=1, integer=True)

    def then(self, later: Learned) -> Learned:
        """Draw the sum of what was known and what was seen since.

        The peak of a load, and what a request takes, are limits: the most that was ever seen
        counts. What a model holds while it is loaded follows the last runs, since new versions of
        an engine, and other work, change it for good. It rises at once and falls by half of the
        difference: to believe too little breaks a budget, and a single low reading (memory of
        another that went meanwhile) is no proof. A pool that is no longer named falls to nothing.
        """
        before, seen = self.footprint, later.footprint
        return Learned(
            Footprint(
                resident=_followed(before.resident, seen.resident),
                load_peak=largest(before.load_peak, seen.load_peak),
                per_request=largest(before.per_request, seen.per_request),
            ),
            load_seconds=(self.load_seconds + later.load_seconds) / 2,
            runs=self.runs + later.runs,
        )


def _followed(before: Amounts, seen: Amounts) -> dict[str, int]:
    out = {}
    for pool in (*before, *(pool for pool in seen if pool not in before)):
        old, new = before.get(pool, 0), seen.get(pool, 0)
        value = new if new >= old else new + (old - new) // 2
        if new or value >= _LEAST_BYTES:
            out[pool] = value
    return out


class LearnedFootprints:
    """Keeps what was learned in a file that threads and processes share.

    ``path`` is by default ``footprints.json`` in the folder that weights are kept in.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = cache_root() / "footprints.json" if path is None else Path(path)
        self._lock = threading.Lock()  # never held while another process is waited for
        self._kept: dict[str, Learned] = {}
        self._stamp: tuple[int, ...] | None = None
        self._unwritten: dict[str, Learned] = {}
        """What is not in the file: it counts for this run, and goes with the next write."""
        self._told: set[str] = set()

    def get(self, key: str) -> Learned | None:
        """Give what was learned under a key, by whichever process; ``None`` where nothing was."""
        with self._lock:
            self._refresh()
            return _joined(self._kept, self._unwritten).get(key)

    def put(self, key: str, learned: Learned) -> None:
        """Add what was seen of one load to what was known."""
        with self._lock:
            self._unwritten = _joined(self._unwritten, {key: learned})
        try:
            with self._writing() as kept:
                self._write(_joined(kept, self._unwritten))
                self._unwritten = {}
        except (OSError, NotImplementedError) as error:  # not every file system has locks
            self._tell(f"what was learned of models' memory can't be kept in {self.path}", error)

    def clear(self, key: str | None = None) -> None:
        """Forget what was learned under a key, or all."""
        with self._lock:
            self._unwritten = _without(self._unwritten, key)
        try:
            with self._writing() as kept:
                self._kept = _without(kept, key)
                self._write(self._kept)
        except (OSError, NotImplementedError) as error:
            with self._lock:
                self._kept = _without(self._kept, key)
            _log.warning("%s can't be cleared, but for this run: %s", self.path, error)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[dict[str, Learned]]:
        """Keep other processes and threads from the file, and give what it holds now."""
        import filelock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path.with_name(f".{self.path.name}.lock"))
        with lock.acquire(timeout=_LOCK_SECONDS), self._lock:
            self._refresh()
            yield self._kept

    def _write(self, learned: Mapping[str, Learned]) -> None:
        newest = dict(list(learned.items())[-_MOST:])
        entries = {key: value.to_dict() for key, value in newest.items()}
        text = json.dumps({"version": _VERSION, "footprints": entries}, indent=1)
        # Not flushed to the disk: a file that a power cut spoils is begun anew.
        fresh = self.path.with_name(f".{self.path.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.path)
        self._kept = newest
        self._stamp = _stamp(self.path)

    def _refresh(self) -> None:
        """Read the file if it is not the one that was read last."""
        try:
            stamp = _stamp(self.path)
            if stamp == self._stamp:
                return
            self._stamp, self._kept = stamp, {}
            self._kept = _read(self.path)
        except FileNotFoundError:
            self._stamp, self._kept = None, {}
        except (OSError, ValidationError) as error:
            self._tell(f"what was learned of models' memory can't be read from {self.path}", error)

    def _tell(self, what: str, error: Exception) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.warning("%s: %s", what, error)


def _joined(first: Mapping[str, Learned], then: Mapping[str, Learned]) -> dict[str, Learned]:
    """Put together what was learned, the latest last."""
    out = dict(first)
    for key, later in then.items():
        known = out.pop(key, None)
        out[key] = later if known is None else known.then(later)
    return out


def _without(learned: Mapping[str, Learned], key: str | None) -> dict[str, Learned]:
    return {k: value for k, value in learned.items() if key not in (None, k)}


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> dict[str, Learned]:
    data = parse_json(path.read_bytes())
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        raise ValidationError(f"this is not of version {_VERSION}: {data!r:.80}")
    entries = decode(dict[str, Any], data.get("footprints"), "footprints")
    out = {}
    for key, entry in entries.items():
        # One that is spoiled is learned again; the others need not be.
        with contextlib.suppress(ValidationError):
            out[key] = Learned.from_dict(decode(dict[str, Any], entry, key))
    return out


def key_of(model: object) -> str:
    """Give a short name for what decides how much memory a model takes.

    That is its class, its options (secrets left out), the size and age of a local file of weights,
    the engine's version and the machine. A model without ``options`` is known by its attributes.
    """
    model = innermost(model)
    cls = type(model)
    engine = getattr(cls, "engine", None)
    options = getattr(model, "options", None)
    if options is None:
        options = getattr(model, "__dict__", {})
    facts = [
        f"{cls.__module__}.{cls.__qualname__}",
        _plain(options),
        _weights(options),
        _engine_version(engine) if isinstance(engine, str) else [],
        _machine(),
    ]
    isolation = getattr(model, "isolation", None)
    if isolation is not None:
        facts.append(_plain(isolation))
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def _plain(value: Any) -> Any:
    """Describe a value so that it reads the same in every run."""
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _public((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return _public((str(key), item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(_plain(item), sort_keys=True) for item in value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    try:
        return _ADDRESS.sub("", repr(value))
    except Exception:  # noqa: BLE001 - whatever a stranger's class does, its name tells it apart
        return f"{type(value).__module__}.{type(value).__qualname__}"


def _public(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    # Secrets are texts: max_tokens is a number, and matters.
    return {
        name: _plain(value)
        for name, value in named
        if not _SECRET.search(name) or isinstance(value, (bool, int, float))
    }


def _weights(options: Any) -> list[tuple[str, int, int]]:
    """Describe the file, or the files of the folder, that the first option names."""
    named: Any = None
    if dataclasses.is_dataclass(options):
        fields = dataclasses.fields(options)
        named = getattr(options, fields[0].name) if fields else None
    elif isinstance(options, Mapping):
        named = next(iter(options.values()), None)
    if not isinstance(named, (str, os.PathLike)):
        return []
    try:
        place = Path(os.fsdecode(named))
        files = filter(Path.is_file, place.iterdir()) if place.is_dir() else [place]
        stats = sorted((file.name, file.stat()) for file in files)
    except (OSError, ValueError):  # most are names of something on a hub
        return []
    return [(name, found.st_size, found.st_mtime_ns) for name, found in stats]


@functools.cache
def _engine_version(engine: str) -> list[str]:
    """Name the installed distributions that an engine's module seems to be of, with versions.

    They are found by their folders beside it: to look through what each one installed takes a
    tenth of a second.
    """
    from importlib.util import find_spec

    package = engine.partition(".")[0]
    try:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            return []
        origin = Path(spec.origin)
        site = origin.parent.parent if spec.submodule_search_locations else origin.parent
        return sorted(
            folder.name
            for folder in site.iterdir()
            if folder.suffix == ".dist-info" and folder.name.lower().startswith(package.lower())
        )
    except (ImportError, OSError, ValueError):
        return []


@functools.cache
def _machine() -> list[Any]:
    machine = hardware.detect()
    # A new kernel keeps a few pages more or less to itself.
    gib = round(machine.memory.total / 2**30)
    return [platform.machine(), machine.cores.logical, gib, [gpu.name for gpu in machine.gpus]]
