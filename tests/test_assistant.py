"""The example that joins ears, a mind and a voice, on real weights."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys

import pytest

import blazen
from blazen import TTS, Audio, InferenceChunkStream, LiveAudio, Model, Transcription
from tests.conftest import ROOT

pytestmark = pytest.mark.needs("whispercpp", "xllamacpp", "piper", "starter")

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


async def test_a_recorded_question_is_answered_aloud(example, parts, tmp_path):
    ears, mind, voice = parts
    recording = (await voice.speak(example.QUESTION)).save(tmp_path / "question.wav")
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


async def test_who_speaks_again_interrupts_the_answer(example, parts):
    ears, mind, voice = parts
    first = await voice.speak(example.QUESTION)
    second = await voice.speak("What is the capital of Germany?")
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
    # Nothing of the first answer was heard to its end, so that it left no trace.
    assert len(texts) == 3
    assert "germany" in texts[1].lower()
    assert "berlin" in texts[2].lower()


async def test_who_pauses_goes_on_with_the_same_question(example, parts):
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
        for text in ("What is the capital", "of France?"):
            yield await voice.speak(text)
            yield Audio.from_samples([0.0] * 44_100, 22_050)
            await begun.wait()

    async def play(sound):
        pass

    assistant = example.Assistant(ears, Slow(), voice, play)
    await asyncio.wait_for(assistant.converse(LiveAudio(conversation())), 300)
    question, answer = assistant.history[1:]
    assert re.search(r"capital.*france", question.content.lower())
    assert answer.content


async def test_leaving_the_conversation_ends_the_answer(example, parts):
    ears, mind, voice = parts
    question = await voice.speak(example.QUESTION)
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
