"""The command line ``blazen``: `main` is what the installed script calls."""

from __future__ import annotations

import importlib.util
import sys


def main() -> int:
    """Run the command line with the program's arguments, and give its exit code."""
    if importlib.util.find_spec("click") is None:
        sys.stderr.write(
            "blazen's command line needs packages that are not installed: "
            "pip install 'blazen[cli]'\n"
        )
        return 1
    from blazen.cli.ending import run_program

    return run_program()
