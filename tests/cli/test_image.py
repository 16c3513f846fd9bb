"""``blazen image`` on a pipeline of chance weights: real steps, and pictures of noise."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from blazen import Image, ImageGeneration, ImageOptions
from blazen.cli.commands.image import read_size
from blazen.errors import ValidationError
from tests.cli.making import alone, done, refused

pytestmark = pytest.mark.needs("diffusers")
np = pytest.importorskip("numpy")
pytest.importorskip("torch")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from blazen.testing.tiny_diffusion import save_tiny_pipeline

    return save_tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models = f'[models.tiny]\nspec = "diffusers:{pipeline}"\nkind = "image"\n'
    return alone(tmp_path, monkeypatch, models)


SMALL = ("--size", "32", "--steps", "2", "-m", "tiny")


def test_an_image_is_made_and_the_same_again(here: Path) -> None:
    result = done("image", "a", "lighthouse", "-o", "one.png", "--seed", "3", *SMALL)
    assert result.stdout == "one.png\n"
    picture = Image.from_file(here / "one.png")
    assert (picture.size, picture.media_type) == ((32, 32), "image/png")
    asked = ("-o", "two.png", "--seed", "3", "--json", *SMALL)
    about = json.loads(done("image", *asked, given="a lighthouse").stdout)
    assert about["model"] == "tiny"
    (row,) = about["images"]
    assert row.items() >= {"file": "two.png", "seed": 3, "width": 32, "height": 32}.items()
    pixels = picture.to_array().tolist()
    assert Image.from_file(here / "two.png").to_array().tolist() == pixels
    done("image", "a lighthouse", "-o", "three.png", "--seed", "4", *SMALL)
    assert Image.from_file(here / "three.png").to_array().tolist() != pixels


def test_several_get_numbers_and_nothing_is_replaced(here: Path) -> None:
    assert done("image", "x", "-n", "2", *SMALL).stdout == "image-1.png\nimage-2.png\n"
    assert done("image", "x", *SMALL).stdout == "image-3.png\n"
    named = ("image", "x", "-n", "2", "-o", "a.webp", *SMALL)
    assert done(*named).stdout == "a-1.webp\na-2.webp\n"
    assert Image.from_file(here / "a-2.webp").media_type == "image/webp"
    assert "'a-1.webp' already: --force" in refused(*named)
    done(*named, "--force")


def test_it_may_begin_with_a_picture(here: Path, pipeline: Path) -> None:
    done("image", "x", "-o", "from.png", "--seed", "1", *SMALL)
    half = np.zeros((32, 32, 3), np.uint8)
    half[:, 16:] = 255
    Image.from_array(half).save(here / "half.png")
    begin = (
        "--image",
        "from.png",
        "--seed",
        "2",
        "--steps",
        "4",
        "-m",
        "tiny",
        "--strength",
        "0.5",
    )
    done("image", "x", *begin, "-o", "near.png")
    done("image", "x", *begin, "--mask", "half.png", "-o", "right.png")

    async def expected(mask: str | None = None) -> Any:
        options = ImageOptions(image="from.png", mask=mask, seed=2, steps=4, strength=0.5)
        async with ImageGeneration.diffusers(pipeline) as model:
            return (await model.generate("x", options)).images[0].to_array().tolist()

    near, right = (
        Image.from_file(here / f"{n}.png").to_array().tolist() for n in ("near", "right")
    )
    assert near == asyncio.run(expected())
    assert right == asyncio.run(expected(mask="half.png"))
    assert near != right


def test_what_is_wrong_is_said(here: Path) -> None:
    assert "the prompt is empty" in refused("image", *SMALL)
    assert "the suffix of an image" in refused("image", "x", "-o", "a.gif", *SMALL)
    assert "512x512" in refused("image", "x", "--size", "big", "-m", "tiny")
    assert "gone.png" in refused("image", "x", "--image", "gone.png", *SMALL)
    Image.from_array(np.zeros((8, 8, 3), np.uint8)).save(here / "mask.png")
    assert "give image= too" in refused("image", "x", "--mask", "mask.png", *SMALL)
    assert "count" in refused("image", "x", "-n", "0", *SMALL)
    assert "not for image" in refused("image", "x", "-m", "starter:chat", code=3)


def test_sizes_are_read() -> None:
    assert read_size("512x384") == (512, 384)
    assert read_size(" 64 X 32 ") == (64, 32)
    assert read_size("128") == (128, 128)
    for wrong in ("x", "12x", "-1", "1x2x3", "9999999"):
        with pytest.raises(ValidationError, match="512x512"):
            read_size(wrong)
