"""Run the benchmarks: ``python -m benchmarks [NAME ...] [--record]``.

Every module of this folder that has ``run() -> dict`` is one. Its figures go to ``benchmarks/out``;
with ``--record`` they also go to ``docs/benchmarks``, from where the documentation quotes them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tables import rows

HERE = Path(__file__).parent
OUT = HERE / "out"
RECORDED = HERE.parent / "docs" / "benchmarks"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    found = _found()
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(found)}")
    parser.add_argument("--record", action="store_true", help="keep the figures for the docs")
    wanted = parser.parse_args(arguments)
    unknown = set(wanted.names) - found.keys()
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    for name in wanted.names or found:
        print(f"== {name}", flush=True)
        figures = {**found[name](), "machine": _machine()}
        _print(figures)
        for folder in [OUT, RECORDED] if wanted.record else [OUT]:
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(figures, indent=2, ensure_ascii=False)
            (folder / f"{name}.json").write_text(f"{text}\n", "utf-8")
    return 0


def _found() -> dict[str, Callable[[], dict[str, Any]]]:
    names = sorted(module.name for module in pkgutil.iter_modules([str(HERE)]))
    modules = {n: importlib.import_module(f"benchmarks.{n}") for n in names if n != "__main__"}
    return {name: module.run for name, module in modules.items() if hasattr(module, "run")}


def _print(figures: dict[str, Any]) -> None:
    every = list(rows(figures))
    width = max(len(words) for words, _ in every)
    for words, value in sorted(every, key=lambda row: "ratio" not in row[0]):
        print(f"{words:<{width}}  {value}")


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


if __name__ == "__main__":
    sys.exit(main())
