"""Four real models by name in a budget that holds two, asked by eight tasks at once.

Each part runs in a process of its own: what each model answers alone, then the requests through a
manager that knows only what the backends say of their memory, then the same again with what the
first run has taught it. This process reads the other's resident memory every 10 ms: within, an
engine that holds the interpreter while it loads would hide just the moments that matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

BUDGET_MIB = 832
REQUESTS = 300
TASKS = 8
SAMPLE_SECONDS = 0.01
MIB = 2**20

TEXTS = (
    "Herons are birds that",
    "The keeper of the lighthouse",
    "Yeast turns sugar into",
    "A sundial shows the hour by",
    "Rivers that flow to the sea",
)
ENGINES = ("fastembed", "llama_cpp", "mistralrs", "onnxruntime", "xllamacpp")

Answer: TypeAlias = "str | list[float]"
Answers: TypeAlias = dict[str, dict[str, list[Answer]]]


class Asked(NamedTuple):
    """One request."""

    id: str
    text: str
    streamed: bool = False


def run() -> dict[str, Any]:
    """Give what happened, without and with what was learned."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _apart("alone", folder)
        first = _apart("managed", folder)
        again = _apart("managed", folder)
    return {
        "budget_mib": BUDGET_MIB,
        "requests": REQUESTS,
        "tasks": TASKS,
        "first_run": first,
        "second_run": again,
    }


def _apart(part: str, folder: Path) -> dict[str, Any]:
    """Run one part in a process whose engines have one thread each, and watch its memory."""
    import psutil

    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.manager_models", part, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    ) as process:
        watched = psutil.Process(process.pid)
        most, samples, pause, before = 0, 0, 0.0, time.perf_counter()
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                most = max(most, watched.memory_info().rss)
            now = time.perf_counter()
            samples, pause, before = samples + 1, max(pause, now - before), now
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise RuntimeError(f"the part {part!r} ended with {process.returncode}")
    found: dict[str, Any] = json.loads((folder / f"{part}.json").read_text("utf-8"))
    if "base_mib" in found:
        found = {
            "most_resident_mib": most / MIB,
            "most_resident_over_base_and_budget_ratio": most
            / MIB
            / (found["base_mib"] + BUDGET_MIB),
            "samples": samples,
            "longest_pause_between_samples_ms": pause * 1000,
            **found,
        }
    return found


def requests() -> list[Asked]:
    """Give the same requests in every run; every other chat is streamed."""
    chance = random.Random(4)
    asked = [
        (chance.choice(("chat", "text", "embed", "rust")), chance.choice(TEXTS))
        for _ in range(REQUESTS)
    ]
    return [Asked(name, text, number % 2 == 1) for number, (name, text) in enumerate(asked)]


def _models() -> dict[str, Any]:
    """Build the models; none is so small that a third would fit beside two others."""
    from blazen import EmbeddingModel, Model

    cpu: dict[str, Any] = {"device": "cpu"}
    return {
        "chat": Model.xllamacpp("starter:chat", context_length=8192, parallel=1, threads=1, **cpu),
        "text": Model.llamacpp("starter:text", context_length=2048, parallel=1, threads=1, **cpu),
        "embed": EmbeddingModel.fastembed(
            "starter:embed", max_length=128, max_batch_size=1, threads=1, **cpu
        ),
        "rust": Model.mistralrs("starter:chat", context_length=2048, **cpu),
    }


async def _ask(target: Any, asked: Asked, *name: str) -> Answer:
    """Ask a model, or a manager by the model's name; give what can be compared."""
    from blazen import Prompt

    if asked.id == "embed":
        vector = (await target.embed(*name, asked.text)).embeddings[0]
        return [float(value) for value in vector]
    prompt = Prompt(asked.text) if asked.id == "text" else asked.text
    options = {"max_tokens": 12, "temperature": 0}
    if asked.streamed:
        stream = target.complete_stream(*name, prompt, options)
        return "".join([chunk.content or "" async for chunk in stream])
    return str((await target.complete(*name, prompt, options)).content)


def _agree(one: Answer, other: Answer) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return sum(a * b for a, b in zip(one, other, strict=True)) > 0.9999


async def _alone(folder: Path) -> Answers:
    """Have each model answer by itself.

    Where two words are nearly as likely, the answer differs with what of the prompt the engine had
    read before: each text is asked first after a load, and after each other one.
    """
    answers: Answers = {name: {text: [] for text in TEXTS} for name in _models()}
    for name, model in _models().items():
        for first in TEXTS:
            async with model:
                for text in (first, *TEXTS, first):
                    answers[name][text].append(await _ask(model, Asked(name, text)))
    return answers


async def _managed(folder: Path) -> dict[str, Any]:
    """Send all requests through a manager, and compare the answers."""
    from blazen.hardware import rss_bytes
    from blazen.manager import EventKind, LearnedFootprints, ModelManager

    manager = ModelManager(
        pools={"cpu": BUDGET_MIB * MIB}, learn=LearnedFootprints(folder / "learned.json")
    )
    expected: Answers = json.loads((folder / "alone.json").read_text("utf-8"))
    bare = rss_bytes()
    for name in ENGINES:
        importlib.import_module(name)
    base = rss_bytes()
    counts: Counter[tuple[EventKind, str]] = Counter()

    async def listen() -> None:
        async for event in manager.events():
            counts[event.kind, event.id] += 1
            if event.detail or event.kind is EventKind.Quarantined:
                words = event.detail or event.bytes
                print(f"{event.kind.value} {event.id}: {words}", file=sys.stderr)

    listener = asyncio.create_task(listen())
    await asyncio.sleep(0)
    for name, model in _models().items():
        await manager.register(name, model)
    began = time.perf_counter()
    wrong, most_used = await _ask_all(manager, expected)
    seconds = time.perf_counter() - began
    known = {model.id: model for model in manager.status().models}
    await manager.unload_all()
    await asyncio.sleep(0)
    listener.cancel()
    models = {
        name: {
            "requests": sum(asked.id == name for asked in requests()),
            "charged_mib": sum(model.footprint.resident.values()) / MIB if model.footprint else 0,
            "known_as": model.footprint_source,
            "loads": counts[EventKind.Loaded, name],
            "evictions": counts[EventKind.Evicting, name],
            "last_load_seconds": model.load_seconds,
        }
        for name, model in known.items()
    }
    return {
        "before_any_engine_mib": bare / MIB,
        "base_mib": base / MIB,
        "most_charged_mib": most_used / MIB,
        "wrong_answers": wrong,
        "seconds": seconds,
        **models,
    }


async def _ask_all(manager: Any, expected: Answers) -> tuple[int, int]:
    """Ask from eight tasks, which take the next request in turns."""
    waiting = iter(requests())
    wrong = most = 0

    async def work() -> None:
        nonlocal wrong, most
        for asked in waiting:
            answer = await _ask(manager, asked, asked.id)
            if not any(_agree(answer, other) for other in expected[asked.id][asked.text]):
                wrong += 1
                print(f"{asked}: {answer!s:.80}", file=sys.stderr)
            most = max(most, await manager.used_bytes(pool="cpu"))

    await asyncio.gather(*(work() for _ in range(TASKS)))
    return wrong, most


if __name__ == "__main__":
    parts: dict[str, Callable[[Path], Any]] = {"alone": _alone, "managed": _managed}
    part, place = sys.argv[1], Path(sys.argv[2])
    found = asyncio.run(parts[part](place))
    (place / f"{part}.json").write_text(json.dumps(found), "utf-8")
