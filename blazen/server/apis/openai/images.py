"""``/v1/images``: pictures of a prompt, and of a picture and a prompt."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from pydantic import BaseModel

from blazen.server.apis.openai.answers import EVENTS
from blazen.server.apis.openai.images_asked import MOST, ImageAsked, mask_of, picture_of
from blazen.server.failures import Refusal, Shape
from blazen.server.service import Service, service_of
from blazen.server.streaming import Event, sse
from blazen.server.work import while_connected
from blazen.types.generation import ImageOptions, ImageResponse
from blazen.types.image import Image

router = APIRouter(prefix="/images", tags=["images"])


class MadeImage(BaseModel):
    """One image."""

    b64_json: str
    seed: int | None = None


class ImageAnswer(BaseModel):
    """The images that were made."""

    created: int
    data: list[MadeImage]
    output_format: Literal["png", "jpeg", "webp"]
    size: str | None = None
    warnings: list[str] | None = None
    """What may not be as you expect: a prompt that was cut, for instance."""


@router.post(
    "/generations",
    response_model=ImageAnswer,
    response_model_exclude_none=True,
    responses=EVENTS,
)
async def create_images(request: Request, body: ImageAsked) -> Any:
    """Make images of a prompt."""
    service = service_of(request)
    options = body.options(service.settings)
    if options.strength is not None:
        raise Refusal(400, "'strength' is for an image to start from", param="strength")
    return await _make(request, service, body, options)


@router.post(
    "/edits",
    response_model=ImageAnswer,
    response_model_exclude_none=True,
    responses=EVENTS,
)
async def edit_image(
    request: Request,
    prompt: Annotated[str, Form(min_length=1, max_length=32_000)],
    image: Annotated[UploadFile | None, File(description="The image to start from.")] = None,
    images: Annotated[list[UploadFile] | None, File(alias="image[]", max_length=1)] = None,
    mask: Annotated[
        UploadFile | None,
        File(description="Painted is where it is transparent; without any, where it is white."),
    ] = None,
    model: Annotated[str | None, Form()] = None,
    n: Annotated[int | None, Form(ge=1, le=MOST)] = None,
    size: Annotated[str | None, Form()] = None,
    quality: Annotated[str | None, Form()] = None,
    response_format: Annotated[str | None, Form()] = None,
    output_format: Annotated[Literal["png", "jpeg", "webp"] | None, Form()] = None,
    output_compression: Annotated[int | None, Form(ge=0, le=100)] = None,
    background: Annotated[Literal["auto", "opaque", "transparent"] | None, Form()] = None,
    stream: Annotated[bool | None, Form()] = None,
    partial_images: Annotated[int | None, Form(ge=0, le=3)] = None,
    seed: Annotated[int | None, Form(ge=0, lt=2**64)] = None,
    negative_prompt: Annotated[str | None, Form()] = None,
    steps: Annotated[int | None, Form(ge=1, le=1000)] = None,
    guidance: Annotated[float | None, Form(ge=0, allow_inf_nan=False)] = None,
    strength: Annotated[float | None, Form(ge=0, le=1, allow_inf_nan=False)] = None,
    scheduler: Annotated[str | None, Form()] = None,
) -> Any:
    """Make images of an image and a prompt: all of it anew, or what a mask shows."""
    service = service_of(request)
    given = [file for file in (image, *(images or ())) if file is not None]
    if len(given) != 1:
        raise Refusal(400, f"send one image to start from, not {len(given)}", param="image")
    body = ImageAsked(
        prompt=prompt,
        model=model,
        n=n,
        size=size,
        quality=quality,
        response_format=response_format,
        output_format=output_format,
        output_compression=output_compression,
        background=background,
        stream=stream,
        partial_images=partial_images,
        seed=seed,
        negative_prompt=negative_prompt,
        steps=steps,
        guidance=guidance,
        strength=strength,
        scheduler=scheduler,
    )
    start = await picture_of(given[0], "image", service.settings)
    painted = None
    if mask is not None:
        painted = await asyncio.to_thread(mask_of, await picture_of(mask, "mask", service.settings))
    options = body.options(service.settings, image=start, mask=painted)
    return await _make(request, service, body, options)


async def _make(request: Request, service: Service, body: ImageAsked, options: ImageOptions) -> Any:
    id = await service.open.name_of(body.model, "image")  # noqa: A001 - the manager's word
    if body.stream:
        if options.count != 1:
            raise Refusal(400, f"a stream is of one image, not of {options.count}", param="n")
        return sse(request, _events(service, id, body, options), Shape.OpenAi, done=True)
    made = await while_connected(request, service.manager.generate_image(id, body.prompt, options))
    return await asyncio.to_thread(_answer, made, body)


def _answer(made: ImageResponse, body: ImageAsked) -> ImageAnswer:
    seeds = made.seeds or (None,) * len(made.images)
    first = made.images[0] if made.images else None
    warnings = list(made.warnings)
    if any(made.flagged):
        warnings.append("the model's own safety checker withheld an image, which is black")
    return ImageAnswer(
        created=int(time.time()),
        data=[
            MadeImage(b64_json=_packed(image, body), seed=seed)
            for image, seed in zip(made.images, seeds, strict=True)
        ],
        output_format=body.output_format or "png",
        size=None if first is None else f"{first.width}x{first.height}",
        warnings=warnings or None,
    )


async def _events(
    service: Service,
    id: str,  # noqa: A002
    body: ImageAsked,
    options: ImageOptions,
) -> AsyncIterator[Event]:
    task = "image_generation" if options.image is None else "image_edit"
    most, shown = body.partial_images or 0, 0
    stream = service.manager.generate_image_stream(id, body.prompt, options)
    async with stream:
        async for chunk in stream:
            # The previews that are asked for lie evenly between the first step and the last.
            due = chunk.steps * (shown + 1) // (most + 1)
            if chunk.preview is not None and shown < most and chunk.step >= due:
                data = await asyncio.to_thread(_packed, chunk.preview, body)
                more = {"partial_image_index": shown}
                yield _event(f"{task}.partial_image", data, chunk.preview, body, more)
                shown += 1
        made = stream.response
    for image in made.images:
        data = await asyncio.to_thread(_packed, image, body)
        nothing = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        nothing |= {"input_tokens_details": {"text_tokens": 0, "image_tokens": 0}}  # type: ignore[dict-item]
        yield _event(f"{task}.completed", data, image, body, {"usage": nothing})


def _event(kind: str, data: str, image: Image, body: ImageAsked, more: dict[str, Any]) -> Event:
    return Event(
        kind,
        {
            "type": kind,
            "b64_json": data,
            "created_at": int(time.time()),
            "size": f"{image.width}x{image.height}",
            "quality": "auto",
            "background": "opaque",
            "output_format": body.output_format or "png",
            **more,
        },
    )


def _packed(image: Image, body: ImageAsked) -> str:
    quality = body.output_compression
    data = image.to_bytes(body.output_format or "png", quality=max(1, quality or 90))
    return base64.b64encode(data).decode("ascii")
