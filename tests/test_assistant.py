"""The example that joins ears, a mind and a voice, on real weights."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import blazen
from blazen import (
    TTS,
    Audio,
    InferenceChunk,
    InferenceChunkStream,
    InferenceError,
    LiveAudio,
    Model,
    Transcription,
    TranscriptionChunk,
    TranscriptionStream,
    ValidationError,
)
from blazen.testing import EchoModel, EchoTTS
from tests.conftest import ROOT

pytestmark = [pytest.mark.needs("whispercpp", "xllamacpp", "piper", "starter"), pytest.mark.long]

EXAMPLE = ROOT / "examples" / "assistant.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("assistant", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["assistant"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["assistant"]


@pytest.fixture(scope="module")
def parts():
    found = (
        Transcription.whispercpp("starter:transcribe", threads=1),
        Model.xllamacpp("starter:chat", threads=1, context_length=1024),
        TTS.piper("starter:speak", threads=1),
    )
    yield found
    for part in found:
        blazen.blocking(part).unload()


@pytest.fixture(scope="module")
def person():
    """Who asks: a voice without chance in it, so that it is heard alike each time."""
    found = TTS.piper("starter:speak", threads=1, noise=0, rhythm_noise=0)
    yield found
    blazen.blocking(found).unload()


async def test_a_recorded_question_is_answered_aloud(example, parts, person, tmp_path):
    ears, mind, voice = parts
    recording = (await person.speak(example.QUESTION)).save(tmp_path / "question.wav")
    spoken = []

    async def play(sound):
        spoken.append(sound)

    assistant = example.Assistant(ears, mind, voice, play)
    await assistant.converse(LiveAudio.from_audio(recording))
    question, answer = assistant.history[1:]
    assert "capital of france" in question.content.lower()
    assert "paris" in answer.content.lower()
    # What was spoken is what was written: the ears can tell.
    heard = await ears.transcribe(Audio.join(spoken))
    assert "paris" in heard.text.lower()


async def test_who_speaks_again_interrupts_the_answer(example, parts, person):
    ears, mind, voice = parts
    first = await person.speak(example.QUESTION)
    second = await person.speak("What is the capital of Germany?")
    silence = Audio.from_samples([0.0] * first.sample_rate * 2, first.sample_rate)
    speaking = asyncio.Event()
    cancelled = []

    async def conversation():
        yield first
        yield silence
        await speaking.wait()  # in the middle of the answer
        yield second
        yield silence

    async def play(sound):
        if speaking.is_set():
            return
        speaking.set()
        try:
            await asyncio.Event().wait()  # a sound that would never end by itself
        except asyncio.CancelledError:
            cancelled.append(sound)
            raise

    assistant = example.Assistant(ears, mind, voice, play)
    await asyncio.wait_for(assistant.converse(LiveAudio(conversation())), 300)
    assert len(cancelled) == 1
    texts = [message.content for message in assistant.history]
    # What began to sound is kept, so that the model knows what the second question follows.
    assert "france" in texts[1].lower()
    assert "paris" in texts[2].lower()
    assert "germany" in texts[3].lower()
    assert "berlin" in texts[4].lower()


TEXTS = (
    "It ended in 1945. Dr. Smith paid $3.50 for it! Did he? Yes...",
    "Three fruits:\n1. Banana\n2. Apple\n3. Grapefruit\nThat is all.",
    'He said: "Stop!" Then he went home.  Two blanks. No stop at the end',
)


@given(st.sampled_from(TEXTS), st.lists(st.integers(1, 12), min_size=1))
def test_however_a_text_is_cut_nothing_of_it_is_lost(example, text, sizes):
    async def chunks():
        rest = text
        for size in itertools.cycle(sizes):
            if not rest:
                return
            yield InferenceChunk(content=rest[:size])
            rest = rest[size:]

    async def collected():
        return [sentence async for sentence in example.whole_sentences(chunks())]

    assert " ".join(asyncio.run(collected())).split() == text.split()


class Ears:
    """Ears that hear what they are told, piece by piece, and then wait."""

    def __init__(self, *pieces):
        self.pieces = pieces

    def transcribe_stream(self, request):
        return TranscriptionStream.of(self._heard())

    async def _heard(self):
        for piece in self.pieces:
            if callable(piece):
                await piece()
            else:
                yield piece


def final(text):
    return TranscriptionChunk(text, final=True)


async def nothing(sound):
    pass


async def silence():
    yield Audio.from_samples([0.0] * 160, 16_000)


async def test_two_halves_of_a_question_that_come_at_once_are_one(example):
    ears = Ears(final("What is the capital"), final(" of France?"))
    assistant = example.Assistant(ears, EchoModel(), EchoTTS(), nothing)
    await assistant.converse(LiveAudio(silence()))
    assert [m.content for m in assistant.history[1:2]] == ["What is the capital of France?"]
    assert len(assistant.history) == 3


async def test_an_answer_that_fails_ends_the_conversation_with_its_error(example):
    failed = asyncio.Event()

    class Broken:
        def complete_stream(self, messages, options=None):
            failed.set()
            raise InferenceError("no thoughts today")

    async def until_failed():
        await failed.wait()
        await asyncio.sleep(0)

    ears = Ears(final("Hello?"), until_failed, final("Are you there?"))
    assistant = example.Assistant(ears, Broken(), EchoTTS(), nothing)
    with pytest.raises(InferenceError, match="no thoughts today"):
        await assistant.converse(LiveAudio(silence()))


async def test_a_sentence_that_cannot_be_said_is_passed_over_aloud(example, capsys):
    class Mute(EchoTTS):
        def speak_stream(self, text, options=None):
            if "bad" in text:
                raise ValidationError("there is nothing to speak")
            return super().speak_stream(text, options)

    ears = Ears(final("A good one. A bad one. The last one."))
    assistant = example.Assistant(ears, EchoModel(), Mute(), nothing)
    await assistant.converse(LiveAudio(silence()))
    assert assistant.history[-1].content == "A good one. The last one."
    assert "can't be said: there is nothing to speak" in capsys.readouterr().out


async def test_cancelled_while_an_answer_winds_down_it_does_not_go_on(example):
    speaking, winding = asyncio.Event(), asyncio.Event()

    async def play(sound):
        speaking.set()
        try:
            await asyncio.Event().wait()
        finally:
            winding.set()
            await asyncio.sleep(0.05)

    never = asyncio.Event()
    ears = Ears(final("One?"), speaking.wait, final("Two?"), never.wait)
    assistant = example.Assistant(ears, EchoModel(), EchoTTS(), play)
    task = asyncio.create_task(assistant.converse(LiveAudio(silence())))
    await winding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)


async def test_who_pauses_goes_on_with_the_same_question(example, parts, person):
    ears, mind, voice = parts
    begun = asyncio.Event()

    class Slow:
        """A mind that has not said a word when the person goes on."""

        def complete_stream(self, messages, options=None):
            if not begun.is_set():
                begun.set()
                return InferenceChunkStream.of(never())
            return mind.complete_stream(messages, options)

    async def never():
        await asyncio.Event().wait()
        yield

    async def conversation():
        for text in ("What is the capital", "of the country France?"):
            yield await person.speak(text)
            yield Audio.from_samples([0.0] * 44_100, 22_050)
            await begun.wait()

    async def play(sound):
        pass

    assistant = example.Assistant(ears, Slow(), voice, play)
    await asyncio.wait_for(assistant.converse(LiveAudio(conversation())), 300)
    question, answer = assistant.history[1:]
    assert re.search(r"capital.*france", question.content.lower())
    assert answer.content


async def test_leaving_the_conversation_ends_the_answer(example, parts, person):
    ears, mind, voice = parts
    question = await person.speak(example.QUESTION)
    speaking = asyncio.Event()

    async def play(sound):
        speaking.set()
        await asyncio.Event().wait()

    assistant = example.Assistant(ears, mind, voice, play)
    before = asyncio.all_tasks()
    task = asyncio.create_task(assistant.converse(LiveAudio.from_audio(question)))
    await asyncio.wait_for(speaking.wait(), 120)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() - before == set()
