"""The command line in fresh processes: its help, and an answer's first token over the bare SDK."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from benchmarks.apart import medians_in_turns

PROMPT = "Say hello."
ROUNDS = 15
HELP_BUDGET_MS = 150.0
TARGET_RATIO = 1.5

_SDK = """
import asyncio
from blazen import CompletionOptions, Model

async def main():
    model = Model.from_spec("xllamacpp:starter:chat")
    options = CompletionOptions(max_tokens=4, temperature=0)
    async for chunk in model.complete_stream("Say hello.", options):
        if chunk.content:
            print(chunk.content, end="", flush=True)
    await model.unload()

asyncio.run(main())
"""
_PYTHON = (sys.executable, "-c")
# As pip's own script for the entry point begins.
_BLAZEN = (*_PYTHON, "import sys; from blazen.cli import main; sys.exit(main())")


def run() -> dict[str, Any]:
    """Start each in a new Python, in turns, so that all meet the same machine."""
    starts = {"bare": (*_PYTHON, "pass"), "help": (*_BLAZEN, "--help")}
    ended = medians_in_turns(starts, _whole, ROUNDS)
    answers = {
        "sdk": (*_PYTHON, _SDK),
        "run": (*_BLAZEN, "run", "starter:chat", PROMPT, "--max-tokens", "4", "--temp", "0"),
    }
    first = medians_in_turns(answers, _first, ROUNDS)
    return {
        "first_token_ratio_to_sdk": first["run"] / first["sdk"],
        "target_ratio": TARGET_RATIO,
        "first_token_ms": {name: seconds * 1e3 for name, seconds in first.items()},
        "help_ms": ended["help"] * 1e3,
        "help_ratio_to_budget": ended["help"] * 1e3 / HELP_BUDGET_MS,
        "bare_ms": ended["bare"] * 1e3,
        "budget_ms": HELP_BUDGET_MS,
        "rounds": ROUNDS,
    }


def _whole(name: str, command: tuple[str, ...]) -> float:
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - began


def _first(name: str, command: tuple[str, ...]) -> float:
    """Give the seconds until the first letter of the answer."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        letter = process.stdout.read(1)
        took = time.perf_counter() - began
        process.stdout.read()
    assert letter, f"{name} said nothing"
    assert process.returncode == 0, f"{name} failed"
    return took
