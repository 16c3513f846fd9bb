"""What a chat model takes, what unloading gives back, and what twenty cycles leave behind."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

CYCLES = 20


def run() -> dict[str, Any]:
    """Each backend in a process of its own, so that none measures what another left."""
    figures: dict[str, Any] = {}
    for backend in ("llamacpp", "xllamacpp", "mistralrs"):
        out = subprocess.run(
            [sys.executable, "-m", "benchmarks.chat_memory", backend],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        figures[backend] = json.loads(out.splitlines()[-1])
    return {**figures, "cycles": CYCLES}


async def _measure(backend: str) -> dict[str, Any]:
    from blazen import CompletionOptions, Model, hardware

    def resident() -> float:
        # An engine in Rust frees on threads of its own, which may end a moment later.
        readings = [0.0]
        while len(readings) < 20:
            hardware.release_memory()
            readings.append(hardware.rss_bytes() / 2**20)
            if abs(readings[-1] - readings[-2]) < 1:
                break
            time.sleep(0.1)
        return readings[-1]

    options = CompletionOptions(max_tokens=4, temperature=0)
    settings = {} if backend == "mistralrs" else {"threads": 1, "parallel": 1}

    async def cycle() -> float:
        model: Any = Model.from_spec(
            f"{backend}:starter:chat", device="cpu", context_length=2048, **settings
        )
        await model.load()
        await model.complete("Hello", options)
        held = resident()
        await model.unload()
        return held

    await cycle()  # the engine's library and its own lasting tables
    before = resident()
    held = await cycle()
    after = resident()
    grown = []
    for _ in range(CYCLES):
        await cycle()
        grown.append(resident())
    return {
        "loaded_mib": held - before,
        "left_after_unload_mib": after - before,
        "given_back_ratio": (held - after) / (held - before),
        "growth_over_cycles_mib": grown[-1] - after,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(sys.argv[1]))))
