"""Image embeddings through fastembed, with a small network of chance weights."""

from __future__ import annotations

import json
import sys

import pytest

import blazen
from blazen.errors import ModelNotFoundError, ValidationError
from blazen.options.retrieval import ImageEmbedOptions
from blazen.testing import ImageEmbeddingSuite
from blazen.testing.image_embedding import picture

pytestmark = pytest.mark.needs("fastembed", "images")
pytest.importorskip("fastembed")
numpy = pytest.importorskip("numpy")
pytest.importorskip("onnx")

from PIL import Image as Pillow  # noqa: E402 - it comes with fastembed

from blazen_fastembed.images import FastEmbedImages  # noqa: E402
from tests.backends.briefly import Briefly  # noqa: E402
from tests.backends.isolated import Apart  # noqa: E402
from tests.programs import check_footprint  # noqa: E402
from tests.tiny_onnx import CHANNELS, MEAN, PATCH, SIDE, STD, TinyVision  # noqa: E402


def build(target, **settings):
    return FastEmbedImages(ImageEmbedOptions(target, threads=1, **settings))


class TestClip(ImageEmbeddingSuite):
    @pytest.fixture
    def model(self, loaded):
        return loaded

    @pytest.fixture
    def broken_model(self):
        return build


class TestClipApart(Briefly, Apart, TestClip):
    """The same in a process of its own."""


@pytest.fixture(scope="module")
def vision():
    return TinyVision()


@pytest.fixture(scope="module")
def folder(vision, tmp_path_factory):
    return vision.write(tmp_path_factory.mktemp("images") / "vision")


@pytest.fixture(scope="module")
def loaded(folder):
    model = build(folder)
    yield model
    blazen.blocking(model).unload()


def pixels(width, height, channels=3, seed=0):
    chance = numpy.random.default_rng(seed)
    return chance.integers(0, 256, (height, width, channels), "uint8")


def prepared(image):
    """CLIP's own way: the short side to size, the middle cut out, the colours normalised."""
    width, height = image.size
    if width < height:
        size = (SIDE, int(SIDE * height / width))
    else:
        size = (int(SIDE * width / height), SIDE)
    small = numpy.asarray(image.convert("RGB").resize(size, Pillow.Resampling.BICUBIC))
    top, left = (small.shape[0] - SIDE) // 2, (small.shape[1] - SIDE) // 2
    middle = small[top : top + SIDE, left : left + SIDE].astype("float64") / 255
    return ((middle - MEAN) / STD).transpose(2, 0, 1).astype("float32")


@pytest.mark.parametrize("size", [(32, 32), (61, 40), (40, 61), (9, 30), (200, 33)])
async def test_a_picture_is_resized_cropped_and_normalised(loaded, vision, size):
    array = pixels(*size)
    answer = await loaded.embed_images(array)
    expected = vision.output(prepared(Pillow.fromarray(array)))
    assert numpy.allclose(answer.embeddings[0], expected, atol=1e-4)
    assert answer.dimensions == len(expected)


async def test_vectors_are_those_of_fastembed(loaded, folder, tmp_path):
    import fastembed

    paths = []
    for number, size in enumerate([(50, 40), (33, 64), (32, 32)]):
        paths.append(tmp_path / f"{number}.png")
        Pillow.fromarray(pixels(*size, seed=number)).save(paths[-1])
    raw = fastembed.ImageEmbedding(
        "Qdrant/clip-ViT-B-32-vision", specific_model_path=str(folder), threads=1
    )
    answer = await loaded.embed_images(paths)
    for mine, theirs in zip(answer.embeddings, raw.embed(paths), strict=True):
        assert numpy.allclose(mine, theirs, atol=1e-6)


async def test_grey_transparent_and_turned_pictures(loaded, vision, tmp_path):
    grey = Pillow.fromarray(pixels(40, 50, 1)[:, :, 0])
    clear = Pillow.fromarray(pixels(40, 50, 4))
    deep = Pillow.fromarray(pixels(40, 50, 1)[:, :, 0].astype("uint16") * 256)
    answer = await loaded.embed_images([grey, clear, deep])
    for vector, image in zip(answer.embeddings, [grey, clear, grey], strict=True):
        assert numpy.allclose(vector, vision.output(prepared(image)), atol=1e-4)
    lying = Pillow.fromarray(pixels(40, 50))
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, to the right
    lying.save(tmp_path / "lying.png", exif=exif)
    turned = await loaded.embed_images(tmp_path / "lying.png")
    standing = lying.transpose(Pillow.Transpose.ROTATE_270)
    assert numpy.allclose(turned.embeddings[0], vision.output(prepared(standing)), atol=1e-4)


async def test_more_pictures_than_a_pass_has_room_for_keep_their_order(folder):
    pictures = [picture(number, 20 + number, 24) for number in range(7)]
    async with build(folder, max_batch_size=2) as small, build(folder) as large:
        few, many = [(await model.embed_images(pictures)).embeddings for model in (small, large)]
    assert numpy.allclose(few, many, atol=1e-6)


async def test_a_very_thin_picture_is_refused_before_it_is_made_larger(loaded):
    with pytest.raises(ValidationError, match=r"images\[1\] has 1 × 600 pixels"):
        await loaded.embed_images([pixels(5, 5), pixels(1, 600)])
    assert len((await loaded.embed_images(pixels(1, 400))).embeddings) == 1


async def test_a_picture_that_is_gone_when_it_is_read(loaded, tmp_path):
    path = tmp_path / "gone.png"
    path.write_bytes(picture(1))
    image = blazen.Image.from_file(path)
    path.unlink()
    with pytest.raises(ValidationError, match=r"gone\.png"):
        await loaded.embed_images(image)


async def test_a_folder_needs_to_say_how_pictures_are_prepared(vision, tmp_path):
    folder = vision.write(tmp_path / "vision")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValidationError, match=r"no preprocessor_config\.json"):
        await build(folder).load()


async def test_a_misspelt_name_finds_its_neighbour(tmp_path):
    with pytest.raises(ModelNotFoundError, match="did you mean 'Qdrant/clip-ViT-B-32-vision'"):
        await build("clip-ViT-B-32-vison", cache_dir=tmp_path).load()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
def test_it_says_what_it_takes(vision, tmp_path):
    folder = vision.write(tmp_path / "vision")
    sizes = {"image_size": SIDE, "patch_size": PATCH, "num_attention_heads": 1}
    (folder / "config.json").write_text(json.dumps({**sizes, "intermediate_size": CHANNELS}))
    (tmp_path / "picture.png").write_bytes(picture(1))
    question = str(tmp_path / "picture.png")
    check_footprint("ImageEmbeddingModel", f"fastembed:{folder}", question=question)
