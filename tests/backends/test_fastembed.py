"""fastembed on real weights."""

from __future__ import annotations

import asyncio
import math
import shutil
import sys

import pytest

import blazen
from blazen import EmbeddingModel, EmbedOptions
from blazen.errors import ModelNotFoundError, UnsupportedError, ValidationError
from blazen.hardware import rss_bytes
from blazen.testing import EmbeddingSuite
from tests.programs import check_footprint

pytestmark = pytest.mark.needs("fastembed", "starter:embed")


def build(target="starter:embed", **settings):
    return EmbeddingModel.fastembed(target, threads=1, **settings)


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


class TestFastEmbed(EmbeddingSuite):
    """The shipped suite, whole."""

    @pytest.fixture
    def model(self, loaded):
        return loaded

    @pytest.fixture
    def broken_model(self):
        return build


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
        describe_folder(folder, None), specific_model_path=str(folder), threads=1
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
