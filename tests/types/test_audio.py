"""Sound in every common form and back, checked by ear as far as an FFT can hear."""

from __future__ import annotations

import array
import http.server
import io
import json
import pickle
import struct
import subprocess
import sys
import threading
import tracemalloc
import types
import wave

import pytest

from blazen.errors import DownloadError, MissingExtraError, UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.record import decode, encode
from blazen.types.source import fetch

np = pytest.importorskip("numpy")
av = pytest.importorskip("av")

FORMATS = ["wav", "flac", "mp3", "ogg", "m4a"]


def sine(seconds=1.0, rate=22050, hertz=440.0, channels=1, amplitude=0.5):
    t = np.arange(round(seconds * rate)) / rate
    mono = (amplitude * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
    return mono if channels == 1 else np.repeat(mono[:, None], channels, axis=1)


def pitch(samples, rate):
    window = samples * np.hanning(len(samples))
    return float(np.argmax(np.abs(np.fft.rfft(window))) * rate / len(samples))


def loudness(samples):
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    return float(np.sqrt(2 * np.mean(np.square(middle))))


def tolerance(form, channels):
    """LAME turns everything down to 95 %; coders of 5.1 cut off what a subwoofer can't play."""
    return 0.1 if channels == 6 else 0.03 if form == "mp3" else 0.01


def padding(form, rate):
    """Seconds by which a header may be off: some count what an MP3 coder put before and after."""
    return max(0.08, 3 * 576 / rate) if form == "mp3" else 0.08


def encoded(samples, rate, codec, container, layout, sample_format="fltp"):
    """A file made by FFmpeg itself, without any code of blazen."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.layout = layout
        stream.format = sample_format
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = rate
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def pcm(codec, rate, samples, layout="mono", sample_format="s16"):
    return encoded(samples, rate, codec, "wav", layout, sample_format)


class TestIn:
    @pytest.mark.parametrize(
        ("codec", "container", "rate", "layout", "sample_format"),
        [
            ("pcm_s16le", "wav", 8000, "mono", "s16"),
            ("pcm_s16le", "wav", 48000, "stereo", "s16"),
            ("pcm_s16le", "wav", 44100, "5.1", "s16"),
            ("pcm_s24le", "wav", 44100, "stereo", "s32"),
            ("pcm_f32le", "wav", 16000, "mono", "flt"),
            ("pcm_u8", "wav", 8000, "mono", "u8"),
            ("pcm_mulaw", "wav", 8000, "mono", "s16"),
            ("flac", "flac", 44100, "stereo", "s16"),
            ("flac", "flac", 96000, "mono", "s32"),
            ("libmp3lame", "mp3", 44100, "stereo", "fltp"),
            ("libmp3lame", "mp3", 8000, "mono", "fltp"),
            ("libopus", "ogg", 48000, "mono", "flt"),
            ("libopus", "webm", 48000, "stereo", "flt"),
            ("aac", "ipod", 44100, "stereo", "fltp"),
            ("aac", "adts", 24000, "mono", "fltp"),
            ("aac", "mp4", 48000, "5.1", "fltp"),
        ],
    )
    def test_common_files_sound_as_they_should(
        self, tmp_path, codec, container, rate, layout, sample_format
    ):
        channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
        source = sine(1.0, rate, 440.0, channels, 0.5)
        path = tmp_path / "sound"
        path.write_bytes(encoded(source, rate, codec, container, layout, sample_format))
        audio = Audio.from_file(path)

        assert audio.sample_rate == rate
        assert audio.channels == channels
        assert audio.duration == pytest.approx(1.0, abs=padding(container, rate))
        samples = audio.samples
        assert samples.dtype == np.float32
        assert samples.shape[1:] == ((channels,) if channels > 1 else ())
        assert audio.frames == len(samples) == pytest.approx(rate, abs=0.08 * rate)

        speech = audio.to_samples()
        assert speech.ndim == 1
        assert speech.dtype == np.float32
        assert len(speech) == pytest.approx(16000, abs=0.08 * 16000)
        assert pitch(speech, 16000) == pytest.approx(440, abs=2)
        assert loudness(speech) == pytest.approx(0.5, abs=tolerance(container, channels))

    def test_vorbis(self):
        audio = Audio.from_bytes(vorbis())
        assert audio.channels == 2
        assert pitch(audio.to_samples(), 16000) == pytest.approx(440, abs=2)

    def test_ten_milliseconds(self):
        audio = Audio.from_bytes(pcm("pcm_s16le", 8000, sine(0.01, 8000)))
        assert audio.frames == 80
        assert len(audio.to_samples()) == 160

    @pytest.mark.parametrize("form", ["wav", "flac"])
    def test_zero_length(self, form):
        audio = Audio.from_bytes(Audio.from_samples([], 16000).to_bytes(form))
        assert audio.duration == 0
        assert audio.samples.shape == (0,)
        assert audio.to_samples(sample_rate=8000, channels=2).shape == (0, 2)
        assert list(audio.blocks(1)) == []
        assert repr(audio) == "Audio(0.00 s, 16000 Hz, mono)"

    @pytest.mark.parametrize("form", ["mp3", "ogg", "m4a"])
    def test_nothing_does_not_go_into_a_lossy_file(self, tmp_path, form):
        with pytest.raises(ValidationError, match="no sound"):
            Audio.from_samples([], 16000).save(tmp_path / f"a.{form}")
        assert list(tmp_path.iterdir()) == []

    def test_wav_from_a_pipe_has_no_length_in_its_header(self):
        data = bytearray(pcm("pcm_s16le", 16000, sine(1.0, 16000)))
        data[4:8] = b"\xff\xff\xff\xff"
        at = data.index(b"data") + 4
        data[at : at + 4] = b"\xff\xff\xff\xff"
        audio = Audio.from_bytes(bytes(data))
        assert audio.duration == pytest.approx(1.0, abs=0.01)
        assert len(audio.samples) == 16000

    def test_wav_by_another_writer(self):
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(32000)
            file.writeframes((sine(0.5, 32000, 500.0, 2) * 32767).astype("<i2").tobytes())
        audio = Audio.from_bytes(out.getvalue())
        assert audio.samples.shape == (16000, 2)
        assert pitch(audio.to_samples(), 16000) == pytest.approx(500, abs=3)

    def test_a_chained_file_that_changes_its_rate(self):
        first, second = (
            encoded(sine(1.0, rate), rate, "libmp3lame", "mp3", "mono") for rate in (44100, 22050)
        )
        samples = Audio.from_bytes(first + second).to_samples()
        assert len(samples) == pytest.approx(32000, rel=0.06)
        assert pitch(samples[:14000], 16000) == pytest.approx(440, abs=3)
        assert pitch(samples[-14000:], 16000) == pytest.approx(440, abs=3)

    @pytest.mark.parametrize("form", ["mp3", "flac"])
    def test_what_is_cut_off_is_told(self, tmp_path, caplog, form):
        path = tmp_path / f"speech.{form}"
        Audio.from_samples(sine(4.0, 16000), 16000).save(path)
        assert len(Audio.from_file(path).samples) == pytest.approx(64000, abs=3000)
        assert caplog.messages == []
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        Audio.from_file(path).to_samples()
        [told] = caplog.messages
        assert f"{path.name}' is damaged or cut off" in told
        assert told.endswith("of 4.0")

    def test_a_damaged_middle_is_passed_over(self):
        data = bytearray(encoded(sine(2.0, 44100), 44100, "libmp3lame", "mp3", "mono"))
        data[8000:9000] = b"\xaa" * 1000
        samples = Audio.from_bytes(bytes(data)).to_samples()
        assert len(samples) == pytest.approx(32000, rel=0.15)
        assert pitch(samples[:12000], 16000) == pytest.approx(440, abs=3)

    def test_a_truncated_file_gives_what_there_is(self):
        data = pcm("pcm_s16le", 16000, sine(1.0, 16000))
        samples = Audio.from_bytes(data[: len(data) // 2]).samples
        assert len(samples) == pytest.approx(8000, abs=1024)  # FFmpeg's packets; some drop the last
        assert pitch(samples, 16000) == pytest.approx(440, abs=3)


def vorbis():
    """FFmpeg's own Vorbis coder, which it calls experimental."""
    out = io.BytesIO()
    with av.open(out, "w", format="ogg") as file:
        stream = file.add_stream("vorbis", rate=44100, options={"strict": "-2"})
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(
            sine(1.0, 44100, channels=2).reshape(1, -1), format="flt", layout="stereo"
        )
        frame.sample_rate = 44100
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


class TestSamples:
    @pytest.mark.parametrize(
        ("given", "first"),
        [
            (np.array([64, -128], np.int8), [0.5, -1]),
            (np.array([16384, -32768], np.int16), [0.5, -1]),
            (np.array([2**30, -(2**31)], np.int32), [0.5, -1]),
            (np.array([0.5, -1.0], np.float64), [0.5, -1]),
            (np.array([0.5, -1.0], np.float16), [0.5, -1]),
            ([0.5, -1.0], [0.5, -1]),
            (array.array("h", [16384, -32768]), [0.5, -1]),
            (array.array("f", [0.5, -1.0]), [0.5, -1]),
            (np.array([[0.5], [-1.0]]), [0.5, -1]),
            (np.array([0.5, 0, -1.0, 0])[::2], [0.5, -1]),
        ],
    )
    def test_every_type_has_full_scale_at_one(self, given, first):
        audio = Audio.from_samples(given, 16000)
        assert audio.samples.dtype == np.float32
        assert audio.samples.tolist() == first
        assert audio.channels == 1

    def test_stereo(self):
        audio = Audio.of((sine(0.5, 8000, channels=2), 8000))
        assert audio.samples.shape == (4000, 2)
        assert audio.channels == 2
        assert audio.frames == 4000
        assert audio.duration == 0.5

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ([0.0, float("nan")], "NaN"),
            ([0.0, float("inf")], "NaN or infinity"),
            ([1e300], "infinity"),
            (np.zeros((2, 16000)), r"samples\.T"),
            (np.zeros((2, 2, 2)), "shape"),
            (np.zeros((10, 0)), "shape"),
            (0.5, "shape"),
            ([1, 2, 3], "no agreed scale"),
            (["a"], "no agreed scale"),
            (np.zeros(3, complex), "no agreed scale"),
            ([[0.1], [0.1, 0.2]], "array"),
        ],
    )
    def test_what_is_no_sound_is_refused(self, given, words):
        with pytest.raises(ValidationError, match=words):
            Audio.from_samples(given, 16000)

    @pytest.mark.parametrize("rate", [0, -1, 16000.5, "16000", True, None, 10**9])
    def test_a_wrong_rate_is_refused(self, rate):
        with pytest.raises(ValidationError, match="sample_rate"):
            Audio.from_samples([0.0], rate)

    def test_the_callers_array_stays_its_own(self):
        mine = sine()
        audio = Audio.from_samples(mine, 22050)
        mine[:] = 0
        assert audio.samples.max() > 0.4
        with pytest.raises(ValueError, match="read-only"):
            audio.samples[0] = 1
        with pytest.raises(AttributeError):
            audio.sample_rate = 1

    def test_decoded_once(self, tmp_path):
        path = tmp_path / "a.wav"
        path.write_bytes(pcm("pcm_s16le", 22050, sine()))
        audio = Audio.from_file(path)
        speech, native = audio.to_samples(), audio.samples
        path.unlink()
        assert audio.to_samples() is speech
        assert audio.samples is native
        assert audio.to_samples(sample_rate=None, channels=None) is native


class TestConversion:
    @pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
    def test_resampling_keeps_pitch_length_and_loudness(self, rate):
        out = Audio.from_samples(sine(2.0, 22050, 1000.0), 22050).to_samples(sample_rate=rate)
        assert len(out) == pytest.approx(2 * rate, abs=2)
        assert pitch(out, rate) == pytest.approx(1000, abs=1)
        assert loudness(out) == pytest.approx(0.5, abs=0.005)

    def test_resampling_down_leaves_no_alias(self):
        out = Audio.from_samples(sine(1.0, 48000, 7000.0), 48000).to_samples(sample_rate=8000)
        assert loudness(out) < 0.01

    @pytest.mark.parametrize(("have", "want"), [(1, 2), (2, 1), (6, 1), (6, 2), (1, 6), (8, 2)])
    def test_mixing_stays_as_loud_and_within_full_scale(self, have, want):
        out = Audio.from_samples(sine(channels=have), 22050).to_samples(
            sample_rate=None, channels=want
        )
        assert out.shape == ((22050,) if want == 1 else (22050, want))
        for channel in out.reshape(22050, want).T:
            assert loudness(channel) == pytest.approx(0.5, abs=0.01)

    def test_opposite_channels_cancel(self):
        stereo = np.stack([sine(), -sine()], axis=1)
        out = Audio.from_samples(stereo, 22050).to_samples(sample_rate=None)
        assert np.abs(out).max() < 1e-6

    def test_a_block_at_a_time_gives_the_whole(self):
        data = encoded(sine(2.3, 44100, channels=2), 44100, "flac", "flac", "stereo", "s16")
        blocks = list(Audio.from_bytes(data).blocks(0.5, sample_rate=16000, channels=1))
        assert [len(block) for block in blocks[:-1]] == [8000] * 4
        whole = Audio.from_bytes(data).to_samples()
        assert np.array_equal(np.concatenate(blocks), whole)
        native = list(Audio.from_bytes(data).blocks(1.0))
        assert [block.shape for block in native] == [(44100, 2), (44100, 2), (13230, 2)]

    def test_many_threads_hear_the_same(self):
        from concurrent.futures import ThreadPoolExecutor

        audio = Audio.from_bytes(encoded(sine(2.0, 44100), 44100, "libmp3lame", "mp3", "mono"))
        with ThreadPoolExecutor(4) as pool:
            heard = list(pool.map(lambda _: audio.to_samples(), range(8)))
        assert all(np.array_equal(samples, heard[0]) for samples in heard)

    def test_blocks_of_what_is_decoded_already(self):
        audio = Audio.from_samples(sine(1.5, 16000), 16000)
        assert [len(block) for block in audio.blocks(1)] == [16000, 8000]
        up = Audio.from_samples(sine(1.0, 8000), 8000)
        assert up.to_samples().shape == (16000,)
        assert [len(b) for b in up.blocks(0.6, sample_rate=16000, channels=1)] == [9600, 6400]

    def test_an_hour_in_blocks_stays_flat_in_memory(self, tmp_path):
        path = tmp_path / "hour.flac"
        second = sine(1.0, 16000)
        with av.open(str(path), "w", format="flac") as file:
            stream = file.add_stream("flac", rate=16000)
            stream.layout = "mono"
            stream.format = "s16"
            for index in range(3600):
                frame = av.AudioFrame.from_ndarray(
                    second.reshape(1, -1), format="flt", layout="mono"
                )
                frame.sample_rate = 16000
                frame.pts = index * 16000
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        audio = Audio.from_file(path)
        assert audio.duration == 3600
        next(audio.blocks(1))  # imports and caches are not what is measured
        total = 0
        tracemalloc.start()
        try:
            for block in audio.blocks(30):
                total += len(block)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert total == 3600 * 16000
        assert peak < 12_000_000  # all of it is 230 MB

    def test_leaving_blocks_early_closes_the_file(self, tmp_path):
        path = tmp_path / "a.wav"
        path.write_bytes(pcm("pcm_s16le", 16000, sine(5.0, 16000)))
        blocks = Audio.from_file(path).blocks(0.1)
        assert len(next(blocks)) == 1600
        blocks.close()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [({"seconds": 0}, "seconds"), ({"seconds": 1, "channels": 9}, "channels")],
    )
    def test_wrong_blocks(self, arguments, words):
        with pytest.raises(ValidationError, match=words):
            Audio.from_samples(sine(), 22050).blocks(**arguments)


class TestOut:
    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22050, 1), (48000, 2), (44100, 6)])
    def test_round_trip(self, tmp_path, form, rate, channels):
        audio = Audio.from_samples(sine(1.0, rate, 440.0, channels), rate)
        path = audio.save(tmp_path / f"out.{form}")
        back = Audio.from_file(path)
        assert back.duration == pytest.approx(1.0, abs=padding(form, rate))
        assert back.channels == (2 if form == "mp3" and channels == 6 else channels)
        assert back.sample_rate == (48000 if form == "ogg" else rate)
        speech = back.to_samples()
        assert pitch(speech, 16000) == pytest.approx(440, abs=2)
        assert loudness(speech) == pytest.approx(0.5, abs=tolerance(form, channels))
        if form in {"wav", "flac"}:
            assert np.abs(back.samples - audio.samples).max() <= 1 / 32768
        assert [path.name for path in tmp_path.iterdir()] == [f"out.{form}"]

    def test_the_file_is_what_its_name_says(self, tmp_path):
        magic = {"wav": b"RIFF", "flac": b"fLaC", "ogg": b"OggS", "mp3": b"ID3"}
        audio = Audio.from_samples(sine(), 22050)
        for form in FORMATS:
            data = audio.to_bytes(form)
            assert data.startswith(magic.get(form, b"")), form
        assert audio.to_bytes("m4a")[4:11] == b"ftypM4A"
        assert audio.to_bytes() == audio.to_bytes("wav")

    def test_wav_is_readable_by_the_standard_library(self):
        with wave.open(io.BytesIO(Audio.from_samples(sine(channels=2), 22050).to_bytes())) as file:
            assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 22050)
            assert file.getnframes() == 22050

    def test_too_loud_is_clipped_and_not_wrapped(self):
        assert struct.unpack("<3h", Audio.from_samples([1.5, -1.5, 1.0], 8000).pcm16()) == (
            32767,
            -32768,
            32767,
        )

    def test_pcm16_resamples(self):
        assert len(Audio.from_samples(sine(1.0, 48000), 48000).pcm16(sample_rate=24000)) == 48000

    def test_the_original_bytes_stay(self, tmp_path):
        data = encoded(sine(), 22050, "libmp3lame", "mp3", "mono")
        audio = Audio.from_bytes(data)
        assert audio.media_type == "audio/mpeg"
        assert audio.to_bytes() == audio.to_bytes("mp3") == data
        assert audio.save(tmp_path / "a.mp3").read_bytes() == data
        assert Audio.from_bytes(audio.to_bytes("flac")).media_type == "audio/flac"

    def test_saving_over_the_file_it_came_from(self, tmp_path):
        path = tmp_path / "a.wav"
        path.write_bytes(pcm("pcm_s16le", 22050, sine()))
        Audio.from_file(path).save(path)
        Audio.from_file(path).save(path, "flac")
        assert Audio.from_file(path).media_type == "audio/flac"
        assert pitch(Audio.from_file(path).to_samples(), 16000) == pytest.approx(440, abs=2)

    @pytest.mark.parametrize("name", ["a.xyz", "a"])
    def test_an_unknown_format(self, tmp_path, name):
        with pytest.raises(ValidationError, match=r"'wav', 'flac', 'mp3', 'ogg', 'm4a'"):
            Audio.from_samples(sine(), 22050).save(tmp_path / name)
        with pytest.raises(ValidationError, match="format"):
            Audio.from_samples(sine(), 22050).to_bytes("xyz")

    def test_no_such_folder_and_a_folder(self, tmp_path):
        audio = Audio.from_samples(sine(), 22050)
        with pytest.raises(ValidationError, match="cannot write"):
            audio.save(tmp_path / "missing" / "a.wav")
        (tmp_path / "folder.wav").mkdir()
        with pytest.raises(ValidationError, match="no file"):
            audio.save(tmp_path / "folder.wav")

    def test_a_failed_save_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "a.flac"
        path.write_bytes(b"old")
        bad = tmp_path / "bad.mp3"
        bad.write_bytes(b"no sound at all " * 100)
        with pytest.raises(ValidationError):
            Audio.from_file(bad).save(path)
        assert path.read_bytes() == b"old"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.flac", "bad.mp3"]

    def test_data_url(self):
        audio = Audio.from_samples(sine(), 22050)
        text = audio.to_data_url()
        assert text.startswith("data:audio/wav;base64,")
        assert Audio.of(text).to_bytes() == audio.to_bytes()

    def test_join_and_cut(self):
        low, high = sine(1.0, 16000, 300.0), sine(0.5, 22050, 900.0, channels=2)
        both = Audio.join([(low, 16000), Audio.from_samples(high, 22050)])
        assert repr(both) == "Audio(1.50 s, 16000 Hz, stereo)"
        assert pitch(both.cut(0, 1).to_samples(), 16000) == pytest.approx(300, abs=2)
        assert pitch(both.cut(1).to_samples(), 16000) == pytest.approx(900, abs=4)
        assert both.cut(0.25, 0.75).frames == 8000
        assert both.cut(1.4, 99).frames == 1600
        assert both.cut(99).frames == 0
        with pytest.raises(ValidationError, match="end"):
            both.cut(1, 0.5)
        with pytest.raises(ValidationError, match="start"):
            both.cut(-1)
        with pytest.raises(ValidationError, match="nothing to join"):
            Audio.join([])


class TestPlay:
    @pytest.fixture
    def speaker(self, monkeypatch):
        calls = []
        fake = types.ModuleType("sounddevice")
        fake.PortAudioError = type("PortAudioError", (Exception,), {})
        fake.play = lambda samples, rate: calls.append((samples.shape, rate))
        fake.wait = lambda: calls.append("wait")
        monkeypatch.setitem(sys.modules, "sounddevice", fake)
        return fake, calls

    def test_plays_and_waits(self, speaker):
        Audio.from_samples(sine(), 22050).play()
        assert speaker[1] == [((22050,), 22050), "wait"]

    def test_plays_on(self, speaker):
        Audio.from_samples(sine(), 22050).play(blocking=False)
        assert speaker[1] == [((22050,), 22050)]

    def test_no_speaker(self, speaker):
        def play(samples, rate):
            raise speaker[0].PortAudioError("no default output device")

        speaker[0].play = play
        with pytest.raises(UnsupportedError, match="no default output device"):
            Audio.from_samples(sine(), 22050).play()

    def test_no_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sounddevice", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'blazen\[play\]'"):
            Audio.from_samples(sine(), 22050).play()


class TestOf:
    def test_every_form(self, tmp_path):
        data = pcm("pcm_s16le", 22050, sine())
        path = tmp_path / "a.wav"
        path.write_bytes(data)
        audio = Audio.from_file(path)
        assert Audio.of(audio) is audio
        forms = [path, str(path), data, bytearray(data), memoryview(data), audio.to_data_url()]
        for form in forms:
            assert Audio.of(form) == audio
        assert Audio.of((audio.samples, 22050)) == audio
        assert audio.path == path
        remote = Audio.of("HTTPS://example.org/a.mp3")
        assert remote.url == "HTTPS://example.org/a.mp3"
        assert remote.path is None
        assert Audio.from_url("HTTPS://example.org/a.mp3") == remote
        assert Audio.from_data_url(audio.to_data_url()) == audio
        with pytest.raises(ValidationError, match="must be bytes, not str"):
            Audio.from_bytes("a.wav")

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (None, "NoneType"),
            (3, "int"),
            (np.zeros(5), "sample rate"),
            ("ftp://example.org/a.wav", "http"),
            ("file:///tmp/a.wav", "path"),
            ("http://", "http"),
            ("data:audio/wav;base64,!!!", "base64"),
            ("data:audio/wav", "no data URL"),
            ("data:audio/wav;base64,", "empty"),
            (b"", "empty"),
            ("", "not a file|no such"),
            ("a\0b", "cannot read|no such"),
            ("missing.wav", r"no such audio file: 'missing\.wav'"),
            ("x" * 5000, "cannot read|no such"),
        ],
    )
    def test_what_is_refused(self, value, words):
        with pytest.raises(ValidationError, match=words):
            Audio.of(value)

    def test_files_that_are_none(self, tmp_path):
        empty = tmp_path / "empty.wav"
        empty.touch()
        with pytest.raises(ValidationError, match=r"empty\.wav' is empty"):
            Audio.from_file(empty)
        with pytest.raises(ValidationError, match="not a file"):
            Audio.from_file(tmp_path)

    @pytest.mark.parametrize(
        "content",
        [
            b"this is a text and no sound.\n" * 200,
            b"\0" * 5000,
            b"\x89PNG\r\n\x1a\n" + b"\0" * 500,
            b"RIFF\x24\0\0\0WAVEfmt ",
            b"ID3\x03\0\0\0\0\0\x0a" + b"x" * 100,
            b"fLaC" + b"\xff" * 200,
            b"OggS" + b"\0" * 200,
            bytes(range(256)) * 40,
        ],
    )
    def test_what_is_no_sound_names_the_file(self, tmp_path, content):
        path = tmp_path / "wrong.wav"
        path.write_bytes(content)
        audio = Audio.from_file(path)
        with pytest.raises(ValidationError, match=r"wrong\.wav"):
            audio.to_samples()
        with pytest.raises(ValidationError, match=r"wrong\.wav"):
            list(audio.blocks(1))
        assert "wrong.wav" in repr(audio)

    def test_a_playlist_opens_nothing_else(self, tmp_path):
        secret = tmp_path / "other.wav"
        secret.write_bytes(pcm("pcm_s16le", 22050, sine()))
        playlist = tmp_path / "list.m3u8"
        playlist.write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n"
        )
        for form in (playlist, playlist.read_bytes()):
            with pytest.raises(ValidationError, match="not sound"):
                Audio.of(form).to_samples()

    def test_a_silent_film(self):
        out = io.BytesIO()
        with av.open(out, "w", format="mp4") as file:
            stream = file.add_stream("mpeg4", rate=10)
            stream.width = stream.height = 32
            file.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
            file.mux(stream.encode(None))
        with pytest.raises(ValidationError, match="no audio track"):
            Audio.from_bytes(out.getvalue()).to_samples()

    def test_nan_in_a_file(self):
        samples = sine(0.1, 8000)
        samples[5] = np.nan
        data = io.BytesIO()
        header = pcm("pcm_f32le", 8000, sine(0.1, 8000), sample_format="flt")
        at = header.index(b"data") + 8
        data.write(header[:at] + samples.tobytes())
        with pytest.raises(ValidationError, match="NaN"):
            Audio.from_bytes(data.getvalue()).to_samples()


class TestValue:
    def test_repr_tells_and_never_dumps(self, tmp_path):
        path = tmp_path / "a.wav"
        path.write_bytes(pcm("pcm_s16le", 22050, sine(1.52)))
        assert repr(Audio.from_file(path)) == "Audio(1.52 s, 22050 Hz, mono)"
        six = Audio.from_samples(sine(channels=6), 22050)
        assert repr(six) == "Audio(1.00 s, 22050 Hz, 6 channels)"
        assert repr(Audio.of("https://example.org/a.mp3")) == "Audio('https://example.org/a.mp3')"

    def test_equal_by_content(self, tmp_path):
        data = pcm("pcm_s16le", 22050, sine())
        path = tmp_path / "a.wav"
        path.write_bytes(data)
        assert Audio.from_file(path) == Audio.from_bytes(data)
        assert Audio.from_samples(sine(), 22050) == Audio.from_samples(sine(), 22050)
        assert Audio.from_samples(sine(), 22050) != Audio.from_samples(sine(), 16000)
        assert Audio.from_samples(sine(), 22050) != Audio.from_samples(sine(channels=2), 22050)
        assert Audio.of("http://a.b/c") == Audio.of("http://a.b/c")
        assert Audio.of("http://a.b/c") != Audio.of("http://a.b/d")
        assert Audio.of("http://a.b/c") != Audio.from_bytes(data)
        assert Audio.of("http://a.b/c") != Audio.from_samples(sine(), 22050)
        assert Audio.from_bytes(data) != "a"
        assert Audio.from_bytes(b"junk") != Audio.from_samples(sine(), 22050)
        gone = Audio.from_file(path)
        path.unlink()
        assert gone != Audio.from_bytes(data)

    @pytest.mark.parametrize(
        "samples", [sine(), sine(channels=2), (sine() * 32768).astype(np.int16), sine() * 3]
    )
    def test_json_keeps_samples_exactly(self, samples):
        audio = Audio.from_samples(samples, 22050)
        text = json.dumps(encode(audio))
        back = decode(str | Audio, json.loads(text))
        assert isinstance(back, Audio)
        assert back == audio
        assert np.array_equal(back.samples, audio.samples)

    def test_json_keeps_the_encoding(self, tmp_path):
        data = encoded(sine(), 22050, "libmp3lame", "mp3", "mono")
        path = tmp_path / "a.mp3"
        path.write_bytes(data)
        written = json.loads(json.dumps(Audio.from_file(path).to_dict()))
        path.unlink()
        assert set(written) == {"kind", "media_type", "data"}
        assert written["media_type"] == "audio/mpeg"
        assert Audio.from_dict(written).to_bytes() == data

    def test_json_keeps_a_url_unfetched(self):
        written = Audio.of("http://127.0.0.1:9/a.mp3").to_dict()
        assert written == {"kind": "audio", "url": "http://127.0.0.1:9/a.mp3"}
        assert Audio.from_dict(written).url == "http://127.0.0.1:9/a.mp3"

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"kind": "audio"},
            {"data": "***"},
            {"data": 5},
            {"url": 5},
            {"url": "http://a.b", "data": "aGk="},
            {"path": "/etc/passwd"},
        ],
    )
    def test_wrong_json(self, data):
        with pytest.raises(ValidationError):
            Audio.from_dict(data)

    def test_pickles_without_its_caches(self, tmp_path):
        path = tmp_path / "a.wav"
        path.write_bytes(pcm("pcm_s16le", 22050, sine(5.0)))
        audio = Audio.from_file(path)
        assert len(audio.samples) == 5 * 22050
        text = pickle.dumps(audio)
        assert len(text) < 1000
        assert pickle.loads(text) == audio
        raw = Audio.from_samples(sine(), 22050)
        assert pickle.loads(pickle.dumps(raw)) == raw

    def test_in_a_notebook(self):
        view = Audio.from_samples(sine(0.1), 22050)._repr_html_()
        assert view.startswith('<audio controls src="data:audio/wav;base64,')
        remote = Audio.of('http://a.b/c"><script>.mp3')._repr_html_()
        assert "<script>" not in remote
        long = Audio.from_samples(np.zeros(11_000_000, np.float32), 48000)._repr_html_()
        assert len(long) < 200

    def test_making_one_needs_no_extra(self, tmp_path):
        path = tmp_path / "a.wav"
        path.write_bytes(pcm("pcm_s16le", 22050, sine()))
        code = f"""
import sys
for name in ("av", "numpy", "PIL", "trimesh"):
    sys.modules[name] = None
from blazen.errors import MissingExtraError
from blazen.types.audio import Audio
audio = Audio.of({str(path)!r})
assert len(audio.to_bytes()) > 44100
assert Audio.from_dict(audio.to_dict()) == audio
assert "a.wav" in repr(audio)
try:
    audio.samples
except MissingExtraError as error:
    assert "blazen[audio]" in str(error)
else:
    raise AssertionError
for name in ("urllib.request", "http.client"):
    assert name not in sys.modules, name
"""
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_saving_samples_as_wav_needs_no_ffmpeg(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "av", None)
        audio = Audio.from_samples(sine(), 22050)
        with wave.open(str(audio.save(tmp_path / "a.wav"))) as file:
            assert file.getnframes() == 22050
        assert audio.to_dict()["media_type"] == "audio/wav"
        with pytest.raises(MissingExtraError, match=r"blazen\[audio\]"):
            audio.to_bytes("mp3")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    hits: list[str]
    body: bytes


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.hits.append(self.path)
        body = self.server.body
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/a.wav")
            self.end_headers()
            return
        if self.path == "/to-file":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/etc/passwd")
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path == "/short":
            self.send_header("Content-Length", str(len(body) + 100))
        elif self.path != "/endless":
            self.send_header("Content-Length", str(0 if self.path == "/empty" else len(body)))
        self.end_headers()
        if self.path != "/empty":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("BLAZEN_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    server = Server(("127.0.0.1", 0), Handler)
    server.hits = []
    server.body = pcm("pcm_s16le", 22050, sine())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class TestUrl:
    def at(self, server, path):
        return f"http://127.0.0.1:{server.server_port}{path}"

    def test_fetched_when_needed_and_once(self, server):
        audio = Audio.of(self.at(server, "/moved"))
        assert repr(audio) == f"Audio({self.at(server, '/moved')!r})"
        assert audio.to_dict()["url"] == audio.url
        assert server.hits == []
        assert pitch(audio.to_samples(), 16000) == pytest.approx(440, abs=2)
        assert audio.to_bytes() == server.body
        assert server.hits == ["/moved", "/a.wav"]
        assert audio.url == self.at(server, "/moved")

    @pytest.mark.parametrize(
        ("path", "words"),
        [
            ("/missing", "404"),
            ("/short", "broke off"),
            ("/empty", "no bytes"),
            ("/to-file", "ftp"),
        ],
    )
    def test_what_goes_wrong(self, server, path, words):
        with pytest.raises(DownloadError, match=words):
            Audio.of(self.at(server, path)).to_samples()

    @pytest.mark.parametrize("path", ["/a.wav", "/endless"])
    def test_too_large(self, server, path):
        with pytest.raises(DownloadError, match="larger than the 1,000 bytes"):
            fetch(self.at(server, path), limit=1000)

    def test_nobody_there(self, server, unused_tcp_port):
        with pytest.raises(DownloadError, match="could not be fetched"):
            Audio.of(f"http://127.0.0.1:{unused_tcp_port}/a.wav").to_bytes()

    def test_offline(self, server, monkeypatch):
        monkeypatch.setenv("BLAZEN_OFFLINE", "1")
        with pytest.raises(DownloadError, match="BLAZEN_OFFLINE"):
            Audio.of(self.at(server, "/a.wav")).to_bytes()
        assert server.hits == []
