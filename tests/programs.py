"""Programs of their own, for what must be seen from outside of one."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_python(code: str, *flags: str) -> str:
    """Run a program; it must end by itself, in good time, with nothing on stderr."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.strip()


_READ = """
import importlib, json, sys, time
from pathlib import Path
from blazen.errors import ValidationError
read = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
began = time.process_time()
try:
    read(sys.argv[3])
    result = "read"
except ValidationError as error:
    result = str(error)
spent = time.process_time() - began
peak = 0
status = Path("/proc/self/status")
if status.exists():  # getrusage would count the parent of the fork as well
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    peak = int(line.split()[1]) * 1024
print(json.dumps({"result": result, "seconds": spent, "peak": peak}))
"""


def measure_reading(read: Callable[..., Any], path: Path) -> dict[str, Any]:
    """Read a hostile file in a process of its own: what it said, and the time and memory it took.

    The seconds are of processor time, so that a busy machine does not count.
    """
    done = subprocess.run(
        [sys.executable, "-c", _READ, read.__module__, read.__name__, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured
