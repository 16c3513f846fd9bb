"""Piper on a real voice."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import shutil
import sys
import threading
from array import array

import pytest

import blazen
from blazen import TTS, Audio, PiperOptions, VoiceInfo
from blazen.errors import (
    DownloadError,
    LoadError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.hardware import rss_bytes
from blazen.testing import TTSSuite
from blazen.weights.starter import starter_path
from tests.backends.isolated import ApartVoice
from tests.programs import check_footprint, run_python
from tests.weights.servers import Files, Hub, serving, standing_in

pytestmark = pytest.mark.needs("piper", "starter:speak")

REPO = "rhasspy/piper-voices"
JOE = "en/en_US/joe/medium/en_US-joe-medium.onnx"
SETTINGS = {
    "audio": {"sample_rate": 22050, "quality": "low"},
    "espeak": {"voice": "de"},
    "language": {"code": "de_DE", "family": "de"},
    "num_symbols": 256,
    "num_speakers": 2,
    "speaker_id_map": {"anna": 0, "bert": 1},
    "phoneme_id_map": {"_": [0], "^": [1], "$": [2]},
}


def build(target="starter:speak", **settings):
    return TTS.piper(target, threads=1, **{"noise": 0, "rhythm_noise": 0, **settings})


class TestPiper(TTSSuite):
    """The shipped suite, whole."""

    concurrency = 8
    holds_bytes = 60 << 20
    sentence = "Seven ships."
    marks_pauses = True
    reads_numbers = True

    @pytest.fixture
    def model(self, request, loaded, vary):
        """What it says is the same when it is said fast, and the making of it takes half."""
        # How soon it stops is told from how long the whole takes, which must be long enough.
        if "stops" in request.node.name:
            vary(speed=1.0)
        elif "speed" not in request.node.name:
            vary(speed=3.0)
        return loaded

    @pytest.fixture
    def broken_model(self):
        return build


class TestPiperApart(ApartVoice, TestPiper):
    """The same in a process of its own."""


@pytest.fixture(scope="module")
def quick():
    """Says the same fast."""
    return build(speed=3.0)


@pytest.fixture(scope="module")
def loaded():
    model = build()
    yield model
    blazen.blocking(model).unload()


@pytest.fixture
def engine(loaded):
    """What the voice has loaded, for a test that looks inside."""
    blazen.blocking(loaded).load()
    return loaded._loading.thread.engine


@pytest.fixture
def raw(engine):
    """piper's own class, on the session that is loaded."""
    return engine.voice


@pytest.fixture
def vary(loaded, monkeypatch):
    """Gives the loaded voice other settings: they are read anew for each request."""

    def change(**settings):
        monkeypatch.setattr(loaded, "options", dataclasses.replace(loaded.options, **settings))

    return change


@pytest.fixture(scope="module")
def voice_folder(tmp_path_factory):
    """The starter voice with settings that a test may change: a copy of them, a link to it."""
    folder = tmp_path_factory.mktemp("voice")
    source = starter_path("speak")
    (folder / "joe.onnx").symlink_to(source)
    shutil.copy(f"{source}.json", folder / "joe.onnx.json")
    return folder


def with_settings(source, folder, **changes):
    (folder / "joe.onnx").symlink_to((source / "joe.onnx").resolve())
    settings = json.loads((source / "joe.onnx.json").read_text("utf-8"))
    (folder / "joe.onnx.json").write_text(json.dumps(settings | changes), "utf-8")
    return folder / "joe.onnx"


def loudness(audio):
    import numpy as np

    samples = np.abs(audio.samples)
    heard = samples[samples > samples.max() / 30]
    return float(np.sqrt(np.square(heard).mean()))


# How it sounds


async def test_the_sound_is_that_of_the_raw_engine_but_for_its_loudness(loaded, raw):
    import numpy as np
    from piper import SynthesisConfig

    text = "Seven ships came home."
    config = SynthesisConfig(noise_scale=0, noise_w_scale=0, normalize_audio=False)
    theirs = np.concatenate([c.audio_float_array for c in raw.synthesize(text, config)])
    ours = (await loaded.speak(text, {"volume": 0.1})).samples  # no sample comes near full scale
    assert ours.shape == theirs.shape
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9999


async def test_speed_stretches_the_voices_own_pace(loaded, vary, voice_folder, tmp_path):
    text = "The heron stands in the reeds."
    usual, slow = [await loaded.speak(text, {"speed": speed}) for speed in (None, 0.5)]
    assert 1.5 < slow.duration / usual.duration < 2.3
    path = with_settings(voice_folder, tmp_path, inference={"length_scale": 2})
    async with build(path) as slow_voice:
        assert (await slow_voice.speak(text)).duration == slow.duration
        assert (await slow_voice.speak(text, {"speed": 2})).duration == usual.duration
    vary(speed=0.5)
    assert (await loaded.speak(text)).duration == slow.duration
    assert (await loaded.speak(text, {"speed": 1})).duration == usual.duration


async def test_noise_and_rhythm_noise_are_the_voices_own_unless_given(loaded, vary):
    text = "Seven ships came home."
    still = await loaded.speak(text)
    vary(noise=None, rhythm_noise=None)
    lengths = {(await loaded.speak(text)).frames for _ in range(4)}
    vary(noise=0.5, rhythm_noise=0)
    first, second = await loaded.speak(text), await loaded.speak(text)
    assert len(lengths) > 1
    assert first.frames == second.frames == still.frames
    assert first != second


async def test_volume_scales_and_never_clips(loaded, vary):
    text = "Seven ships came home."
    usual, quiet, loud, silent = [
        await loaded.speak(text, {"volume": volume}) for volume in (None, 0.25, 10, 0)
    ]
    assert loudness(quiet) == pytest.approx(loudness(usual) / 4, rel=0.1)
    assert loudness(loud) > loudness(usual) * 2
    assert float(abs(loud.samples).max()) < 1.0 + 1e-6
    # A clipped wave stays flat at its top; a bent one still rises and falls.
    assert len(set(loud.samples[abs(loud.samples) > 0.99].tolist())) > 100
    assert silent.duration == usual.duration
    assert not silent.samples.any()
    vary(volume=0.25)
    assert await loaded.speak(text) == quiet
    assert await loaded.speak(text, {"volume": 1}) == usual


async def test_sentences_are_evenly_loud_and_the_same_alone(loaded, raw):
    """Piper's own way, to bring each sentence to full scale, leaves them twice as far apart."""
    import numpy as np
    from piper import SynthesisConfig

    texts = ["Seven ships came home.", "Oh!", "She thinks of these things.", "Is it so?"]
    pieces = [piece async for piece in loaded.speak_stream(" ".join(texts))]
    assert len(pieces) == len(texts)
    for text, piece in zip(texts, pieces, strict=True):
        alone = await loaded.speak(text)
        assert (piece.samples[: alone.frames] == alone.samples).all()
    config = SynthesisConfig(noise_scale=0, noise_w_scale=0)
    theirs = [
        Audio.from_samples(np.concatenate([c.audio_float_array for c in voice]), 22050)
        for voice in (raw.synthesize(text, config) for text in texts)
    ]
    ours, raws = [[loudness(sound) for sound in sounds] for sounds in (pieces, theirs)]
    assert max(ours) / min(ours) < 1.3
    assert max(ours) / min(ours) < max(raws) / min(raws) / 1.3


async def test_sound_goes_into_every_format(loaded, tmp_path):
    audio = await loaded.speak("Seven ships came home.")
    assert audio.sample_rate == 22050
    for suffix in ("wav", "flac", "mp3", "ogg"):
        again = Audio.from_file(audio.save(tmp_path / f"speech.{suffix}"))
        assert again.duration == pytest.approx(audio.duration, abs=0.1)
    pcm = array("h", audio.pcm16())
    assert len(pcm) == audio.frames
    assert max(pcm) > 1000


# Streaming


async def test_the_first_sound_comes_before_the_rest_is_made(loaded, engine):
    passes = []
    session = engine.session

    class Counting:
        def run(self, *args):
            passes.append(1)
            return session.run(*args)

        def get_inputs(self):
            return session.get_inputs()

    engine.session = Counting()
    try:
        stream = loaded.speak_stream("Number one. " * 40)
        await anext(stream)
        assert len(passes) < 20  # it runs ahead, but not to the end
        await stream.aclose()
        begun = len(passes)
        await loaded.speak("Usable.")
        assert len(passes) == begun + 1
    finally:
        engine.session = session


async def test_the_first_clause_of_a_long_sentence_comes_first(loaded):
    long = (
        "When the keeper of the lighthouse had counted the ships, which took him most of the "
        "morning, he went down to the harbour, where the boats lay side by side, and bought bread."
    )
    pieces = [piece async for piece in loaded.speak_stream(long)]
    assert len(pieces) > 1
    assert pieces[0].duration < sum(piece.duration for piece in pieces) / 2


async def test_pauses_between_sentences_and_where_they_are_marked(loaded, vary):
    import numpy as np

    def silence(piece):
        return float(np.argmax(piece.samples[::-1] != 0)) / piece.sample_rate

    marked = 'Seven ships came home. <break time="700ms"/> They stayed. They left.'
    first, second, third = [piece async for piece in loaded.speak_stream(marked)]
    assert silence(first) == pytest.approx(0.7, abs=0.02)
    assert silence(second) == pytest.approx(0.2, abs=0.02)
    assert silence(third) < 0.05
    vary(pause=1.0)
    first, second = [piece async for piece in loaded.speak_stream("They stayed. They left.")]
    assert silence(first) == pytest.approx(1.0, abs=0.02)
    assert silence(second) < 0.05
    with pytest.raises(ValidationError, match="prosody"):
        await loaded.speak('<speak>Go <prosody rate="slow">now</prosody>.</speak>')
    assert (await loaded.speak('<break time="300ms"/>')).duration == pytest.approx(0.3)
    long = loaded.speak_stream('Go. <break time="25s"/> Go. <break time="31s"/>')
    lengths = [piece.duration async for piece in long]
    assert max(lengths) < 12  # marks may ask for hours in all: no piece holds them
    assert sum(lengths) == pytest.approx(56 + 2 * lengths[0] - 20, abs=0.1)


async def test_cancelling_stops_in_the_middle_of_a_sentence():
    """A pass that runs is broken off: who interrupts a voice does not wait for its sentence."""
    async with build() as model:
        engine = model._loading.thread.engine
        session, begun = engine.session, threading.Event()
        ended = []

        class Watched:
            def run(self, names, inputs, options):
                begun.set()
                try:
                    return session.run(names, inputs, options)
                except Exception as error:
                    ended.append(error)
                    raise

            def get_inputs(self):
                return session.get_inputs()

        await model.speak("Warm.")
        engine.session = Watched()
        long = "the lighthouse keeper counted seven ships and then " * 3
        task = asyncio.create_task(model.speak(long))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)
        assert len(ended) == 1
        engine.session = session
        assert (await model.speak("Usable.")).duration > 0


async def test_a_text_of_100_kilobytes_begins_at_once_and_takes_no_more_memory(loaded, vary):
    vary(speed=2.0)
    text = " ".join(f"Ship number {number} came home to its harbour." for number in range(2500))
    assert len(text) > 100_000
    await loaded.speak(text[:200])
    before = rss_bytes()
    stream = loaded.speak_stream(text)
    for _ in range(12):
        assert (await anext(stream)).duration > 1
    await stream.aclose()
    assert rss_bytes() - before < 200 << 20


async def test_two_listeners_are_served_in_turns(loaded):
    """The second does not wait for the end of the first, which is long."""
    long = loaded.speak_stream("The heron stands in the reeds. " * 30)
    await anext(long)
    short = await loaded.speak("Seven ships came home.")
    assert short.duration > 0
    assert not long._ended
    assert len(long._pieces) == 1
    await long.aclose()


# What is spoken


async def test_inline_phonemes_are_kept(loaded, vary):
    import numpy as np

    plain = await loaded.speak("hello world", {"volume": 0.1})
    phonemes = await loaded.speak("[[ həlˈoʊ wˈɜːld ]]", {"volume": 0.1})
    assert phonemes.frames == plain.frames
    assert np.corrcoef(phonemes.samples, plain.samples)[0, 1] > 0.99
    mixed = await loaded.speak("hello [[ wˈɜːld ]]")
    assert abs(mixed.frames - plain.frames) < plain.frames / 5
    woodge = await loaded.speak("woodge")
    vary(lexicon={"wrlld": "[[ wˈɜːld ]]", "Łódź": "woodge"})
    assert await loaded.speak("hello wrlld") == mixed
    assert await loaded.speak("Łódź") == woodge


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (
            "The matrix is [[1, 2], [3, 4]] as you see.",
            "The matrix is [ [1, 2], [3, 4]] as you see.",
        ),
        ("Use array[[0]] now.", "Use array[ [0]] now."),
        ("Is it [[Hidden]] here?", "Is it [ [Hidden]] here?"),
    ],
)
async def test_double_brackets_around_anything_else_are_text(loaded, text, same):
    said = await loaded.speak(text)
    assert said == await loaded.speak(same)
    without = text[: text.index("[[")] + text[text.rindex("]]") + 2 :]
    assert said.duration > (await loaded.speak(without)).duration + 0.1


def test_brackets_without_end_take_no_time():
    """By a search that looks back they would take minutes."""
    from blazen_piper.espeak import InlinePhonemes

    for text in ("[[" * 50_000, "[[a" * 33_000, "[[" + "a" * 100_000):
        assert InlinePhonemes("a").hide(text) == text


async def test_numbers_are_said_in_words_unless_that_is_turned_off(loaded, vary):
    said = await loaded.speak("I have $3.50")
    assert said == await loaded.speak("I have three dollars and fifty cents")
    vary(normalise=False)
    assert await loaded.speak("I have $3.50") != said


@pytest.mark.parametrize("text", ["... !? —", "…", "🦙🏽‍🔬", "\0", "\ud83d"])
async def test_what_has_no_sound_is_refused_and_not_silence(loaded, text):
    with pytest.raises(ValidationError, match="nothing"):
        await loaded.speak(text)


async def test_odd_characters_among_words_do_no_harm(loaded):
    assert await loaded.speak("one\0two") == await loaded.speak("one two")
    assert await loaded.speak("one two \ud83d") == await loaded.speak("one two")


async def test_a_very_long_word_is_spoken_to_its_end(loaded):
    """By itself espeak drops what goes beyond some 130 letters."""
    third, whole = [(await loaded.speak("ba" * count)).duration for count in (60, 180)]
    assert whole > third * 2.5


async def test_a_phoneme_that_the_voice_lacks_is_told_once(voice_folder, tmp_path, caplog):
    settings = json.loads((voice_folder / "joe.onnx.json").read_text("utf-8"))
    known = {key: ids for key, ids in settings["phoneme_id_map"].items() if key != "z"}
    path = with_settings(voice_folder, tmp_path, phoneme_id_map=known)
    async with build(path) as model:
        with caplog.at_level(logging.WARNING):
            await model.speak("zoo zebra zoom")
            await model.speak("zero")
    told = [record for record in caplog.records if "'z'" in record.getMessage()]
    assert len(told) == 1


async def test_phonemes_without_end_are_spoken_in_passes_of_bounded_size(loaded, engine):
    phonemes = list("həlˈoʊ wˈɜːld " * 200)
    passes = list(engine._passes(phonemes))
    assert len(passes) > 5
    assert max(map(len, passes)) <= 400
    ids = engine.voice.phonemes_to_ids(phonemes)
    assert sum(len(part) - 3 for part in passes) == len(ids) - 3  # nothing lost, nothing doubled
    assert list(engine._passes(list(" , "))) != []
    assert list(engine._passes([" "])) == []


# Several at once


def test_voices_in_several_threads_sound_as_they_do_alone(loaded, vary):
    """espeak is one for the whole process: without a lock it mixes the texts of its callers."""
    vary(speed=3.0)
    other = build(speed=4.0)
    texts = [f"A ship from {town}." for town in ("Oslo", "Lima", "Kyiv", "Accra")]
    voices = [blazen.blocking(model) for model in (loaded, other)]
    alone = [[voice.speak(text) for text in texts] for voice in voices]
    start, wrong = threading.Barrier(4), []

    def serve(number):
        voice, expected = voices[number % 2], alone[number % 2]
        start.wait()
        for place in range(len(texts)):
            turn = (place + number) % len(texts)
            if voice.speak(texts[turn]) != expected[turn]:
                wrong.append((number, texts[turn]))

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    voices[1].unload()
    assert wrong == []


async def test_phonemes_are_made_under_the_lock_of_the_process_and_sound_is_not(loaded, engine):
    from blazen.speech.phonemes import espeak_lock

    voice, session, seen = engine.voice, engine.session, []

    class Watched:
        def __init__(self, inner):
            self._inner = inner

        def __getattr__(self, name):
            seen.append((name, espeak_lock.locked()))
            return getattr(self._inner, name)

    engine.voice, engine.session = Watched(voice), Watched(session)
    try:
        await loaded.speak("Seven ships came home.")
    finally:
        engine.voice, engine.session = voice, session
    assert ("phonemize", True) in seen
    assert ("run", False) in seen
    assert ("run", True) not in seen


# Speakers and languages


@pytest.mark.parametrize("name", ["starter:speak", "en_US-joe-medium", "joe"])
async def test_a_voice_of_one_speaker_goes_by_its_own_names_only(loaded, name):
    assert (await loaded.speak("Go.", {"voice": name})) == await loaded.speak("Go.")
    assert (await loaded.speak("Go.", {"voice": "0"})) == await loaded.speak("Go.")
    for other in ("anna", "1", "joel"):
        with pytest.raises(ValidationError, match=f"'{other}'"):
            await loaded.speak("Go.", {"voice": other})


@pytest.fixture(scope="module")
def choir(tmp_path_factory, voice_folder):
    """The voice as one of three speakers: its file takes a speaker's number, and ignores it."""
    folder = tmp_path_factory.mktemp("choir")
    # Protocol buffers merge what is appended: one more input of the graph, "sid", int64[1].
    value = b"\x0a\x03sid\x12\x0a\x0a\x08\x08\x07\x12\x04\x0a\x02\x08\x01"
    graph = b"\x5a" + bytes([len(value)]) + value
    weights = (voice_folder / "joe.onnx").read_bytes().replace(b"\x03sid", b"\x03dis")
    data = weights + b"\x3a" + bytes([len(graph)]) + graph
    (folder / "choir.onnx").write_bytes(data)
    settings = json.loads((voice_folder / "joe.onnx.json").read_text("utf-8"))
    changes = {"num_speakers": 3, "speaker_id_map": {"anna": 0, "bert": 1, "7": 2}}
    (folder / "choir.json").write_text(json.dumps(settings | changes), "utf-8")
    return folder / "choir.onnx"


async def test_speakers_are_named_or_numbered(choir):
    async with build(choir, speaker="bert") as model:
        engine = model._loading.thread.engine
        session, given = engine.session, []

        class Watched:
            def run(self, names, inputs, options):
                given.append(int(inputs["sid"][0]))
                return session.run(names, inputs, options)

            def get_inputs(self):
                return session.get_inputs()

        engine.session = Watched()
        for speaker in (None, "anna", "1", "2", "7", "choir"):
            given.clear()
            await model.speak("Go.", {"voice": speaker})
            wanted = {None: 1, "anna": 0, "1": 1, "2": 2, "7": 2, "choir": 0}
            assert set(given) == {wanted[speaker]}, speaker
        engine.session = session
        assert [info.name for info in await model.voices()] == ["anna", "bert", "7"]
        assert {info.language for info in await model.voices()} == {"en_US"}
        for unknown in ("carl", "3", "-1", "1.0"):
            with pytest.raises(ValidationError, match=r"known are anna, bert, 7, or a number"):
                await model.speak("Go.", {"voice": unknown})


async def test_the_voices_that_can_be_asked_for_are_listed(loaded, engine, monkeypatch):
    (only,) = await loaded.voices()
    assert only == VoiceInfo(
        "starter:speak", "en_US", True, quality="medium", size=find("starter:speak").size
    )
    # Of the speakers of one voice, some may have a number alone.
    monkeypatch.setattr(engine.voice.config, "speaker_id_map", {"anna": 2})
    monkeypatch.setattr(
        engine, "info", dataclasses.replace(only, speakers=3, speaker_names=("anna",))
    )
    voices = await loaded.voices()
    assert [info.name for info in voices] == ["anna", "0", "1"]
    assert {info.speakers for info in voices} == {1}


async def test_a_speaker_that_is_not_there_fails_the_load(choir):
    with pytest.raises(ValidationError, match="'carl'"):
        await build(choir, speaker="carl").load()


async def test_a_voice_of_one_speaker_has_no_other_by_option(loaded, vary):
    expected = await loaded.speak("Go.")
    vary(speaker=0)
    assert await loaded.speak("Go.") == expected
    vary(speaker=1)
    with pytest.raises(ValidationError, match="one speaker"):
        await loaded.speak("Go.")


async def test_only_the_voices_language_is_spoken(loaded):
    expected = await loaded.speak("Go.")
    for same in ("en", "en_US", "en-GB", "EN-us"):
        assert await loaded.speak("Go.", {"language": same}) == expected
    for other in ("de", "fr_FR", "e"):
        with pytest.raises(UnsupportedError, match="en_US"):
            await loaded.speak("Go.", {"language": other})


async def test_the_region_of_the_language_decides_how_dates_are_read(loaded):
    text = "On 3/4/2026."
    american = await loaded.speak("On March fourth, twenty twenty-six.")
    for language in (None, "en", "en_US"):
        assert await loaded.speak(text, {"language": language}) == american
    british = await loaded.speak("On the third of April, twenty twenty-six.")
    for language in ("en-gb", "en_GB"):
        assert await loaded.speak(text, {"language": language}) == british


# Where voices come from


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BLAZEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(cache):
    tiny = json.dumps(SETTINGS).encode()
    thorsten = "de/de_DE/thorsten/low/de_DE-thorsten-low.onnx"
    listed = {
        "en_US-joe-medium": {
            "language": {"code": "en_US"},
            "quality": "medium",
            "num_speakers": 1,
            "speaker_id_map": {},
            "files": {JOE: {"size_bytes": 100}, f"{JOE}.json": {"size_bytes": 10}, "CARD": {}},
            "aliases": ["joe-us"],
        },
        "de_DE-thorsten-low": {
            "language": {"code": "de_DE"},
            "quality": "low",
            "num_speakers": 2,
            "speaker_id_map": {"anna": 0, "bert": 1},
            "files": {thorsten: {"size_bytes": 7}},
            "aliases": [],
        },
    }
    files = {
        JOE: b"weights of joe",
        f"{JOE}.json": tiny,
        thorsten: b"weights",
        f"{thorsten}.json": tiny,
        "en/en_US/mute/low/en_US-mute-low.onnx": b"weights",
        "voices.json": json.dumps(listed).encode(),
    }
    repos = {
        REPO: files,
        "me/one": {"sub/mine.onnx": b"mine", "sub/mine.json": tiny, "README.md": b""},
        "me/two": {"a.onnx": b"a", "b.onnx": b"b"},
        "me/bare": {"a.onnx": b"a"},
    }
    with standing_in(Hub(repos)) as hub:
        yield hub


def find(voice, **words):
    from blazen_piper.files import Fetching, voice_files

    return voice_files(voice, Fetching(**words))


def test_a_voice_by_name_is_two_files_deep_in_the_repository(hub, cache):
    files = find("en_US-joe-medium")
    assert files.weights.read_bytes() == b"weights of joe"
    assert files.settings == files.weights.with_name("en_US-joe-medium.onnx.json")
    assert cache in files.weights.parents
    assert not list(cache.rglob("*thorsten*onnx"))
    count = len(hub.asked)
    assert find("en_US-joe-medium", offline=True) == files
    assert find(f" {files.weights.stem} ") == files
    assert len(hub.asked) == count


def test_a_voice_stays_when_the_repository_has_moved_on(hub):
    files = find("en_US-joe-medium")
    hub.repos[REPO]["README.md"] = b"a new commit"
    from blazen.weights.locate import locate

    locate(f"hf:{REPO}", revision=hub.commit(REPO), patterns=["voices.json"])
    locate(f"hf:{REPO}/README.md")
    again = find("en_US-joe-medium", offline=True)
    assert again.weights.read_bytes() == files.weights.read_bytes()


async def test_a_voice_by_name_is_spoken(hub, voice_folder):
    hub.repos[REPO][JOE] = (voice_folder / "joe.onnx").read_bytes()
    hub.repos[REPO][f"{JOE}.json"] = (voice_folder / "joe.onnx.json").read_bytes()
    seen = []
    model = build("en_US-joe-medium")
    await model.load(on_progress=seen.append)
    assert (await model.speak("Go.")).duration > 0
    await asyncio.sleep(0)
    assert {"download", "load"} <= {progress.stage for progress in seen}
    await model.unload()


@pytest.mark.parametrize("name", ["en_US-jo-medium", "en_us-joe-medium", "joe", "en_US-joe-high"])
def test_a_misspelt_name_suggests_what_is_near(hub, name):
    with pytest.raises(ModelNotFoundError, match=r"did you mean .*'en_US-joe-medium'"):
        find(name)


def test_another_name_of_a_voice_is_known(hub):
    assert find("joe-us").weights.name == "en_US-joe-medium.onnx"


def test_a_name_like_no_other_says_how_names_are(hub):
    with pytest.raises(ModelNotFoundError, match=r"'qqqqqq': A voice is named like"):
        find("qqqqqq")


def test_offline_a_voice_that_is_not_here_is_told_so(hub):
    with pytest.raises(DownloadError, match="offline"):
        find("en_US-joe-medium", offline=True)
    assert hub.asked == []


def test_a_voice_of_a_hub_repository(hub):
    files = find("me/one")
    assert files.weights.read_bytes() == b"mine"
    assert files.settings.name == "mine.json"
    assert find("me/one/sub/mine.onnx") == files
    assert find(f"hf:me/one@{hub.commit('me/one')}/sub/mine.onnx") == files
    with pytest.raises(ValidationError, match=r"several .* a.onnx, b.onnx"):
        find("me/two")
    with pytest.raises(ModelNotFoundError, match=r"no a.onnx.json is beside"):
        find("me/bare")
    with pytest.raises(ModelNotFoundError, match=r"me/bare has no file 'b.onnx'|no file like b"):
        find("me/bare/b.onnx")
    with pytest.raises(ModelNotFoundError, match=r"no en_US-mute-low.onnx.json is beside"):
        find("en_US-mute-low")


def test_a_voice_by_url(cache):
    settings = json.dumps(SETTINGS).encode()
    with serving(Files({"/v/x.onnx": b"weights", "/v/x.onnx.json": settings})) as server:
        files = find(f"{server.url}/v/x.onnx?download=true")
        assert files.weights.read_bytes() == b"weights"
        assert files.settings.read_bytes() == settings
        assert find(f"{server.url}/v/x.onnx?download=true", offline=True) == files


def test_a_voice_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.onnx", "b.onnx", "b.json", "c.onnx", "c.onnx.json"):
        (tmp_path / name).write_bytes(b"{}")
    assert find(tmp_path / "b.onnx").settings.name == "b.json"
    assert find("c.onnx").settings.name == "c.onnx.json"
    with pytest.raises(ModelNotFoundError, match=r"a\.onnx has no settings.* no a\.onnx\.json is"):
        find("./a.onnx")
    with pytest.raises(ValidationError, match=r"several voices.*a\.onnx, b\.onnx, c\.onnx"):
        find(tmp_path)
    for name in ("a.onnx", "b.onnx", "b.json"):
        (tmp_path / name).unlink()
    assert find(tmp_path).weights.name == "c.onnx"
    (tmp_path / "en_US-joe-medium").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"holds no \.onnx"):
        find("en_US-joe-medium")


async def test_voices_are_listed(hub, cache):
    from blazen_piper import installed_voices, known_voices

    assert [row.name for row in installed_voices(cache)] == ["starter:speak"]
    known = await known_voices()
    assert [row.name for row in known] == ["de_DE-thorsten-low", "en_US-joe-medium"]
    assert not any(row.installed for row in known)
    thorsten, joe = known
    assert (joe.language, joe.quality, joe.speakers, joe.size) == ("en_US", "medium", 1, 110)
    assert thorsten.speaker_names == ("anna", "bert")
    find("de_DE-thorsten-low")
    find("me/one/sub/mine.onnx")
    installed = {row.name: row for row in installed_voices()}
    assert set(installed) == {"starter:speak", "de_DE-thorsten-low"}
    row = installed["de_DE-thorsten-low"]
    assert (row.language, row.quality, row.speakers, row.installed) == ("de_DE", "low", 2, True)
    assert row.size == len(b"weights") + len(json.dumps(SETTINGS))
    assert [row.installed for row in await known_voices()] == [True, False]
    assert type(row).from_dict(row.to_dict()) == row
    starter = installed["starter:speak"]
    assert (starter.language, starter.quality, starter.speakers) == ("en_US", "medium", 1)


async def test_offline_the_list_in_the_cache_counts(hub, cache):
    from blazen_piper import known_voices

    with pytest.raises(DownloadError, match=r"voices.json .*offline"):
        await known_voices(offline=True)
    online = await known_voices()
    count = len(hub.asked)
    assert await known_voices(offline=True) == online
    with pytest.raises(ModelNotFoundError, match="did you mean 'en_US-joe-medium'"):
        find("en_US_joe-medium", offline=True)
    assert len(hub.asked) == count
    hub.repos[REPO]["README.md"] = b"a new commit"
    find("en_US-joe-medium")
    assert [row.name for row in await known_voices(offline=True)] == [row.name for row in online]


async def test_a_list_that_is_none_is_refused(hub):
    from blazen_piper import known_voices

    hub.repos[REPO]["voices.json"] = b"[1]"
    with pytest.raises(DownloadError, match="no list of voices"):
        await known_voices()


# What is wrong with a voice shows when it is loaded


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("not json", "can't be read"),
        ("[]", "no settings"),
        ("{}", "KeyError"),
        (json.dumps({**SETTINGS, "phoneme_type": "smoke"}), "smoke"),
    ],
)
async def test_settings_that_are_none_are_refused(voice_folder, tmp_path, settings, words):
    path = with_settings(voice_folder, tmp_path)
    (tmp_path / "joe.onnx.json").write_text(settings, "utf-8")
    with pytest.raises(LoadError, match=words) as refusal:
        await build(path).load()
    assert "joe.onnx.json" in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"noise" * 100])
async def test_weights_that_are_none_are_refused(voice_folder, tmp_path, content):
    path = with_settings(voice_folder, tmp_path)
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(LoadError, match=r"joe\.onnx"):
        await build(path).load()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_speakers": 2}, "as joe.onnx.json describes it"),
        ({"espeak": {"voice": "no-such"}}, "no-such"),
        ({"phoneme_id_map": {"_": [0], "^": [1], "$": [9999], "ʌ": [3]}}, "does not speak"),
    ],
)
async def test_a_voice_that_does_not_speak_fails_its_load(voice_folder, tmp_path, changes, words):
    path = with_settings(voice_folder, tmp_path, **changes)
    with pytest.raises(LoadError, match=words):
        await build(path).load()


async def test_a_voice_that_would_fetch_a_second_model_is_refused(voice_folder, tmp_path):
    path = with_settings(voice_folder, tmp_path, phoneme_type="pinyin")
    with pytest.raises(UnsupportedError, match="g2pW"):
        await build(path).load()


async def test_a_package_that_phonemes_need_is_named(voice_folder, tmp_path):
    path = with_settings(voice_folder, tmp_path, phoneme_type="japanese")
    with pytest.raises(blazen.MissingExtraError, match="pyopenjtalk"):
        await build(path).load()


async def test_espeaks_data_is_checked_before_espeak_ends_the_process(monkeypatch, tmp_path):
    import piper.phonemize_espeak

    monkeypatch.setattr(piper.phonemize_espeak, "ESPEAK_DATA_DIR", tmp_path)
    with pytest.raises(LoadError, match=r"phontab.*reinstall piper-tts"):
        await build().load()


async def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UnsupportedError, match="cuda"):
        await build(device="cuda:7").load()


async def test_a_session_that_starts_on_the_cpu_in_place_of_the_gpu_is_refused(monkeypatch):
    from blazen_piper import model

    monkeypatch.setattr(model, "choose_device", lambda *a, **k: blazen.Device.parse("cuda:0"))
    with pytest.raises((UnsupportedError, LoadError), match=r"cuda|CUDA"):
        await build().load()


# Options and the rest


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": 0},
        {"noise": -1},
        {"rhythm_noise": "much"},
        {"pause": -0.1},
        {"volume": 11},
        {"speaker": -1},
        {"speaker": 1.5},
        {"lexicon": {"a": 1}},
        {"lexicon": {1: "a"}},
        {"lexicon": ["a"]},
    ],
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        PiperOptions("starter:speak", **wrong)


async def test_a_voice_by_spec_and_by_options(loaded):
    model = TTS.from_spec("piper:starter:speak", threads=1, noise=0, rhythm_noise=0)
    assert await model.speak("Go.") == await loaded.speak("Go.")
    assert model.threads == 1
    await model.unload()
    options = PiperOptions("starter:speak", threads=1, noise=0, rhythm_noise=0)
    assert TTS.piper(options=options).options == model.options == options


def test_nothing_is_imported_before_it_is_needed():
    run_python(
        """
        import sys
        import blazen_piper
        heavy = {"numpy", "onnxruntime", "piper", "huggingface_hub"} & set(sys.modules)
        assert not heavy, heavy
        """
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
def test_it_says_what_it_takes():
    text = "the lighthouse keeper counted seven ships and then he went home " * 8
    check_footprint("TTS", "piper:starter:speak", question=text)
