"""Why the engine refused to load a model, in its own words.

The engine tells the reason to its log alone, and the log goes to the terminal or nowhere: it can't
be led into Python, since the engine's constructor holds Python's lock while other threads log. So
the load is tried once more by another process, whose terminal is ours to read.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger("blazen.xllamacpp")
log.addHandler(logging.NullHandler())  # else Python prints what no one asked to hear

SECONDS = 60.0
"""How long the other process may take."""

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


def ask_why(settings: Mapping[str, Any]) -> str:
    """Try to load in another process and give what the engine says; empty if it says nothing."""
    if not sys.executable:
        return ""
    code = "from blazen_xllamacpp.diagnosis import try_once; try_once()"
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        ran = subprocess.run(  # noqa: S603 - this interpreter, with code of ours
            [sys.executable, "-c", code],
            input=json.dumps(dict(settings)).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.debug("the engine could not be asked why: %s", error)
        return ""
    if ran.returncode < 0:
        log.error("the engine was ended by signal %d", -ran.returncode)
    return read_words(ran.stderr.decode("utf-8", "replace"))


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


def try_once() -> None:
    """Load what standard input names, with the engine's log on standard error; never returns."""
    import xllamacpp

    from blazen_xllamacpp.server import make_params

    with tempfile.TemporaryDirectory(prefix="blazen-") as folder:
        params = make_params(json.load(sys.stdin), Path(folder), verbosity=_ERRORS_AND_WARNINGS)
        try:
            server = xllamacpp.Server(params)
            server.handle_metrics()
        except RuntimeError:
            return
        del server
