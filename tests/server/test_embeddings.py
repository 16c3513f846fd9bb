"""``/v1/embeddings``, asked by the real client of OpenAI and bare requests."""

from __future__ import annotations

import base64
import json
import math
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from blazen import EmbeddingModel, blocking
from blazen.errors import UnsupportedError
from blazen.server.apis.openai.shortening import shortened, trained_for
from blazen.types.embedding import Vectors
from tests.gguf_floats import write_gguf

pytestmark = pytest.mark.needs("server", "clients", "fastembed", "starter:embed")

TEXTS = ["the cat sat on the mat", "a dog in the fog", "", "Größe — 寸法"]


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def wanted() -> list[list[float]]:
    """What the SDK itself gives."""
    with blocking(EmbeddingModel.from_spec("fastembed:starter:embed")) as model:
        vectors: list[list[float]] = model.embed(TEXTS).embeddings.tolist()
        return vectors


def test_numbers_are_those_of_the_sdk(client: openai.OpenAI, wanted: list[list[float]]) -> None:
    answer = client.embeddings.create(model="embed", input=TEXTS, encoding_format="float")
    assert answer.object == "list"
    assert [row.index for row in answer.data] == [0, 1, 2, 3]
    assert [row.object for row in answer.data] == ["embedding"] * 4
    for row, vector in zip(answer.data, wanted, strict=True):
        assert row.embedding == pytest.approx(vector, abs=1e-6)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 10


def test_base64_says_the_same_as_numbers(server: Any, client: openai.OpenAI) -> None:
    numbers = client.embeddings.create(model="embed", input=TEXTS[0], encoding_format="float")
    body = {"model": "embed", "input": TEXTS[0], "encoding_format": "base64"}
    answer = httpx.post(f"{server.url}/v1/embeddings", json=body)
    packed = answer.json()["data"][0]["embedding"]
    assert array("f", base64.b64decode(packed)).tolist() == numbers.data[0].embedding
    # The client itself asks for base64 where nothing is said, and unpacks it.
    unsaid = client.embeddings.create(model="embed", input=TEXTS[0])
    assert unsaid.data[0].embedding == pytest.approx(numbers.data[0].embedding, abs=1e-7)


def test_a_model_may_be_left_out(server: Any) -> None:
    answer = httpx.post(f"{server.url}/v1/embeddings", json={"input": "hello"}).json()
    assert answer["model"] == "embed"
    assert len(answer["data"][0]["embedding"]) == 384


def test_its_own_number_of_dimensions_is_taken(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="embed", input="hello", dimensions=384)
    assert len(answer.data[0].embedding) == 384


@pytest.mark.parametrize(
    ("more", "param", "words"),
    [
        ({"dimensions": 128}, "dimensions", "384"),
        ({"dimensions": 1000}, "dimensions", "384"),
        ({"dimensions": 0}, "dimensions", "greater"),
        ({"dimensions": True}, "dimensions", "whole number"),
        ({"input": []}, "input", "at least 1"),
        ({"input": [[]]}, "input", "at least 1"),
        ({"input": [1, 2, 3]}, None, "token ids"),
        ({"input": [[1, 2], [3]]}, None, "token ids"),
        ({"input": [1, "two"]}, "input", "whole number"),
        ({"input": {"text": "hello"}}, "input", "must be a text"),
        ({"input": ["a"] * 2049}, "input", "2048"),
        ({"encoding_format": "hex"}, "encoding_format", "float"),
    ],
)
def test_what_cannot_be_done_is_said(
    server: Any, more: dict[str, Any], param: str | None, words: str
) -> None:
    body = {"model": "embed", "input": "hello", **more}
    answer = httpx.post(f"{server.url}/v1/embeddings", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    if param is None:
        assert error["param"] is None
    else:
        assert error["param"].startswith(param)


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="no-such-model", input="hello")
    assert caught.value.code == "model_not_found"


def test_many_at_once_are_each_answered(client: openai.OpenAI, wanted: list[list[float]]) -> None:
    def ask(number: int) -> list[float]:
        text = TEXTS[number % len(TEXTS)]
        answer = client.embeddings.create(model="embed", input=text, encoding_format="float")
        vector: list[float] = answer.data[0].embedding
        return vector

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, range(48)))
    for number, vector in enumerate(found):
        # What is read together is padded, which moves the last digits of int8 weights.
        near = sum(a * b for a, b in zip(vector, wanted[number % len(TEXTS)], strict=True))
        assert near == pytest.approx(1.0, abs=1e-2)


class TestShortening:
    """Vectors that are cut to fewer dimensions."""

    vectors = Vectors.of([[3.0, 4.0, 12.0, 84.0], [0.0, 0.0, 1.0, 0.0]])

    def folder(self, path: Path, said: Any) -> Path:
        (path / "config.json").write_text(json.dumps(said))
        return path

    def test_the_first_numbers_stay_and_have_length_one(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path, {"matryoshka_dimensions": [2, 3]})
        cut = shortened(self.vectors, 2, "doll", folder)
        assert cut[0].tolist() == pytest.approx([0.6, 0.8])
        assert cut[1].tolist() == [0.0, 0.0]  # there is no direction in it
        three = shortened(self.vectors, 3, "doll", folder)
        assert math.hypot(*three[0]) == pytest.approx(1.0)

    def test_other_dimensions_than_it_was_trained_for_are_refused(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path, {"matryoshka_dimensions": [2, 3]})
        with pytest.raises(UnsupportedError, match="2, 3, not to 1"):
            shortened(self.vectors, 1, "doll", folder)
        with pytest.raises(UnsupportedError, match="5 are more"):
            shortened(self.vectors, 5, "doll", folder)

    @pytest.mark.parametrize("said", [{}, [], {"matryoshka_dimensions": "many"}])
    def test_a_folder_that_does_not_say_it_may_not_be_cut(self, tmp_path: Path, said: Any) -> None:
        assert trained_for(self.folder(tmp_path, said)) is None
        with pytest.raises(UnsupportedError, match="do not say"):
            shortened(self.vectors, 2, "doll", tmp_path)

    def test_broken_or_absent_files_say_nothing(self, tmp_path: Path) -> None:
        assert trained_for(None) is None
        assert trained_for(tmp_path / "gone.onnx") is None
        (tmp_path / "config.json").write_text("{")
        assert trained_for(tmp_path) is None
        (tmp_path / "broken.gguf").write_bytes(b"GGUF")
        assert trained_for(tmp_path / "broken.gguf") is None

    def test_a_gguf_says_it_among_its_tags(self, tmp_path: Path) -> None:
        doll = write_gguf(tmp_path / "doll.gguf", {"general.tags": ["Matryoshka"]}, {})
        assert trained_for(doll) == frozenset()
        plain = write_gguf(tmp_path / "plain.gguf", {"general.tags": ["embedding"]}, {})
        assert trained_for(plain) is None

    def test_any_dimensions_where_it_says_just_that(self, tmp_path: Path) -> None:
        assert trained_for(self.folder(tmp_path, {"matryoshka_dimensions": True})) == frozenset()
        assert shortened(self.vectors, 1, "doll", tmp_path)[0].tolist() == [1.0]
