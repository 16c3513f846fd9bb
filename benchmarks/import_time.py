"""What importing blazen costs over a bare Python."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

ROUNDS = 15
BUDGET_MS = 60.0
STATEMENTS = {
    "bare": "pass",
    "import_blazen": "import blazen",
    "import_model": "from blazen import Model",
}


def run() -> dict[str, Any]:
    """Start each statement in a new Python, in turns, so that all meet the same machine."""
    whole: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    imports: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for statement in STATEMENTS.values():  # the first of each writes and reads cold files
        _start(statement)
    for _ in range(ROUNDS):
        for name, statement in STATEMENTS.items():
            began = time.perf_counter()
            _start(statement)
            whole[name].append((time.perf_counter() - began) * 1e3)
            imports[name].append(_imports_ms(statement))
    process = {name: statistics.median(times) for name, times in whole.items()}
    modules = {name: statistics.median(times) for name, times in imports.items()}
    return {
        **{
            f"{name}_over_bare_ms": {
                "whole_process": process[name] - process["bare"],
                "importtime": modules[name] - modules["bare"],
            }
            for name in STATEMENTS
            if name != "bare"
        },
        "bare_ms": process["bare"],
        "budget_ms": BUDGET_MS,
        "import_blazen_ratio_to_budget": (modules["import_blazen"] - modules["bare"]) / BUDGET_MS,
        "import_model_ratio_to_budget": (modules["import_model"] - modules["bare"]) / BUDGET_MS,
        "rounds": ROUNDS,
    }


def _start(statement: str, *flags: str) -> str:
    command = [sys.executable, *flags, "-c", statement]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def _imports_ms(statement: str) -> float:
    """Add up what ``-X importtime`` gives as each module's own microseconds."""
    lines = _start(statement, "-X", "importtime").splitlines()
    own = (line.partition(":")[2].split("|")[0].strip() for line in lines)
    return sum(int(text) for text in own if text.isdigit()) / 1e3
