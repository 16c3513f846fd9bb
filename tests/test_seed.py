"""The API that the project began with: each of its Python snippets runs, but for ids and devices.

Those whose parts are not built yet are named below with the issue that brings them. When one of
them begins to run, its test fails until its line here is taken out.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.weights.servers import Hub, standing_in

FOLDER = Path(__file__).parent / "seed"

# Each of these is one name away from running: the import or the factory that does not exist yet.
LATER = {
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
    "mesh_triposr": (("triposr",), r"\A\Z"),
    "embeddings": (("fastembed", "starter:embed"), r"\A384\n\Z"),
}
# What some of them find on the machine that they are written for.
BROUGHT = {"transcription_whispercpp": "sound", "mesh_triposr": "tiny_triposr"}


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
def test_snippet_runs(path, printed, request, snippets, capsys):
    if path.stem in BROUGHT:
        request.getfixturevalue(BROUGHT[path.stem])
    snippets(path.read_text("utf-8"), path)
    assert re.search(printed, capsys.readouterr().out)
    if path.stem == "mesh_triposr":
        snippets("assert len(mesh.faces) > 1000", path)


@pytest.fixture
def sound():
    """The sound that one of them transcribes: "The lighthouse keeper counted seven ships ..."."""
    shutil.copy(Path(__file__).parent / "data" / "two-sentences.ogg", "audio.wav")


@pytest.fixture
def tiny_triposr(tmp_path, monkeypatch):
    """A small network of chance where the published one is fetched from, and a picture."""
    from blazen import Image
    from blazen.testing.tiny_triposr import save_tiny_triposr

    monkeypatch.setenv("BLAZEN_CACHE", str(tmp_path / "cache"))
    folder = save_tiny_triposr(tmp_path / "tiny")
    Image.from_array([[(1.0, 0.1, 0.4)] * 64] * 64).save("photo.png")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    with standing_in(Hub({"stabilityai/TripoSR": files})):
        yield


def test_every_snippet_is_listed_once():
    assert sorted([*LATER, *NOW]) == sorted(path.stem for path in FOLDER.glob("*.py"))
