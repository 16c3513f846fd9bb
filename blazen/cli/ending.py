"""How the program ends: its exit code, silently where nobody reads what it writes."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from blazen.cli.failures import BROKEN_PIPE, INTERRUPTED


def run_program() -> int:
    """Run the program and flush what it wrote; give the exit code for the shell."""
    from blazen.cli.program import program

    try:
        program.main(prog_name="blazen")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:  # before the command began, or while it was ending
        code = INTERRUPTED
    flushed = [_flushed(stream) for stream in (sys.stdout, sys.stderr)]
    return code if code or all(flushed) else BROKEN_PIPE


def _flushed(stream: TextIO | None) -> bool:
    """Write out what is held back; where the reader has gone, have nobody try again."""
    if stream is None:
        return True
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return False
    return True
