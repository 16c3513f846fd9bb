"""``/v1/chat/completions`` and ``/v1/models``, asked by OpenAI's own client on a real model."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field

import blazen
from blazen import CompletionOptions, Model

pytestmark = pytest.mark.needs("server", "clients", "openai", "xllamacpp", "starter:chat")

CHAT = [
    {"role": "system", "content": "You answer in one sentence."},
    {"role": "user", "content": "Name a colour of the rainbow, and say why you like it."},
]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}

ONE_CALL: dict[str, Any] = {"max_tokens": 100, "parallel_tool_calls": False}


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, **settings: Any) -> Any:
    chosen = {"model": "chat", "messages": CHAT, "temperature": 0, "max_tokens": 24, **settings}
    return client.chat.completions.create(**chosen)


def texts_of(chunks: list[Any], count: int = 1) -> list[str]:
    texts = [""] * count
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    return texts


def test_the_answer_is_the_sdks_own(client: openai.OpenAI) -> None:
    with blazen.blocking(Model.from_spec("xllamacpp:starter:chat")) as model:
        own = model.complete(CHAT, CompletionOptions(temperature=0, max_tokens=24))
    answer = ask(client)
    choice = answer.choices[0]
    assert choice.message.content == own.content
    assert choice.message.role == "assistant"
    assert choice.finish_reason == own.finish_reason.value == "length"
    assert answer.usage.prompt_tokens == own.usage.prompt_tokens
    assert answer.usage.completion_tokens == own.usage.completion_tokens == 24
    assert answer.usage.total_tokens == own.usage.total_tokens
    assert answer.model == "chat"
    assert answer.object == "chat.completion"
    assert answer.timings["tokens_per_second"] > 0
    assert answer.timings["decode_ms"] > 0


def test_a_stream_is_the_whole_in_pieces(client: openai.OpenAI) -> None:
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert texts_of(chunks) == [whole.choices[0].message.content]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:-1])
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > 10, "it came in one piece"
    reasons = [chunk.choices[0].finish_reason for chunk in chunks[:-1]]
    assert reasons == [None] * (len(reasons) - 1) + ["length"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 24
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].timings["tokens_per_second"] > 0


def test_a_stream_without_usage_ends_with_its_reason(client: openai.OpenAI) -> None:
    chunks = list(ask(client, stream=True))
    assert chunks[-1].choices[0].finish_reason == "length"
    assert chunks[-1].timings["decode_ms"] > 0
    assert all(chunk.usage is None for chunk in chunks)


def test_the_asynchronous_client(server: Any, client: openai.OpenAI) -> None:
    async def run() -> tuple[str, str]:
        async with openai.AsyncOpenAI(
            base_url=f"{server.url}/v1", api_key="none", max_retries=0
        ) as other:
            whole, stream = await asyncio.gather(
                ask(other),
                ask(other, stream=True),
            )
            chunks = [chunk async for chunk in stream]
            return whole.choices[0].message.content, texts_of(chunks)[0]

    assert asyncio.run(run()) == (ask(client).choices[0].message.content,) * 2


def test_a_seed_repeats_and_choices_differ(client: openai.OpenAI) -> None:
    settings: Any = {"temperature": 1.2, "n": 3, "seed": 11, "max_tokens": 12}
    first, second = ask(client, **settings), ask(client, **settings)
    said = [choice.message.content for choice in first.choices]
    assert said == [choice.message.content for choice in second.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert len(set(said)) == 3
    assert 12 < first.usage.completion_tokens <= 36, "not those of all choices"
    chunks = list(ask(client, **settings, stream=True))
    assert texts_of(chunks, 3) == said
    ends = [c.index for chunk in chunks for c in chunk.choices if c.finish_reason]
    assert sorted(ends) == [0, 1, 2]


def test_likelihoods_are_of_the_tokens_that_came(client: openai.OpenAI) -> None:
    answer = ask(client, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == 24
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    for token in tokens:
        assert bytes(token.bytes).decode() == token.token
        assert len(token.top_logprobs) == 3
        # Temperature 0 takes the likeliest.
        assert token.top_logprobs[0].token == token.token
        assert token.logprob == pytest.approx(token.top_logprobs[0].logprob, abs=1e-4)
        chances = [math.exp(other.logprob) for other in token.top_logprobs]
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) <= 1.001
    chunks = list(ask(client, logprobs=True, stream=True))
    streamed = [
        token.token
        for chunk in chunks
        for choice in chunk.choices
        if choice.logprobs
        for token in choice.logprobs.content
    ]
    assert streamed == [token.token for token in tokens]


def test_stop_ends_before_its_text(client: openai.OpenAI) -> None:
    whole = ask(client).choices[0].message.content
    word = whole.split()[5]
    answer = ask(client, stop=[word])
    assert answer.choices[0].message.content == whole[: whole.index(word)]
    assert answer.choices[0].finish_reason == "stop"
    assert ask(client, stop=word).choices[0].message.content == whole[: whole.index(word)]


def test_newer_and_other_names_of_settings(client: openai.OpenAI) -> None:
    short = ask(client, max_tokens=None, max_completion_tokens=4)
    assert short.usage.completion_tokens == 4
    # -1 is no limit: what ends it is the stop text, or the model itself.
    endless = ask(client, max_tokens=-1, stop=["."])
    assert endless.choices[0].finish_reason == "stop"
    extra = {"top_k": 1, "min_p": 0.1, "repeat_penalty": 1.0, "typical_p": 1.0}
    first = ask(client, temperature=1.5, extra_body=extra)
    assert first.choices[0].message.content == ask(client).choices[0].message.content


def test_logit_bias_forbids_tokens(client: openai.OpenAI) -> None:
    whole = ask(client, max_tokens=1).choices[0].message.content
    bias = {str(token): -100 for token in token_ids(whole)}
    other = ask(client, max_tokens=1, logit_bias=bias).choices[0].message.content
    assert other
    assert other != whole


def token_ids(text: str) -> list[int]:
    """The tokens whose text this is, with and without a space before it."""
    from blazen.weights.gguf import read_gguf
    from blazen.weights.starter import starter_path

    vocabulary = read_gguf(starter_path("chat")).metadata["tokenizer.ggml.tokens"]
    found = [place for place, token in enumerate(vocabulary) if token in (text, f"\u0120{text}")]
    assert found
    return found


class Person(BaseModel):
    name: str = Field(max_length=10)
    age: Literal[7, 8, 9]
    likes: list[Literal["tea", "rain"]] = Field(max_length=2)


def test_a_schema_is_enforced(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="chat",
        messages=[{"role": "user", "content": "Make up a person with one hobby. Be brief."}],
        response_format=Person,
        temperature=0,
        max_tokens=200,
        seed=1,
    )
    person = answer.choices[0].message.parsed
    assert isinstance(person, Person)
    assert person == Person.model_validate_json(answer.choices[0].message.content or "")
    colour: dict[str, Any] = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}}
    colour |= {"required": ["colour"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "colour", "schema": colour}}
    chunks = list(ask(client, response_format=wanted, stream=True, temperature=2))
    assert json.loads(texts_of(chunks)[0])["colour"] in ("red", "blue")


def test_any_json(client: openai.OpenAI) -> None:
    answer = ask(client, response_format={"type": "json_object"}, max_tokens=400, stop=None)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)
    assert answer.choices[0].message.content.lstrip().startswith("{")


def test_json_that_is_cut_is_an_answer_all_the_same(client: openai.OpenAI) -> None:
    wanted: Any = {
        "type": "json_schema",
        "json_schema": {"name": "p", "schema": Person.model_json_schema()},
    }
    whole = ask(client, response_format=wanted, max_tokens=4)
    assert whole.choices[0].finish_reason == "length"
    assert whole.choices[0].message.content.startswith("{")
    chunks = list(ask(client, response_format=wanted, max_tokens=4, stream=True))
    assert texts_of(chunks) == [whole.choices[0].message.content]
    assert chunks[-1].choices[0].finish_reason == "length"


def test_a_tool_is_called_and_its_answer_taken(client: openai.OpenAI) -> None:
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Rome?"}]
    answer = ask(client, messages=asked, tools=[WEATHER], tool_choice="required", **ONE_CALL)
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls[:1]
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")
    asked += [
        choice.message.model_dump(exclude_none=True),
        *(
            {"role": "tool", "tool_call_id": one.id, "content": "It is sunny, 25 degrees."}
            for one in choice.message.tool_calls
        ),
    ]
    last = ask(client, messages=asked, tools=[WEATHER], tool_choice="none")
    assert last.choices[0].message.content
    assert last.choices[0].message.tool_calls is None
    asked[-1]["content"] = f"{asked[-1]['content']} Tomorrow it will rain."
    longer = ask(client, messages=asked, tools=[WEATHER], tool_choice="none", max_tokens=1)
    assert longer.usage.prompt_tokens == pytest.approx(last.usage.prompt_tokens + 5, abs=1)


def test_a_streamed_call_is_the_whole_one(client: openai.OpenAI) -> None:
    settings: Any = {
        "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        **ONE_CALL,
    }
    whole = ask(client, **settings).choices[0].message.tool_calls[0]
    name, arguments, ids = "", "", set()
    chunks = list(ask(client, **settings, stream=True))
    for chunk in chunks:
        for delta in chunk.choices[0].delta.tool_calls or ():
            assert delta.index == 0
            name += delta.function.name or ""
            arguments += delta.function.arguments or ""
            ids.add(delta.id)
    assert name == "weather"
    assert arguments == whole.function.arguments
    assert len(ids - {None}) == 1
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_only_allowed_tools_are_shown(client: openai.OpenAI) -> None:
    other = {"type": "function", "function": {"name": "other", "parameters": {"type": "object"}}}
    choice = {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "required",
            "tools": [{"type": "function", "function": {"name": "weather"}}],
        },
    }
    answer = ask(client, tools=[other, WEATHER], tool_choice=choice, **ONE_CALL)
    called = {call.function.name for call in answer.choices[0].message.tool_calls}
    assert called == {"weather"}


def test_texts_in_parts_are_one_text(client: openai.OpenAI) -> None:
    parts = [{"type": "text", "text": "Say hello"}, {"type": "text", "text": "to me."}]
    one = ask(client, messages=[{"role": "user", "content": parts}])
    other = ask(client, messages=[{"role": "user", "content": "Say hello\nto me."}])
    assert one.choices[0].message.content == other.choices[0].message.content
    developer = ask(client, messages=[{"role": "developer", "content": "Be brief."}, CHAT[1]])
    system = ask(client, messages=[{"role": "system", "content": "Be brief."}, CHAT[1]])
    assert developer.choices[0].message.content == system.choices[0].message.content


def test_models_are_listed(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert set(models) == {"chat", "embed", "transcribe", "speak"}
    assert client.models.retrieve("chat") == models["chat"]
    assert models["chat"].kind == "model"
    assert models["speak"].kind == "tts"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nothing/like-it")
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert "nothing/like-it" in caught.value.message


def test_the_default_model_answers_where_none_is_named(server: Any) -> None:
    import httpx

    body = {"messages": CHAT, "max_tokens": 2}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=120).json()
    assert answer["model"] == "chat"
    assert answer["usage"]["completion_tokens"] == 2


def test_a_prompt_that_is_too_long(client: openai.OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, messages=[{"role": "user", "content": "word " * 30_000}], stream=stream)
        assert caught.value.code == "context_length_exceeded"
        assert "30" in caught.value.message
