"""Sound that is still being made: every form of it, at one rate, once, and closed at the end."""

from __future__ import annotations

import asyncio
import pickle
import sys
import types

import pytest

from blazen.errors import MissingExtraError, UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.live import LiveAudio
from blazen.types.transcription import TranscriptionRequest, as_request

np = pytest.importorskip("numpy")
pytest.importorskip("av")


def tone(seconds=1.0, rate=16_000, hertz=440.0):
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def pcm16(samples):
    return Audio.from_samples(samples, 16_000).pcm16()


async def pieces(*values):
    for value in values:
        yield value


async def heard(live, **settings):
    blocks = [block async for block in live.blocks(**settings)]
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    return np.concatenate([np.zeros(0, np.float32), *blocks])


def pitch(samples, rate=16_000):
    window = samples * np.hanning(len(samples))
    return float(np.argmax(np.abs(np.fft.rfft(window))) * rate / len(samples))


class TestPieces:
    @pytest.mark.parametrize(
        "form",
        [
            lambda samples: Audio.from_samples(samples, 16_000),
            lambda samples: (samples, 16_000),
            lambda samples: (samples.tolist(), 16_000),
            lambda samples: samples,
            lambda samples: (samples * 32768).astype(np.int16),
            pcm16,
            lambda samples: bytearray(pcm16(samples)),
            lambda samples: memoryview(pcm16(samples)),
        ],
    )
    async def test_every_form_is_the_same_sound(self, form):
        sound = tone()
        parts = [form(sound[start : start + 1600]) for start in range(0, len(sound), 1600)]
        got = await heard(LiveAudio(pieces(*parts), sample_rate=16_000))
        assert got.shape == sound.shape
        assert np.abs(got - sound).max() < 1e-4

    async def test_samples_cut_in_two_are_joined_again(self):
        data = pcm16(tone())
        cut = [data[start : start + 333] for start in range(0, len(data), 333)]
        got = await heard(LiveAudio(pieces(*cut), sample_rate=16_000))
        assert np.abs(got - tone()).max() < 1e-4

    async def test_rates_and_channels_may_change(self):
        stereo = np.stack([tone(rate=48_000)] * 2, axis=1)
        live = LiveAudio(
            pieces((tone(rate=8000), 8000), (stereo, 48_000), (tone(), 16_000), (tone(), 16_000))
        )
        got = await heard(live)
        assert abs(len(got) - 64_000) < 200
        for second in range(4):
            assert pitch(got[second * 16_000 + 800 : second * 16_000 + 15_200]) == pytest.approx(
                440, abs=2
            )

    async def test_small_pieces_of_another_rate_leave_no_seam(self):
        sound = tone(rate=44_100)
        parts = [(sound[start : start + 441], 44_100) for start in range(0, len(sound), 441)]
        got = await heard(LiveAudio(pieces(*parts)))
        middle = got[500:-500]
        # A seam is a step: a clean tone's second difference stays small.
        assert np.abs(np.diff(middle, 2)).max() < 0.02

    async def test_files_are_decoded_on_the_way(self, tmp_path):
        path = Audio.from_samples(tone(2.5, rate=22_050), 22_050).save(tmp_path / "a.flac")
        got = await heard(LiveAudio(pieces(Audio.from_file(path))))
        assert abs(len(got) - 40_000) < 100

    async def test_another_rate_comes_out_where_it_is_asked_for(self):
        got = await heard(LiveAudio(pieces((tone(), 16_000))), sample_rate=8000)
        assert abs(len(got) - 8000) < 50

    @pytest.mark.parametrize("form", [b"\0\0", np.zeros(4, np.float32), [0.0]])
    async def test_samples_without_a_rate_are_refused(self, form):
        with pytest.raises(ValidationError, match="sample_rate=16000"):
            await heard(LiveAudio(pieces(form)))

    @pytest.mark.parametrize("form", [42, "a.wav", None, {"a": 1}])
    async def test_what_is_no_sound_is_refused_and_the_source_closed(self, form):
        closed = []

        async def source():
            try:
                yield form
            finally:
                closed.append(True)

        with pytest.raises(ValidationError, match="piece of live audio"):
            await heard(LiveAudio(source()))
        assert closed

    async def test_nothing_and_empty_pieces(self):
        assert not len(await heard(LiveAudio(pieces())))
        empty = pieces(b"", (np.zeros(0, np.float32), 44_100), b"\0")
        assert not len(await heard(LiveAudio(empty, sample_rate=8000)))


class TestLife:
    async def test_leaving_closes_the_source(self):
        closed = []

        async def source():
            try:
                while True:
                    yield tone(0.1), 16_000
            finally:
                closed.append(True)

        blocks = LiveAudio(source()).blocks()
        await anext(blocks)
        await blocks.aclose()
        assert closed

    async def test_what_was_read_is_not_taken_for_silence(self):
        live = LiveAudio(pieces((tone(), 16_000)))
        await heard(live)
        with pytest.raises(ValidationError, match="read already"):
            await heard(live)

    async def test_errors_of_the_source_come_out_as_they_are(self):
        async def source():
            yield tone(), 16_000
            raise ConnectionResetError("the line is dead")

        with pytest.raises(ConnectionResetError, match="the line is dead"):
            await heard(LiveAudio(source()))

    async def test_it_may_be_collected(self):
        sound = await LiveAudio(pieces((tone(), 16_000), (tone(), 16_000))).collect()
        assert (sound.duration, sound.sample_rate) == (2.0, 16_000)
        assert (await LiveAudio(pieces()).collect()).duration == 0

    async def test_a_file_can_be_played_into_it_again_and_again(self, tmp_path):
        path = Audio.from_samples(tone(0.35), 16_000).save(tmp_path / "a.wav")
        live = LiveAudio.from_audio(path, 0.1)
        assert [len(block) async for block in live.blocks()] == [1600, 1600, 1600, 800]
        assert len(await heard(live)) == 5600

    async def test_in_real_time_a_piece_comes_when_it_was_spoken(self, monkeypatch):
        naps = []
        sleep = asyncio.sleep

        async def nap(seconds):
            naps.append(seconds)
            await sleep(0)

        monkeypatch.setattr(asyncio, "sleep", nap)
        live = LiveAudio.from_audio((tone(1.0), 16_000), 0.25, realtime=True)
        await heard(live)
        # The clock stood still, so each waits for all that was spoken until its end.
        assert naps == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.2)

    def test_it_is_not_written_down(self):
        live = LiveAudio(pieces())
        request = TranscriptionRequest(live)
        for attempt in (
            live.to_dict,
            request.to_dict,
            request.to_json,
            lambda: pickle.dumps(live),
            lambda: LiveAudio.from_dict({"kind": "live_audio"}),
            lambda: TranscriptionRequest.from_dict({"audio": {"kind": "live_audio"}}),
        ):
            with pytest.raises(ValidationError, match="live audio"):
                attempt()

    def test_a_model_of_whole_sounds_hears_that_it_is_none(self):
        live = LiveAudio(pieces())
        for name in ("to_samples", "duration", "samples", "sample_rate"):
            with pytest.raises(UnsupportedError, match=name):
                getattr(live, name)
        with pytest.raises(AttributeError, match="nonsense"):
            _ = live.nonsense

    def test_it_prints_well(self):
        assert repr(LiveAudio(pieces())) == "LiveAudio(pieces)"
        assert "object at" not in repr(LiveAudio.from_audio((tone(), 16_000)))


class TestRequests:
    def test_an_asynchronous_iterator_becomes_live_audio(self):
        assert isinstance(as_request(pieces()).audio, LiveAudio)
        assert isinstance(TranscriptionRequest(pieces()).audio, LiveAudio)
        live = LiveAudio(pieces())
        assert as_request(live).audio is live
        assert as_request({"audio": live}).audio is live
        assert LiveAudio.of(live) is live

    def test_whole_sounds_stay_what_they_are(self):
        sound = Audio.from_samples(tone(), 16_000)
        assert as_request(sound).audio is sound
        asked = TranscriptionRequest(sound, diarize=True)
        assert TranscriptionRequest.from_json(asked.to_json()) == asked

    @pytest.mark.parametrize("bad", [42, [b"\0\0"], "a.wav", None])
    def test_what_is_not_asynchronous_is_refused(self, bad):
        with pytest.raises(ValidationError, match="from_audio"):
            LiveAudio.of(bad)

    @pytest.mark.parametrize("rate", [0, 12.5, True, 10**7])
    def test_bad_rates_are_refused(self, rate):
        with pytest.raises(ValidationError, match="sample_rate"):
            LiveAudio(pieces(), sample_rate=rate)


class FakeStream:
    """What a microphone of PortAudio looks like; a test speaks into it."""

    made = None

    def __init__(self, *, callback, **settings):
        self.speak, self.settings, self.calls = callback, settings, []
        FakeStream.made = self

    def start(self):
        self.calls.append("start")

    def abort(self):
        self.calls.append("abort")

    def close(self):
        self.calls.append("close")


class TestMicrophone:
    @pytest.fixture
    def sounddevice(self, monkeypatch):
        fake = types.ModuleType("sounddevice")
        fake.PortAudioError = type("PortAudioError", (Exception,), {})
        fake.RawInputStream = FakeStream
        monkeypatch.setitem(sys.modules, "sounddevice", fake)
        return fake

    async def test_it_is_heard_until_the_reader_leaves(self, sounddevice):
        live = LiveAudio.microphone(device="desk", sample_rate=8000, seconds=0.2)
        blocks = live.blocks(sample_rate=8000)
        first = asyncio.create_task(anext(blocks))
        while FakeStream.made is None or FakeStream.made.calls != ["start"]:
            await asyncio.sleep(0)
        stream = FakeStream.made
        assert stream.settings["device"] == "desk"
        assert stream.settings["blocksize"] == 1600
        await asyncio.to_thread(stream.speak, pcm16(tone(0.1)), 1600, None, None)
        assert np.abs(await first - tone(0.1)).max() < 1e-4
        await blocks.aclose()
        assert stream.calls == ["start", "abort", "close"]
        FakeStream.made = None

    async def test_what_nobody_reads_does_not_pile_up(self, sounddevice, caplog):
        blocks = LiveAudio.microphone(seconds=10.0).blocks()
        first = asyncio.create_task(anext(blocks))
        while FakeStream.made is None or FakeStream.made.calls != ["start"]:
            await asyncio.sleep(0)
        for number in range(100):
            FakeStream.made.speak(np.full(16, number, "<i2").tobytes(), 16, None, None)
        await first
        assert "oldest" in caplog.text
        rest = [round(float((await anext(blocks))[0]) * 32768) for _ in range(6)]
        assert rest == sorted(rest)
        assert rest[0] > 80
        await blocks.aclose()
        FakeStream.made = None

    async def test_a_machine_without_one(self, sounddevice):
        def refuse(**_):
            raise sounddevice.PortAudioError("no default input device")

        sounddevice.RawInputStream = refuse
        with pytest.raises(UnsupportedError, match="no default input device"):
            await heard(LiveAudio.microphone())

    def test_no_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sounddevice", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'blazen\[play\]'"):
            LiveAudio.microphone()

    def test_no_portaudio(self, monkeypatch):
        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "sounddevice":
                    raise OSError("PortAudio library not found")

        monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
        monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
        with pytest.raises(UnsupportedError, match="PortAudio library not found"):
            LiveAudio.microphone()
