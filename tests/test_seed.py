"""The API that the project began with: each of its Python snippets runs, but for ids and devices.

Those whose parts are not built yet are named below with the issue that brings them. When one of
them begins to run, its test fails until its line here is taken out.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "seed"

# Each of these is one name away from running: the import or the factory that does not exist yet.
LATER = {
    "mesh_triposr": "Images and 3D: diffusers, TripoSR, hosted 3D",
    "model_manager": "Cloud providers behind the same protocols; retry, cache, fallback",
}
# What each of the others needs, and what it must have printed.
NOW = {
    "chat_mistralrs": (("mistralrs", "starter:chat"), r"\S"),
    "streaming": (("xllamacpp", "starter:chat"), r"\S"),
    "transcription_whispercpp": (
        ("whispercpp", "starter:transcribe-base"),
        r"(?i)seven ships",
    ),
    "embeddings": (("fastembed", "starter:embed"), r"\A384\n\Z"),
}


def _parameter(path: Path) -> object:
    name = path.stem
    if name in LATER:
        absent = (ImportError, AttributeError)
        mark = pytest.mark.xfail(raises=absent, strict=True, reason=LATER[name])
        return pytest.param(path, "", marks=mark, id=name)
    needs, printed = NOW[name]
    return pytest.param(path, printed, marks=pytest.mark.needs(*needs), id=name)


@pytest.mark.parametrize(
    ("path", "printed"), [_parameter(path) for path in sorted(FOLDER.glob("*.py"))]
)
def test_snippet_runs(path, printed, snippets, capsys):
    # The sound that one of them transcribes: "The lighthouse keeper counted seven ships ..."
    shutil.copy(Path(__file__).parent / "data" / "two-sentences.ogg", "audio.wav")
    snippets(path.read_text("utf-8"), path)
    assert re.search(printed, capsys.readouterr().out)


def test_every_snippet_is_listed_once():
    assert sorted([*LATER, *NOW]) == sorted(path.stem for path in FOLDER.glob("*.py"))
