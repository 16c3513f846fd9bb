"""Sparse embeddings through fastembed: BM25 for real, the others with weights of chance."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections import Counter

import pytest

import blazen
from blazen.bridge import Job
from blazen.errors import (
    InferenceError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.options.retrieval import SparseOptions
from blazen.testing import SparseEmbeddingSuite
from tests.backends.briefly import Briefly
from tests.backends.isolated import Apart
from tests.weights.servers import Hub, standing_in

pytestmark = pytest.mark.needs("fastembed")
pytest.importorskip("fastembed")
numpy = pytest.importorskip("numpy")
pytest.importorskip("onnx")

from tokenizers import Tokenizer  # noqa: E402 - it comes with fastembed

from blazen_fastembed.offered import known_row, near_name  # noqa: E402
from blazen_fastembed.room import groups  # noqa: E402
from blazen_fastembed.size import PASS, Limits  # noqa: E402
from blazen_fastembed.sparse import FastEmbedSparse  # noqa: E402
from tests.programs import check_footprint  # noqa: E402
from tests.tiny_onnx import SPECIAL, VOCABULARY, WIDTH, TinyBert  # noqa: E402

STOP_WORDS = ["the", "a", "on", "to", "with", "how"]
TEXTS = ["the heron eats fish", "what", "", "fish, fish and bread! " * 3, "Baking bread"]


def build(target, **settings):
    return FastEmbedSparse(SparseOptions(target, threads=1, **settings))


def bm25(**settings):
    return build("Qdrant/bm25", **{"stop_words": STOP_WORDS, **settings})


class TestBm25(SparseEmbeddingSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def model(cls):
        return bm25()


class TestSplade(SparseEmbeddingSuite):
    @pytest.fixture
    def model(self, splade):
        return splade

    @pytest.fixture
    def broken_model(self):
        return build


class TestSpladeApart(Briefly, Apart, TestSplade):
    """The same in a process of its own."""

    like = "splade"


@pytest.fixture(scope="module")
def bert():
    return TinyBert(len(VOCABULARY))


@pytest.fixture(scope="module")
def folder(bert, tmp_path_factory):
    return bert.write(tmp_path_factory.mktemp("sparse") / "splade", output="logits")


@pytest.fixture(scope="module")
def splade(folder):
    model = build(folder)
    yield model
    blazen.blocking(model).unload()


@pytest.fixture(scope="module")
def tokens(folder):
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def dense(row):
    full = numpy.zeros(len(VOCABULARY))
    full[row.indices.tolist()] = row.weights.tolist()
    return full


def index_of(stem):
    import mmh3

    return abs(mmh3.hash(stem))


async def test_splade_is_the_logarithm_of_the_best_of_all_tokens(splade, bert, tokens):
    answer = await splade.embed_sparse(TEXTS)
    for text, row in zip(TEXTS, answer.embeddings, strict=True):
        expected = numpy.log(1 + numpy.maximum(bert.output(tokens.encode(text).ids), 0)).max(axis=0)
        assert numpy.allclose(dense(row), expected, atol=1e-5)
        assert len(row) < len(VOCABULARY)  # what is 0 takes no room
    assert answer.usage.tokens == sum(len(tokens.encode(text).ids) for text in TEXTS)
    assert not answer.needs_rarity
    assert (await splade.embed_sparse_query(TEXTS)).embeddings == answer.embeddings


async def test_it_is_what_fastembed_gives(splade, folder):
    import fastembed

    raw = fastembed.SparseTextEmbedding(
        "prithivida/Splade_PP_en_v1", specific_model_path=str(folder), threads=1
    )
    ours = (await splade.embed_sparse(TEXTS)).embeddings
    for mine, theirs in zip(ours, raw.embed(TEXTS), strict=True):
        assert mine.indices.tolist() == sorted(theirs.indices.tolist())
        for index, value in theirs.as_dict().items():
            assert mine[index] == pytest.approx(value, abs=1e-5)


async def test_a_text_that_is_too_long_loses_its_end_and_that_is_told(folder):
    async with build(folder, max_length=6) as model:
        answer = await model.embed_sparse(["fish fish fish fish fish fish bread", "fish"])
        cut = await model.embed_sparse("fish fish fish fish")
    assert answer.usage == type(answer.usage)(6 + 3, 1)
    assert answer.embeddings[0] == cut.embeddings[0]


@pytest.mark.parametrize("length", [2, 65])
async def test_a_length_that_the_model_does_not_read_is_refused(folder, length):
    with pytest.raises(ValidationError, match=f"max_length is {length}, .* from 3 to 64 tokens"):
        await build(folder, max_length=length).load()


async def test_bm25_weighs_by_hand():
    """Of a text of 4 stems, where one stands twice: f * 2.2 / (f + 1.2 * (0.25 + 0.75 * 4/8))."""
    async with bm25(average_length=8) as model:
        answer = await model.embed_sparse(["The herons eat fish. Fish!", "the", "a Fish"])
        query = (await model.embed_sparse_query("Eating a FISH on the fish")).embeddings[0]
    length = 0.25 + 0.75 * 4 / 8
    once, twice = 1 * 2.2 / (1 + 1.2 * length), 2 * 2.2 / (2 + 1.2 * length)
    assert answer.embeddings[0] == {
        index_of("heron"): pytest.approx(once),
        index_of("eat"): pytest.approx(once),
        index_of("fish"): pytest.approx(twice),
    }
    assert answer.embeddings[1] == {}
    assert query == {index_of("eat"): 1.0, index_of("fish"): 1.0}
    assert answer.needs_rarity
    assert answer.usage.tokens == 5 + 1 + 2


async def test_bm25_ranks_as_the_formula_says():
    documents = [
        "herons fish in rivers and rivers feed herons",
        "bread and rivers of butter",
        "fish",
        "the price of bread, bread, bread",
    ]
    async with bm25(k=1.5, b=0.5, average_length=4) as model:
        vectors = (await model.embed_sparse(documents)).embeddings
        query = (await model.embed_sparse_query("fish bread")).embeddings[0]
    rarity = vectors.rarity()
    scores = vectors.dot({index: rarity[index] * value for index, value in query.items()})
    stems = [
        ["heron", "fish", "in", "river", "and", "river", "feed", "heron"],
        ["bread", "and", "river", "of", "butter"],
        ["fish"],
        ["price", "of", "bread", "bread", "bread"],
    ]
    for score, words in zip(scores, stems, strict=True):
        counts, expected = Counter(words), 0.0
        for word in ("fish", "bread"):
            having = sum(word in others for others in stems)
            idf = math.log((4 - having + 0.5) / (having + 0.5) + 1)
            longer = 1.5 * (1 - 0.5 + 0.5 * len(words) / 4)
            expected += idf * counts[word] * 2.5 / (counts[word] + longer)
        assert score == pytest.approx(expected, rel=1e-5)


async def test_bm25_reads_a_folder_with_the_words_of_a_language(tmp_path):
    (tmp_path / "german.txt").write_text("über\nund\n", "utf-8")
    async with build(tmp_path, language="german") as model:
        row = (await model.embed_sparse("Über Fische und Reiher")).embeddings[0]
    assert row.keys() == {index_of("fisch"), index_of("reih")}
    with pytest.raises(ValidationError, match="has no"):
        await build(tmp_path).load()  # English has no list there
    with pytest.raises(ValidationError, match=r"no language 'germann'; did you mean 'german'\?"):
        await bm25(language="germann").load()
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ValidationError, match=r"no english\.txt"):
        await build(tmp_path, like="Qdrant/bm25").load()


async def test_bm25_needs_no_file_where_the_words_are_given(monkeypatch, tmp_path):
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    async with bm25(stop_words=["FISH"], cache_dir=tmp_path / "none") as model:
        assert (await model.embed_sparse("the fish")).embeddings[0].keys() == {index_of("the")}
        assert (await model.footprint()).resident["cpu"] < 200 << 20
    assert not (tmp_path / "none").exists()


async def test_bm42_weighs_words_by_what_the_first_token_looks_at(bert, tokens, tmp_path):
    folder = bert.write(tmp_path / "bm42", output="attention_6")
    (folder / "stopwords.txt").write_text("the\n")
    text = "the heron, baking fish"
    async with build(folder) as model:
        answer = await model.embed_sparse([text, "fish"])
        query = (await model.embed_sparse_query(text)).embeddings[0]
    encoding = tokens.encode(text)
    seen = bert.attention(encoding.ids)[:, 0].mean(axis=0)
    assert encoding.tokens == ["[CLS]", "the", "heron", ",", "bak", "##ing", "fish", "[SEP]"]
    weights = {"heron": seen[2], "bake": seen[4] + seen[5], "fish": seen[6]}
    assert answer.embeddings[0] == {
        index_of(stem): pytest.approx(math.sqrt(math.log(1 + weight)), rel=1e-4)
        for stem, weight in weights.items()
    }
    assert query == {index_of(stem): 1.0 for stem in weights}
    assert answer.needs_rarity


async def test_queries_without_a_network_are_read_from_its_table(bert, tokens, tmp_path):
    folder = bert.write(tmp_path / "if-splade", output="logits", file="onnx/model.onnx")
    (folder / "idf.json").write_text(json.dumps({"fish": 2.5, "the": 0.25, "[CLS]": 9.0}))
    async with build(folder) as model:
        row = (await model.embed_sparse(["the fish", "bread and the heron"])).embeddings[0]
        query = (await model.embed_sparse_query("the fish bread fish")).embeddings[0]
    best = bert.output(tokens.encode("the fish").ids).max(axis=0)
    expected = numpy.log(1 + numpy.log(1 + numpy.maximum(best, 0)))
    expected[: len(SPECIAL)] *= [name.startswith("[unused") for name in SPECIAL]
    assert numpy.allclose(dense(row), expected, atol=1e-5)
    assert query == {VOCABULARY.index("the"): 0.25, VOCABULARY.index("fish"): 2.5}


async def test_minicoil_gives_a_known_word_the_meaning_it_has_there(tokens, tmp_path):
    bert = TinyBert(WIDTH)
    folder = bert.write(tmp_path / "minicoil", output="last_hidden_state", file="onnx/model.onnx")
    matrices = numpy.random.default_rng(5).normal(0, 0.5, (3, WIDTH, 4)).astype("float32")
    numpy.save(folder / "minicoil.triplet.model.npy", matrices)
    words = {"vocab": ["heron", "fish"], "stem_mapping": {"heron": "heron", "fish": "fish"}}
    (folder / "minicoil.triplet.model.vocab").write_text(json.dumps(words))
    (folder / "stopwords.txt").write_text("the\n")
    async with build(folder, average_length=3, k=1.0, b=0.5) as model:
        answer = await model.embed_sparse(["the fish, the bread", "heron " * 9])
        query = (await model.embed_sparse_query("fish")).embeddings[0]
    encoding = tokens.encode("the fish, the bread")
    meaning = numpy.tanh(bert.output(encoding.ids)[encoding.tokens.index("fish")] @ matrices[2])
    meaning /= numpy.linalg.norm(meaning)
    weight = 1 * 2 / (1 + 1 * (0.5 + 0.5 * 2 / 3))  # 2 of 3 words: "the" does not count
    row = answer.embeddings[0]
    assert [row[index] for index in range(8, 12)] == pytest.approx(meaning * weight, abs=1e-5)
    (bread,) = row.keys() - set(range(8, 12))
    assert bread == 64_000 + index_of("bread") % (2**31 - 1 - 64_000)
    assert row[bread] == pytest.approx(weight)
    assert query.keys() == set(range(8, 12))


async def test_a_folder_is_read_as_it_is_told(bert, tokens, tmp_path):
    folder = bert.write(tmp_path / "odd", output="logits", file="weights.onnx")
    (folder / "idf.json").write_text("{}")
    async with build(folder, like="splade_pp_en_v1") as model:
        row = (await model.embed_sparse("fish")).embeddings[0]
    expected = numpy.log1p(numpy.maximum(bert.output(tokens.encode("fish").ids), 0)).max(axis=0)
    assert numpy.allclose(dense(row), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("target", "settings", "error", "what"),
    [
        ("folder", {"language": "german"}, UnsupportedError, "has no use for language"),
        ("folder", {"stop_words": []}, UnsupportedError, "has no use for stop_words"),
        ("folder", {"average_length": 9}, UnsupportedError, "has no use for average_length"),
        ("folder", {"like": "nothing"}, ValidationError, "no model in fastembed 'nothing'"),
        (
            "bm25",
            {"stop_words": [], "max_length": 9},
            UnsupportedError,
            "has no use for max_length",
        ),
        ("Qdrant/bm25", {"like": "Qdrant/bm25"}, UnsupportedError, "leave like= out"),
        ("SpladePPenv2", {}, ModelNotFoundError, r"did you mean 'prithivida/Splade_PP_en_v1'"),
        ("folder", {"device": "cuda:7"}, UnsupportedError, "cuda"),
    ],
)
async def test_what_can_not_be_is_refused(folder, tmp_path, target, settings, error, what):
    target = folder if target == "folder" else target
    with pytest.raises(error, match=what):
        await build(target, cache_dir=tmp_path, **settings).load()


async def test_a_folder_that_is_no_model_says_what_is_missing(folder, tmp_path):
    with pytest.raises(ValidationError, match=r"no tokenizer\.json"):
        await build(tmp_path).load()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ValidationError, match="no ONNX file"):
        await build(tmp_path).load()
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValidationError, match=r"several ONNX files \(a.onnx, b.onnx\)"):
        await build(tmp_path).load()


async def test_weights_that_give_no_numbers_are_an_error_and_no_answer(tmp_path):
    bert = TinyBert(len(VOCABULARY))
    bert.tensors["head"][:] = numpy.inf
    model = build(bert.write(tmp_path / "broken", output="logits"))
    with pytest.raises(InferenceError, match="not finite"):
        await model.embed_sparse("fish")
    await model.unload()


@pytest.fixture
def hub():
    with standing_in(Hub()) as hub:
        yield hub


async def test_a_known_model_is_fetched_once_and_then_found_without_a_network(
    hub, folder, splade, monkeypatch, tmp_path
):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repos["Qdrant/Splade_PP_en_v1"] = {**files, "pytorch_model.bin": b"not asked for"}
    expected = await splade.embed_sparse(TEXTS)
    async with build("SpladePPenv1", cache_dir=tmp_path) as model:
        assert (await model.embed_sparse(TEXTS)).embeddings == expected.embeddings
    asked = len(hub.asked)
    assert not [one for one in hub.asked if "pytorch_model" in one.path]
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    async with build("prithvida/Splade_PP_en_v1", cache_dir=tmp_path) as model:
        assert (await model.embed_sparse(TEXTS)).embeddings == expected.embeddings
    assert len(hub.asked) == asked


async def test_bm25_fetches_its_words(hub, monkeypatch, tmp_path):
    from fastembed import SparseTextEmbedding

    row = known_row(SparseTextEmbedding.list_supported_models(), "Qdrant/bm25")
    hub.repos["Qdrant/bm25"] = dict.fromkeys(row["additional_files"], b"fish\n")
    hub.repos["Qdrant/bm25"]["config.json"] = b"{}"
    for offline in ("", "1"):
        monkeypatch.setenv("BLAZEN_OFFLINE", offline)
        async with build("bm25", cache_dir=tmp_path) as model:
            found = (await model.embed_sparse("the fish")).embeddings[0]
            assert found.keys() == {index_of("the")}


def test_names_are_known_in_each_form():
    from fastembed import SparseTextEmbedding

    rows = SparseTextEmbedding.list_supported_models()
    for name in ("prithivida/Splade_PP_en_v1", "SpladePPenv1", "prithvida/splade_pp_EN_v1"):
        assert known_row(rows, name)["model"] == "prithivida/Splade_PP_en_v1"
    for name in ("other/Splade_PP_en_v1", "./bm25", "hf:Qdrant/bm25"):
        assert known_row(rows, name) is None
    assert near_name(rows, "Qdrant/bm-52") == "Qdrant/bm25"
    assert near_name(rows, "something else") is None


def test_texts_of_like_length_share_a_pass_within_its_room():
    job = Job(lambda job: None)
    limits = Limits(texts=32, tokens=1000, filling=8)
    lengths = [3, 500, 10, 495, 4, 100]
    assert list(groups(lengths, limits, lambda tokens: 1, job)) == [[1, 3], [5], [2, 4, 0]]
    one = Limits(texts=1, tokens=1000, filling=8)
    assert list(groups(lengths, one, lambda tokens: 1, job)) == [[1], [3], [5], [2], [4], [0]]
    assert list(groups([400] * 3, limits, lambda tokens: 1, job)) == [[0, 1], [2]]
    halves = list(groups([100] * 5, limits, lambda tokens: PASS // 2, job))
    assert halves == [[0, 1], [2, 3], [4]]
    assert list(groups([9, 9], limits, lambda tokens: 2 * PASS, job)) == [[0], [1]]
    assert list(groups([2000, 0, 0], limits, lambda tokens: 0, job)) == [[0], [1, 2]]
    job.cancel()
    with pytest.raises(InferenceError, match="stopped"):
        list(groups([1], limits, lambda tokens: 1, job))


async def test_concurrent_queries_do_not_wait_for_a_load_each(splade):
    answers = await asyncio.gather(*(splade.embed_sparse_query(text) for text in TEXTS * 4))
    assert len({answer.embeddings for answer in answers}) == len(TEXTS)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
def test_it_says_what_it_takes(folder):
    check_footprint("SparseEmbeddingModel", f"fastembed:{folder}")


async def test_half_a_surrogate_pair_is_refused_with_its_place(splade):
    for method in (splade.embed_sparse, splade.embed_sparse_query):
        with pytest.raises(ValidationError, match=r"texts\[1\] has half .* character 2"):
            await method(["fine", "a \ud83d b"])
    words = bm25()
    with pytest.raises(ValidationError, match=r"texts\[1\] has half .* character 2"):
        await words.embed_sparse(["fine", "a \ud83d b"])
    with pytest.raises(ValidationError, match=r"texts\[0\] has half .* character 0"):
        await words.embed_sparse_query("\udc00")
    await words.unload()
