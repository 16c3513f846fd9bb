"""In the worker process, what follows a request is taken after its beginning, however they come."""

from __future__ import annotations

import asyncio

import pytest

from blazen import LiveAudio, TranscriptionRequest
from blazen.isolation.child import _Serving
from blazen.isolation.orders import Live
from blazen.testing.echo_speech import EchoTranscription, EchoTTS


class Serving(_Serving):
    """Serves here, without another side: what it says is kept."""

    def __init__(self, model):
        super().__init__(None)
        self._loop = asyncio.get_running_loop()
        self._model = model
        self.said, self.over = [], asyncio.Event()

    def _say(self, kind, number, *what):
        self.said.append((kind, number, *what))
        if kind in ("done", "failed"):
            self.over.set()


@pytest.mark.parametrize("kind", ["call", "stream"])
async def test_a_request_cancelled_in_the_turn_that_brings_it_ends_all_the_same(kind):
    async with EchoTTS() as model:
        serving = Serving(model)
        name = "speak" if kind == "call" else "speak_stream"
        what = (name, ("Hello.",), {}) if kind == "call" else (name, (), {"text": "Hello."})
        serving._take(kind, 1, what)
        serving._take("cancel", 1, ())
        await asyncio.wait_for(serving.over.wait(), 20)
    assert serving.said[-1][:2] == ("failed", 1)


@pytest.mark.needs("audio")
async def test_live_sound_that_comes_in_the_turn_of_its_request_is_heard():
    sound = (await EchoTTS().speak("Seven ships.")).to_samples(sample_rate=16_000)
    (marked, _) = Live.of(TranscriptionRequest(LiveAudio(_nothing())))
    async with EchoTranscription() as model:
        serving = Serving(model)
        serving._take("stream", 1, ("transcribe_stream", [], {"request": marked}))
        for piece in (sound[:1000], sound[1000:], None):
            serving._take("feed", 1, (piece,))
        await asyncio.wait_for(serving.over.wait(), 20)
    pieces = [piece for kind, _, *what in serving.said if kind == "pieces" for piece in what[0]]
    assert "".join(piece.text for piece in pieces) == "Seven ships."


async def _nothing():
    return
    yield
