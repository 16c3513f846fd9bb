"""``blazen transcribe`` on a real small model, of speech that a real small voice made."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import blazen
from blazen import TTS
from tests.cli.making import alone, done, refused

pytestmark = pytest.mark.needs(
    "piper", "whispercpp", "audio", "starter:speak", "starter:transcribe"
)

TEXT = "The quick brown fox jumps over the lazy dog."
HEARD = "brown fox jumps over the lazy dog"


@pytest.fixture(scope="module")
def fox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sound of a sentence: without the voice's chance, so that the same is heard each time."""
    voice = blazen.blocking(TTS.piper("starter:speak", noise=0, rhythm_noise=0))
    with voice:
        return Path(voice.speak(TEXT).save(tmp_path_factory.mktemp("sound") / "fox.wav"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return alone(tmp_path, monkeypatch)


def test_text_goes_to_stdout(fox: Path) -> None:
    result = done("transcribe", str(fox))
    assert HEARD in result.stdout
    assert result.stderr == ""
    assert HEARD in done("transcribe", "-", given=fox.read_bytes()).stdout


def test_subtitles_and_json(fox: Path, here: Path) -> None:
    srt = done("transcribe", str(fox), "--format", "srt").stdout
    assert re.match(r"1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\n[Tt]he quick", srt)
    assert done("transcribe", str(fox), "-F", "vtt").stdout.startswith("WEBVTT")
    result = done("transcribe", str(fox), "-o", "fox.vtt", "--words")
    assert (result.stdout, "wrote fox.vtt" in result.stderr) == ("", True)
    words = (here / "fox.vtt").read_text()
    assert words.count("-->") > 6
    about = json.loads(done("transcribe", str(fox), "--json", "--words").stdout)
    assert about["file"] == str(fox)
    assert HEARD in about["text"]
    said = [word["text"].strip(" .").lower() for s in about["segments"] for word in s["words"]]
    assert "fox" in said
    narrow = done("transcribe", str(fox), "-F", "srt", "--line-width", "16").stdout
    assert max(len(line) for line in narrow.splitlines() if "-->" not in line) <= 16


def test_several_files(fox: Path, here: Path) -> None:
    (here / "two.wav").write_bytes(fox.read_bytes())
    result = done("transcribe", str(fox), "two.wav")
    assert result.stdout.count(HEARD) == 2
    assert result.stderr.splitlines() == [f"{fox}:", "two.wav:"]
    rows = json.loads(done("transcribe", str(fox), "two.wav", "--json").stdout)
    assert [row["file"] for row in rows] == [str(fox), "two.wav"]
    (here / "out").mkdir()
    done("transcribe", str(fox), "two.wav", "-d", "out", "--format", "srt")
    assert sorted(path.name for path in (here / "out").iterdir()) == ["fox.srt", "two.srt"]
    assert HEARD in (here / "out" / "two.srt").read_text()
    again = ("transcribe", str(fox), "-d", "out", "--format", "srt")
    assert "already" in refused(*again)
    done(*again, "--force")


def test_what_is_wrong_is_said(fox: Path, here: Path) -> None:
    sound = str(fox)
    assert "give one" in refused("transcribe", sound, "-o", "a.txt", "-d", ".")
    assert "--output is one file" in refused("transcribe", sound, sound, "-o", "a.txt")
    assert "say --format too" in refused("transcribe", sound, "-o", "a.doc")
    assert "contradict" in refused("transcribe", sound, "--json", "-F", "srt")
    assert "--words is for" in refused("transcribe", sound, "--words")
    assert "follow each other" in refused("transcribe", sound, sound, "-F", "srt")
    assert "called 'fox'" in refused("transcribe", sound, sound, "-d", ".")
    assert "once" in refused("transcribe", "-", "-")
    assert "gone.wav" in refused("transcribe", "gone.wav")
    (here / "noise.wav").write_bytes(b"this is no sound at all")
    assert "noise.wav" in refused("transcribe", "noise.wav")
    assert "empty" in refused("transcribe", "-", given=b"")
    assert "FILE" in refused("transcribe")
    assert "not taught to translate" in refused("transcribe", sound, "--translate", code=1)
