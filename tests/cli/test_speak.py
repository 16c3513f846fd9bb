"""``blazen speak`` on a real small voice."""

from __future__ import annotations

import json
import wave
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from blazen import Audio
from blazen.types.speech import SpeechStream
from tests.cli.making import alone, done, refused

pytestmark = pytest.mark.needs("piper", "audio", "starter:speak")

TEXT = "The quick brown fox jumps over the lazy dog."


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return alone(tmp_path, monkeypatch)


def test_a_file_of_each_suffix(here: Path) -> None:
    result = done("speak", TEXT, "-o", "fox.wav")
    assert result.stdout == ""
    with wave.open(str(here / "fox.wav")) as file:
        seconds = file.getnframes() / file.getframerate()
    assert 1.5 < seconds < 6
    assert f"wrote fox.wav: {seconds:.1f} s" in result.stderr
    about = json.loads(done("speak", TEXT, "-o", "fox.flac", "--speed", "2", "--json").stdout)
    assert (about["file"], about["model"]) == ("fox.flac", "starter:speak")
    sound = Audio.from_file(here / "fox.flac")
    assert sound.duration == pytest.approx(about["seconds"], abs=0.01)
    assert sound.duration < 0.7 * seconds
    assert sound.sample_rate == about["sample_rate"] == 22050
    assert (here / "fox.flac").read_bytes()[:4] == b"fLaC"


def test_the_text_is_piped_or_read_and_the_sound_goes_to_stdout(here: Path) -> None:
    result = done("speak", "-o", "-", given="One word.")
    with wave.open(BytesIO(result.stdout_bytes)) as file:
        one = file.getnframes()
    (here / "text").write_text(TEXT)
    with wave.open(BytesIO(done("speak", "-f", "text", "-o", "-").stdout_bytes)) as file:
        assert file.getnframes() > 1.3 * one


def test_a_file_is_not_replaced_without_force(here: Path) -> None:
    (here / "a.wav").write_bytes(b"mine")
    assert "there is a file 'a.wav' already: --force" in refused("speak", "Hi", "-o", "a.wav")
    assert (here / "a.wav").read_bytes() == b"mine"
    done("speak", "Hi", "-o", "a.wav", "--force")
    assert Audio.from_file(here / "a.wav").duration > 0.1
    assert [path.name for path in here.iterdir()] == ["a.wav"]


def test_without_a_file_it_is_played(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    played: list[float] = []

    async def play(self: SpeechStream) -> None:
        async with self:
            played.extend([piece.duration async for piece in self])

    monkeypatch.setattr(SpeechStream, "play", play)
    result = done("speak", TEXT)
    assert sum(played) > 1.5
    assert result.output == ""
    played.clear()
    done("speak", TEXT, "--play", "-o", "both.wav")
    assert sum(played) == pytest.approx(Audio.from_file(here / "both.wav").duration, abs=0.01)


def test_voices_are_listed() -> None:
    rows: list[Any] = json.loads(done("speak", "--voices", "--json").stdout)["voices"]
    lines = done("speak", "--voices").stdout.splitlines()
    assert len(rows) == len(lines) >= 1
    assert lines[0].split("\t")[0] == rows[0]["name"]
    done("speak", "Hi", "--voice", rows[0]["name"], "-o", "v.wav")


def test_what_is_wrong_is_said() -> None:
    assert "there is no text" in refused("speak", "-o", "a.wav")
    assert "the suffix of a sound file" in refused("speak", "Hi", "-o", "a.txt")
    assert "no folder" in refused("speak", "Hi", "-o", "no/a.wav")
    assert "speed" in refused("speak", "Hi", "--speed", "99", "-o", "a.wav")
    assert "nobody" in refused("speak", "Hi", "--voice", "nobody", "-o", "a.wav")
    assert "stdout can't hold" in refused("speak", "Hi", "--json", "-o", "-")
    assert "not for speech" in refused("speak", "Hi", "-m", "starter:chat", "-o", "a.wav", code=3)
