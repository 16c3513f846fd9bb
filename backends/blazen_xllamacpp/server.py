"""llama.cpp's server, opened in this process: settings in, an engine out, and closed again."""

from __future__ import annotations

import enum
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen.errors import LoadError
from blazen.hardware import memory
from blazen.types.progress import OnProgress, Progress

if TYPE_CHECKING:
    import xllamacpp

_BLOCK = 4 << 20

OVERHEAD = 44 << 20
"""The server's code and records, its HTTP part, Python's own: 31 to 36 MiB were measured."""


@dataclass
class Engine:
    """A server that runs."""

    server: xllamacpp.Server


def open_server(
    path: Path,
    settings: Mapping[str, Any],
    *,
    parts: Sequence[Path] = (),
    report: OnProgress = lambda progress: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Engine:
    """Load a model; one that the engine refuses is a `LoadError` in the engine's own words.

    ``settings`` are fields of ``xllamacpp.CommonParams`` by name (``"speculative.draft.n_max"``);
    an enumeration's member is given by its name. ``parts`` are the files of a split model.
    """
    import xllamacpp

    files = list(parts) or [path]
    total = sum(file.stat().st_size for file in files)
    _read_ahead(files, total, report, cancelled)
    if cancelled():
        raise LoadError(f"loading {path.name} was stopped")
    settings = {"model.path": str(path), **settings}
    folder = Path(tempfile.mkdtemp(prefix="blazen-"))
    try:
        server = xllamacpp.Server(make_params(settings, folder))
        # Ended before its main loop has begun, the engine waits for that loop for ever. A question
        # that the loop must answer shows that it runs.
        server.handle_metrics()
    except BaseException as error:
        from blazen_xllamacpp.diagnosis import ask_why

        why = ask_why(settings, cancelled) or str(error)
        raise LoadError(f"llama.cpp could not load {path}: {why}") from error
    finally:
        # Nobody is to come through the door: gone now, it is not left behind by a process that is
        # killed either.
        shutil.rmtree(folder, ignore_errors=True)
    report(Progress("load", total, total, detail=path.name))
    return Engine(server)


def close_server(engine: Engine) -> None:
    """Give back what the engine holds."""
    del engine.server  # it stops when nothing refers to it any more


def make_params(
    settings: Mapping[str, Any], folder: Path, *, verbosity: int = -1
) -> xllamacpp.CommonParams:
    """Write settings into the engine's own record, and close its doors."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.fit_params = False
    params.warmup = False
    params.cache_ram_mib = 0  # 8 GiB by default, which no budget would know of
    params.prefill_assistant = False  # the model answers the last message, whoever wrote it
    params.verbosity = verbosity
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_metrics = True  # asked once, when it is loaded
    params.n_threads_http = 1
    # The engine's HTTP server can't be left out: it is kept from everyone but this user.
    params.api_keys = [secrets.token_urlsafe(32)]
    if sys.platform != "win32":
        # A socket that nobody can find, instead of a port on the network: its folder, which only
        # this user may enter, goes when the engine listens.
        params.hostnames = [str(folder / "engine.sock")]
    for name, value in settings.items():
        *outer, last = name.split(".")
        target: Any = params
        for step in outer:
            target = getattr(target, step)
        setattr(target, last, _typed(getattr(target, last), value, name))
    return params


def engine_devices() -> list[str]:
    """Give the kinds of devices that this build of the engine can use."""
    import xllamacpp

    # Its list of devices would take half a gigabyte of a GPU before anyone asks what is free.
    built_for = xllamacpp.get_system_info().lower()
    kinds = {"cuda :": "cuda", "metal :": "metal", "mtl :": "metal"}
    return ["cpu", *dict.fromkeys(kind for name, kind in kinds.items() if name in built_for)]


def _typed(now: Any, value: Any, name: str) -> Any:
    """Give the value as the engine's field takes it."""
    import xllamacpp

    if isinstance(now, enum.Enum):
        return type(now)[value]
    if name == "speculative.types":
        return [xllamacpp.common_speculative_type[kind] for kind in value]
    if name == "lora_adapters":
        return [xllamacpp.CommonAdapterLoraInfo(path, scale) for path, scale in value]
    return value


def _read_ahead(
    files: Sequence[Path], total: int, report: OnProgress, cancelled: Callable[[], bool]
) -> None:
    """Bring the files into the system's memory first, which can be watched and stopped.

    The engine's own load can not: it tells nothing, and no other Python code runs while it lasts.
    What is in memory already makes it as short as can be.
    """
    done = 0
    name = files[0].name
    report(Progress("load", 0, total, detail=name))
    if total > memory().available:
        return  # the beginning would be dropped again before the end is there
    block = bytearray(_BLOCK)
    for file in files:
        with file.open("rb", buffering=0) as source:
            while (size := source.readinto(block)) and not cancelled():
                done += size
                if done < total:  # the last report is for the loaded model
                    report(Progress("load", done, total, detail=name))
