"""``/v1/images``, asked by the real client of OpenAI."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

pytest.importorskip("PIL")
pytest.importorskip("numpy")

from PIL import Image as Pillow

from blazen.types.image import Image
from tests.server.conftest import read_catalog, running

pytestmark = pytest.mark.needs("server", "clients", "images")


@pytest.fixture(scope="module")
def client(echo_server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{echo_server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def picture(packed: str | None) -> Image:
    assert packed is not None
    return Image.from_bytes(base64.b64decode(packed))


def png(mode: str, colour: Any, size: tuple[int, int] = (64, 64)) -> bytes:
    return Image.from_pil(Pillow.new(mode, size, colour)).to_bytes("png")


class TestLogic:
    """What the routes do around a model: on one that paints a colour of its prompt and seed."""

    def test_images_are_made(self, client: openai.OpenAI) -> None:
        more: Any = {"seed": 5}
        answer = client.images.generate(
            model="echo-image", prompt="a heron", n=2, size="24x16", extra_body=more
        )
        assert answer.data is not None
        first, second = (picture(image.b64_json) for image in answer.data)
        assert first.size == second.size == (24, 16)
        assert first != second
        assert answer.size == "24x16"
        assert answer.output_format == "png"
        again = client.images.generate(
            model="echo-image", prompt="a heron", size="24x16", extra_body=more
        )
        assert again.data is not None
        assert picture(again.data[0].b64_json) == first

    def test_the_seeds_are_told(self, echo_server: Any) -> None:
        body = {"prompt": "a heron", "n": 2, "seed": 5}
        answer = httpx.post(f"{echo_server.url}/v1/images/generations", json=body).json()
        assert [image["seed"] for image in answer["data"]] == [5, 6]

    @pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
    def test_the_format_is_as_asked(self, client: openai.OpenAI, form: Any) -> None:
        answer = client.images.generate(prompt="a heron", output_format=form, output_compression=50)
        assert answer.data is not None
        assert picture(answer.data[0].b64_json).media_type == f"image/{form}"

    def test_a_stream_shows_what_becomes_of_it(self, client: openai.OpenAI) -> None:
        events = list(
            client.images.generate(
                model="echo-image", prompt="a heron", size="16x16", stream=True, partial_images=2
            )
        )
        assert [event.type for event in events] == [
            "image_generation.partial_image",
            "image_generation.partial_image",
            "image_generation.completed",
        ]
        indexes = [getattr(event, "partial_image_index", None) for event in events]
        assert indexes == [0, 1, None]
        assert picture(events[-1].b64_json).size == (16, 16)

    @pytest.mark.parametrize(
        ("more", "param"),
        [
            ({"response_format": "url"}, "response_format"),
            ({"quality": "hd"}, "quality"),
            ({"style": "vivid"}, "style"),
            ({"background": "transparent"}, "background"),
            ({"size": "large"}, "size"),
            ({"size": "0x16"}, "size"),
            ({"size": "9000x9000"}, "size"),
            ({"n": 0}, "n"),
            ({"n": 11}, "n"),
            ({"prompt": ""}, "prompt"),
            ({"stream": True, "n": 2}, "n"),
            ({"strength": 0.5}, "strength"),
            ({"output_format": "svg"}, "output_format"),
            ({"seed": -1}, "seed"),
        ],
    )
    def test_what_cannot_be_done_is_named(
        self, echo_server: Any, more: dict[str, Any], param: str
    ) -> None:
        body = {"prompt": "a heron", **more}
        answer = httpx.post(f"{echo_server.url}/v1/images/generations", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param

    def test_what_clients_always_send_is_passed_over(self, client: openai.OpenAI) -> None:
        answer = client.images.generate(
            prompt="a heron",
            size="auto",
            quality="standard",
            response_format="b64_json",
            background="auto",
            moderation="low",
            user="me",
        )
        assert answer.data is not None

    @pytest.mark.parametrize(
        ("files", "fields", "words"),
        [
            ({}, {}, "send one image"),
            ({"image": b""}, {}, "empty"),
            ({"image": b"no picture"}, {}, ""),
            ({"image": png("RGB", 0), "mask": b""}, {}, "mask is empty"),
            ({"image": png("RGB", 0)}, {"n": "many"}, "n"),
            ({"image": png("RGB", 0)}, {"response_format": "url"}, "b64_json"),
            ({"image": png("RGB", 0)}, {"strength": "2"}, "strength"),
        ],
    )
    def test_an_edit_that_cannot_be_made(
        self, echo_server: Any, files: dict[str, bytes], fields: dict[str, str], words: str
    ) -> None:
        answer = httpx.post(
            f"{echo_server.url}/v1/images/edits",
            files={
                "prompt": (None, b"a heron"),
                **{name: ("x.png", data) for name, data in files.items()},
            },
            data=fields,
        )
        assert answer.status_code == 400
        assert words in answer.json()["error"]["message"]

    def test_a_picture_of_too_many_pixels(self, echo_catalog: Any) -> None:
        with running(echo_catalog, max_image_pixels=1000) as server:
            answer = httpx.post(
                f"{server.url}/v1/images/edits",
                files={"image": ("x.png", png("RGB", 0))},
                data={"prompt": "a heron"},
            )
            assert answer.status_code == 400
            assert "1,000 pixels" in answer.json()["error"]["message"]
            body = {"prompt": "a heron", "size": "64x64"}
            answer = httpx.post(f"{server.url}/v1/images/generations", json=body)
            assert answer.status_code == 400


@pytest.mark.needs("diffusers")
class TestRealPipeline:
    """A whole pipeline of diffusers with weights of chance."""

    def test_a_prompt_and_a_seed_give_an_image(self, painter: Any) -> None:
        asked: dict[str, Any] = {"prompt": "a heron", "size": "64x64"}
        first, again = (
            painter.images.generate(**asked, extra_body={"seed": 3, "steps": 2}) for _ in range(2)
        )
        other = painter.images.generate(**asked, extra_body={"seed": 4, "steps": 2})
        made = picture(first.data[0].b64_json)
        assert made.size == (64, 64)
        assert made == picture(again.data[0].b64_json)
        assert made != picture(other.data[0].b64_json)

    def test_a_mask_says_where_to_paint(self, painter: Any) -> None:
        start = png("RGB", (200, 30, 30))
        # OpenAI's mask is transparent where it is painted: here the left half.
        mask = Pillow.new("RGBA", (64, 64), (0, 0, 0, 255))
        mask.paste((0, 0, 0, 0), (0, 0, 32, 64))
        answer = painter.images.edit(
            image=("start.png", start),
            mask=("mask.png", Image.from_pil(mask).to_bytes("png")),
            prompt="a heron",
            extra_body={"seed": 3, "steps": 4},
        )
        made = picture(answer.data[0].b64_json).to_pil().convert("RGB")
        assert made.size == (64, 64)
        assert made.getpixel((60, 32)) == (200, 30, 30)
        assert made.getpixel((4, 32)) != (200, 30, 30)

    def test_a_mask_without_transparency_is_painted_where_it_is_white(self, painter: Any) -> None:
        mask = Pillow.new("L", (64, 64), 0)
        mask.paste(255, (32, 0, 64, 64))
        answer = painter.images.edit(
            image=("start.png", png("RGB", (200, 30, 30))),
            mask=("mask.png", Image.from_pil(mask).to_bytes("png")),
            prompt="a heron",
            extra_body={"seed": 3, "steps": 4},
        )
        made = picture(answer.data[0].b64_json).to_pil().convert("RGB")
        assert made.getpixel((4, 32)) == (200, 30, 30)
        assert made.getpixel((60, 32)) != (200, 30, 30)

    def test_an_image_to_start_from(self, painter: Any) -> None:
        events = list(
            painter.images.edit(
                image=[("start.png", png("RGB", (200, 30, 30)))],
                prompt="a heron",
                stream=True,
                extra_body={"seed": 3, "steps": 4, "strength": 0.5},
            )
        )
        assert [event.type for event in events] == ["image_edit.completed"]
        assert picture(events[0].b64_json).size == (64, 64)

    def test_a_size_that_the_pipeline_has_not(self, painter: Any) -> None:
        with pytest.raises(openai.BadRequestError):
            painter.images.generate(prompt="a heron", size="63x63")


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """A client of a server with the tiny pipeline."""
    from blazen.testing.tiny_diffusion import save_tiny_pipeline

    folder: Path = tmp_path_factory.mktemp("painter")
    pipeline = save_tiny_pipeline(folder / "tiny")
    text = f"""
        [discover]
        starters = false
        cache = false
        programs = false
        [models.tiny]
        spec = {json.dumps(f"diffusers:{pipeline.as_posix()}")}
        kind = "image"
        """
    with (
        running(read_catalog(folder, text)) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client
