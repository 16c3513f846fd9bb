"""fastembed on real weights."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import shutil
import sys
import tracemalloc
import weakref

import pytest

import blazen
from blazen import EmbeddingModel, EmbedOptions
from blazen.errors import (
    DownloadError,
    InferenceError,
    LoadError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.hardware import rss_bytes
from blazen.testing import EmbeddingSuite
from blazen.types.embedding import EmbeddingRecipe
from blazen_fastembed.encoder import Encoder
from blazen_fastembed.prefixes import prefixes_of
from blazen_fastembed.size import FILLING, PASS_TOKENS
from tests.backends.isolated import Apart
from tests.programs import check_footprint

pytestmark = pytest.mark.needs("fastembed", "starter:embed")

GOLDEN = [
    "The heron stands in the reeds.",
    "yeast",
    "Zinsen steigen weiter 🦙",
    "a\0b",
    "How long should rye bread rise before it is baked?",
]


def build(target="starter:embed", **settings):
    return EmbeddingModel.fastembed(target, threads=1, **settings)


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def copied(folder):
    from blazen.weights.starter import starter_path

    shutil.copytree(starter_path("embed"), folder, dirs_exist_ok=True)
    return folder


def write_ready(path):
    """A network of two inputs, whose one output is the sum of its token ids times (1, 2, 2)."""
    import onnx
    from onnx import TensorProto, helper

    shape = ["batch", "length"]
    ints = [
        helper.make_tensor_value_info(name, TensorProto.INT64, shape)
        for name in ("input_ids", "attention_mask")
    ]
    out = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", 3])
    constants = [
        helper.make_tensor("along", TensorProto.FLOAT, [1, 3], [1.0, 2.0, 2.0]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["seen"]),
        helper.make_node("Cast", ["seen"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers", "axis"], ["sum"], keepdims=1),
        helper.make_node("MatMul", ["sum", "along"], ["sentence_embedding"]),
    ]
    graph = helper.make_graph(nodes, "ready", ints, [out], constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))


class TestFastEmbed(EmbeddingSuite):
    """The shipped suite, whole."""

    @pytest.fixture
    def model(self, loaded):
        return loaded

    @pytest.fixture
    def broken_model(self):
        return build


class TestFastEmbedApart(Apart, TestFastEmbed):
    """The same in a process of its own."""


@pytest.fixture(scope="module")
def loaded():
    model = build()
    yield model
    blazen.blocking(model).unload()


async def test_meaning_decides_what_is_near(loaded):
    texts = [
        "The cat sleeps on the sofa.",
        "A kitten naps on the couch.",
        "Interest rates rose again in May.",
        "The central bank raised its rates.",
    ]
    cat, kitten, rates, bank = (await loaded.embed(texts)).embeddings
    assert cosine(cat, kitten) > 0.5 > cosine(cat, rates)
    assert cosine(rates, bank) > 0.4 > cosine(kitten, bank)


async def test_vectors_have_length_one_and_the_models_dimensions(loaded):
    answer = await loaded.embed(["hello", "world"])
    assert answer.dimensions == 384
    assert answer.model == "starter:embed"
    for vector in answer.embeddings:
        assert math.isclose(sum(x * x for x in vector), 1.0, abs_tol=1e-4)


async def test_vectors_are_those_of_the_raw_engine(loaded):
    import fastembed

    from blazen.weights.starter import starter_path
    from blazen_fastembed.folders import describe_folder

    folder = starter_path("embed")
    raw = fastembed.TextEmbedding(
        describe_folder(folder, "model.onnx"), specific_model_path=str(folder), threads=1
    )
    texts = ["The heron stands in the reeds.", "yeast", "Zinsen steigen"]
    ours = (await loaded.embed(texts)).embeddings
    for mine, theirs in zip(ours, raw.embed(texts), strict=True):
        assert cosine(mine, theirs.tolist()) > 0.9999


async def test_tokens_are_counted_and_a_cut_text_is_told(loaded):
    short = await loaded.embed("hello world")
    assert short.usage.tokens == 4  # with the two that frame a text
    assert short.usage.truncated == 0
    long = await loaded.embed(["word " * 2000, "short"])
    assert long.usage.truncated == 1


async def test_vectors_are_those_of_the_published_weights(loaded):
    """The int8 weights of the starter, in batches, against the fp32 ones with NumPy."""
    from tests.minilm import MiniLm

    reference = MiniLm()
    texts = [*GOLDEN, "the cat sat on the mat and " * 30]
    ours = (await loaded.embed(texts)).embeddings
    for text, vector in zip(texts, ours, strict=True):
        likeness = cosine(vector, reference.embed(text).tolist())
        assert likeness >= 0.999, f"{text!r:.40}: {likeness}"


async def test_what_made_the_vectors_travels_with_them(loaded):
    recipe = (await loaded.embed("hello")).recipe
    assert (recipe.pooling, recipe.normalized, recipe.prefix) == ("mean", True, "")
    assert (recipe.max_length, recipe.long_texts, recipe.file) == (512, "truncate", "model.onnx")
    assert [version.split()[0] for version in recipe.versions] == [
        "fastembed",
        "onnxruntime",
        "tokenizers",
    ]
    assert EmbeddingRecipe.from_json(recipe.to_json()) == recipe


async def test_a_cut_text_is_told_once_for_a_call_and_once_for_a_stream(loaded, caplog):
    long = ["word " * 600] * 3
    with caplog.at_level(logging.WARNING, "blazen"):
        await loaded.embed([*long, "short"])
        assert "3 of 4 texts had more than 512 tokens" in caplog.text
        assert len(caplog.records) == 1
        usage = await loaded.embed_stream(long, window=1).collect()
        assert usage.truncated == 3
        assert len(caplog.records) == 2
        await loaded.embed("short")
        assert len(caplog.records) == 2


async def test_a_long_text_is_read_in_parts_and_averaged():
    """By the numbers of their tokens: the last part is shorter, and counts for less."""
    from tests.minilm import MiniLm

    text = " ".join(f"{word} heron {place}" for place, word in enumerate(["fish", "bread"] * 5))
    async with build(max_length=12, long_texts="average") as model:
        answer = await model.embed([text, "short"])
    reference = MiniLm()
    ids = reference.tokenizer.encode(text).ids
    first, *inner, last = ids
    parts = [[first, *inner[at : at + 10], last] for at in range(0, len(inner), 10)]
    assert len(parts) > 2
    assert answer.usage.truncated == 0
    assert answer.usage.tokens == sum(map(len, parts)) + 3
    assert answer.recipe.long_texts == "average"
    mean = sum(len(part) * reference.of_tokens(part) for part in parts)
    assert cosine(answer.embeddings[0], mean.tolist()) >= 0.998
    assert math.isclose(sum(x * x for x in answer.embeddings[0]), 1.0, abs_tol=1e-4)
    assert cosine(answer.embeddings[1], reference.embed("short").tolist()) >= 0.999


async def test_each_part_of_a_long_text_has_the_prefix():
    """The same vector as if each part had come by itself, with the prefix in its text."""
    text = " ".join(f"heron {place} fish" for place in range(12))
    prefix = "passage: "
    async with build(max_length=12, long_texts="average", passage_prefix=prefix) as model:
        answer = await model.embed([text, "short"])
    words = text.split()
    # Of the 12 tokens two frame the text and two are the prefix; each of these words is a token.
    parts = [prefix + " ".join(words[at : at + 8]) for at in range(0, len(words), 8)]
    async with build() as plain:
        alone = await plain.embed(parts)
    counts = [2 + 2 + len(words[at : at + 8]) for at in range(0, len(words), 8)]
    assert answer.usage.tokens == sum(counts) + 5
    rows = alone.embeddings.tolist()
    mean = [
        sum(count * row[axis] for count, row in zip(counts, rows, strict=True))
        for axis in range(384)
    ]
    assert cosine(answer.embeddings[0], mean) >= 0.998


async def test_a_prefix_that_leaves_no_room_for_a_long_text_is_refused():
    prefix = "one two three four five six "
    what = "max_length is 8, and the prefix 'one two"
    with pytest.raises(ValidationError, match=what):
        await build(max_length=8, long_texts="average", passage_prefix=prefix).load()
    async with build(max_length=8, long_texts="average", query_prefix=prefix) as model:
        with pytest.raises(ValidationError, match=what):
            await model.embed_query("heron " * 20)
        assert (await model.embed("heron " * 20)).dimensions == 384


async def test_one_thread_cuts_one_text_at_a_time_into_tokens(loaded):
    """The tokenizer would spread what it is given together over all cores."""

    def work(encoder, job):
        real, together = encoder._tokenizer, []

        class Watched:
            def encode_batch_fast(self, texts, **settings):
                together.append(len(texts))
                return real.encode_batch_fast(texts, **settings)

        encoder._tokenizer = Watched()
        try:
            read = encoder.read(["a heron", "two herons", "three"], 0, query=False)
        finally:
            encoder._tokenizer = real
        return together, [piece.text for piece in read.pieces]

    assert await loaded._call(work) == ([1, 1, 1], ["a heron", "two herons", "three"])


async def test_prefixes_are_put_before_queries_and_passages(loaded):
    """fastembed's own query_embed puts none there."""
    async with build(query_prefix="query: ", passage_prefix="passage: ") as model:
        query, passage = await model.embed_query("heron"), await model.embed("heron")
    assert (query.recipe.prefix, passage.recipe.prefix) == ("query: ", "passage: ")
    plain = (await loaded.embed(["query: heron", "passage: heron"])).embeddings
    assert cosine(query.embeddings[0], plain[0]) > 0.9999
    assert cosine(passage.embeddings[0], plain[1]) > 0.9999
    assert cosine(query.embeddings[0], passage.embeddings[0]) < 0.99
    assert query.usage.tokens == 5


async def test_a_folder_says_its_own_prefixes(tmp_path):
    folder = copied(tmp_path / "e5-small-v2")
    by_name = prefixes_of(str(folder), folder)
    assert (by_name.query, by_name.passage) == ("query: ", "passage: ")
    prompts = {"query": "ask: ", "document": "say: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    async with build(folder) as model:
        assert (await model.embed_query("heron")).recipe.prefix == "ask: "
        assert (await model.embed("heron")).recipe.prefix == "say: "
    async with build(folder, passage_prefix="") as model:
        assert (await model.embed("heron")).recipe.prefix == ""


@pytest.mark.parametrize(
    ("name", "query", "passage"),
    [
        ("intfloat/multilingual-e5-large", "query: ", "passage: "),
        ("intfloat/e5-base-v2", "query: ", "passage: "),
        ("BAAI/bge-small-en-v1.5", "Represent this sentence for searching", ""),
        ("BAAI/bge-small-zh-v1.5", "为这个句子生成表示", ""),
        ("mixedbread-ai/mxbai-embed-large-v1", "Represent this sentence", ""),
        ("snowflake/snowflake-arctic-embed-m-long", "Represent this sentence", ""),
        ("nomic-ai/nomic-embed-text-v1.5-Q", "search_query: ", "search_document: "),
        ("google/embeddinggemma-300m", "task: search result", "title: none"),
        ("Qwen/Qwen3-Embedding-0.6B", "Instruct: Given", ""),
        ("sentence-transformers/all-MiniLM-L6-v2", "", ""),
        ("someone/my-e5-small-v2-tuned", "", ""),
    ],
)
def test_published_prefixes_are_known(tmp_path, name, query, passage):
    found = prefixes_of(name, tmp_path)
    assert found.query.startswith(query)
    assert found.passage.startswith(passage)
    assert bool(found.query) == bool(query)
    assert bool(found.passage) == bool(passage)


class Counted:
    """Counts the texts of each pass, and how long each pass is filled up to."""

    def __init__(self, monkeypatch):
        self.passes = []
        real = Encoder.vectors

        def vectors(encoder, pieces, *, query):
            self.passes.append([piece.length for piece in pieces])
            return real(encoder, pieces, query=query)

        monkeypatch.setattr(Encoder, "vectors", vectors)


async def test_each_pass_holds_texts_of_like_length(loaded, monkeypatch):
    await loaded.load()
    seen = Counted(monkeypatch)
    texts = [" ".join(["word"] * length) for length in (1, 300, 2, 60, 3, 5, 280, 61, 2)]
    answer = await loaded.embed(texts)
    assert sorted(map(len, seen.passes)) == [1, 1, 2, 5]
    assert sum(map(sum, seen.passes)) == answer.usage.tokens, "a text was read twice"
    assert all(max(lengths) - min(lengths) <= FILLING for lengths in seen.passes)
    assert all(max(lengths) * len(lengths) <= PASS_TOKENS for lengths in seen.passes)


async def test_calls_that_come_together_share_passes_with_their_like(loaded, monkeypatch):
    await loaded.load()
    alone = [(await loaded.embed(text)).embeddings[0] for text in ("a heron", "word " * 400)]
    seen = Counted(monkeypatch)
    texts = ["a heron", "word " * 400] * 6
    answers = await asyncio.gather(*map(loaded.embed, texts))
    for place, answer in enumerate(answers):
        assert cosine(answer.embeddings[0], alone[place % 2]) > 0.999
        assert answer.usage.tokens == (4, 402)[place % 2]
    assert len([lengths for lengths in seen.passes if lengths[0] == 4]) <= 3
    assert all(max(lengths) - min(lengths) <= FILLING for lengths in seen.passes)


async def test_a_small_call_does_not_wait_for_a_large_one(loaded):
    large = asyncio.create_task(loaded.embed(["some text to embed " * 20] * 400))
    small = asyncio.create_task(loaded.embed("a heron"))
    done, _ = await asyncio.wait([large, small], return_when=asyncio.FIRST_COMPLETED)
    assert done == {small}
    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large


async def test_who_leaves_or_errs_harms_no_one_else(loaded):
    expected = (await loaded.embed("a heron")).embeddings[0]
    calls = [asyncio.create_task(loaded.embed("a heron")) for _ in range(8)]
    bad = asyncio.create_task(loaded.embed(["fine", "a\ud83d"]))
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    with pytest.raises(ValidationError, match=r"texts\[1\] has half a surrogate pair"):
        await bad
    for call in calls[1::2]:
        assert cosine((await call).embeddings[0], expected) > 0.9999
    await asyncio.wait(calls)  # one that was being served ends with its pass
    assert all(call.cancelled() for call in calls[::2])


async def test_a_pass_that_fails_is_the_failure_of_one_caller(loaded, monkeypatch):
    await loaded.load()
    real = Encoder.vectors

    def vectors(encoder, pieces, *, query):
        if any("poison" in piece.text for piece in pieces):
            raise RuntimeError("the engine choked")
        return real(encoder, pieces, query=query)

    monkeypatch.setattr(Encoder, "vectors", vectors)
    calls = [loaded.embed(text) for text in ("a heron", "poison", "a mill")]
    heron, poison, mill = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(poison, InferenceError)
    assert "the engine choked" in str(poison)
    assert heron.dimensions == mill.dimensions == 384


class Panic(BaseException):
    """What an engine in Rust raises when it panics is no Exception either."""


@pytest.mark.parametrize("step", ["read", "vectors", "recipe"])
async def test_a_panic_over_one_callers_text_harms_no_one_else(loaded, monkeypatch, step):
    await loaded.load()
    real = getattr(Encoder, step)

    def choke(encoder, *arguments, **settings):
        texts = arguments[0] if arguments else []
        if step == "recipe":
            panics = settings["query"]
        else:
            panics = any("poison" in getattr(text, "text", text) for text in texts)
        if panics:
            raise Panic("called `Option::unwrap()` on a `None` value")
        return real(encoder, *arguments, **settings)

    monkeypatch.setattr(Encoder, step, choke)
    bad = loaded.embed_query if step == "recipe" else loaded.embed
    calls = [loaded.embed("word " * 400), loaded.embed("a heron"), bad("poison"), loaded.embed("a")]
    *first, poison, last = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(poison, InferenceError)
    assert "Option::unwrap" in str(poison)
    assert isinstance(poison.__cause__, Panic)
    assert [answer.dimensions for answer in (*first, last)] == [384] * 3


async def test_vectors_that_can_not_be_kept_are_the_failure_of_one_caller(loaded, monkeypatch):
    await loaded.load()
    import numpy

    real = numpy.zeros

    def zeros(shape, *arguments, **settings):
        if shape == (3, 384):
            raise MemoryError("no room for the vectors")
        return real(shape, *arguments, **settings)

    monkeypatch.setattr(numpy, "zeros", zeros)
    calls = [loaded.embed(texts) for texts in ("a heron", ["a", "b", "c"], "a mill")]
    heron, large, mill = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(large, InferenceError)
    assert "no room for the vectors" in str(large)
    assert heron.dimensions == mill.dimensions == 384


class Text(str):
    """A text that a weak reference can follow."""

    __slots__ = ("__weakref__",)


async def test_a_model_keeps_no_text_of_who_has_left(tmp_path):
    def texts():
        some = [Text("some text to embed " * 20) for _ in range(300)]
        kept.extend(map(weakref.ref, some))
        return some

    kept = []
    broken = build(tmp_path)
    for _ in range(2):
        with pytest.raises(ValidationError):
            await broken.embed(texts())
    model = build()
    while_it_loads = asyncio.create_task(model.embed(texts()))
    await asyncio.sleep(0)
    while_it_loads.cancel()
    await asyncio.wait([while_it_loads])
    await model.load()
    # The first is answered while the others are in its line; one has its turn, one never has.
    calls = [asyncio.create_task(model.embed("a heron"))]
    calls += [asyncio.create_task(model.embed(texts())) for _ in range(2)]
    await calls[0]
    while calls:
        calls[-1].cancel()
        await asyncio.wait([calls.pop()])
    del while_it_loads
    await model.unload()
    gc.collect()
    assert sum(one() is not None for one in kept) == 0


async def test_a_stream_of_any_length_takes_the_same_memory(loaded):
    """Texts and vectors of 1,000 would take over 9 MB, were they kept."""
    read = 0

    def source(count):
        nonlocal read
        for number in range(count):
            read += 1
            yield f"{number} " + " " * 8000

    await loaded.embed_stream(source(8)).collect()
    tracemalloc.start()
    try:
        given, read = 0, 0
        async for piece in loaded.embed_stream(source(1000), window=64):
            given += len(piece.embeddings)
            assert read - given <= 64
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert given == 1000
    assert peak < 4 << 20


async def test_a_slow_source_is_not_waited_for(loaded):
    """What has come is answered before the next text is there."""
    answered = asyncio.Event()

    async def live():
        yield "the first"
        await answered.wait()
        yield "the second"

    async for piece in loaded.embed_stream(live(), window=100):
        assert len(piece.embeddings) == 1
        answered.set()


async def test_max_length_is_kept():
    async with build(max_length=8) as model:
        answer = await model.embed("one two three four five six seven eight nine ten")
    assert answer.usage.tokens == 8
    assert answer.usage.truncated == 1


async def test_more_texts_than_fit_a_batch_keep_their_order(loaded):
    texts = [f"Text number {n}" for n in range(70)]
    together = (await loaded.embed(texts)).embeddings
    for index in (0, 31, 32, 69):
        alone = (await loaded.embed(texts[index])).embeddings[0]
        assert cosine(together[index], alone) > 0.99  # int8 weights vary a little with the batch


async def test_cancelling_stops_between_batches():
    async with build(max_batch_size=1) as model:
        texts = ["some text to embed " * 20] * 2000
        task = asyncio.create_task(model.embed(texts))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)
        assert (await model.embed("usable")).dimensions == 384


async def test_options_come_as_the_seed_writes_them():
    model = EmbeddingModel.local(options=EmbedOptions("starter:embed", max_batch_size=4))
    assert (await model.embed(["hello", "world"])).dimensions == 384
    await model.unload()
    from_spec = EmbeddingModel.from_spec("fastembed:starter:embed", threads=1)
    assert (await from_spec.embed("hello")).dimensions == 384
    await from_spec.unload()


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("BGESmallENV15", "BAAI/bge-small-en-v1.5"),
        ("BAAI/bge-small-en-v1.5", "BAAI/bge-small-en-v1.5"),
        ("AllMiniLML6V2", "sentence-transformers/all-MiniLM-L6-v2"),
        ("multilingual-e5-large", "intfloat/multilingual-e5-large"),
    ],
)
def test_models_are_known_by_both_kinds_of_name(name, full):
    from blazen_fastembed.names import known_model

    assert known_model(name).name == full
    assert known_model("no/such-model") is None


@pytest.mark.parametrize(
    "name",
    [
        "other/bge-small-en-v1.5",
        "hf:other/bge-small-en-v1.5",
        "./AllMiniLML6V2",
        "C:\\bge-small-en",
    ],
)
def test_the_model_of_another_place_is_never_taken_for_a_known_one(name):
    from blazen_fastembed.names import known_model

    assert known_model(name) is None


def test_a_folder_on_the_disk_goes_before_a_known_name(tmp_path, monkeypatch):
    from blazen_fastembed.names import known_model

    monkeypatch.chdir(tmp_path)
    (tmp_path / "BGESmallENV15").mkdir()
    assert known_model("BGESmallENV15") is None


async def test_pooling_is_read_from_the_folder_unless_it_is_given(tmp_path):
    from blazen.weights.starter import starter_path

    folder = tmp_path / "model"
    shutil.copytree(starter_path("embed"), folder)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    async with build(folder) as declared, build(folder, pooling="mean") as given, build() as usual:
        text = "The heron stands in the reeds."
        cls, mean, plain = [(await m.embed(text)).embeddings[0] for m in (declared, given, usual)]
    assert cosine(mean, plain) > 0.9999
    assert cosine(cls, plain) < 0.99


async def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path):
    with pytest.raises(ValidationError, match=r"tokenizer\.json"):
        await build(tmp_path).load()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ValidationError, match="no ONNX file"):
        await build(tmp_path).load()
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValidationError, match=r"several ONNX files \(a.onnx, b.onnx\)"):
        await build(tmp_path).load()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("BGESmalENV15", "BAAI/bge-small-en-v1.5"),
        ("AllMiniLML6V3", "sentence-transformers/all-MiniLM-L6-v2"),
        ("BAAI/bge-smal-en-v1.5", "BAAI/bge-small-en-v1.5"),
    ],
)
async def test_a_misspelt_name_is_told_what_is_near(name, near, tmp_path, monkeypatch):
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    with pytest.raises((ModelNotFoundError, DownloadError), match=f"did you mean '{near}'"):
        await build(name, cache_dir=tmp_path).load()


async def test_a_known_model_is_read_from_the_cache_while_offline(tmp_path, monkeypatch):
    import fastembed

    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    # Versions of fastembed name its repository in different letters.
    (name,) = (
        row["sources"]["hf"]
        for row in fastembed.TextEmbedding.list_supported_models()
        if row["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    )
    repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    copied(repository / "snapshots" / ("0" * 40))
    async with build("AllMiniLML6V2", cache_dir=tmp_path) as model:
        answer = await model.embed(["a heron", "a heron in the reeds"])
    assert (answer.dimensions, answer.recipe.pooling, answer.recipe.normalized) == (
        384,
        "mean",
        True,
    )
    with pytest.raises(UnsupportedError, match="leave pooling= out"):
        await build("AllMiniLML6V2", cache_dir=tmp_path, pooling="cls").load()


async def test_any_repository_with_an_onnx_file_is_a_model(tmp_path, monkeypatch):
    """What is published for its name holds for it too."""
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    repository = tmp_path / "hub" / "models--someone--e5-small-v2"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("2" * 40)
    copied(repository / "snapshots" / ("2" * 40))
    async with build("someone/e5-small-v2", cache_dir=tmp_path) as model:
        assert (await model.embed_query("heron")).recipe.prefix == "query: "
        assert (await model.embed("heron")).recipe.prefix == "passage: "


async def test_a_table_of_vectors_needs_no_network(tmp_path, monkeypatch):
    """Potion models: the mean of the vectors of a text's tokens, with no marks around it."""
    import numpy

    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    repository = tmp_path / "hub" / "models--minishlab--potion-base-8M"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("1" * 40)
    folder = copied(repository / "snapshots" / ("1" * 40))
    (folder / "model.onnx").unlink()
    table = numpy.random.default_rng(5).standard_normal((30522, 256)).astype("<f4")
    entry = {"dtype": "F32", "shape": list(table.shape), "data_offsets": [0, table.nbytes]}
    header = json.dumps({"embeddings": entry}).encode()
    weights = len(header).to_bytes(8, "little") + header + table.tobytes()
    (folder / "model.safetensors").write_bytes(weights)
    async with build("potion-base-8M", cache_dir=tmp_path) as model:
        answer = await model.embed(["heron fish", "fish"])
    assert (answer.usage.tokens, answer.recipe.pooling, answer.dimensions) == (3, "mean", 256)
    heron, fish = 22914, 3869
    expected = (table[heron] + table[fish]).tolist()
    assert cosine(answer.embeddings[0], expected) > 0.9999
    with pytest.raises(UnsupportedError, match="long_texts"):
        await build("potion-base-8M", cache_dir=tmp_path, long_texts="average").load()


async def test_one_of_several_files_is_named(tmp_path):
    folder = copied(tmp_path / "model")
    (folder / "onnx").mkdir()
    (folder / "model.onnx").rename(folder / "onnx" / "model_quantized.onnx")
    (folder / "odd.onnx").write_bytes(b"no network")
    async with build(folder) as model:
        assert (await model.embed("heron")).recipe.file == "onnx/model_quantized.onnx"
    with pytest.raises(LoadError, match="could not load"):
        await build(folder, file="odd.onnx").load()
    with pytest.raises(ValidationError, match=r"did you mean 'odd\.onnx'"):
        await build(folder, file="od.onnx").load()


async def test_a_network_that_pools_by_itself_is_believed(tmp_path):
    """It has an output for the text's vector, and wants no token types."""
    folder = copied(tmp_path / "ready")
    write_ready(folder / "model.onnx")
    async with build(folder) as model:
        answer = await model.embed(["a heron", ""])
    assert (answer.recipe.pooling, answer.dimensions) == ("model", 3)
    # The numbers of its three tokens or two, summed: the vector points along (1, 2, 2).
    for vector in answer.embeddings:
        assert [round(number * 3, 4) for number in vector] == [1, 2, 2]
    with pytest.raises(UnsupportedError, match="one vector for each text"):
        await build(folder, pooling="mean").load()


async def test_the_length_that_a_folder_declares_is_kept(tmp_path):
    folder = copied(tmp_path / "model")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 6}')
    async with build(folder) as model:
        assert (await model.embed("one two three four five six")).usage.tokens == 6
    with pytest.raises(ValidationError, match="from 3 to 512"):
        await build(folder, max_length=2000).load()


@pytest.mark.parametrize(
    "settings",
    [{"long_texts": "split"}, {"query_prefix": 3}, {"pooling": "max"}, {"max_batch_size": 0}],
)
def test_options_that_can_not_be_right_are_refused(settings):
    with pytest.raises(ValidationError, match=next(iter(settings))):
        EmbedOptions(**settings)


async def test_a_name_that_leads_nowhere(tmp_path):
    with pytest.raises(ModelNotFoundError):
        await build(tmp_path / "none").load()


async def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UnsupportedError, match="cuda"):
        await build(device="cuda:7").load()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
def test_it_says_what_it_takes():
    check_footprint("EmbeddingModel", "fastembed:starter:embed")


async def test_long_texts_are_read_a_few_at_a_time(loaded):
    """In one pass, 32 texts of this length would take three gigabytes, and keep them."""
    before = rss_bytes()
    long = "the cat sat on the mat and " * 100
    answer = await loaded.embed([long] * 16)
    assert answer.usage.tokens == 16 * 512
    assert rss_bytes() - before < 900 << 20
    alone = (await loaded.embed(long)).embeddings[0]
    assert all(cosine(row, alone) > 0.999 for row in answer.embeddings)
