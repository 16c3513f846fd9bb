"""Late interaction through fastembed, with a small network of chance weights."""

from __future__ import annotations

import sys

import pytest

import blazen
from blazen.errors import LoadError, ModelNotFoundError, UnsupportedError, ValidationError
from blazen.options.retrieval import TokenEmbedOptions
from blazen.testing import TokenEmbeddingSuite
from blazen.types.embedding import EmbeddingUsage
from blazen.types.token_vectors import score

pytestmark = pytest.mark.needs("fastembed")
pytest.importorskip("fastembed")
numpy = pytest.importorskip("numpy")
pytest.importorskip("onnx")

from tokenizers import Tokenizer  # noqa: E402 - it comes with fastembed

from blazen_fastembed.tokens import FastEmbedTokens  # noqa: E402
from tests.backends.briefly import Briefly  # noqa: E402
from tests.backends.isolated import Apart  # noqa: E402
from tests.programs import check_footprint  # noqa: E402
from tests.tiny_onnx import VOCABULARY, TinyBert  # noqa: E402

DIMENSIONS = 8
QUERY, DOCUMENT = 1, 2  # [unused0] and [unused1], as in ColBERT
FILLED = 32
TEXTS = ["the heron eats fish", "what", "", "fish, fish and bread! " * 3, "Baking bread"]


def build(target, **settings):
    return FastEmbedTokens(TokenEmbedOptions(target, threads=1, **settings))


class TestColbert(TokenEmbeddingSuite):
    @pytest.fixture
    def model(self, loaded):
        return loaded

    @pytest.fixture
    def broken_model(self):
        return build


class TestColbertApart(Briefly, Apart, TestColbert):
    """The same in a process of its own."""


@pytest.fixture(scope="module")
def bert():
    return TinyBert(DIMENSIONS)


@pytest.fixture(scope="module")
def folder(bert, tmp_path_factory):
    place = tmp_path_factory.mktemp("tokens") / "colbert"
    return bert.write(place, output="contextual", types=False)


@pytest.fixture(scope="module")
def loaded(folder):
    model = build(folder)
    yield model
    blazen.blocking(model).unload()


@pytest.fixture(scope="module")
def tokens(folder):
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def unit(rows):
    return rows / numpy.linalg.norm(rows, axis=1, keepdims=True)


def is_punctuation(token):
    return len(token) == 1 and not token.isalnum()


async def test_a_document_has_a_vector_for_each_token_that_is_no_punctuation(loaded, bert, tokens):
    answer = await loaded.embed_tokens(TEXTS)
    for text, matrix in zip(TEXTS, answer.embeddings, strict=True):
        ids = tokens.encode(text).ids
        ids.insert(1, DOCUMENT)
        kept = [not is_punctuation(VOCABULARY[token]) for token in ids]
        expected = unit(bert.output(ids)[kept])
        assert numpy.allclose(numpy.asarray(matrix), expected, atol=1e-5)
    read = sum(len(tokens.encode(text).ids) + 1 for text in TEXTS)
    assert answer.usage == EmbeddingUsage(read)
    assert answer.dimensions == DIMENSIONS


async def test_a_query_is_marked_and_filled_up_with_masks(loaded, bert, tokens):
    """The masks are not looked at by the others, and have vectors of their own, as in ColBERT."""
    answer = await loaded.embed_tokens_query(["what eats fish?", "bread"])
    for text, matrix in zip(["what eats fish?", "bread"], answer.embeddings, strict=True):
        ids = tokens.encode(text).ids
        ids.insert(1, QUERY)
        assert len(matrix) == FILLED
        assert numpy.allclose(numpy.asarray(matrix)[: len(ids)], unit(bert.output(ids)), atol=1e-5)
        lengths = numpy.linalg.norm(numpy.asarray(matrix), axis=1)
        assert numpy.allclose(lengths, 1, atol=1e-5)
        # A mask sees the tokens of the text and not the masks: each is as if it stood alone.
        place = len(ids) + 3
        full = [*ids, *[VOCABULARY.index("[MASK]")] * (FILLED - len(ids))]
        masked = bert.output_of_one(full, place, seen=len(ids))
        assert numpy.allclose(matrix[place], unit(masked[None])[0], atol=1e-5)


async def test_scores_are_the_sum_of_the_best_likenesses(loaded):
    documents = (await loaded.embed_tokens(TEXTS)).embeddings
    query = (await loaded.embed_tokens_query("what eats fish")).embeddings[0]
    for document, given in zip(documents, documents.scores(query), strict=True):
        expected = sum(
            max(sum(a * b for a, b in zip(mine, other, strict=True)) for other in document)
            for mine in query
        )
        assert given == pytest.approx(expected, abs=1e-4)
        assert given == score(query, document)


async def test_vectors_are_those_of_fastembed(loaded, folder):
    import fastembed

    raw = fastembed.LateInteractionTextEmbedding(
        "colbert-ir/colbertv2.0", specific_model_path=str(folder), threads=1
    )
    ours = (await loaded.embed_tokens(TEXTS)).embeddings
    for mine, theirs in zip(ours, raw.embed(TEXTS), strict=True):
        assert numpy.allclose(numpy.asarray(mine), theirs, atol=1e-5)
    query = (await loaded.embed_tokens_query("what eats fish")).embeddings[0]
    (theirs,) = raw.query_embed("what eats fish")
    assert numpy.allclose(numpy.asarray(query), unit(theirs), atol=1e-5)


async def test_a_text_that_is_too_long_loses_its_end_and_that_is_told(folder):
    async with build(folder, max_length=8) as model:
        answer = await model.embed_tokens(["fish " * 40, "fish"])
        query = await model.embed_tokens_query("fish " * 40)
    assert [len(matrix) for matrix in answer.embeddings] == [8, 4]
    assert answer.usage == EmbeddingUsage(8 + 4, 1)
    assert query.usage == EmbeddingUsage(8, 1)
    async with build(folder) as model:
        answer = await model.embed_tokens("fish " * 400)
    assert answer.usage == EmbeddingUsage(64, 1)


@pytest.mark.parametrize("length", [3, 65])
async def test_a_length_that_the_model_does_not_read_is_refused(folder, length):
    with pytest.raises(ValidationError, match=f"max_length is {length}, .* from 4 to 64 tokens"):
        await build(folder, max_length=length).load()


async def test_a_folder_is_read_as_the_model_that_it_is_like(folder, bert, tmp_path):
    """LateOn fills nothing up; its marks are numbers that this small vocabulary does not have."""
    with pytest.raises(LoadError, match="like="):
        await build(folder, like="jinaai/jina-colbert-v2").load()
    with pytest.raises(ValidationError, match="no model in fastembed 'colbert'"):
        await build(folder, like="colbert").load()
    other = bert.write(tmp_path / "other", output="contextual", file="odd.onnx", types=False)
    async with build(other, like="colbertv2.0") as model:
        assert (await model.embed_tokens("fish")).dimensions == DIMENSIONS


async def test_an_export_that_fastembed_can_not_feed_is_refused_at_once(bert, tmp_path):
    folder = bert.write(tmp_path / "typed", output="contextual")
    with pytest.raises(UnsupportedError, match="wants token_type_ids"):
        await build(folder).load()


async def test_a_misspelt_name_finds_its_neighbour(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"did you mean 'answerdotai/answerai-colbert-sma"):
        await build("answerai-colbert-smal-v1", cache_dir=tmp_path).load()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
def test_it_says_what_it_takes(folder):
    check_footprint("TokenEmbeddingModel", f"fastembed:{folder}")


async def test_half_a_surrogate_pair_is_refused_with_its_place(loaded):
    for method in (loaded.embed_tokens, loaded.embed_tokens_query):
        with pytest.raises(ValidationError, match=r"texts\[1\] has half .* character 2"):
            await method(["fine", "a \ud83d b"])
