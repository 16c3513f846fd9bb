"""OpenAI's client against engines' own OpenAI servers, on real weights and over real HTTP.

Two servers: that of llama-cpp-python, which also stands the shipped suites, and llama.cpp's own, as
xllamacpp carries it. What they do other than OpenAI is what the rows of the gateways say.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

pytest.importorskip("uvicorn", reason="llama-cpp-python's server needs its extra 'server'")
pytest.importorskip("fastapi")
pytest.importorskip("sse_starlette")

import blazen
from blazen import (
    ChatMessage,
    CompletionOptions,
    EmbeddingModel,
    FinishReason,
    Model,
    ResponseFormat,
    Tool,
)
from blazen.errors import AuthError, ContextLengthError
from blazen.testing import EmbeddingSuite, ModelSuite
from blazen.testing.embedding import cosine
from blazen.weights.starter import starter_path
from tests.chat.templates import NAMED
from tests.encoders import write_minilm
from tests.openai_servers import CONTEXT, KEY, llama_cpp_python, llama_server

pytestmark = pytest.mark.needs("openai", "llamacpp", "xllamacpp", "starter:chat", "starter:embed")

COLD = CompletionOptions(max_tokens=12, temperature=0)


@pytest.fixture(scope="module")
def python_url():
    with llama_cpp_python(starter_path("chat")) as url:
        yield url


@pytest.fixture(scope="module")
def server_url():
    with llama_server(starter_path("chat"), template=NAMED) as url:
        yield url


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    return write_minilm(tmp_path_factory.mktemp("model") / "minilm.gguf", starter_path("embed"))


@pytest.fixture(scope="module")
def python_vectors_url(minilm):
    with llama_cpp_python(minilm, embeds=True) as url:
        yield url


@pytest.fixture(scope="module")
def server_vectors_url(minilm):
    with llama_server(minilm, embeds=True) as url:
        yield url


def python_model(url, **settings):
    return Model.openai(
        "starter", gateway="llamacpp-python", base_url=url, **{"api_key": KEY, **settings}
    )


def server_model(url, **settings):
    return Model.openai("starter", gateway="llamacpp", base_url=url, **{"api_key": KEY, **settings})


def vectors_of(url, gateway):
    return EmbeddingModel.openai("starter", gateway=gateway, base_url=url, api_key=KEY)


def closing(model):
    """Close the connections of the blocking callers' loop, which has no end of its own."""
    yield model
    blazen.blocking(model).aclose()


class TestLlamaCppPython(ModelSuite):
    """The shipped suite on llama-cpp-python's server, which answers one request at a time."""

    max_tokens = 4
    long_max_tokens = 16
    concurrency = 2
    too_long_prompt = "word " * CONTEXT

    # These are about this side of the wire, and shown where the server costs nothing.
    test_a_stream_begins_in_any_way = None
    test_leaving_a_stream_frees_the_model = None
    test_closing_twice_and_reading_on_are_harmless = None
    test_a_stream_that_nobody_starts_costs_nothing = None
    test_leaving_a_stream_stops_the_engine = None
    test_streams_without_a_loop = None
    test_the_loop_goes_on_while_the_engine_works = None
    test_two_loops_at_once = None

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, python_url):
        yield from closing(python_model(python_url))

    def same(self, answer, expected):
        """Its streams carry no usage, so that a count of ours stands in its place."""
        return (answer.content, answer.finish_reason) == (expected.content, expected.finish_reason)


class TestLlamaCppPythonVectors(EmbeddingSuite):
    """The shipped suite on the vectors of llama-cpp-python's server."""

    concurrency = 2
    long_count = 8

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, python_vectors_url):
        yield from closing(vectors_of(python_vectors_url, "llamacpp-python"))


@pytest.fixture(params=["llamacpp-python", "llamacpp"])
def model(request):
    """Either server's model."""
    if request.param == "llamacpp":
        return server_model(request.getfixturevalue("server_url"), retry={"times": 0})
    return python_model(request.getfixturevalue("python_url"), retry={"times": 0})


async def test_it_says_what_the_same_engine_says_without_a_server(python_url):
    question = "Which animal says meow?"
    model = python_model(python_url)
    async with Model.llamacpp("starter:chat", context_length=CONTEXT, threads=1) as local:
        # The server's own habits, which a request does not name.
        habits = CompletionOptions(
            max_tokens=24, temperature=0, top_p=0.95, min_p=0.05, top_k=40, repeat_penalty=1.1
        )
        expected = await local.complete(question, habits)
    answer = await model.complete(question, {"max_tokens": 24, "temperature": 0})
    assert answer.content == expected.content
    assert "cat" in answer.content
    assert answer.finish_reason is expected.finish_reason is FinishReason.Stop
    assert answer.usage.prompt_tokens == expected.usage.prompt_tokens
    await model.aclose()


async def test_it_is_told_which_model_answers_and_what_it_took(model):
    stream = model.complete_stream("Which animal says meow?", COLD)
    pieces = [chunk async for chunk in stream]
    answer = stream.response
    assert answer.model == "starter"
    assert "".join(piece.content or "" for piece in pieces) == answer.content
    assert len([piece for piece in pieces if piece.content]) > 3
    # llama-cpp-python's server tells no usage of a stream.
    assert answer.usage.estimated is (model.options.gateway == "llamacpp-python")
    assert answer.usage.estimated or answer.usage.completion_tokens == 12
    assert 0 < answer.usage.completion_tokens <= 12
    assert answer.usage.cost is None
    await model.aclose()


async def test_a_conversation_is_heard(model):
    dog = [
        ChatMessage.system("You are a helpful assistant."),
        ChatMessage.user("I have a dog called Rex."),
        ChatMessage.assistant("Rex is a fine name for a dog."),
        ChatMessage.user("What is my dog called?"),
    ]
    assert "Rex" in (await model.complete(dog, COLD)).content
    await model.aclose()


@dataclass
class Animal:
    legs: int
    tame: bool


async def test_an_answer_is_held_to_its_shape(model):
    options = {"response_format": Animal, "max_tokens": 60, "temperature": 0}
    answer = await model.complete("Describe a heron, as JSON.", options)
    assert isinstance(answer.parsed, Animal)
    plate = ResponseFormat.regex(r"[A-F]{2}-[0-9]{3}")
    stream = model.complete_stream("A number plate.", {"response_format": plate, "max_tokens": 20})
    async for _ in stream:
        pass
    assert plate.parse(stream.response.content) == stream.response.parsed
    await model.aclose()


CLOCK = Tool(
    "clock",
    "The time in a city.",
    {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
)


async def test_a_named_tool_is_called_and_its_answer_is_read(model):
    question = [ChatMessage.user("What time is it in Oslo?")]
    options = CompletionOptions(
        tools=[CLOCK],
        tool_choice="clock",
        parallel_tool_calls=model.options.gateway == "llamacpp-python",  # which has no such setting
        max_tokens=60,
        temperature=0,
    )
    whole = await model.complete(question, options)
    stream = model.complete_stream(question, options)
    async for _ in stream:
        pass
    for answer in (whole, stream.response):
        assert answer.finish_reason is FinishReason.ToolCalls
        assert answer.tool_calls[0].name == "clock"
        assert answer.tool_calls[0].parsed()["city"] in ("Paris", "Oslo")
        assert len({call.id for call in answer.tool_calls}) == len(answer.tool_calls)
    question.append(whole.message)
    question += [ChatMessage.tool("noon", tool_call_id=call.id) for call in whole.tool_calls]
    last = await model.complete(question, {"max_tokens": 8, "temperature": 0})
    assert last.content
    await model.aclose()


async def test_what_does_not_fit_is_told_with_its_numbers(model):
    with pytest.raises(ContextLengthError) as raised:
        await model.complete("word " * CONTEXT, COLD)
    assert raised.value.tokens > raised.value.limit == CONTEXT
    await model.aclose()


async def test_a_wrong_key_is_refused(python_url, server_url):
    for model in (python_model(python_url, api_key="no"), server_model(server_url, api_key="no")):
        for request in (model.complete("Hello!"), model.complete_stream("Hello!").collect()):
            with pytest.raises(AuthError) as raised:
                await request
            assert raised.value.status == 401
        await model.aclose()


async def test_who_leaves_frees_the_server_for_the_next(model):
    long = {"max_tokens": 800, "temperature": 0, "logit_bias": {2: -100.0}}
    stream = model.complete_stream("Write a very long story.", long)
    async with stream:
        async for chunk in stream:
            if chunk.content:
                break
    assert stream.response.finish_reason is FinishReason.Cancelled
    # It would take ten seconds and more to write that story to its end.
    answer = await asyncio.wait_for(model.complete("Say yes.", {"max_tokens": 2}), 8)
    assert answer.content
    await model.aclose()


async def test_an_image_is_not_passed_over_by_a_server_that_can_not_see(model):
    from blazen import Image

    seen = Image.from_array([[(1.0, 0.0, 0.0)] * 4] * 4)
    with pytest.raises(blazen.BlazenError):
        await model.complete([ChatMessage.user("What is this?", seen)], COLD)
    await model.aclose()


async def test_vectors_are_those_of_the_engine_itself(
    python_vectors_url, server_vectors_url, minilm
):
    texts = ["a cat sleeps on the warm roof", "the stock market fell sharply today"]
    async with EmbeddingModel.llamacpp(minilm, threads=1) as local:
        expected = (await local.embed(texts)).embeddings
    for url, gateway in (
        (python_vectors_url, "llamacpp-python"),
        (server_vectors_url, "llamacpp"),
    ):
        model = vectors_of(url, gateway)
        found = await model.embed(texts)
        assert found.dimensions == 384
        assert found.usage.tokens > 10
        for mine, theirs in zip(found.embeddings, expected, strict=True):
            assert cosine(mine, theirs) > 0.999
        await model.aclose()
