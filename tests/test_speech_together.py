"""Two voices in one process: each has an espeak of its own, and they must not mix their texts."""

from __future__ import annotations

import asyncio

import pytest

from blazen import TTS

pytestmark = pytest.mark.needs("piper", "kokoro", "starter", "starter-more")

TEXTS = ["Seven ships.", "Cold water.", "Old stone."]


async def test_piper_and_kokoro_at_once_say_what_they_say_alone():
    piper = TTS.piper("starter:speak", threads=1, noise=0, rhythm_noise=0)
    kokoro = TTS.kokoro("starter:speak-kokoro", threads=1)
    async with piper, kokoro:
        asked = [(voice, text) for text in TEXTS for voice in (piper, kokoro)]
        alone = [await voice.speak(text) for voice, text in asked]
        together = await asyncio.gather(*(voice.speak(text) for voice, text in asked))
    assert together == alone
