"""The suites can fail: each fault of a backend is caught by the test that is there for it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import threading
import time
from typing import ClassVar

import pytest

from blazen.errors import LoadError, UnsupportedError
from blazen.protocols.embedding import stream
from blazen.testing import (
    EchoEmbedding,
    EchoImage,
    EchoModel,
    EchoOptions,
    EchoTranscription,
    EchoTTS,
)
from blazen.types.audio import Audio
from blazen.types.completion import (
    CompletionOptions,
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
)
from blazen.types.embedding import EmbeddingResponse, EmbeddingStream, Vectors
from blazen.types.live import LiveAudio
from blazen.types.speech import SpeechStream
from blazen.types.transcription import TranscriptionChunk, TranscriptionStream, as_request

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.long

# What is first imported by an inner run is forgotten with it, and NumPy can't be imported twice.
for module in ("numpy", "av", "PIL.Image"):
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(module)

PACE = 0.002
SUITE = """
import pytest
from blazen.testing import {suite}

class TestBroken({suite}):
    {settings}

    @pytest.fixture
    def model(self, make):
        return make()
"""
STREAM_TESTS = {
    "test_a_stream_gives_what_the_whole_answer_holds",
    "test_a_stream_begins_in_any_way",
    "test_streams_left_early_do_not_touch_the_others",
    "test_streams_without_a_loop",
}


@pytest.fixture
def failures(pytester):
    """Run a suite on a backend; give the names of the tests that fail."""

    def run(make, suite="ModelSuite", settings="pass", only=""):
        class Maker:
            @pytest.fixture
            def make(self):
                return make

        pytester.makepyfile(test_it=SUITE.format(suite=suite, settings=settings))
        # Without the plugin of this repository's own tests: the suites need none.
        args = ["-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "-k", only]
        passed, _, failed = pytester.inline_run(*args, plugins=[Maker()]).listoutcomes()
        assert passed or failed
        return {report.nodeid.rpartition("::")[2].partition("[")[0] for report in failed}

    return run


def echo(cls, **options):
    return lambda: cls(EchoOptions(**{"repeat": 20, **options}))


def test_a_sound_backend_fails_nothing(failures):
    assert failures(echo(EchoModel), settings="samples = False") == set()


class Shapeless(EchoModel):
    """Drops what it can't do, instead of refusing it."""

    def complete_stream(self, messages, options=None):
        chosen = CompletionOptions.of(options)
        kept = CompletionOptions(max_tokens=chosen.max_tokens, stop=chosen.stop)
        return super().complete_stream(messages, kept)


def test_features_that_are_dropped_in_silence(failures):
    found = failures(echo(Shapeless), only="schema or pattern or tool or likelihood or cut")
    assert found == {
        "test_an_answer_fits_its_schema",
        "test_an_answer_matches_its_pattern",
        "test_a_required_tool_is_called",
        "test_a_named_tool_is_called",
        "test_tokens_come_with_their_likelihood",
        "test_a_shape_that_is_cut_is_an_error",
    }


class WrongCall(EchoModel):
    """Calls the first tool, whichever was named."""

    def complete_stream(self, messages, options=None):
        chosen = CompletionOptions.of(options)
        if chosen.tool_choice != "auto":
            chosen = dataclasses.replace(chosen, tool_choice="required")
        return super().complete_stream(messages, chosen)


def test_a_call_of_another_tool(failures):
    assert failures(echo(WrongCall), only="tool") == {
        "test_a_named_tool_is_called",
        "test_tools_that_may_not_be_called_are_not",
    }


class Deaf(EchoModel):
    def complete_stream(self, messages, options=None):
        stream = super().complete_stream(messages, options)
        pieces = self._answer(*_checked(messages, options), 1)

        def speak_on(engine, job):
            for piece in pieces:
                time.sleep(PACE)
                job.emit(piece)

        return type(stream)(lambda: self._source(speak_on))


def _checked(messages, options):
    from blazen.types.chat import as_messages

    return as_messages(messages), CompletionOptions.of(options)


def test_an_engine_that_does_not_hear_the_cancelling(failures):
    assert failures(echo(Deaf), only="leaving or cancelled or whole_answer") == {
        "test_leaving_a_stream_stops_the_engine",
        "test_a_cancelled_request_frees_the_model",
    }


class LeavesThreads(EchoModel):
    over = threading.Event()

    def _open(self, job, report):
        threading.Thread(target=self.over.wait, args=(60,), name="blazen:left").start()
        return super()._open(job, report)


def test_a_thread_that_outlives_the_unload(failures, monkeypatch):
    monkeypatch.setattr("blazen.testing.local.THREAD_GRACE_SECONDS", 0.5)  # it never ends
    try:
        found = failures(echo(LeavesThreads), only="lifecycle or thread or idempotent or loop")
    finally:
        LeavesThreads.over.set()
    assert found == {"test_no_thread_survives_unload"}


class BlocksTheLoop(EchoModel):
    async def complete(self, messages, options=None):
        answer = await super().complete(messages, options)
        time.sleep(0.1)
        return answer


def test_an_engine_on_the_thread_of_the_loop(failures):
    found = failures(echo(BlocksTheLoop), only="loop_goes_on or repeatable or whole_answer")
    assert found == {"test_the_loop_goes_on_while_the_engine_works"}


class SaysItOtherwise(EchoModel):
    async def complete(self, messages, options=None):
        answer = await super().complete(messages, options)
        return ModelResponse(answer.content.upper(), finish_reason=answer.finish_reason)


def test_a_stream_that_differs_from_the_whole(failures):
    found = failures(echo(SaysItOtherwise), only="stream")
    assert found >= STREAM_TESTS
    assert "test_leaving_a_stream_stops_the_engine" not in found


class MixesUp(EchoModel):
    async def complete(self, messages, options=None):
        self.asked = messages, options
        await asyncio.sleep(0)
        return await super().complete(*self.asked)


def test_answers_that_go_to_another(failures):
    assert failures(echo(MixesUp), only="concurrent or repeatable or begins") == {
        "test_concurrent_requests_each_get_their_own_answer"
    }


class RaisesRaw(EchoModel):
    def complete_stream(self, messages, options=None):
        if isinstance(options, dict) and options.get("max_tokens", 1) == 0:
            raise ValueError("max_tokens")
        if "\0" in str(messages):
            raise KeyError("no such token")
        return super().complete_stream(messages, options)


def test_errors_that_come_out_raw(failures):
    assert failures(echo(RaisesRaw), only="bad or odd") == {
        "test_bad_options_are_refused",
        "test_odd_texts_do_no_harm",
    }


class TakesAnything(EchoModel):
    def complete_stream(self, messages, options=None):
        known = {
            field: options[field] for field in ("max_tokens", "temperature") if field in options
        }
        return super().complete_stream(messages, {**known, "temperature": 0})


def test_options_that_are_dropped_in_silence(failures):
    assert failures(echo(TakesAnything), only="bad_options or stop_texts") == {
        "test_bad_options_are_refused",
        "test_stop_texts_end_an_answer",
    }


class KeepsMemory(EchoModel):
    kept: ClassVar[list] = []

    @staticmethod
    def _close(engine):
        KeepsMemory.kept.append(engine)


class KeepsItsEngine(EchoModel):
    kept = None

    def _open(self, job, report):
        KeepsItsEngine.kept = KeepsItsEngine.kept or super()._open(job, report)
        return KeepsItsEngine.kept

    @staticmethod
    def _close(engine):
        pass


@pytest.mark.parametrize("cls", [KeepsMemory, KeepsItsEngine])
def test_memory_that_is_not_given_back(failures, cls):
    size = 40 << 20
    try:
        found = failures(
            echo(cls, memory=size), settings=f"holds_bytes = {size}", only="memory or idempotent"
        )
    finally:
        KeepsMemory.kept.clear()
        KeepsItsEngine.kept = None
    assert found == {"test_unload_gives_memory_back"}


class UnloadsOnce(EchoModel):
    async def unload(self):
        if not self.is_loaded:
            raise LoadError("it is not loaded")
        await super().unload()


def test_an_unload_that_is_not_idempotent(failures):
    found = failures(echo(UnloadsOnce), only="idempotent or entered")
    assert found == {"test_load_and_unload_are_idempotent"}


class NeverEnds(EchoModel):
    def complete_stream(self, messages, options=None):
        return InferenceChunkStream(lambda: asyncio.get_running_loop().create_future())


def test_a_request_that_hangs(failures):
    found = failures(echo(NeverEnds), settings="limit_seconds = 0.2", only="repeatable")
    assert found == {"test_answers_are_repeatable"}


class LeavesTasks(EchoModel):
    async def complete(self, messages, options=None):
        self.left = asyncio.get_running_loop().create_task(asyncio.Event().wait())
        return await super().complete(messages, options)


def test_a_task_that_is_left_pending(failures):
    found = failures(echo(LeavesTasks), only="repeatable or bad_options")
    assert found == {"test_answers_are_repeatable", "test_bad_options_are_refused"}


class NeverSaysWhy(EchoModel):
    def complete_stream(self, messages, options=None):
        pieces = self._answer(*_checked(messages, options), 1)[:-1]

        def speak(engine, job):
            for piece in engine.work(job, pieces):
                job.emit(InferenceChunk(content=piece.content))

        return InferenceChunkStream(lambda: self._source(speak))


def test_a_stream_without_reason_and_usage(failures):
    found = failures(echo(NeverSaysWhy), only="whole_answer or begins")
    assert found == {"test_a_stream_gives_what_the_whole_answer_holds"}


class Forgetful(EchoModel):
    """Once cancelled, it answers the next one with the rest of what it said before."""

    rest = ""

    def complete_stream(self, messages, options=None):
        stream = super().complete_stream(self.rest or messages, options)
        self.rest, abandon = "", stream.abandon

        def remember():
            if stream.response.content and stream.response.finish_reason is None:
                self.rest = "and as I was saying"
            abandon()

        async def close():
            remember()
            await InferenceChunkStream.aclose(stream)

        stream.abandon, stream.aclose = remember, close
        return stream


def test_an_answer_that_runs_on_into_the_next(failures):
    found = failures(echo(Forgetful, piece_delay=PACE), only="leaving or whole_answer")
    assert found == {"test_leaving_a_stream_frees_the_model"}


class Backwards(EchoEmbedding):
    async def embed(self, texts):
        answer = await super().embed(texts)
        return EmbeddingResponse(answer.embeddings[::-1], answer.model, answer.usage)


class DependsOnCompany(EchoEmbedding):
    async def embed(self, texts):
        answer = await super().embed(texts)
        rows = answer.embeddings.tolist()
        mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        mixed = [[a + b for a, b in zip(row, mean, strict=True)] for row in rows]
        return EmbeddingResponse(Vectors.of(mixed), answer.model, answer.usage)


def test_vectors_in_the_wrong_order(failures):
    found = failures(echo(Backwards), "EmbeddingSuite", only="order or twice")
    assert found == {
        "test_there_is_a_vector_for_each_text_in_order",
        "test_a_stream_gives_the_same_vectors_in_order",
        "test_order_and_company_do_not_matter",
    }


def test_vectors_that_depend_on_the_batch(failures):
    found = failures(echo(DependsOnCompany), "EmbeddingSuite", only="company or repeatable")
    assert found == {"test_order_and_company_do_not_matter"}


class Hurried(EchoEmbedding):
    """Turns queries round, reads far ahead, hides what breaks, and counts nothing of a stream."""

    async def embed_query(self, texts):
        answer = await self.embed(texts)
        return EmbeddingResponse(answer.embeddings[::-1], answer.model, answer.usage)

    def embed_stream(self, texts, *, window=256):
        async def pieces():
            async for piece in stream(self.embed, ahead(), window):
                yield EmbeddingResponse(piece.embeddings[::-1], piece.model)

        async def ahead():
            held = []
            with contextlib.suppress(KeyError):
                async for text in each():
                    held.append(text)
                    if len(held) > 100:
                        yield held.pop(0)
            for text in held:
                yield text

        async def each():
            if hasattr(texts, "__aiter__"):
                async for text in texts:
                    yield text
            else:
                for text in texts or ():
                    yield str(text)

        return EmbeddingStream.of(pieces())


def test_queries_and_streams_of_texts_that_are_half_kept(failures):
    only = "query or stream or source or repeatable or bad_texts"
    assert failures(echo(Hurried), "EmbeddingSuite", only=only) == {
        "test_a_query_finds_its_own_words",
        "test_a_stream_gives_the_same_vectors_in_order",
        "test_a_stream_tells_its_usage_and_keeps_no_vectors",
        "test_a_stream_reads_no_further_than_it_must",
        "test_what_a_source_raises_comes_out_after_what_it_gave",
        "test_bad_sources_are_refused",
    }


class NeverLooksBack(EchoEmbedding):
    """Leaves a source open whose reader has gone."""

    kept: ClassVar[list] = []

    def embed_stream(self, texts, *, window=256):
        self.kept.append(texts)
        return super().embed_stream(Unclosed(texts), window=window)


class Unclosed:
    def __init__(self, texts):
        self._texts = texts

    def __aiter__(self):
        return self

    async def __anext__(self):
        return await anext(self._texts)


def test_a_source_that_is_left_open(failures, monkeypatch):
    monkeypatch.setattr("blazen.testing.embedding.THREAD_GRACE_SECONDS", 0.5)  # it never closes
    try:
        found = failures(echo(NeverLooksBack), "EmbeddingSuite", only="no_further or repeatable")
    finally:
        NeverLooksBack.kept.clear()
    assert found == {"test_a_stream_reads_no_further_than_it_must"}


class Mute(EchoTTS):
    def speak_stream(self, text, options=None):
        stream = super().speak_stream(text, options)

        def hush(engine, job):
            job.emit(Audio.from_samples([0.0] * 800 * len(text), 16_000))

        return SpeechStream(lambda: self._source(hush)) if stream else stream


@pytest.mark.needs("audio")
def test_speech_that_is_silence(failures):
    found = failures(echo(Mute), "TTSSuite", only="heard or longer or bad or speed")
    assert found == {"test_speech_can_be_heard", "test_speed_is_kept_or_refused"}


class SaysAllAtOnce(EchoTTS):
    """Reads marks and digits out as they are written, and has no piece before it has the last."""

    def speak_stream(self, text, options=None):
        inner = super().speak_stream(text, options)

        async def whole():
            yield await inner.collect()

        return SpeechStream.of(whole())


class ReadsOtherMarks(EchoTTS):
    """Keeps a marked pause, and reads out every other mark."""

    def speak_stream(self, text, options=None):
        kept = text.replace('<break time="3s"/>', " " * 300) if isinstance(text, str) else text
        return super().speak_stream(kept, options)


@pytest.mark.needs("audio")
def test_speech_that_keeps_less_than_it_claims(failures):
    settings = "marks_pauses = reads_numbers = True"
    only = "pause or numbers_are_spoken or in_pieces or heard or repeatable"
    assert failures(echo(SaysAllAtOnce), "TTSSuite", settings, only) == {
        "test_a_marked_pause_is_kept",
        "test_numbers_are_spoken",
        "test_a_long_text_comes_in_pieces",
    }
    found = failures(echo(ReadsOtherMarks), "TTSSuite", settings, "pause or in_pieces")
    assert found == {"test_a_marked_pause_is_kept"}


class Mishears(EchoTranscription):
    def transcribe_stream(self, request):
        inner = super().transcribe_stream(request)

        def hear(engine, job):
            job.emit(TranscriptionChunk("yes"))

        return TranscriptionStream(lambda: self._source(hear)) if inner else inner


@pytest.mark.needs("audio")
def test_words_that_were_not_said(failures):
    settings = """words = ("seven", "ships")

    @pytest.fixture
    def speech(self):
        from blazen.types.audio import Audio
        return Audio.from_samples([0.1, -0.1] * 800, 16_000)"""
    found = failures(echo(Mishears), "TranscriptionSuite", settings, "heard or rise or repeatable")
    assert found == {
        "test_the_words_are_heard",
        "test_segments_rise_and_end_within_the_sound",
    }


class Careless(EchoTranscription):
    """Drops what it is asked for, reads live sound that it refuses, and counts backwards."""

    def transcribe_stream(self, request):
        asked = as_request(request)
        inner = super().transcribe_stream(dataclasses.replace(asked, diarize=False))

        async def read():
            if isinstance(asked.audio, LiveAudio):
                await asked.audio.collect()
                raise UnsupportedError("live sound is beyond it")
            for place, segment in enumerate((await inner.collect()).segments):
                yield TranscriptionChunk(f" {segment.text}", segment, position=1.0 - place)

        return TranscriptionStream.of(read())


@pytest.mark.needs("audio")
def test_requests_that_are_half_kept(failures):
    settings = """words = ("seven", "ships")

    @pytest.fixture
    def speech(self):
        import blazen
        from blazen.testing import EchoTTS
        return blazen.blocking(EchoTTS()).speak("seven ships")"""
    only = "progress or speakers or live_sound or repeatable"
    assert failures(echo(Careless), "TranscriptionSuite", settings, only) == {
        "test_progress_never_falls",
        "test_speakers_are_told_or_refused",
        "test_live_sound_is_followed_or_refused",
    }


class OneSize(EchoImage):
    def generate_stream(self, prompt, options=None):
        options = {**options, "width": 16} if isinstance(options, dict) else options
        return super().generate_stream(prompt, options)


def test_images_of_another_size(failures):
    found = failures(echo(OneSize), "ImageSuite", only="as_asked or seeds or repeatable")
    assert found == {"test_images_are_as_asked"}
