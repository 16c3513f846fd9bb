"""``/v1/completions``, asked by OpenAI's own client on a real model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import openai
import pytest

import blazen
from blazen import CompletionOptions, Model, Prompt
from blazen.weights.gguf import read_gguf
from blazen.weights.starter import starter_path

pytestmark = pytest.mark.needs("server", "clients", "openai", "xllamacpp", "starter:chat")

FRANCE = "The capital of France is"


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, prompt: Any = FRANCE, **settings: Any) -> Any:
    chosen = {"model": "chat", "prompt": prompt, "temperature": 0, "max_tokens": 12, **settings}
    return client.completions.create(**chosen)


def texts_of(chunks: list[Any], count: int = 1) -> list[str]:
    texts = [""] * count
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    return texts


def test_the_text_is_the_sdks_own(client: openai.OpenAI) -> None:
    with blazen.blocking(Model.from_spec("xllamacpp:starter:chat")) as model:
        options = CompletionOptions(temperature=0, max_tokens=12)
        own = model.complete(Prompt(FRANCE), options)
    answer = ask(client)
    assert answer.choices[0].text == own.content
    assert "Paris" in own.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.prompt_tokens == own.usage.prompt_tokens
    assert answer.usage.completion_tokens == 12
    assert answer.object == "text_completion"


def test_a_stream_is_the_whole_in_pieces(client: openai.OpenAI) -> None:
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert texts_of(chunks) == [whole.choices[0].text]
    assert len(chunks) > 6
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert [c.choices[0].finish_reason for c in chunks[:-1]][-1] == "length"
    bare = list(ask(client, stream=True))
    assert texts_of(bare) == [whole.choices[0].text]
    assert bare[-1].choices[0].finish_reason == "length"


def test_several_prompts_in_order(client: openai.OpenAI) -> None:
    one, other = ask(client), ask(client, "1 2 3 4")
    both = ask(client, [FRANCE, "1 2 3 4"], n=1)
    assert [c.text for c in both.choices] == [one.choices[0].text, other.choices[0].text]
    assert both.usage.prompt_tokens == one.usage.prompt_tokens + other.usage.prompt_tokens
    assert both.usage.completion_tokens == 24
    chunks = list(ask(client, [FRANCE, "1 2 3 4"], stream=True))
    assert texts_of(chunks, 2) == [c.text for c in both.choices]


def test_token_ids_are_as_good_as_their_text(client: openai.OpenAI) -> None:
    vocabulary = read_gguf(starter_path("chat")).metadata["tokenizer.ggml.tokens"]
    place = {token: number for number, token in enumerate(vocabulary)}
    words = FRANCE.split()
    ids = [place[words[0]], *(place[f"\u0120{word}"] for word in words[1:])]
    text = ask(client).choices[0].text
    assert ask(client, ids).choices[0].text == text
    assert [c.text for c in ask(client, [ids, ids]).choices] == [text, text]
    with pytest.raises(openai.BadRequestError, match="vocabulary"):
        ask(client, [len(vocabulary)])


def test_likelihoods_in_columns(client: openai.OpenAI) -> None:
    choice = ask(client, logprobs=2).choices[0]
    told = choice.logprobs
    assert "".join(told.tokens) == choice.text
    assert len(told.token_logprobs) == len(told.top_logprobs) == 12
    for token, logprob, top, offset in zip(
        told.tokens, told.token_logprobs, told.top_logprobs, told.text_offset, strict=True
    ):
        assert choice.text[offset : offset + len(token)] == token
        assert top[token] == pytest.approx(logprob, abs=1e-4)
        assert sum(math.exp(value) for value in top.values()) <= 1.001
    chunks = list(ask(client, logprobs=2, stream=True))
    parts = [c.choices[0].logprobs for c in chunks if c.choices[0].logprobs]
    assert [token for part in parts for token in part.tokens] == told.tokens
    assert [offset for part in parts for offset in part.text_offset] == told.text_offset


def test_echo_puts_the_prompt_first(client: openai.OpenAI) -> None:
    text = ask(client).choices[0].text
    assert ask(client, echo=True).choices[0].text == FRANCE + text
    assert texts_of(list(ask(client, echo=True, stream=True))) == [FRANCE + text]


def test_the_best_of_several(client: openai.OpenAI) -> None:
    settings: Any = {"temperature": 1.5, "seed": 3, "max_tokens": 6, "logprobs": 0}
    candidates = ask(client, n=4, **settings)

    def likelihood(choice: Any) -> float:
        return float(sum(choice.logprobs.token_logprobs)) / len(choice.logprobs.token_logprobs)

    best = sorted(candidates.choices, key=likelihood, reverse=True)[:2]
    given = ask(client, best_of=4, n=2, **settings)
    assert [c.text for c in given.choices] == [c.text for c in best]
    assert [c.index for c in given.choices] == [0, 1]
    assert given.usage.completion_tokens == candidates.usage.completion_tokens
    plain = ask(client, best_of=4, **{**settings, "logprobs": None})
    assert plain.choices[0].text == best[0].text
    assert plain.choices[0].logprobs is None


def test_stop_and_shape(client: openai.OpenAI) -> None:
    answer = ask(client, stop=["."], max_tokens=50)
    assert answer.choices[0].finish_reason == "stop"
    assert "." not in answer.choices[0].text
    schema = {"enum": ["Paris", "Rome"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    shaped = ask(client, extra_body={"response_format": wanted}).choices[0].text
    assert shaped in ('"Paris"', '"Rome"')


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"suffix": "the end"}, "suffix"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"prompt": [1, 2], "echo": True}, "echo"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"prompt": ["a"] * 100, "n": 2}, "n"),
        ({"logprobs": 21}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"prompt": []}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"temperature": -1}, "temperature"),
    ],
)
def test_what_can_not_be_had_is_refused(
    client: openai.OpenAI, settings: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **settings)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
