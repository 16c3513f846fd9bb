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


_GROW = """
import asyncio, json, sys, blazen
from pathlib import Path
kind, spec, options, more, question = sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:6])
text = "the cat sat on the mat and "
texts = [text * (1 + i % 20) for i in range(48)]
VERBS = {
    "EmbeddingModel": "embed", "SparseEmbeddingModel": "embed_sparse",
    "TokenEmbeddingModel": "embed_tokens", "TTS": "speak",
}

def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return [int(l.split()[1]) * 1024 for l in lines if l.startswith(("VmHWM", "VmRSS"))]

def ask(model, number):
    if kind == "Model":
        return model.complete(blazen.Prompt(f"{number} " + text * 20), {"max_tokens": 4})
    if kind == "Reranker":
        return model.rerank("cat", question or texts)
    if kind == "ImageEmbeddingModel":
        return model.embed_images([question] * 48)
    if kind == "Transcription":
        return model.transcribe(blazen.TranscriptionRequest(**question))
    return getattr(model, VERBS[kind])(question or texts)

async def main():
    model = getattr(blazen, kind).from_spec(spec, **options)
    before = memory()[1]
    sizes = await model.footprint()
    for count in sorted({1, more}):
        await asyncio.gather(*(ask(model, number) for number in range(count)))
    peak = memory()[0] - before
    assert model.threads == 1
    await model.unload()
    said = sizes.loading["cpu"] + more * sizes.per_request.get("cpu", 0)
    print(json.dumps({"said": said, "took": peak, "pools": list(sizes.resident)}))

asyncio.run(main())
"""


def measure_growth(
    kind: str, spec: str, more: int = 1, *, question: Any = None, **options: Any
) -> dict[str, Any]:
    """Load a model in a process of its own and ask it; give what it said, and what it took.

    Both are bytes, with ``more`` requests at once. Only Linux tells the most that a process had.
    The ``question`` is a text for a voice, the fields of a request for an ear, and the path of a
    picture for a model that looks at them; the others have texts of their own.
    """
    given = [kind, spec, *map(json.dumps, (options, more, question))]
    done = subprocess.run(
        [sys.executable, "-c", _GROW, *given],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def check_footprint(
    kind: str, spec: str, more: int = 1, *, question: Any = None, **options: Any
) -> None:
    """Hold what a model says it takes against what it took: never less, and not far more."""
    found = measure_growth(kind, spec, more, question=question, threads=1, **options)
    # What the code of an engine takes depends on what else is installed beside it.
    assert found["took"] <= found["said"] <= 1.6 * found["took"] + (32 << 20), found
    assert found["pools"] == ["cpu"]
