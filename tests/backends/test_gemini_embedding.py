"""Gemini's embeddings, by the official SDK, against a server that speaks its API."""

from __future__ import annotations

import math
import pickle

import pytest

pytest.importorskip("google.genai")

from blazen import AuthError, EmbeddingModel, ProviderError, ValidationError
from blazen.options.gemini import GeminiEmbeddingOptions
from blazen.options.provider import ProviderOptions
from blazen.remote.prices import Price
from blazen.testing import EmbeddingSuite
from blazen_gemini import GeminiEmbedding
from tests.remote.misbehaving import answering, serving, serving_apart
from tests.wire.gemini import KEY, GeminiWire

OLD = "gemini-embedding-001"


def made(url: str, **settings) -> GeminiEmbedding:
    return GeminiEmbedding(GeminiEmbeddingOptions(**{"api_key": KEY, "base_url": url, **settings}))


@pytest.fixture(scope="module")
def api():
    with serving_apart(GeminiWire(pause=0.0005)) as server:
        yield server


class TestGeminiEmbedding(EmbeddingSuite):
    """The suite of embedding models."""

    @pytest.fixture
    def model(self, api):
        return made(api.url)


class TestOlderGeminiEmbedding(EmbeddingSuite):
    """The same for a model that is told the task by a field, with shorter vectors."""

    @pytest.fixture
    def model(self, api):
        return made(api.url, model=OLD, dimensions=48, batch_size=16)


async def sent(*, query: bool = False, texts=("one", "two"), **settings):
    """What one call becomes on the wire, and what comes of it."""
    wire = GeminiWire()
    async with serving(wire) as server:
        model = made(server.url, **settings)
        answer = await (model.embed_query if query else model.embed)(list(texts))
        await model.aclose()
    assert {path.rpartition(":")[2] for path in wire.paths} == {"batchEmbedContents"}
    return wire.bodies, answer


PURPOSES = {
    "retrieval": ("RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY", "search result"),
    "question": ("RETRIEVAL_DOCUMENT", "QUESTION_ANSWERING", "question answering"),
    "facts": ("RETRIEVAL_DOCUMENT", "FACT_VERIFICATION", "fact checking"),
    "code": ("RETRIEVAL_DOCUMENT", "CODE_RETRIEVAL_QUERY", "code retrieval"),
    "similarity": ("SEMANTIC_SIMILARITY", "SEMANTIC_SIMILARITY", "sentence similarity"),
    "classification": ("CLASSIFICATION", "CLASSIFICATION", "classification"),
    "clustering": ("CLUSTERING", "CLUSTERING", "clustering"),
}


@pytest.mark.parametrize("purpose", PURPOSES)
async def test_an_older_model_is_told_the_task_by_a_field(purpose):
    passage, query, _ = PURPOSES[purpose]
    for is_query, task in ((False, passage), (True, query)):
        (body,), answer = await sent(query=is_query, model=OLD, purpose=purpose)
        assert body["requests"] == [
            {
                "model": f"models/{OLD}",
                "content": {"role": "user", "parts": [{"text": text}]},
                "taskType": task,
            }
            for text in ("one", "two")
        ]
        assert answer.recipe is not None
        assert answer.recipe.prefix == task


@pytest.mark.parametrize("purpose", PURPOSES)
async def test_a_newer_model_is_told_the_task_in_the_text(purpose):
    passage, query, words = PURPOSES[purpose]
    of_query = f"task: {words} | query: "
    of_passage = of_query if passage == query else "title: none | text: "
    for is_query, prefix in ((False, of_passage), (True, of_query)):
        (body,), answer = await sent(query=is_query, purpose=purpose)
        # One vector for each: the SDK would make one of all, were they given as texts.
        assert [one["content"]["parts"] for one in body["requests"]] == [
            [{"text": f"{prefix}one"}],
            [{"text": f"{prefix}two"}],
        ]
        assert all("taskType" not in one for one in body["requests"])
        assert answer.recipe is not None
        assert answer.recipe.prefix == prefix
        assert len(answer.embeddings) == 2


async def test_many_texts_go_in_batches_and_come_back_in_order():
    texts = [f"text {number}" for number in range(7)]
    bodies, answer = await sent(texts=texts, batch_size=3)
    assert [len(body["requests"]) for body in bodies] == [3, 3, 1]
    _, alone = await sent(texts=texts[-1:])
    assert list(answer.embeddings[-1]) == pytest.approx(list(alone.embeddings[0]))
    assert answer.usage is not None
    assert answer.usage.tokens > 7


async def test_shorter_vectors_have_length_1_all_the_same():
    (body,), answer = await sent(model=OLD, dimensions=48, texts=("a cab", "a deaf man"))
    assert {one["outputDimensionality"] for one in body["requests"]} == {48}
    assert answer.dimensions == 48
    for row in answer.embeddings:
        assert math.fsum(number * number for number in row) == pytest.approx(1)
    assert answer.recipe is not None
    assert answer.recipe.normalized


async def test_what_it_costs():
    _, answer = await sent(price=Price(0.5))
    assert answer.usage is not None
    assert answer.usage.cost == pytest.approx(answer.usage.tokens * 0.5 / 1e6)
    _, answer = await sent(model="gemini-embedding-unknown")
    assert answer.usage is not None
    assert answer.usage.cost is None


def row(*values, **more):
    return {"values": list(values), **more}


async def answered(body, **settings):
    async with serving(answering(body)) as server:
        model = made(server.url, **settings)
        try:
            return await model.embed(["one", "two"])
        finally:
            await model.aclose()


async def test_counts_beside_each_vector_are_read():
    first = row(1, 0, statistics={"tokenCount": 3, "truncated": True})
    second = row(0, 1, statistics={"tokenCount": 4})
    answer = await answered({"embeddings": [first, second]})
    assert answer.usage is not None
    assert (answer.usage.tokens, answer.usage.truncated) == (7, 1)


async def test_where_nothing_is_counted_nothing_is_made_up():
    answer = await answered({"embeddings": [row(1, 0), row(0, 0)]})
    assert answer.usage is None
    assert list(answer.embeddings[1]) == [0, 0]


WRONG = {
    "nothing": {},
    "no vectors": {"embeddings": []},
    "too few": {"embeddings": [row(1, 0)]},
    "too many": {"embeddings": [row(1, 0)] * 3},
    "different lengths": {"embeddings": [row(1, 0), row(1)]},
    "empty ones": {"embeddings": [row(), row()]},
    "texts": {"embeddings": [row("a", "b"), row("c", "d")]},
    "a list": [],
    "a number": 7,
    "an infinite number": {"embeddings": [row(1, float("inf")), row(1, 2)]},
}


@pytest.mark.parametrize("what", WRONG)
async def test_what_can_not_be_vectors_is_an_error(what):
    with pytest.raises(ProviderError, match="can't be understood"):
        await answered(WRONG[what])


async def test_an_error_inside_is_told():
    body = {"error": {"code": 403, "message": "not yours", "status": "PERMISSION_DENIED"}}
    with pytest.raises(AuthError, match="not yours"):
        await answered(body)


BAD = {"dimensions": 0, "purpose": "poetry", "batch_size": 101, "model": "a b"}


@pytest.mark.parametrize("name", BAD)
def test_wrong_options_are_refused(name):
    with pytest.raises(ValidationError):
        GeminiEmbeddingOptions(**{name: BAD[name]})


def test_it_is_made_by_name_prints_and_pickles(monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    model = EmbeddingModel.gemini(dimensions=768)
    assert repr(model) == (
        "<GeminiEmbedding 'gemini-embedding-2' at https://generativelanguage.googleapis.com>"
    )
    again = pickle.loads(pickle.dumps(model))
    assert again.options == model.options
    assert GeminiEmbedding(ProviderOptions(OLD)).options.model == OLD
