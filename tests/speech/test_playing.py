"""Speech is played aloud while it is made."""

from __future__ import annotations

import asyncio
import sys
import threading
import types

import pytest

from blazen.errors import MissingExtraError, UnsupportedError
from blazen.types.audio import Audio
from blazen.types.speech import SpeechStream

pytestmark = pytest.mark.needs("audio")
RATE = 8_000


class Speaker:
    """A fake of sounddevice: what it is told goes to a list."""

    def __init__(self):
        self.calls = []
        self.heard = 0
        self.first = threading.Event()
        self.ended = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.fault = None
        self.module = types.ModuleType("sounddevice")
        self.module.PortAudioError = type("PortAudioError", (Exception,), {})
        self.module.OutputStream = self.open

    def open(self, *, samplerate, channels, dtype):
        self.calls.append(("open", samplerate, channels, dtype))
        if self.fault:
            raise self.module.PortAudioError(self.fault)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.calls.append("close")
        self.ended.set()

    def write(self, samples):
        self.heard += len(samples)
        self.first.set()
        assert self.go_on.wait(10)

    def stop(self):
        self.calls.append("stop")

    def abort(self):
        self.calls.append("abort")


@pytest.fixture
def speaker(monkeypatch):
    fake = Speaker()
    monkeypatch.setitem(sys.modules, "sounddevice", fake.module)
    return fake


def piece(seconds, rate=RATE):
    return Audio.from_samples([0.1] * round(seconds * rate), rate)


async def test_pieces_are_played_one_after_another(speaker):
    async def pieces():
        yield piece(0.5)
        # The first is heard while the second is not there yet.
        assert await asyncio.to_thread(speaker.first.wait, 10)
        yield piece(0.25)
        yield piece(0.25, rate=2 * RATE)

    stream = SpeechStream.of(pieces())
    await stream.play()
    assert speaker.calls == [("open", RATE, 1, "float32"), "stop", "close"]
    assert speaker.heard == pytest.approx(RATE, abs=50)  # the last was resampled
    assert stream.response.duration == pytest.approx(1.0, abs=0.01)


async def test_who_makes_the_sound_is_held_back_for_the_listener(speaker):
    made = []

    async def pieces():
        for number in range(50):
            made.append(number)
            yield piece(0.01)

    speaker.go_on.clear()
    playing = asyncio.create_task(SpeechStream.of(pieces()).play())
    assert await asyncio.to_thread(speaker.first.wait, 10)
    for _ in range(500):  # far more turns than all of the pieces take
        await asyncio.sleep(0)
    assert len(made) < 10
    speaker.go_on.set()
    await playing
    assert len(made) == 50
    assert speaker.heard == 50 * round(0.01 * RATE)


async def test_cancelling_while_the_source_is_held_back_ends_it(speaker):
    async def pieces():
        while True:
            yield piece(0.01)

    speaker.go_on.clear()
    playing = asyncio.create_task(SpeechStream.of(pieces()).play())
    assert await asyncio.to_thread(speaker.first.wait, 10)
    for _ in range(500):
        await asyncio.sleep(0)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    speaker.go_on.set()
    assert await asyncio.to_thread(speaker.ended.wait, 10)
    assert speaker.calls[-2:] == ["abort", "close"]


async def test_a_fault_while_the_source_is_held_back_is_told(speaker):
    async def pieces():
        while True:
            yield piece(0.01)

    def broken(samples):
        raise speaker.module.PortAudioError("the device is gone")

    speaker.write = broken
    with pytest.raises(UnsupportedError, match="the device is gone"):
        await SpeechStream.of(pieces()).play()


async def test_cancelling_stops_the_sound_and_the_source(speaker):
    closed = []

    async def pieces():
        try:
            yield piece(60)
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    speaker.go_on.clear()
    stream = SpeechStream.of(pieces())
    playing = asyncio.create_task(stream.play())
    assert await asyncio.to_thread(speaker.first.wait, 10)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    speaker.go_on.set()
    assert await asyncio.to_thread(speaker.ended.wait, 10)
    assert speaker.calls[1:] == ["abort", "close"]
    assert speaker.heard < RATE
    assert closed == [True]
    assert stream.response.duration == 60


async def test_cancelling_while_the_end_is_heard_stops_it_too(speaker):
    async def pieces():
        yield piece(60)

    speaker.go_on.clear()
    playing = asyncio.create_task(SpeechStream.of(pieces()).play())
    assert await asyncio.to_thread(speaker.first.wait, 10)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    speaker.go_on.set()
    assert await asyncio.to_thread(speaker.ended.wait, 10)
    assert "abort" in speaker.calls


async def test_an_error_of_the_source_stops_the_sound(speaker):
    async def pieces():
        yield piece(0.1)
        raise ValueError("the voice broke")

    with pytest.raises(ValueError, match="the voice broke"):
        await SpeechStream.of(pieces()).play()


async def test_nothing_to_play_opens_no_device(speaker):
    async def pieces():
        return
        yield

    await SpeechStream.of(pieces()).play()
    assert speaker.calls == []


async def test_no_speaker(speaker):
    speaker.fault = "no default output device"

    async def pieces():
        yield piece(0.1)

    with pytest.raises(UnsupportedError, match="no default output device"):
        await SpeechStream.of(pieces()).play()


async def test_no_extra_is_told_before_anything_is_spoken(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    asked = []

    async def pieces():
        asked.append(True)
        yield piece(0.1)

    with pytest.raises(MissingExtraError, match=r"pip install 'blazen\[play\]'"):
        await SpeechStream.of(pieces()).play()
    assert asked == []


async def test_no_portaudio(monkeypatch):
    from blazen.speech import playing

    def broken(*_, **__):
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(playing, "need", broken)

    async def pieces():
        yield piece(0.1)

    with pytest.raises(UnsupportedError, match="install PortAudio"):
        await SpeechStream.of(pieces()).play()
