"""``/v1/rerank``, and token ids for ``/v1/embeddings``: on made-up encoders through llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("numpy")

from tests.encoders import TINY_WORDS, tiny_score, write_tiny
from tests.server.conftest import read_catalog, running

pytestmark = pytest.mark.needs("server", "clients", "xllamacpp")

QUERY = "what heron eat"
DOCUMENTS = ["the heron eat fish", "fish", "what the fish eat", "heron heron"]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server of a reranker and an embedding model."""
    folder = tmp_path_factory.mktemp("encoders")
    rank, mean = write_tiny(folder / "rank.gguf"), write_tiny(folder / "mean.gguf", "mean")
    models = "".join(
        f'[models.{name}]\nspec = "xllamacpp:{path.as_posix()}"\nkind = "{kind}"\n'
        for name, path, kind in [("rank", rank, "rerank"), ("mean", mean, "embedding")]
    )
    hushed = "[discover]\nstarters = false\ncache = false\nprograms = false\n"
    with running(read_catalog(folder, hushed + models)) as server:
        yield server


def test_documents_come_by_their_scores(encoders: Any) -> None:
    body = {"model": "rank", "query": QUERY, "documents": DOCUMENTS}
    answer = httpx.post(f"{encoders.url}/v1/rerank", json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    results = told["results"]
    raw = [tiny_score(QUERY, document) for document in DOCUMENTS]
    wanted = sorted(range(len(raw)), key=lambda index: -raw[index])
    assert [row["index"] for row in results] == wanted
    scores = [row["relevance_score"] for row in results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert all("document" not in row for row in results)
    assert told["model"] == "rank"
    assert told["usage"]["total_tokens"] > 4 * 5


def test_the_first_ones_with_their_texts(encoders: Any) -> None:
    whole = {"query": QUERY, "documents": DOCUMENTS}
    every = httpx.post(f"{encoders.url}/v1/rerank", json=whole).json()["results"]
    body = {
        "query": QUERY,
        "documents": [{"text": text} for text in DOCUMENTS],
        "top_n": 2,
        "return_documents": True,
    }
    first = httpx.post(f"{encoders.url}/v1/rerank", json=body).json()["results"]
    assert [row["index"] for row in first] == [row["index"] for row in every[:2]]
    assert [row["document"]["text"] for row in first] == [DOCUMENTS[row["index"]] for row in first]


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"query": ""}, 400, "query"),
        ({"query": "  "}, 400, "query is empty"),
        ({"documents": []}, 400, "documents"),
        ({"documents": "heron"}, 400, "documents"),
        ({"documents": [1]}, 400, "documents"),
        ({"top_n": 0}, 400, "top_n"),
        ({"model": "mean"}, 404, "mean"),
        ({"model": "none-such"}, 404, "none-such"),
    ],
)
def test_what_cannot_be_done_is_said(
    encoders: Any, more: dict[str, Any], status: int, words: str
) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS, **more}
    answer = httpx.post(f"{encoders.url}/v1/rerank", json=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def _tokens(text: str) -> list[int]:
    return [TINY_WORDS.index(word) for word in ("[CLS]", *text.split(), "[SEP]")]


def test_token_ids_are_embedded_as_their_text_is(encoders: Any) -> None:
    def ask(given: Any) -> Any:
        answer = httpx.post(f"{encoders.url}/v1/embeddings", json={"input": given})
        assert answer.status_code == 200, answer.text
        return answer.json()

    texts = ["heron eat fish", "the fish"]
    wanted = [row["embedding"] for row in ask(texts)["data"]]
    lists = ask([_tokens(text) for text in texts])
    for row, vector in zip(lists["data"], wanted, strict=True):
        assert row["embedding"] == pytest.approx(vector, abs=1e-5)
    assert lists["usage"]["prompt_tokens"] == 5 + 4
    one = ask(_tokens(texts[0]))
    assert one["data"][0]["embedding"] == pytest.approx(wanted[0], abs=1e-5)
    assert wanted[0] != pytest.approx(wanted[1], abs=1e-2)


@pytest.mark.parametrize(
    ("ids", "words"), [([[2, 10_000]], "knows those from 0 to"), ([[5] * 65], "65 tokens")]
)
def test_token_ids_that_cannot_be_read(encoders: Any, ids: Any, words: str) -> None:
    answer = httpx.post(f"{encoders.url}/v1/embeddings", json={"input": ids})
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
