"""Embeddings through OpenAI's SDK, against a server that speaks the published API."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
from array import array

import pytest

pytest.importorskip("openai")

import blazen
from blazen import (
    EmbeddingModel,
    ProviderError,
    ProviderOptions,
    UnsupportedError,
    ValidationError,
)
from blazen.remote.prices import Price
from blazen.testing import EmbeddingSuite
from blazen_openai.embedding import OpenAiEmbedding
from tests.remote.misbehaving import answering, serving, serving_apart
from tests.wire.faults import FAULTS, Speech, check
from tests.wire.openai_media import KEY, media, packed_row


@pytest.fixture(scope="module")
def url():
    with serving_apart(media()) as server:
        yield server.url


def made(url, model=None, **settings) -> OpenAiEmbedding:
    return OpenAiEmbedding(
        OpenAiEmbedding.Options(model, **{"api_key": KEY, "base_url": url, **settings})
    )


class TestOpenAiEmbedding(EmbeddingSuite):
    @pytest.fixture
    def model(self, url):
        return made(url)


class TestOpenAiEmbeddingInSmallGroups(EmbeddingSuite):
    """So that each call of several texts is several requests."""

    @pytest.fixture
    def model(self, url):
        return made(url, max_batch_size=2, parallel=3)


def vectors(*rows, **more):
    data = [
        {"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return {"object": "list", "data": data, "model": "m-2", "usage": usage, **more}


async def embedded(answer, *texts, **settings):
    async with serving(answering(answer)) as server:
        model = made(server.url, **settings)
        try:
            return await model.embed(texts or ["one", "two"]), server
        finally:
            await model.aclose()


async def test_vectors_are_asked_for_packed():
    answer, server = await embedded(vectors(packed_row([1.0, 0.0]), packed_row([0.5, -2.0])))
    assert answer.embeddings.tolist() == [[1.0, 0.0], [0.5, -2.0]]
    assert (answer.model, answer.usage.tokens) == ("m-2", 3)
    assert json.loads(server.asked[0].body) == {
        "model": "text-embedding-3-small",
        "input": ["one", "two"],
        "encoding_format": "base64",
    }


async def test_numbers_near_the_end_of_the_range_are_taken():
    rows = [[3.4e38, -3.4e38], [1e-45, -0.0]]
    answer, _ = await embedded(vectors(*map(packed_row, rows)))
    assert answer.embeddings.tolist() == [list(array("f", row)) for row in rows]


async def test_vectors_that_come_unpacked_are_taken():
    answer, _ = await embedded(vectors([1, 0.25], [0.5, -2.0]))
    assert answer.embeddings.tolist() == [[1.0, 0.25], [0.5, -2.0]]


async def test_the_index_decides_which_text_a_vector_belongs_to():
    body = vectors(packed_row([1.0]), packed_row([2.0]), packed_row([3.0]))
    body["data"].reverse()
    answer, _ = await embedded(body, "one", "two", "three")
    assert answer.embeddings.tolist() == [[1.0], [2.0], [3.0]]


def spoilt(change):
    body = vectors(packed_row([1.0, 2.0]), packed_row([3.0, 4.0]))
    change(body)
    return body


SPOILT = {
    "NaN": (lambda b: b["data"][1].update(embedding=packed_row([1.0, float("nan")])), "NaN"),
    "infinity": (lambda b: b["data"][1].update(embedding=packed_row([float("inf"), 1])), "NaN"),
    "opposite infinities": (
        lambda b: b["data"][1].update(embedding=packed_row([float("inf"), float("-inf")])),
        "NaN",
    ),
    "a number too large": (lambda b: b["data"][1].update(embedding=[1e300, 1.0]), "NaN"),
    "another length": (lambda b: b["data"][1].update(embedding=packed_row([1.0])), "1 numbers"),
    "no numbers": (lambda b: b["data"][0].update(embedding=""), "0 numbers"),
    "half a number": (lambda b: b["data"][1].update(embedding="AAAAAAA="), "1.25 numbers"),
    "half a number behind a large one": (
        lambda b: b["data"][1].update(embedding="AAAAfwA="),
        "1.25 numbers",
    ),
    "no base64": (lambda b: b["data"][1].update(embedding="?" * 12), "can't be understood"),
    "texts": (lambda b: b["data"][1].update(embedding=["a", "b"]), "can't be understood"),
    "nothing": (lambda b: b["data"][1].update(embedding=None), "can't be understood"),
    "a number for a vector": (lambda b: b["data"][1].update(embedding=7), "can't be understood"),
    "one too few": (lambda b: b["data"].pop(), "1 vectors for 2 texts"),
    "one too many": (lambda b: b["data"].append(b["data"][0]), "3 vectors for 2 texts"),
    "the same twice": (lambda b: b["data"][1].update(index=0), "two vectors"),
    "an index beyond the end": (lambda b: b["data"][1].update(index=2), "text at 2"),
    "an index below 0": (lambda b: b["data"][1].update(index=-1), "text at -1"),
    "an index that is text": (lambda b: b["data"][1].update(index="1"), "index"),
    "an index that is true": (lambda b: b["data"][1].update(index=True), "index"),
    "no data": (lambda b: b.pop("data"), "data"),
    "data that is text": (lambda b: b.update(data="vectors"), "data"),
}


@pytest.mark.parametrize("what", SPOILT)
async def test_what_is_no_answer_is_refused(what):
    change, said = SPOILT[what]
    with pytest.raises(ProviderError, match=said) as caught:
        await embedded(spoilt(change))
    assert KEY not in str(caught.value)


async def test_usage_that_is_missing_is_not_made_up():
    assert (await embedded(vectors([1.0], [2.0], usage=None)))[0].usage is None


async def test_how_vectors_were_made_is_known_of_openais_own():
    known, _ = await embedded(vectors([1.0], [2.0]))
    assert (known.recipe.normalized, known.recipe.max_length) == (True, 8192)
    other, _ = await embedded(vectors([1.0], [2.0]), model="nomic-embed-text")
    assert other.recipe is None


async def test_to_cancel_a_call_closes_its_connections():
    async def behave(wire, request):
        await wire.until_left()

    async with serving(behave) as server:
        model = made(server.url, max_batch_size=1, parallel=2)
        task = asyncio.create_task(model.embed(["one", "two", "three"]))
        await asyncio.wait_for(server.arrived.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.until_all_left(), 20)
        await model.aclose()
    assert asyncio.all_tasks() - server._tasks == {asyncio.current_task()}


async def test_many_texts_go_in_several_requests_at_once():
    texts = [f"text number {number}" for number in range(11)]
    at_once = most = 0
    free = asyncio.Event()
    api = media()

    async def busy(wire, request):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == 3:  # none is answered before as many as may be are there
            free.set()
        await free.wait()
        at_once -= 1
        await api(wire, request)

    async with serving(busy) as server:
        model = made(server.url, max_batch_size=2, parallel=3, price=Price(2.0))
        answer = await model.embed(texts)
        await model.aclose()
    asked = [json.loads(request.body)["input"] for request in server.asked]
    assert sorted(text for group in asked for text in group) == sorted(texts)
    assert [len(group) for group in sorted(asked, key=len)] == [1, 2, 2, 2, 2, 2]
    assert most == 3
    assert answer.usage.tokens == 3 * 11
    assert answer.usage.cost == pytest.approx(2.0 * 33 / 1_000_000)
    async with serving(api) as server:
        whole = made(server.url)
        assert (await whole.embed(texts)).embeddings == answer.embeddings
        assert len(server.asked) == 1
        await whole.aclose()


async def test_groups_are_limited_by_their_bytes():
    texts = ["a" * 6, "é" * 3, "b" * 30, "c", "d"]
    async with serving(media()) as server:
        model = made(server.url, max_batch_bytes=12, parallel=1)
        answer = await model.embed(texts)
        await model.aclose()
    asked = [json.loads(request.body)["input"] for request in server.asked]
    assert asked == [texts[:2], texts[2:3], texts[3:]]
    assert len(answer.embeddings) == 5


async def test_a_group_that_fails_ends_the_others():
    async def behave(wire, request):
        if json.loads(request.body)["input"] == ["bad"]:
            await wire.answer({"error": {"message": "no", "type": "invalid_request_error"}}, 400)
        else:
            await wire.until_left()

    async with serving(behave) as server:
        model = made(server.url, max_batch_size=1, parallel=3)
        with pytest.raises(ProviderError, match="no"):
            await asyncio.wait_for(model.embed(["good", "well", "bad", "never"]), 20)
        await model.aclose()
        await asyncio.wait_for(server.until_all_left(), 20)
    assert len(server.asked) == 3
    assert asyncio.all_tasks() - server._tasks == {asyncio.current_task()}


async def test_vectors_can_be_shortened(url):
    model = made(url, dimensions=8)
    answer = await model.embed(["some words", "and others"])
    assert answer.dimensions == 8
    await model.aclose()
    with pytest.raises(ProviderError, match="2 numbers where 8 are due"):
        await embedded(vectors(packed_row([1.0, 0.0]), packed_row([1.0, 0.0])), dimensions=8)


async def test_a_text_that_is_too_long_is_a_context_length_error(url):
    model = made(url)
    with pytest.raises(blazen.ContextLengthError):
        await model.embed("word " * 9000)
    await model.aclose()


def test_what_it_can_not_do_is_refused_by_name(url):
    with pytest.raises(UnsupportedError, match="dimensions=256"):
        made(url, "text-embedding-ada-002", dimensions=256)
    with pytest.raises(UnsupportedError, match="Groq offers no embedding"):
        made(None, "any", gateway="groq")
    with pytest.raises(ValidationError, match="Give model"):
        made(None, gateway="mistral")
    with pytest.raises(ValidationError, match="parallel"):
        made(url, parallel=0)


async def test_an_empty_text_is_refused_before_it_is_sent():
    with pytest.raises(ValidationError, match=r"texts\[1\] is empty"):
        await embedded(vectors([1.0], [2.0]), "one", "")


LAZY = """
import sys
from blazen import TTS, EmbeddingModel, ImageGeneration, Transcription

for kind in (EmbeddingModel, Transcription, TTS, ImageGeneration):
    repr(kind.openai(api_key="a-key"))
heavy = {"openai", "httpx2", "numpy", "PIL", "av"} & set(sys.modules)
assert not heavy, heavy
"""


def test_nothing_is_imported_before_the_first_request():
    subprocess.run([sys.executable, "-c", LAZY], check=True)


def test_it_is_made_by_its_factory(url, monkeypatch):
    model = EmbeddingModel.openai("text-embedding-3-large", api_key=KEY, base_url=url)
    assert isinstance(model, OpenAiEmbedding)
    assert "text-embedding-3-large" in repr(model)
    assert KEY not in repr(model) + repr(model.options)
    with pytest.raises(ValidationError, match="not pickled"):
        pickle.dumps(model)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    copy = pickle.loads(pickle.dumps(made(url, api_key=None, dimensions=8)))
    assert copy.options.dimensions == 8
    plain = OpenAiEmbedding(ProviderOptions(api_key=KEY))
    assert "api.openai.com" in repr(plain)
    assert "text-embedding-3-small" in repr(plain)


async def test_one_answer_of_the_largest_size_does_not_hold_the_loop():
    rows = [packed_row(array("f", [0.5]) * 3072) for _ in range(64)]
    answer, _ = await embedded(vectors(*rows), *(f"text {number}" for number in range(64)))
    assert (len(answer.embeddings), answer.dimensions) == (64, 3072)
    assert answer.embeddings[63][3071] == 0.5


# Faults.


def refusal(status, message):
    return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}


async def ask(model, streamed):
    return await model.embed(["one", "two"])


SPEECH = Speech(
    name="openai",
    model=lambda url, **settings: made(
        f"{url}/v1", **{"gateway": "openai", "max_bytes": "32MiB", **settings}
    ),
    whole=vectors(packed_row([1.0, 2.0]), packed_row([3.0, 4.0])),
    events=(),
    refusal=refusal,
    error_event="",
    odd=vectors(7, {"a": None}, usage="much", model=[]),
    odd_event="",
    ask=ask,
)


@pytest.mark.parametrize("fault", FAULTS)
async def test_faults(fault):
    await check(SPEECH, fault, streamed=False)
