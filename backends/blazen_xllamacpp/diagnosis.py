"""Why the engine refused to load a model, in its own words.

The engine tells the reason to its log alone, and the log goes to the terminal or nowhere: it can't
be led into Python, since the engine's constructor holds Python's lock while other threads log. So
the load is tried once more by another process, whose terminal is ours to read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("blazen.xllamacpp")
log.addHandler(logging.NullHandler())  # else Python prints what no one asked to hear

SECONDS = 60.0
"""How long the other process may take."""

_TRY = "from blazen_xllamacpp.diagnosis import try_once; try_once(sys.argv[1])"
_ASKED = "asked.json"
_POLL = 0.1
_ERRORS_AND_WARNINGS = 2
_LINE = re.compile(r"^(?:[0-9.]+ )?([DIWE]) (.*)$")
_PLACE = re.compile(r"^(?:(?:cmn|srv|slot)\s+)?[\w ]+: ")
_LEVELS = {"E": logging.ERROR, "W": logging.WARNING}
# Each layer of the engine says again that the one below it failed.
_ECHOES = (
    "failed to load model",
    "failed to create context",
    "failed to create_context",
    "exiting due to",
)


def ask_why(settings: Mapping[str, Any], cancelled: Callable[[], bool] = lambda: False) -> str:
    """Try to load in another process and give what the engine says; empty if it says nothing."""
    if not sys.executable or getattr(sys, "frozen", False):
        return ""  # a program in one file is no interpreter: it would start itself once more
    # Just the folders that this process imports from. By itself the other one would look into the
    # working folder first, whoever wrote what lies there.
    paths = [path for path in sys.path if isinstance(path, str)]
    code = f"import sys; sys.path[:] = {paths!r}; {_TRY}"
    # Made here, since the engine may end its process at any line.
    with tempfile.TemporaryDirectory(prefix="blazen-") as folder:
        (Path(folder) / _ASKED).write_text(json.dumps(dict(settings)), "utf-8")
        try:
            with subprocess.Popen(  # noqa: S603 - this interpreter, with code of ours
                [sys.executable, "-c", code, folder],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            ) as child:
                said = _hear(child, cancelled)
        except OSError as error:
            log.debug("the engine could not be asked why: %s", error)
            return ""
    if said is None:
        log.debug("the engine was not heard to its end")
        return ""
    if child.returncode < 0:
        log.error("the engine was ended by signal %d", -child.returncode)
    return read_words(said.decode("utf-8", "replace"))


def _hear(child: subprocess.Popen[bytes], cancelled: Callable[[], bool]) -> bytes | None:
    """Give what a process says until it ends; one that takes too long is ended."""
    deadline = time.monotonic() + SECONDS
    try:
        while not cancelled() and time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.communicate(timeout=_POLL)[1]
        return None
    finally:
        child.kill()  # one that has ended already is left as it is


def read_words(text: str) -> str:
    """Pass the engine's lines on to the log, and give its errors as one sentence."""
    words: list[str] = []
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        log.log(_LEVELS.get(found[1], logging.DEBUG), "%s", found[2])
        said = _PLACE.sub("", found[2].strip(), count=1)
        if found[1] == "E" and said not in words and not said.startswith(_ECHOES):
            words.append(said)
    return "; ".join(words)


def try_once(folder: str) -> None:
    """Load what a folder's file asks for, with the engine's log on standard error."""
    import xllamacpp

    from blazen_xllamacpp.server import make_params

    settings = json.loads((Path(folder) / _ASKED).read_text("utf-8"))
    params = make_params(settings, Path(folder), verbosity=_ERRORS_AND_WARNINGS)
    try:
        server = xllamacpp.Server(params)
        server.handle_metrics()
    except RuntimeError:
        return
    del server
