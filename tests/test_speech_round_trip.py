"""What one engine says, another one hears: whole chains on real weights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import blazen
from blazen import TTS, Audio, Transcription
from blazen.speech.normalise import normalise

pytestmark = [
    pytest.mark.needs("whispercpp", "piper", "kokoro", "starter", "starter-more"),
    pytest.mark.long,
]

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "She sells sea shells by the sea shore.",
    "Could you please close the window before it starts to rain?",
    "The train to London leaves at half past seven.",
    "I have never seen such a beautiful garden in my life!",
    "Water boils at one hundred degrees.",
    "My brother bought three apples and two loaves of bread.",
    "When the sun went down, the children walked home along the river.",
    "What time does the museum open on Sunday?",
    "Please remember to feed the cat and water the plants.",
    "The doctor told him to drink more water and sleep eight hours.",
    "A journey of a thousand miles begins with a single step.",
    "We are looking for a house with a large kitchen.",
    "The old man sat by the fire and told a story about the sea.",
    "Nobody knows what happened to the missing letter.",
    "In the morning the streets were covered with snow.",
    "He opened the door, looked around, and quietly left the room.",
    "The price of coffee has doubled since last year.",
    "Music makes the long winter evenings shorter.",
    "Thank you very much for your help today.",
)
# Where Debian's package pocketsphinx-testdata puts its clips from LibriVox.
CLIPS = Path("/usr/share/pocketsphinx/test/data/librivox")


def words(text: str) -> list[str]:
    """The words that count: no case, no punctuation, numbers written out, one English."""
    plain = normalise(text, "en").lower().replace("’", "'").replace("-", " ")
    return re.findall(r"[a-z']+", plain)


def errors(said: str, heard: str) -> tuple[int, int]:
    """How many words were put in, left out or changed, and how many were said."""
    wanted, got = words(said), words(heard)
    row = list(range(len(got) + 1))
    for place, word in enumerate(wanted, 1):
        before, row[0] = row[0], place
        for at, other in enumerate(got, 1):
            cost = min(row[at] + 1, row[at - 1] + 1, before + (word != other))
            before, row[at] = row[at], cost
    return row[-1], len(wanted)


def error_rate(pairs: list[tuple[str, str]]) -> float:
    counts = [errors(said, heard) for said, heard in pairs]
    return sum(wrong for wrong, _ in counts) / sum(count for _, count in counts)


def test_the_measure_counts_errors():
    assert errors("the cat sat", "The cat sat!") == (0, 3)
    assert errors("the cat sat down", "a cat sat") == (2, 4)
    assert errors("It costs $5.", "it costs five dollars")[0] == 0
    assert error_rate([("one two", "one"), ("three four", "three four")]) == 0.25


@pytest.fixture(scope="module")
def ears():
    model = Transcription.whispercpp("starter:transcribe-base", language="en", threads=1)
    yield model
    blazen.blocking(model).unload()


async def round_trip(voice, ears) -> list[tuple[str, str]]:
    # Five go into one window, which takes as long to hear as a single one would.
    texts = [" ".join(SENTENCES[first : first + 5]) for first in range(0, len(SENTENCES), 5)]
    async with voice:
        spoken = [await voice.speak(text) for text in texts]
    return [
        (text, (await ears.transcribe(sound)).text)
        for text, sound in zip(texts, spoken, strict=True)
    ]


class Heard:
    """A class for each voice, so that they are tested side by side."""

    voice: str

    async def test_what_it_says_is_heard(self, ears):
        pairs = await round_trip(TTS.from_spec(self.voice, threads=1), ears)
        wrong = [pair for pair in pairs if errors(*pair)[0]]
        assert error_rate(pairs) <= 0.08, wrong


class TestPiper(Heard):
    voice = "piper:starter:speak"


class TestKokoro(Heard):
    voice = "kokoro:starter:speak-kokoro"


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs Debian's pocketsphinx-testdata")
async def test_people_who_read_aloud_are_heard(ears):
    said = {
        name: text
        for text, name in re.findall(
            r"^(.*?)\s*\((\S+)\)$", (CLIPS / "transcription").read_text("utf-8"), re.MULTILINE
        )
    }
    clips = sorted(CLIPS.glob("*.wav"))
    assert len(clips) == 5
    pairs = [
        (re.sub(r"</?s>", "", said[clip.stem]), (await ears.transcribe(Audio.from_file(clip))).text)
        for clip in clips
    ]
    wrong = [pair for pair in pairs if errors(*pair)[0]]
    assert error_rate(pairs) <= 0.10, wrong
