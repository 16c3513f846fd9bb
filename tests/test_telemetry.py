"""No engine tells its maker of what is done with it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, sys, tempfile
from blazen import EmbeddingModel, TTS

async def main():
    async with EmbeddingModel.fastembed("starter:embed", threads=1) as model:
        await model.embed(["hello"])
    async with TTS.piper("starter:speak", threads=1) as voice:
        await voice.speak("Hello.")

asyncio.run(main())
print(os.environ["ORT_DISABLE_TELEMETRY"], "onnxruntime" in sys.modules)
print(sorted(os.listdir(tempfile.gettempdir())))
"""


@pytest.mark.needs("fastembed", "piper", "starter:embed", "starter:speak")
def test_onnx_runtime_keeps_what_is_done_to_itself(tmp_path):
    # On a machine that says it is a CI's, ONNX Runtime is silent of its own accord.
    quiet = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "GITHUB_ACTIONS")
    kept = {name: value for name, value in os.environ.items() if name not in quiet}
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**kept, "TMPDIR": str(tmp_path), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    # Where it counts who uses it, it has written an identity of its own by now.
    assert done.stdout.splitlines() == ["1 True", "[]"], done.stderr
