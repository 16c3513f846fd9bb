"""The suites hold for the echo backends, and these do what else they say."""

from __future__ import annotations

import asyncio

import pytest

import blazen
from blazen.errors import InferenceError, LoadError, UnsupportedError, ValidationError
from blazen.testing import (
    EchoEmbedding,
    EchoImage,
    EchoMesh,
    EchoModel,
    EchoOptions,
    EchoTranscription,
    EchoTTS,
    EmbeddingSuite,
    ImageSuite,
    ModelSuite,
    ThreeDSuite,
    TranscriptionSuite,
    TTSSuite,
)

PACE = 0.002


class TestEchoModel(ModelSuite):
    samples = False
    holds_bytes = memory = 32 << 20

    @pytest.fixture
    def model(self):
        return EchoModel(EchoOptions(repeat=20, memory=self.memory, piece_delay=PACE))

    @pytest.fixture
    def broken_model(self):
        return lambda path: EchoModel(EchoOptions(weights=path))


class TestSeveralEchoesAtOnce(ModelSuite):
    samples = False

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        return EchoModel(EchoOptions(repeat=20, parallel=4, load_delay=0.01))


class TestEchoEmbedding(EmbeddingSuite):
    @pytest.fixture
    def model(self):
        return EchoEmbedding(EchoOptions(piece_delay=PACE / 2))

    @pytest.fixture
    def broken_model(self):
        return lambda path: EchoEmbedding(EchoOptions(weights=path))


@pytest.mark.needs("audio")
class TestEchoTTS(TTSSuite):
    @pytest.fixture
    def model(self):
        return EchoTTS(EchoOptions(piece_delay=PACE))

    @pytest.fixture
    def broken_model(self):
        return lambda path: EchoTTS(EchoOptions(weights=path))


@pytest.mark.needs("audio")
class TestEchoTranscription(TranscriptionSuite):
    words = ("seven", "ships", "passed", "the", "lighthouse")

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls):
        spoken = "Seven ships passed the lighthouse before it was dark, and one came back."
        return blazen.blocking(EchoTTS()).speak(spoken)

    @pytest.fixture
    def model(self):
        return EchoTranscription(EchoOptions(piece_delay=PACE))

    @pytest.fixture
    def broken_model(self):
        return lambda path: EchoTranscription(EchoOptions(weights=path))


class TestEchoImage(ImageSuite):
    long_steps = 40

    @pytest.fixture
    def model(self):
        return EchoImage(EchoOptions(piece_delay=PACE))

    @pytest.fixture
    def broken_model(self):
        return lambda path: EchoImage(EchoOptions(weights=path))


@pytest.mark.needs("images", "mesh")
class TestEchoMesh(ThreeDSuite):
    @pytest.fixture
    def model(self):
        return EchoMesh(EchoOptions(piece_delay=PACE * 4))

    @pytest.fixture
    def broken_model(self):
        return lambda path: EchoMesh(EchoOptions(weights=path))


async def test_the_echo_says_what_it_hears():
    model = EchoModel(EchoOptions(repeat=2))
    answer = await model.complete([blazen.ChatMessage.system("x"), blazen.ChatMessage.user("a b")])
    assert answer.content == "a b a b"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 4)
    await model.unload()


async def test_an_echo_fails_at_the_piece_it_is_told_to():
    model = EchoModel(EchoOptions(fail_at=2))
    stream = model.complete_stream("one two three four")
    with pytest.raises(InferenceError, match="piece 2") as failure:
        await stream.collect()
    assert type(failure.value.__cause__).__name__ == "EchoFailure"
    assert stream.response.content == "one two"
    assert (await model.complete("one")).content == "one"
    await model.unload()


async def test_an_echo_fails_to_load_as_it_is_told_to():
    error = RuntimeError("out of luck")
    model = EchoModel(EchoOptions("unlucky", load_error=error))
    with pytest.raises(LoadError, match=r"unlucky.*out of luck") as failure:
        await model.complete("hello")
    assert failure.value.__cause__ is error
    assert not model.is_loaded


async def test_a_slow_load_reports_its_steps_and_can_be_stopped():
    model = EchoModel(EchoOptions(load_delay=0.2))
    begun = asyncio.Event()
    task = asyncio.create_task(model.load(on_progress=lambda _: begun.set()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not model.is_loaded


async def test_an_echo_calls_the_tool_that_is_required():
    model = EchoModel()
    options = {"tools": [{"name": "say"}], "tool_choice": "required"}
    answer = await model.complete("hello", options)
    assert answer.tool_calls[0].name == "say"
    assert answer.tool_calls[0].parsed() == {"text": "hello"}
    assert answer.finish_reason is blazen.FinishReason.ToolCalls
    with pytest.raises(ValidationError, match="sya"):
        await model.complete(
            "hello", blazen.CompletionOptions(tools=(blazen.Tool("say"),), tool_choice="sya")
        )
    await model.unload()


async def test_the_echo_model_reads_text_only():
    picture = (await EchoImage().generate("a dot")).images[0]
    with pytest.raises(UnsupportedError, match="text only"):
        await EchoModel().complete([blazen.ChatMessage.user("look", picture)])


@pytest.mark.needs("audio")
async def test_what_the_echo_speaks_the_echo_hears():
    spoken = "Ünïcödé travels too, 你好."
    voice, ear = EchoTTS(), EchoTranscription()
    heard = await ear.transcribe(blazen.TranscriptionRequest(await voice.speak(spoken), words=True))
    assert heard.text == spoken
    assert [word.text for segment in heard.segments for word in segment.words] == spoken.split()
    with pytest.raises(UnsupportedError, match="volume"):
        await voice.speak("hello", blazen.types.speech.SpeechOptions(volume=0.5))
    with pytest.raises(UnsupportedError, match="language"):
        await ear.transcribe(blazen.TranscriptionRequest(await voice.speak("a"), language="de"))
    with pytest.raises(UnsupportedError, match="diarize"):
        await ear.transcribe(blazen.TranscriptionRequest(await voice.speak("a"), diarize=True))
    live = await ear.transcribe(voice.speak_stream(spoken))
    assert live.text == spoken
    await voice.unload()
    await ear.unload()


@pytest.mark.parametrize("bad", [{"piece_delay": -1}, {"repeat": 0}, {"memory": 1.5}])
def test_bad_echo_options_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        EchoOptions(**bad)
