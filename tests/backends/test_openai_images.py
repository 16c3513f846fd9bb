"""Images through OpenAI's SDK, against a server that speaks the published API."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re

import pytest

pytest.importorskip("openai")
pillow = pytest.importorskip("PIL.Image")

from blazen import (  # noqa: E402
    Image,
    ImageGeneration,
    ProviderError,
    UnsupportedError,
    ValidationError,
)
from blazen.testing import ImageSuite  # noqa: E402
from blazen.testing.running import on_loop  # noqa: E402
from blazen_openai import pictures  # noqa: E402
from blazen_openai.images import OpenAiImages  # noqa: E402
from tests.remote.misbehaving import (  # noqa: E402
    answering,
    serving,
    serving_apart,
)
from tests.wire.faults import FAULTS, Speech, check  # noqa: E402
from tests.wire.openai_media import KEY, Chunked, media  # noqa: E402


def picture(mode="RGB", size=(32, 16), color=(200, 20, 20), kind="PNG") -> bytes:
    out = io.BytesIO()
    pillow.new(mode, size, color).save(out, kind)
    return out.getvalue()


PNG = picture()
B64 = base64.b64encode(PNG).decode()


@pytest.fixture(scope="module")
def url():
    with serving_apart(media()) as server:
        yield server.url


def made(url, model=None, **settings) -> OpenAiImages:
    return OpenAiImages(
        OpenAiImages.Options(model, **{"api_key": KEY, "base_url": url, **settings})
    )


class TestOpenAiImages(ImageSuite):
    width, height = 256, 256

    @pytest.fixture
    def model(self, url):
        return made(url, previews=2)

    def options(self, **more):
        """The API has no seeds and no steps."""
        more = {name: value for name, value in more.items() if name not in ("seed", "steps")}
        return {"width": self.width, "height": self.height, **more}

    @on_loop
    async def test_images_are_as_asked(self, model):
        """Their number and size are right."""
        answer = await model.generate(self.prompt, self.options(count=2, width=512))
        assert [image.size for image in answer.images] == [(512, 256)] * 2

    @on_loop
    async def test_seeds_are_drawn_where_none_is_given(self, model):
        """There are none, and one that is asked for is refused."""
        assert (await model.generate(self.prompt, self.options())).seeds == ()
        with pytest.raises(UnsupportedError, match="'seed'"):
            await model.generate(self.prompt, {"seed": 1})


async def drawn(prompt, *behaviours, options=None, model=None, stream=False, **settings):
    async with serving(*(behaviours or [media()])) as server:
        draws = made(server.url, model, **settings)
        try:
            if stream:
                chunks = [chunk async for chunk in draws.generate_stream(prompt, options)]
                return chunks, server
            return await draws.generate(prompt, options), server
        finally:
            await draws.aclose()


def streaming(*events):
    async def behave(wire, request):
        out = Chunked(wire)
        await out.begin("text/event-stream")
        for event in events:
            await out.event(event, named=isinstance(event, dict) and "type" in event)
        await out.end()

    return behave


def parts_of(request) -> dict[str, bytes]:
    """Give what a form holds, by name."""
    boundary = b"--" + request.headers["content-type"].partition("boundary=")[2].encode()
    found = {}
    for part in request.body.split(boundary)[1:-1]:
        head, _, content = part[2:-2].partition(b"\r\n\r\n")
        found[re.search(rb'name="([^"]+)"', head)[1].decode()] = content
    return found


PARTIAL = {"type": "image_generation.partial_image", "b64_json": B64, "partial_image_index": 0}
COMPLETED = {"type": "image_generation.completed", "b64_json": B64}


# What is asked.


async def test_all_that_can_be_asked_is_in_the_request():
    answer, server = await drawn(
        "a boat",
        options={"width": 512, "height": 1024, "count": 3},
        quality="low",
        background="opaque",
        format="png",
        body={"moderation": "low"},
    )
    assert json.loads(server.asked[0].body) == {
        "model": "gpt-image-2",
        "prompt": "a boat",
        "n": 3,
        "size": "512x1024",
        "quality": "low",
        "background": "opaque",
        "output_format": "png",
        "moderation": "low",
    }
    assert [image.size for image in answer.images] == [(512, 1024)] * 3
    assert answer.warnings == ()


async def test_a_stream_shows_previews_and_an_answer_pays_for_none():
    chunks, server = await drawn("a boat", stream=True, previews=3)
    assert json.loads(server.asked[0].body)["partial_images"] == 3
    assert [(chunk.step, chunk.steps) for chunk in chunks] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(chunk.preview is not None for chunk in chunks[:3])
    assert [len(chunk.images) for chunk in chunks] == [0, 0, 0, 1]
    _, server = await drawn("a boat", previews=3)
    assert not {"stream", "partial_images"} & set(json.loads(server.asked[0].body))


@pytest.mark.parametrize("settings", [{"previews": 0}, {"options": {"count": 2}}])
async def test_without_previews_a_stream_gives_the_images_at_once(settings):
    chunks, server = await drawn("a boat", stream=True, **settings)
    assert [(chunk.step, chunk.steps) for chunk in chunks] == [(1, 1)]
    assert "stream" not in json.loads(server.asked[0].body)


async def test_fewer_previews_may_come_than_were_asked_for():
    chunks, _ = await drawn("a boat", streaming(PARTIAL, COMPLETED), stream=True, previews=3)
    assert [(chunk.step, chunk.steps) for chunk in chunks] == [(1, 4), (4, 4)]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_image_is_changed_where_the_mask_is_white(stream):
    mask = pillow.new("L", (32, 16), 0)
    mask.paste(255, (0, 0, 8, 16))
    options = {
        "image": Image.from_bytes(PNG),
        "mask": Image.from_pil(mask),
        "width": 256,
        "height": 256,
    }
    answer, server = await drawn("a boat", options=options, stream=stream)
    request = server.asked[0]
    assert request.path == "/v1/images/edits"
    parts = parts_of(request)
    assert parts["image"] == PNG
    sent = pillow.open(io.BytesIO(parts["mask"]))
    assert (sent.mode, sent.size) == ("RGBA", (32, 16))
    alpha = sent.getchannel("A")
    assert (alpha.getpixel((0, 0)), alpha.getpixel((8, 0))) == (0, 255)
    assert (parts["prompt"], parts["size"], parts["n"]) == (b"a boat", b"256x256", b"1")
    images = answer[-1].images if stream else answer.images
    assert [image.size for image in images] == [(256, 256)]


@pytest.mark.parametrize(("kind", "sent"), [("JPEG", "JPEG"), ("WEBP", "WEBP"), ("BMP", "PNG")])
async def test_an_image_is_sent_as_it_is_where_the_api_takes_it(kind, sent):
    data = picture(kind=kind)
    _, server = await drawn("a boat", options={"image": Image.from_bytes(data)})
    file = parts_of(server.asked[0])["image"]
    assert pillow.open(io.BytesIO(file)).format == sent
    assert (file == data) == (kind == sent)


REFUSED = {
    "a negative prompt": ({"negative_prompt": "rain"}, "'negative_prompt'"),
    "steps": ({"steps": 4}, "'steps'"),
    "guidance": ({"guidance": 4.0}, "'guidance'"),
    "a seed": ({"seed": 0}, "'seed'"),
    "a strength": ({"image": Image.from_bytes(PNG), "strength": 0.5}, "'strength'"),
    "a scheduler": ({"scheduler": "ddim"}, "'scheduler'"),
    "too many": ({"count": 11}, "at most 10"),
    "an odd size": ({"width": 500, "height": 512}, "500x512"),
    "too slim": ({"width": 512, "height": 2048}, "512x2048"),
    "too large": ({"width": 4096, "height": 4096}, "4096x4096"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_it_can_not_do_is_refused_by_name(what):
    options, said = REFUSED[what]
    for stream in (False, True):
        with pytest.raises(UnsupportedError, match=said):
            await drawn("a boat", answering({}), options=options, stream=stream)


async def test_what_can_not_be_is_refused_before_it_is_sent(monkeypatch):
    with pytest.raises(ValidationError, match="width and height"):
        await drawn("a boat", answering({}), options={"width": 512})
    image, small = Image.from_bytes(PNG), Image.from_bytes(picture("L", (8, 8), 0))
    with pytest.raises(ValidationError, match="8×8 and the image 32×16"):
        await drawn("a boat", answering({}), options={"image": image, "mask": small})
    for name, said in (("_LARGEST", "resized"), ("_LARGEST_MASK", "black and white")):
        with monkeypatch.context() as patch:
            patch.setattr(pictures, name, 10)
            with pytest.raises(UnsupportedError, match=said):
                await drawn("a boat", answering({}), options={"image": image, "mask": image})


async def test_older_models_have_three_sizes():
    with pytest.raises(UnsupportedError, match="1024x1024, 1536x1024, 1024x1536"):
        await drawn("x", options={"width": 512, "height": 512}, model="gpt-image-1.5")
    options = {"width": 1536, "height": 1024}
    answer, _ = await drawn("x", options=options, model="gpt-image-1.5")
    assert answer.images[0].size == (1536, 1024)


async def test_other_models_are_asked_for_the_bytes_and_not_streamed():
    body = {"data": [{"b64_json": B64}]}
    chunks, server = await drawn("x", answering(body), model="black-forest/flux", stream=True)
    asked = json.loads(server.asked[0].body)
    assert asked["response_format"] == "b64_json"
    assert "stream" not in asked
    assert chunks[0].images[0].size == (32, 16)


# What comes back.


async def test_a_prompt_that_was_changed_is_told():
    body = {"data": [{"b64_json": B64, "revised_prompt": "a big boat"}]}
    answer, _ = await drawn("a boat", answering(body))
    assert answer.warnings == ("the prompt was changed to: a big boat",)


async def test_what_is_not_as_asked_is_told():
    options = {"width": 256, "height": 256, "count": 2}
    answer, _ = await drawn("a boat", answering({"data": [{"b64_json": B64}]}), options=options)
    assert answer.warnings == ("1 of 2 images came", "image 0 is 32×16")


async def test_an_image_may_come_as_a_url():
    body = {
        "data": [{"url": "https://images.example/1.png"}, {"url": f"data:image/png;base64,{B64}"}]
    }
    answer, _ = await drawn("a boat", answering(body), options={"count": 2})
    assert answer.images[0].url == "https://images.example/1.png"
    assert answer.images[1].size == (32, 16)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_is_not_allowed_is_refused_by_the_provider(stream):
    with pytest.raises(ProviderError, match="rejected by the safety system") as caught:
        await drawn("something forbidden", stream=stream)
    assert (caught.value.status, caught.value.request_id) == (400, "req_7")


SPOILT = {
    "no images": {"data": []},
    "no data": {"created": 1},
    "data that is text": {"data": "images"},
    "an image that is text": {"data": ["image"]},
    "an image without a picture": {"data": [{"b64_json": None}]},
    "no base64": {"data": [{"b64_json": "?"}]},
    "no picture": {"data": [{"b64_json": base64.b64encode(b"no picture").decode()}]},
    "a number": {"data": [{"b64_json": 7}]},
    "a URL that is none": {"data": [{"url": "boat.png"}]},
    "a list": [B64],
}


@pytest.mark.parametrize("what", SPOILT)
async def test_an_answer_that_is_none_is_refused(what):
    with pytest.raises(ProviderError, match="can't be understood"):
        await drawn("a boat", answering(SPOILT[what]))


SPOILT_STREAMS = {
    "no end": ([PARTIAL], "before its image is finished"),
    "nothing": ([], "before its image is finished"),
    "a preview that is a number": ([{**PARTIAL, "b64_json": 7}, COMPLETED], "can't be understood"),
    "a preview that is none": ([{**PARTIAL, "b64_json": "AAAA"}, COMPLETED], "can't be understood"),
    "no picture at the end": ([{"type": "image_generation.completed"}], "can't be understood"),
    "an error": ([PARTIAL, {"error": {"message": "overloaded"}}], "overloaded"),
}


@pytest.mark.parametrize("what", SPOILT_STREAMS)
async def test_a_stream_that_is_none_is_refused(what):
    events, said = SPOILT_STREAMS[what]
    with pytest.raises(ProviderError, match=said):
        await drawn("a boat", streaming(*events), stream=True)


async def test_leaving_the_stream_closes_the_connection():
    async def behave(wire, request):
        out = Chunked(wire)
        await out.begin("text/event-stream")
        await out.event(PARTIAL, named=True)
        await wire.until_left()

    async with serving(behave) as server:
        model = made(server.url)
        async for chunk in model.generate_stream("a boat"):
            assert chunk.preview == Image.from_bytes(PNG)
            break
        await asyncio.wait_for(server.until_all_left(), 20)
        await model.aclose()


def test_it_is_made_by_its_factory(url):
    model = ImageGeneration.openai(api_key=KEY, base_url=url)
    assert isinstance(model, OpenAiImages)
    assert "gpt-image-2" in repr(model)
    with pytest.raises(UnsupportedError, match="Groq offers no image"):
        made(None, "any", gateway="groq")
    with pytest.raises(ValidationError, match="previews"):
        made(url, previews=4)


# Faults.


def refusal(status, message):
    return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}


def event(data) -> str:
    return f"event: {data.get('type', 'error')}\ndata: {json.dumps(data)}\n\n"


async def ask(model, streamed):
    if streamed:
        return await model.generate_stream("a boat").collect()
    return await model.generate("a boat")


SPEECH = Speech(
    name="openai",
    model=lambda url, **settings: made(
        f"{url}/v1", **{"gateway": "openai", "max_bytes": "32MiB", **settings}
    ),
    whole={"created": 1, "data": [{"b64_json": B64}]},
    events=(event(PARTIAL), event(COMPLETED)),
    refusal=refusal,
    error_event=event({"error": {"message": "overloaded", "type": "server_error"}}),
    odd={"data": {"b64_json": 7}},
    odd_event=event({**PARTIAL, "b64_json": [1]}),
    ask=ask,
)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_faults(fault, streamed):
    await check(SPEECH, fault, streamed=streamed)
