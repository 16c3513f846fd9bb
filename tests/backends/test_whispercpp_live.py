"""Live transcription on real weights: what is said is written down as it comes.

The sound, tests/data/two-sentences.ogg, is Piper's voice joe: "The lighthouse keeper counted seven
ships before the storm came in.", a pause of two seconds, and "Can you tell me what time the next
train to Boston leaves?".
"""

from __future__ import annotations

import asyncio
import gc
import re
from pathlib import Path

import pytest

import blazen
from blazen.errors import InferenceError, ModelNotFoundError, UnsupportedError, ValidationError
from blazen.types.audio import Audio
from blazen.types.live import LiveAudio
from blazen.types.transcription import TranscriptionRequest

pytestmark = pytest.mark.needs("whispercpp", "starter:transcribe")

np = pytest.importorskip("numpy")

RATE = 16_000
SPEECH = Path(__file__).parents[1] / "data" / "two-sentences.ogg"
FIRST, SECOND = ["lighthouse", "seven", "ships", "storm"], ["time", "train", "boston", "leaves"]


def build(**settings):
    return blazen.Transcription.whispercpp(
        "starter:transcribe", **{"threads": 1, "window": 10, **settings}
    )


@pytest.fixture(scope="module")
def model():
    made = build()
    yield made
    blazen.blocking(made).unload()


@pytest.fixture(scope="module")
def samples():
    return Audio.from_file(SPEECH).to_samples()


class Caller:
    """A source that speaks when it is told to, and notes when it is closed."""

    def __init__(self):
        self._said: asyncio.Queue = asyncio.Queue()
        self.taken = 0
        self.closed = asyncio.Event()

    def say(self, samples):
        for start in range(0, len(samples), 1600):
            self._said.put_nowait((samples[start : start + 1600], RATE))

    def fail(self, error):
        self._said.put_nowait(error)

    def hang_up(self):
        self._said.put_nowait(None)

    async def sound(self):
        try:
            while (piece := await self._said.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                self.taken += 1
                yield piece
        finally:
            self.closed.set()


def words(text):
    return re.findall(r"\w+", text.lower())


def holds(text, wanted):
    said = iter(words(text))
    return all(word in said for word in wanted)


async def final(stream):
    """Reads on to what is settled; a loop that is left would close the stream."""
    while True:
        piece = await anext(stream)
        if piece.final and piece.text:
            return piece


async def test_a_file_played_into_it_is_written_down(model, samples):
    request = TranscriptionRequest(LiveAudio.from_audio(SPEECH), words=True)
    stream = model.transcribe_stream(request)
    pieces = [piece async for piece in stream]
    answer = stream.response
    assert holds(answer.text, FIRST + SECOND)
    assert answer.language == "en"
    assert answer.duration == pytest.approx(len(samples) / RATE)
    places = [piece.position for piece in pieces if piece.position is not None]
    assert places == sorted(places)
    assert places[-1] == pytest.approx(answer.duration)
    before = 0.0
    for segment in answer.segments:
        assert before <= segment.start < segment.end <= answer.duration
        assert segment.words
        assert all(segment.start <= w.start <= w.end <= segment.end for w in segment.words)
        before = segment.end
    # Times count from the start of all: the second sentence is spoken after 6 seconds.
    assert holds(" ".join(s.text for s in answer.segments if s.end < 5), FIRST)
    assert holds(" ".join(s.text for s in answer.segments if s.start > 5), SECOND)


async def test_partial_results_come_while_someone_speaks(model, samples):
    caller = Caller()
    stream = model.transcribe_stream(caller.sound())
    caller.say(samples[: round(2.4 * RATE)])  # within the first sentence
    partial = await anext(stream)
    assert not partial.final
    assert holds(partial.text, FIRST[:1])
    assert partial.segment is None
    assert stream.response.text == partial.text.strip()
    assert stream.response.segments == ()
    caller.say(samples[round(2.4 * RATE) : 6 * RATE])
    settled = await final(stream)
    # It is settled by the pause: nobody has hung up.
    assert holds(settled.text, FIRST)
    assert stream.response.text == settled.text.strip()
    caller.hang_up()
    assert holds((await stream.collect()).text, FIRST)
    assert caller.closed.is_set()


async def test_others_are_answered_while_it_waits_for_sound(model, samples):
    caller = Caller()
    stream = model.transcribe_stream(caller.sound())
    caller.say(samples[: 6 * RATE])
    assert holds((await final(stream)).text, FIRST)
    waiting = asyncio.create_task(stream.collect())
    await asyncio.sleep(0)
    other = await model.transcribe(Audio.from_samples(samples[6 * RATE :], RATE))
    assert holds(other.text, SECOND)
    assert not waiting.done()
    caller.hang_up()
    assert holds((await waiting).text, FIRST)


async def test_an_endless_silence_costs_no_hearing(samples):
    model, heard = build(), []
    call = model._call

    async def counted(work, *args, **kwargs):
        heard.append(work)
        return await call(work, *args, **kwargs)

    model._call = counted
    noise = np.random.default_rng(0).standard_normal(60 * RATE).astype(np.float32) * 0.01
    answer = await model.transcribe(LiveAudio.from_audio((noise, RATE), 0.5))
    assert answer.text == ""
    assert answer.duration == 60
    assert len(heard) == 1, "it was heard, beside the question whether the model can do it"
    await model.unload()


async def test_the_source_waits_for_an_engine_that_is_behind(model, samples):
    sentence = samples[RATE // 2 : round(4.2 * RATE)]
    taken = 0

    async def talker():
        nonlocal taken
        while True:
            taken += 1
            yield sentence, RATE

    stream = model.transcribe_stream(talker())
    await final(stream)
    # Without an end to it all of this would be in memory: at most a minute and a stretch are.
    assert taken * len(sentence) / RATE < 100
    assert holds((await final(stream)).text + stream.response.text, FIRST)
    await stream.aclose()


async def test_who_speaks_without_a_pause_is_settled_all_the_same(model, samples):
    sentence = samples[RATE // 2 : round(4.1 * RATE)]
    speech = np.concatenate([sentence] * 9)  # 32 seconds
    stream = model.transcribe_stream(LiveAudio.from_audio((speech, RATE)))
    pieces = [piece async for piece in stream]
    assert pieces
    text = stream.response.text
    assert 8 <= words(text).count("lighthouse") <= 10
    assert stream.response.segments[-1].end <= len(speech) / RATE


async def test_a_slow_reader_is_told_nothing_twice(samples, monkeypatch):
    """While he takes his time over a first part, the stretch ends of which it is a part."""
    from blazen.types.transcription import Segment
    from blazen_whispercpp import live
    from blazen_whispercpp.hearing import HearingSettings

    def parts(engine, job, heard, *_, rough):
        count = -(-len(heard) // (3 * RATE))
        ends = [min(len(heard) / RATE, 3.0 * number) for number in range(1, count + 1)]
        segments = [
            Segment(f" part{number}.", 3.0 * number, end) for number, end in enumerate(ends)
        ]
        return live._Heard(segments, HearingSettings("en"), None)

    monkeypatch.setattr(live, "_hear", parts)
    caller, model = Caller(), build(window=30)
    stream = model.transcribe_stream(caller.sound())
    sentence = samples[RATE // 2 : round(4.1 * RATE)]
    speech = np.concatenate([sentence] * 6)
    caller.say(speech[: 14 * RATE])
    await anext(stream)
    caller.say(speech[14 * RATE : 20 * RATE])  # heard twice alike, its first parts are settled
    first = await final(stream)
    caller.say(np.zeros(2 * RATE, np.float32))
    caller.hang_up()
    await caller.closed.wait()
    spoken = [first.segment, *[piece.segment async for piece in stream if piece.segment]]
    before = 0.0
    for segment in spoken:
        assert segment.start >= before - 0.001, spoken
        before = segment.end
    assert spoken[-1].end == pytest.approx(20, abs=0.5)
    assert stream.response.text == " ".join(segment.text for segment in spoken)
    await model.unload()


async def test_what_was_shown_of_an_end_without_words_is_taken_back(samples):
    from blazen_whispercpp.ear import Stretch
    from blazen_whispercpp.live import _Writer

    writer = _Writer(build(), TranscriptionRequest(LiveAudio.from_audio((samples, RATE))))
    writer._shown = " Thank you."
    # Nothing is loaded for it: there is nothing to hear.
    (piece,) = await writer.settle(Stretch(5 * RATE, samples[:0]))
    assert (piece.text, piece.final, piece.position) == ("", False, 5.0)
    assert not writer._model.is_loaded


@pytest.mark.parametrize("way", ["aclose", "break", "cancel", "drop"])
async def test_leaving_closes_the_source_and_frees_the_model(model, samples, way):
    caller = Caller()
    stream = model.transcribe_stream(caller.sound())
    caller.say(samples[: round(2.4 * RATE)])
    if way == "cancel":
        task = asyncio.create_task(stream.collect())
        while not caller.taken:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    elif way == "break":
        async for _ in stream:
            break
    else:
        await anext(stream)
    if way == "aclose":
        await stream.aclose()
    del stream
    gc.collect()
    await asyncio.wait_for(caller.closed.wait(), 60)
    other = await model.transcribe(Audio.from_samples(samples[6 * RATE :], RATE))
    assert holds(other.text, SECOND)


async def test_what_was_said_before_the_source_failed_is_kept(model, samples):
    caller = Caller()
    stream = model.transcribe_stream(caller.sound())
    caller.say(samples[: round(4.2 * RATE)])
    caller.fail(ConnectionResetError("the line is dead"))
    with pytest.raises(ConnectionResetError, match="the line is dead"):
        await stream.collect()
    assert holds(stream.response.text, FIRST)
    assert caller.closed.is_set()


async def test_bad_pieces_are_refused(model):
    async def source():
        yield b"raw bytes without a rate"

    with pytest.raises(ValidationError, match="sample_rate"):
        await model.transcribe(source())


async def test_what_was_heard_once_is_refused(model, samples):
    live = LiveAudio(Caller().sound())
    stream = model.transcribe_stream(live)
    reading = asyncio.create_task(stream.collect())
    while not live._taken:
        await asyncio.sleep(0)
    with pytest.raises(ValidationError, match="read already"):
        await model.transcribe(live)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


@pytest.mark.parametrize("bad", [{"diarize": True}, {"language": "de"}])
async def test_what_it_cannot_do_is_refused_before_the_source_is_read(model, samples, bad):
    caller = Caller()
    caller.say(samples)
    with pytest.raises(UnsupportedError):
        await model.transcribe(TranscriptionRequest(LiveAudio(caller.sound()), **bad))
    assert not caller.taken


async def test_a_model_that_is_not_there_fails_before_the_source_is_read(tmp_path):
    caller = Caller()
    model = blazen.Transcription.whispercpp(tmp_path / "none.bin")
    with pytest.raises(ModelNotFoundError):
        await model.transcribe(caller.sound())
    assert not caller.taken


async def test_an_engine_that_fails_closes_the_source(samples):
    caller, model = Caller(), build()
    await model.load()
    call = model._call

    async def broken(work, *args, **kwargs):
        if "rough" in kwargs:
            raise InferenceError("the engine broke")
        return await call(work, *args, **kwargs)

    model._call = broken
    stream = model.transcribe_stream(caller.sound())
    caller.say(samples)
    with pytest.raises(InferenceError, match="the engine broke"):
        await stream.collect()
    await asyncio.wait_for(caller.closed.wait(), 60)
    await model.unload()


async def test_without_vad_all_sound_is_heard(samples):
    model = build(vad=False)
    answer = await model.transcribe(LiveAudio.from_audio((samples, RATE), 0.5))
    assert holds(answer.text, FIRST + SECOND)
    await model.unload()


async def test_a_manager_keeps_the_model_until_the_stream_ends(samples):
    caller, heard = Caller(), asyncio.Event()
    async with blazen.ModelManager(cpu_ram_gb=2) as manager:
        await manager.register("ears", model := build())

        async def unload():
            await heard.wait()
            await manager.unload("ears")

        unloading = asyncio.create_task(unload())
        stream = manager.transcribe_stream("ears", caller.sound())
        caller.say(samples[: 6 * RATE])
        assert holds((await final(stream)).text, FIRST)
        heard.set()
        caller.say(samples[6 * RATE :])
        assert holds((await final(stream)).text, SECOND)
        assert model.is_loaded
        assert not unloading.done(), "the model went while a stream listened with it"
        caller.hang_up()
        await stream.collect()
        await unloading
        assert not model.is_loaded


@pytest.mark.parametrize("window", [5, 7, 10, 30])
def test_an_ear_cuts_no_window_and_between_words(window):
    from blazen_whispercpp.ear import Ear

    ear = Ear(vad=False, window=window)
    sound = np.random.default_rng(0).standard_normal(80 * RATE).astype(np.float32)
    for second in range(1, 80):  # a word a second, and a fifth of a second between two
        sound[second * RATE : second * RATE + RATE // 5] = 0
    stretches = []
    for start in range(0, len(sound), RATE // 2):
        ear.feed(sound[start : start + RATE // 2])
        while (stretch := ear.take()) is not None:
            stretches.append(stretch)
    ear.finish()
    stretches.append(ear.take())
    assert stretches[-1].last == len(sound)
    before = 0
    for stretch in stretches:
        assert stretch.first == before
        assert len(stretch.samples) <= min(window, 26) * RATE
        before = stretch.last
    for stretch in stretches[:-1]:
        assert stretch.last % RATE <= RATE // 5, "a word was cut"
        assert len(stretch.samples) >= min(window, 26) * RATE // 3


def test_an_ear_gives_nothing_again_that_is_settled(samples):
    from blazen_whispercpp.ear import Ear

    ear = Ear(vad=True)
    ear.feed(samples)  # the first sentence has ended, and the second may go on
    ear.begin_at(round(2.5 * RATE))
    sentence = ear.take()
    assert sentence.first == round(2.5 * RATE)
    assert 4 * RATE < sentence.last < 5 * RATE
    assert np.array_equal(sentence.samples, samples[sentence.first : sentence.last])

    other = Ear(vad=True)
    other.feed(samples)
    other.begin_at(round(5.5 * RATE))
    assert len(other.take().samples) == 0


def test_an_ear_forgets_what_is_settled(samples):
    from blazen_whispercpp.ear import Ear

    ear, heard = Ear(vad=True), 0
    quiet = np.zeros(RATE // 2, np.float32)
    for _ in range(40):
        for start in range(0, len(samples), 1600):
            ear.feed(samples[start : start + 1600])
            while (stretch := ear.take()) is not None:
                heard += 1
                assert stretch.last <= ear.total
                assert len(stretch.samples) < 6 * RATE
            assert ear.seconds < 12
        for _ in range(4):
            ear.feed(quiet)
        assert ear.growing() is None
        assert ear.seconds < 12
    assert heard >= 78
