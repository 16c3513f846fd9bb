"""The API that the project began with: each of its Python snippets runs, but for ids and devices.

What it asks a provider is answered by a server of ours that speaks the provider's wire format.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.weights.servers import Hub, standing_in

FOLDER = Path(__file__).parent / "seed"
GIB = 1024**3

# What each of them needs, and what it must have printed.
NEEDS = {
    "chat_mistralrs": (("mistralrs", "starter:chat"), r"\S"),
    "streaming": (("xllamacpp", "starter:chat"), r"\S"),
    "transcription_whispercpp": (
        ("whispercpp", "starter:transcribe-base"),
        r"(?i)seven ships",
    ),
    "mesh_triposr": (("triposr",), r"\A\Z"),
    "embeddings": (("fastembed", "starter:embed"), r"\A384\n\Z"),
    "model_manager": (
        ("mistralrs", "fastembed", "openai", "starter:chat", "starter:embed"),
        rf"\A0\n{24 * GIB}\n[1-9]\d{{9,}}\n\Z",
    ),
}
# What some of them find on the machine that they are written for, or elsewhere.
BROUGHT = {
    "transcription_whispercpp": "sound",
    "mesh_triposr": "tiny_triposr",
    "model_manager": "cloud",
}
# What must hold after some of them.
AFTER = {
    "mesh_triposr": "assert len(mesh.faces) > 1000",
    "model_manager": "assert local.content; assert cloud.content == 'Hello!'; print(cloud.usage)",
}


def _parameter(path: Path) -> object:
    needs, printed = NEEDS[path.stem]
    return pytest.param(path, printed, marks=pytest.mark.needs(*needs), id=path.stem)


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "printed"), [_parameter(path) for path in sorted(FOLDER.glob("*.py"))]
)
def test_snippet_runs(path, printed, request, snippets, capsys):
    if path.stem in BROUGHT:
        request.getfixturevalue(BROUGHT[path.stem])
    snippets(path.read_text("utf-8"), path)
    assert re.search(printed, capsys.readouterr().out)
    snippets(AFTER.get(path.stem, ""), path)


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


@pytest.fixture
def cloud(monkeypatch):
    """A server of ours where it thinks that OpenAI is: it has no real key, and neither have we."""
    from tests.remote.misbehaving import serving_apart
    from tests.wire import openai

    monkeypatch.setattr(openai, "KEY", "sk-...")  # the very one that the snippet has
    with serving_apart(openai.OpenAiWire()) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield


def test_every_snippet_is_listed_once():
    assert sorted(NEEDS) == sorted(path.stem for path in FOLDER.glob("*.py"))
