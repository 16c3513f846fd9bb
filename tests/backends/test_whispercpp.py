"""whisper.cpp on real weights.

The sound, tests/data/two-languages.ogg, was made for these tests. Up to 5 s the Piper voice
en_US-joe says "The sun rises over the mountains. Every morning the farmer feeds his horses."; from
6 s espeak-ng says "Der Hund schläft im Garten, und die Katze sitzt auf dem Dach."
"""

from __future__ import annotations

import asyncio
import functools
import http.server
import itertools
import json
import logging
import os
import struct
import sys
import threading
from pathlib import Path

import pytest

import blazen
from blazen import Audio, Transcription, TranscriptionRequest, WhisperModel, WhisperOptions
from blazen.errors import (
    LoadError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.hardware import rss_bytes
from blazen.testing import TranscriptionSuite
from tests.backends.briefly import Briefly
from tests.backends.isolated import ApartStreams
from tests.programs import run_python

pytestmark = pytest.mark.needs("whispercpp", "starter:transcribe")

SOUND = Path(__file__).parents[1] / "data" / "two-languages.ogg"
RATE = 16_000
HEARD = ("sun", "rises", "morning", "farmer", "horses")


def build(target="starter:transcribe", **settings):
    return Transcription.whispercpp(target, **{"threads": 1, "window": 5, **settings})


@functools.cache
def english():
    return Audio.from_file(SOUND).cut(0, 4.6)


@functools.cache
def german():
    return Audio.from_file(SOUND).cut(6)


def samples(audio=None):
    return (audio or english()).to_samples()


def silence(seconds):
    import numpy as np

    return np.zeros(round(seconds * RATE), np.float32)


def noise(seconds, level=0.05):
    import numpy as np

    return (level * np.random.default_rng(1).standard_normal(round(seconds * RATE))).astype("f4")


def joined(*parts):
    import numpy as np

    return Audio.from_samples(np.concatenate(parts), RATE)


def hears(text):
    return all(word in text.lower() for word in HEARD)


@pytest.fixture(scope="module")
def loaded():
    model = build()
    yield model
    blazen.blocking(model).unload()


@pytest.fixture(scope="module")
def base():
    model = build("starter:transcribe-base", window=10)
    yield model
    blazen.blocking(model).unload()


class TestWhisperCpp(TranscriptionSuite):
    """The shipped suite, whole."""

    words = HEARD
    concurrency = 3
    holds_bytes = 90 << 20

    @pytest.fixture
    def model(self, loaded):
        return loaded

    @pytest.fixture
    def speech(self):
        return english()

    @pytest.fixture
    def broken_model(self):
        return build

    def long_question(self):
        """Five windows, so that it shows when the engine stops after the first."""
        return Audio.join([english()] * 5)


class TestWhisperCppApart(Briefly, ApartStreams, TestWhisperCpp):
    """The same in a process of its own."""


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "m4a"])
async def test_files_of_any_format_are_heard(loaded, tmp_path, suffix):
    path = english().save(tmp_path / f"speech.{suffix}")
    answer = await loaded.transcribe(TranscriptionRequest.from_file(path))
    assert hears(answer.text), answer
    assert abs(answer.duration - 4.6) < 0.1


async def test_any_rate_and_any_channels_are_heard(loaded):
    import numpy as np

    narrow = english().to_samples(sample_rate=8_000)
    wide = np.stack([english().to_samples(sample_rate=48_000)] * 2, axis=1)
    for sound in ((narrow, 8_000), (wide, 48_000), ((samples() * 32767).astype("i2"), RATE)):
        answer = await loaded.transcribe(sound)
        assert "farmer" in answer.text.lower(), answer
        assert abs(answer.duration - 4.6) < 0.01


async def test_a_url_is_fetched_and_heard(loaded, tmp_path):
    english().save(tmp_path / "speech.mp3")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/speech.mp3"
            assert hears((await loaded.transcribe(url)).text)
        finally:
            server.shutdown()
            thread.join()


async def test_files_that_are_no_sound_are_refused(loaded, tmp_path):
    whole = english().save(tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "noise.mp3").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "broken.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVEfmt ")
    for name in ("noise.mp3", "empty.wav", "broken.wav"):
        with pytest.raises(ValidationError, match=name):
            await loaded.transcribe(tmp_path / name)
    (tmp_path / "cut.mp3").write_bytes(whole[: len(whole) // 2])
    cut = await loaded.transcribe(tmp_path / "cut.mp3")
    assert "sun" in cut.text.lower()
    assert cut.duration < 3


# --- what is said, and when


async def test_words_rise_and_lie_within_their_segment(loaded):
    answer = await loaded.transcribe(TranscriptionRequest(english(), words=True))
    words = [word for segment in answer.segments for word in segment.words]
    assert " ".join(word.text for word in words).split() == answer.text.split()
    for before, after in itertools.pairwise(words):
        assert before.start <= before.end <= after.start <= after.end
    assert all(0 <= word.probability <= 1 for word in words)
    at = {word.text.strip(".,").lower(): word for word in words}
    # By ear: "sun" is in the first second, and "horses" in the last.
    assert at["sun"].end < 1.2
    assert at["horses"].start > 3
    plain = await loaded.transcribe(english())
    assert all(segment.words == () for segment in plain.segments)


async def test_a_segment_says_how_sure_it_is(loaded):
    segment = (await loaded.transcribe(english())).segments[0]
    assert -1 < segment.avg_logprob < 0
    if sys.platform == "linux":  # elsewhere the engine's binding hides it
        assert 0 <= segment.no_speech_probability < 0.3


async def test_windows_neither_lose_nor_double_words(loaded):
    """Speech without a pause is cut in its midst: what was cut is heard again, and said once."""
    sentence = samples()[: round(4.45 * RATE)]
    sound = joined(*[sentence] * 5)
    for settings in ({}, {"vad": False}):
        model = loaded if not settings else build(**settings)
        answer = await model.transcribe(sound)
        heard = answer.text.lower()
        for word in HEARD:
            assert heard.count(word) == 5, (word, heard)
        assert answer.segments[-1].end > 0.9 * answer.duration
    await model.unload()


SENTENCES = Path(__file__).parents[1] / "data" / "two-sentences.ogg"


def full_window(order, seconds):
    """Give speech without a pause: three sentences in some order, cut off."""
    import numpy as np

    spoken = Audio.from_file(SENTENCES).to_samples()
    parts = {
        "sun": samples()[: round(4.45 * RATE)],
        "ships": spoken[RATE // 2 : round(4.1 * RATE)],
        "train": spoken[round(6.2 * RATE) : 9 * RATE],
    }
    return np.concatenate([parts[part] for part in order])[: seconds * RATE]


async def heard_in_one_window(model, sound, seconds, **settings):
    from blazen_whispercpp.hearing import HearingSettings, hear_window

    used = HearingSettings("en", window=seconds, **settings)
    heard = await model._call(lambda engine, job: hear_window(engine, job, sound, used))
    return "".join(segment.text for segment in heard.segments).lower()


def repeated(text):
    """Give the phrases of three words that come more than once."""
    words = text.translate(str.maketrans(".,!?-", "     ")).split()
    phrases = list(zip(words, words[1:], words[2:], strict=False))
    return [phrase for phrase in set(phrases) if phrases.count(phrase) > 1]


@pytest.mark.parametrize(
    ("order", "seconds", "wanted"),
    [
        (("ships", "train", "sun"), 10, ("lighthouse", "storm", "boston", "mountains", "farmer")),
        (("sun", "train", "ships"), 10, ("mountains", "farmer", "boston", "lighthouse", "ships")),
        (("ships", "sun", "train"), 5, ("lighthouse", "seven", "storm", "sun")),
        (("train", "ships", "sun"), 5, ("time", "boston", "lighthouse", "ships")),
    ],
)
async def test_a_window_full_of_speech_is_said_once(loaded, order, seconds, wanted):
    """Where the encoder has no silence behind the window, Whisper goes round in circles."""
    said = await heard_in_one_window(loaded, full_window(order, seconds), seconds)
    assert not repeated(said), said
    assert all(word in said for word in wanted), said
    assert len(said) < 25 * seconds, said


async def test_what_no_one_says_so_quickly_is_heard_again(loaded, monkeypatch):
    monkeypatch.setattr("blazen_whispercpp.hearing._SILENCE_SECONDS", 0)
    sound = full_window(("ships", "sun", "train"), 5)
    said = await heard_in_one_window(loaded, sound, 5, fallback=False)
    assert not repeated(said), said
    assert all(word in said for word in ("lighthouse", "seven", "storm")), said


def test_only_what_is_surely_too_quick_counts_as_such():
    from blazen_whispercpp.tokens import is_rushed

    assert not is_rushed(tokens(b" Yes, of course."), 0.1)
    assert not is_rushed(tokens(b" word" * 12), 2.0)  # 30 letters a second
    assert is_rushed(tokens(b" word" * 24), 2.0)  # 60 letters a second


async def test_times_are_those_of_the_whole_sound(loaded):
    """Silence before and between does not shift them, although it is left out."""
    sound = joined(silence(12), samples(), silence(11), samples(), silence(3))
    answer = await loaded.transcribe(sound)
    starts = [segment.start for segment in answer.segments]
    assert abs(starts[0] - 12) < 0.6
    second = next(start for start in starts if start > 20)
    assert abs(second - 27.6) < 0.6
    assert answer.segments[-1].end <= 32.3
    assert answer.text.lower().count("horses") == 2
    assert abs(answer.duration - 35.2) < 0.01


@pytest.mark.parametrize("vad", [True, False])
async def test_silence_and_noise_are_no_speech(loaded, vad):
    model = loaded if vad else build(vad=False)
    for sound in (silence(9), noise(9), silence(0.01), silence(0.5)):
        answer = await model.transcribe((sound, RATE))
        # Without a look for speech it is the engine that must say so, and of noise it can't.
        assert answer.text == "" or (not vad and sound.any()), answer
        assert answer.duration == pytest.approx(len(sound) / RATE)
    if not vad:
        await model.unload()


async def test_nothing_at_all_is_an_empty_transcript(loaded):
    answer = await loaded.transcribe(([], RATE))
    assert (answer.text, answer.segments) == ("", ())


async def test_less_than_a_second_is_heard(loaded):
    answer = await loaded.transcribe(english().cut(0, 0.9))
    assert "sun" in answer.text.lower()
    assert all(segment.end <= 0.9 for segment in answer.segments)


# --- languages


@pytest.mark.needs("starter:transcribe-base")
async def test_the_language_is_found_out():
    async with build("starter:transcribe-base", window=12) as model:
        answer = await model.transcribe(german())
        other = await model.transcribe(english())
    assert answer.language == "de"
    assert answer.language_probability > 0.8
    assert "hund" in answer.text.lower()
    assert "katze" in answer.text.lower()
    assert other.language == "en"
    assert hears(other.text)


@pytest.mark.needs("starter:transcribe-base")
async def test_languages_are_guessed_with_their_probabilities(base):
    guess = await base.detect_language(german())
    assert guess.language == "de"
    assert guess.probability == guess.probabilities["de"] > 0.8
    assert len(guess.probabilities) >= 99
    assert sum(guess.probabilities.values()) == pytest.approx(1, abs=0.01)
    assert next(iter(guess.probabilities)) == "de"
    assert (await base.detect_language((silence(1), RATE))).probability < 0.9


@pytest.mark.needs("starter:transcribe-base")
async def test_no_sound_has_no_language(base):
    with pytest.raises(ValidationError, match="there is no sound to find a language in"):
        await base.detect_language(([], RATE))


def test_the_search_for_a_language_can_be_stopped(monkeypatch):
    from blazen.bridge import Job
    from blazen.errors import InferenceError
    from blazen_whispercpp import transcribing
    from blazen_whispercpp.engine import Engine
    from blazen_whispercpp.windows import Window

    job, looked = Job(lambda engine: None), []

    class Silent:
        def window(self, at):
            looked.append(at)
            if len(looked) == 3:
                job.cancel()
            return Window(at + RATE, at + RATE) if len(looked) < 100 else None

    monkeypatch.setattr(transcribing, "sound_of", lambda audio, options: Silent())
    with pytest.raises(InferenceError, match="stopped"):
        transcribing.guess(Engine(None, 1, True, 0), job, english(), WhisperOptions(), "x")
    assert len(looked) == 3


@pytest.mark.needs("starter:transcribe-base")
async def test_none_takes_the_models_setting_and_auto_finds_out():
    async with build("starter:transcribe-base", language="de") as model:
        fixed = await model.transcribe(german())
        assert (fixed.language, fixed.language_probability) == ("de", None)
        found = await model.transcribe(TranscriptionRequest(english(), language="auto"))
        assert found.language == "en"
        assert found.language_probability > 0.8


@pytest.mark.needs("starter:transcribe-base")
@pytest.mark.parametrize("written", ["de", "DE", "de-AT", "de_CH", "german"])
async def test_a_language_may_be_written_in_several_ways(base, written):
    answer = await base.transcribe(TranscriptionRequest(german(), language=written))
    assert answer.language == "de"


@pytest.mark.needs("starter:transcribe-base")
async def test_it_translates_into_english(base):
    answer = await base.transcribe(TranscriptionRequest(german(), translate=True))
    assert answer.language == "de"
    assert {"dog", "garden"} <= set(answer.text.lower().replace("'", " ").split()), answer


async def test_an_unknown_language_is_refused_with_what_is_near(loaded):
    for language in ("englisch", "xx", "", "e\x00n", "Ελλ"):
        request = TranscriptionRequest(english(), language=language)
        if not language:
            assert (await loaded.transcribe(request)).language == "en"
            continue
        with pytest.raises(ValidationError, match="no language"):
            await loaded.transcribe(request)
    with pytest.raises(ValidationError, match="did you mean 'haw'"):
        await loaded.transcribe(TranscriptionRequest(english(), language="haww"))


async def test_an_english_model_refuses_what_it_can_not_do(loaded):
    with pytest.raises(UnsupportedError, match=r"English only, not 'de'.*'base'"):
        await loaded.transcribe(TranscriptionRequest(english(), language="de"))
    with pytest.raises(UnsupportedError, match="not taught to translate"):
        await loaded.transcribe(TranscriptionRequest(english(), translate=True))
    with pytest.raises(UnsupportedError, match="can't tell languages"):
        await loaded.detect_language(english())
    for language in ("en", "auto", None):
        answer = await loaded.transcribe(TranscriptionRequest(english(), language=language))
        assert answer.language == "en"


async def test_who_speaks_is_refused_before_anything_is_loaded():
    model = build()
    with pytest.raises(UnsupportedError, match="does not tell who speaks"):
        await model.transcribe(TranscriptionRequest(english(), diarize=True))
    assert not model.is_loaded


# --- settings of a request


async def test_any_prompt_is_taken_and_none_stays(loaded):
    # Odd prompts once ended the process: a long one, one of other scripts, one of odd bytes.
    prompts = ("A farmer.", "word " * 3000, "日本語 🙂 ﷽", "<|endoftext|>[_BEG_]", " ")
    async with build(temperature_fallback=False) as model:
        for prompt in prompts:
            answer = await model.transcribe(TranscriptionRequest(english(), prompt=prompt))
            assert answer.duration
        assert hears((await model.transcribe(english())).text), "a prompt stayed"
    for prompt in ("a\0b", "\ud800"):
        with pytest.raises(ValidationError, match="prompt"):
            await loaded.transcribe(TranscriptionRequest(english(), prompt=prompt))


@pytest.mark.parametrize("temperature", [0.0, 0.4, 1.0, 1.5])
async def test_a_temperature_is_taken(loaded, temperature):
    request = TranscriptionRequest(english(), temperature=temperature)
    answer = await loaded.transcribe(request)
    assert answer.text
    if not temperature:  # what is drawn by lot is drawn anew each time
        assert answer == await loaded.transcribe(request)


def test_the_fallback_is_an_option():
    from blazen_whispercpp.engine import Engine
    from blazen_whispercpp.hearing import HearingSettings, make_params

    def increase(**settings):
        params = make_params(Engine(None, 1, False, 0), HearingSettings("en", **settings))
        return round(params.temperature_inc, 3)

    assert increase() == 0.2
    assert increase(fallback=False) == 0
    assert increase(temperature=1.5) == 0  # the engine would try no temperature at all


# --- long sounds


async def test_a_stream_tells_how_far_it_is(loaded):
    sound = joined(samples(), silence(2), samples(), silence(9))
    pieces = [piece async for piece in loaded.transcribe_stream(sound)]
    positions = [piece.position for piece in pieces]
    assert None not in positions
    assert positions == sorted(positions)
    assert positions[0] == 0
    assert positions[-1] == pieces[-1].duration == pytest.approx(20.2)
    assert all(piece.duration == pytest.approx(20.2) for piece in pieces)
    segments = [piece for piece in pieces if piece.segment]
    assert all(piece.position == piece.segment.end for piece in segments)
    assert len({positions.index(piece.position) for piece in segments}) > 1


async def test_memory_stays_flat_over_half_an_hour(loaded, tmp_path):
    """It is nearly all silence, since it is its length that must not count."""
    import numpy as np

    path = tmp_path / "long.wav"
    quiet = np.zeros(RATE * 60, "<i2").tobytes()
    spoken = (samples() * 32767).astype("<i2").tobytes()
    size = 30 * len(quiet) + 2 * len(spoken)
    with path.open("wb") as file:
        head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1,
                           RATE, 2 * RATE, 2, 16, b"data", size)  # fmt: skip
        file.write(head + spoken)
        for _ in range(30):
            file.write(quiet)
        file.write(spoken)
    await loaded.transcribe(english())
    before = most = rss_bytes()
    stream = loaded.transcribe_stream(path)
    async for _ in stream:
        most = max(most, rss_bytes())
    answer = stream.response
    assert answer.duration == pytest.approx(1809.2)
    assert answer.text.lower().count("horses") == 2
    assert answer.segments[-1].start > 1800
    assert most - before < 20 << 20, f"it grew by {(most - before) >> 20} MB"  # it has 115 MB


async def test_a_long_transcription_is_cancelled_and_never_empty(loaded):
    sound = joined(*[samples()] * 8)
    stream = loaded.transcribe_stream(sound)
    begun = asyncio.Event()

    async def read():
        async for piece in stream:
            if piece.text:
                begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stream.response.text
    assert stream.response.text.lower().count("horses") < 8
    assert hears((await loaded.transcribe(english())).text)


async def test_an_aborted_run_raises(loaded, caplog):
    """The engine itself gives an aborted run as one without text."""
    from blazen.bridge import Job
    from blazen.errors import InferenceError
    from blazen_whispercpp.hearing import HearingSettings, hear

    class Aborted(Job):
        looks = 0

        @property
        def cancelled(self):
            self.looks += 1
            return self.looks > 4  # in the midst of decoding

    with pytest.raises(InferenceError, match="stopped"):
        await loaded._call(
            lambda engine, job: hear(
                engine, Aborted(lambda job: None), samples(), HearingSettings("en", window=8)
            )
        )
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert hears((await loaded.transcribe(english())).text)


# --- tokens


def tokens(*pieces, step=0.5):
    from blazen_whispercpp.tokens import Token

    return [
        Token(number, piece, number * step, (number + 1) * step, 0.5)
        for number, piece in enumerate(pieces)
    ]


def test_a_character_in_two_segments_goes_to_the_one_that_ends_it():
    from blazen_whispercpp.tokens import text_of, whole_characters

    euro = "€".encode()
    first, second = whole_characters(
        [tokens(b" five", b" ", euro[:1]), tokens(euro[1:2], euro[2:], b" more")]
    )
    assert text_of(first) + text_of(second) == " five € more"
    assert text_of(tokens(b" ok", b"\xff\xfe", euro[:2])) == " ok"


def test_words_are_put_together_from_tokens():
    from blazen_whispercpp.tokens import words_of

    face = "🙂".encode()
    words = words_of(
        tokens(b" (", b"Gr", b"\xc3", b"\xbc", b"\xc3\x9fe", b",", b" du", b"!", b")", b" ", face),
        "de",
        0.0,
        4.0,
    )
    assert [word.text for word in words] == ["(Grüße,", "du!)", "🙂"]
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))
    assert words[-1].end == 4.0  # the segment's, not beyond


def test_where_there_are_no_spaces_each_character_is_a_word():
    from blazen_whispercpp.tokens import words_of

    data = "日本語。".encode()
    words = words_of(tokens(data[:2], data[2:4], data[4:6], data[6:9], data[9:]), "ja", 0, 9)
    assert [word.text for word in words] == ["日本", "語。"]


def test_a_loop_is_cut_and_what_was_truly_said_stays():
    from blazen_whispercpp.tokens import text_of, without_loops

    pieces = [b" I", b" know", *[b" you", b" see", b" and"] * 20, b" bye"]
    numbers = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    stuck = [
        type(token)(numbers[token.data], token.data, token.start, token.end, 1.0)
        for token in tokens(*pieces)
    ]
    assert text_of(without_loops(stuck, 5.0)) == " I know you see and bye"
    assert without_loops(stuck, 60.0) == stuck


# --- models and their files


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (WhisperModel.Base, "ggml-base.bin"),
        (WhisperModel.TinyEn, "ggml-tiny.en.bin"),
        (WhisperModel.LargeV3Turbo, "ggml-large-v3-turbo.bin"),
        ("base-q5_1", "ggml-base-q5_1.bin"),
        ("large-v3-turbo-q8_0", "ggml-large-v3-turbo-q8_0.bin"),
        ("Turbo", "ggml-large-v3-turbo.bin"),
        ("huge", None),
        ("base-q9_9", None),
        ("other/whisper/ggml-base.bin", None),
    ],
)
def test_a_size_names_a_published_file(name, file):
    from blazen_whispercpp.names import hub_file

    assert hub_file(getattr(name, "value", name)) == file


async def test_a_size_is_fetched_from_the_hub(monkeypatch, tmp_path):
    from blazen.weights.starter import starter_path
    from blazen_whispercpp import names

    asked = []

    def locate(target, **settings):
        asked.append((target, settings["file"], settings["cache_dir"]))
        return starter_path("transcribe")

    monkeypatch.setattr(names, "locate", locate)
    async with build(WhisperModel.TinyEn, cache_dir=tmp_path) as model:
        assert model.is_loaded
    assert asked == [("hf:ggerganov/whisper.cpp", "ggml-tiny.en.bin", tmp_path)]


async def test_names_that_lead_nowhere(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"no Whisper model 'bse'; did you mean 'base'"):
        await build("bse").load()
    with pytest.raises(ValidationError, match=r"name its file, such as 'org/name/ggml-base.bin'"):
        await build("org/name").load()
    with pytest.raises(ModelNotFoundError):
        await build(tmp_path / "ggml-none.bin").load()


async def test_a_path_and_a_folder_with_one_model_are_taken(tmp_path):
    from blazen.weights.starter import starter_path

    (tmp_path / "ggml-mine.bin").symlink_to(starter_path("transcribe"))
    async with build(tmp_path) as model:
        assert hears((await model.transcribe(english())).text)
    (tmp_path / "other.bin").write_bytes(b"")
    with pytest.raises(LoadError, match="give the path of one ggml file"):
        await build(tmp_path).load()


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"PK\x03\x04", "a PyTorch or NumPy archive"),
        (b"version https://git-lfs", "Git LFS"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"\x06\0\0\0WhisperSpec", "no ggml file"),  # as CTranslate2 begins
        (b"", "no ggml file"),
    ],
)
async def test_another_kind_of_file_is_told_by_name(tmp_path, start, what):
    path = tmp_path / "model.bin"
    path.write_bytes(start + bytes(1000 if start else 0))
    with pytest.raises(LoadError, match=what):
        await build(path).load()


def broken(change):
    """Give the bytes of the real model, changed."""
    from blazen.weights.starter import starter_path

    with starter_path("transcribe").open("rb") as file:
        data = bytearray(file.read(3 << 20))
    change(data)
    return bytes(data)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda data: None, "needs more"),
        (lambda data: data.__delitem__(slice(400_000, None)), "ends within|damaged"),
        (lambda data: data.__delitem__(slice(20, None)), "damaged"),
        (lambda data: data.__setitem__(slice(4, 8), b"\xff\xff\xff\x7f"), "size 2147483647"),
        (lambda data: data.__setitem__(slice(12, 16), b"\0\0\0\0"), "size 0"),
        (lambda data: data.__setitem__(slice(16, 20), b"\x07\0\0\0"), "splits 384 into 7"),
        (lambda data: data.__setitem__(slice(48, 52), b"\xff\xff\xff\xff"), "filters"),
    ],
)
async def test_a_damaged_file_never_reaches_the_engine(tmp_path, change, problem):
    path = tmp_path / "ggml-broken.bin"
    path.write_bytes(broken(change))
    model = build(path)
    with pytest.raises(LoadError, match=problem):
        await model.load()
    with pytest.raises(LoadError, match=r"ggml-broken\.bin is damaged"):
        await model.footprint()


async def test_what_the_engine_itself_refuses_is_told(tmp_path):
    """Whole by its lengths, but its tensors have other names."""
    from blazen.weights.starter import starter_path

    data = starter_path("transcribe").read_bytes()
    path = tmp_path / "ggml-odd.bin"
    path.write_bytes(data.replace(b"decoder.positional_embedding", b"decoder.positional_embeddinG"))
    with pytest.raises(LoadError, match="unknown tensor"):
        await build(path).load()
    async with build() as model:
        assert hears((await model.transcribe(english())).text)


async def test_a_gpu_is_refused_where_the_engine_was_built_without():
    with pytest.raises(UnsupportedError, match="cuda"):
        await build(device="cuda").load()


@pytest.mark.parametrize(
    ("info", "devices"),
    [
        ("WHISPER : COREML = 0 | CPU : SSE3 = 1 | AVX = 1 | ", ["cpu"]),
        ("WHISPER : COREML = 0 | CUDA : ARCHS = 900 | CPU : AVX = 1 | ", ["cpu", "cuda"]),
        ("WHISPER : COREML = 0 | MTL : EMBED_LIBRARY = 1 | CPU : NEON = 1 | ", ["cpu", "metal"]),
    ],
)
def test_what_it_was_built_for_is_read_from_what_it_says(monkeypatch, info, devices):
    import _pywhispercpp

    from blazen_whispercpp.engine import supported_devices

    monkeypatch.setattr(_pywhispercpp, "whisper_print_system_info", lambda: info)
    assert supported_devices() == devices


@pytest.mark.parametrize(
    "settings",
    [{"window": 4}, {"window": 31}, {"window": "8"}, {"language": 5}, {"threads": 0}, {"model": 1}],
)
def test_options_that_can_not_be_are_refused(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        WhisperOptions(**settings)


async def test_options_come_in_every_form():
    options = WhisperOptions("starter:transcribe", threads=1, window=8)
    for model in (
        Transcription.whispercpp(options=options),
        Transcription.from_spec("whispercpp:starter:transcribe", threads=1, window=8),
    ):
        assert model.threads == 1
        assert hears((await model.transcribe(english())).text)
        await model.unload()


# --- the process around it


_QUIET = """
    import asyncio, logging, os
    from blazen import Transcription
    lines = []
    class Keep(logging.Handler):
        def emit(self, record): lines.append(record.getMessage())
    logging.getLogger("blazen.whispercpp").addHandler(Keep())
    logging.getLogger("blazen.whispercpp").setLevel(logging.DEBUG)
    logging.getLogger("blazen.whispercpp").propagate = False
    async def main():
        model = Transcription.whispercpp("starter:transcribe", threads=1, window=5)
        {before}
        print((await model.transcribe({sound!r})).text.strip())
        {after}
    asyncio.run(main())
    print(any("loading model from" in line for line in lines))
"""


def test_what_the_engine_says_goes_to_the_log_and_nowhere_else():
    """The program leaves its model loaded: its end must close it without a word."""
    said, logged = run_python(_QUIET.format(before="", sound=str(SOUND), after="")).splitlines()
    assert "farmer" in said.lower()
    assert logged == "True"


def test_it_works_where_the_engines_library_can_not_be_looked_into():
    """As on Windows, and with another compiler: less is told, and the text is the same."""
    before = (
        "import blazen_whispercpp.engine as e; e._library = lambda: None; e._abi = lambda: None"
    )
    after = "await model.unload()"
    said, logged = run_python(
        _QUIET.format(before=before, sound=str(SOUND), after=after)
    ).splitlines()
    assert "farmer" in said.lower()
    assert logged == "True"


_GROW = """
    import asyncio, json
    from pathlib import Path
    from blazen import Transcription, TranscriptionRequest
    def memory():
        lines = Path("/proc/self/status").read_text().splitlines()
        return [int(row.split()[1]) * 1024 for row in lines if row.startswith(("VmHWM", "VmRSS"))]
    async def main():
        model = Transcription.whispercpp("starter:transcribe", threads=1)
        before = memory()[1]
        said = (await model.footprint()).loading["cpu"]
        hard = TranscriptionRequest({sound!r}, prompt="word " * 300, temperature=0.8, words=True)
        await model.transcribe(hard)
        await model.unload()
        print(json.dumps([said, memory()[0] - before]))
    asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
def test_it_says_what_it_takes():
    said, took = json.loads(run_python(_GROW.format(sound=str(SOUND))))
    assert took <= said <= 1.6 * took


async def test_errors_of_the_engine_are_logged_as_such(tmp_path, caplog):
    from blazen_whispercpp.engine import _receive

    with caplog.at_level(logging.DEBUG, "blazen.whispercpp"):
        _receive(4, "whisper: it broke\n")
        _receive(2, "whisper: by the way\n")
        _receive(2, "\n")
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("ERROR", "whisper: it broke"),
        ("DEBUG", "whisper: by the way"),
    ]


@pytest.mark.parametrize("stopped", [True, False])
def test_a_failure_is_logged_and_told_unless_it_was_wished_for(monkeypatch, caplog, stopped):
    import _pywhispercpp

    from blazen.bridge import Job
    from blazen.errors import InferenceError
    from blazen_whispercpp.engine import Engine, _receive
    from blazen_whispercpp.hearing import HearingSettings, hear_window

    job = Job(lambda engine: None)

    def fail(*_):
        if stopped:
            job.cancel()
        _receive(4, "whisper_full_with_state: failed to encode\n")
        return -6

    monkeypatch.setattr(_pywhispercpp, "whisper_full", fail)
    with pytest.raises(InferenceError, match="was stopped" if stopped else "-6.*failed to encode"):
        hear_window(Engine(None, 1, False, 0), job, samples(), HearingSettings("en"))
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ([] if stopped else ["whisper_full_with_state: failed to encode"])
    caplog.clear()
    _receive(4, "whisper: it broke later\n")
    assert [record.getMessage() for record in caplog.records] == ["whisper: it broke later"]


def test_the_sound_is_small():
    assert os.path.getsize(SOUND) < 100_000
