"""Images of OpenAI, and of gateways that speak its API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from blazen.errors import UnsupportedError
from blazen.options.openai import OpenAiImageOptions
from blazen.protocols.image import ImageGeneration
from blazen.types.generation import (
    ImageChunk,
    ImageOptions,
    ImageResponse,
    ImageStream,
    as_prompt,
)
from blazen.types.image import Image
from blazen_openai.asking import checked, field, given, refuse
from blazen_openai.hosted import OpenAiModel
from blazen_openai.pictures import file_of, mask_of, picture_of, size_of

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_MOST = 10
_REFUSED = {
    "negative_prompt": "say in the prompt what not to draw",
    "steps": "the model decides how long it draws; see OpenAiImageOptions.quality",
    "guidance": "the model always follows the prompt",
    "seed": "the API can't draw the same image again",
    "strength": "say in the prompt how much to change",
    "scheduler": "the API has none",
}


class OpenAiImages(OpenAiModel, ImageGeneration):
    """A model of OpenAI that draws, or of a gateway that speaks its API."""

    Options = OpenAiImageOptions
    options: OpenAiImageOptions
    _kind = "image"
    _usual = "gpt-image-2"

    def generate_stream(self, prompt: str, options: ImageOptions | None = None) -> ImageStream:
        """Draw, or change the image that is given, with previews where one image is asked for."""
        asked, chosen = as_prompt(prompt), ImageOptions.of(options)
        fields = self._fields(asked, chosen)
        if chosen.count == 1 and self.options.previews and self._is_ours:
            return ImageStream.of(self._steps(fields, chosen), at_once=True)
        return ImageStream.of(self._step(fields, chosen), at_once=True)

    async def generate(self, prompt: str, options: ImageOptions | None = None) -> ImageResponse:
        """Draw, or change the image that is given; no previews are made, and none paid for."""
        asked, chosen = as_prompt(prompt), ImageOptions.of(options)
        fields = self._fields(asked, chosen)
        return await ImageStream.of(self._step(fields, chosen), at_once=True).collect()

    @property
    def _is_ours(self) -> bool:
        return self._name.startswith(("gpt-image-", "chatgpt-image"))

    def _fields(self, prompt: str, chosen: ImageOptions) -> dict[str, Any]:
        refuse(self._gateway.name, chosen, _REFUSED)
        if chosen.count > _MOST:
            raise UnsupportedError(
                f"the API draws at most {_MOST} images at once, not {chosen.count}: ask again"
            )
        return {
            "model": self._model,
            "prompt": prompt,
            "n": chosen.count,
            **given(
                size=size_of(self._model, chosen.width, chosen.height),
                quality=self.options.quality,
                background=self.options.background,
                output_format=self.options.format,
                # OpenAI's own models know no other form, and refuse to be asked for this one.
                response_format=None if self._is_ours else "b64_json",
            ),
        }

    async def _step(
        self, fields: dict[str, Any], chosen: ImageOptions
    ) -> AsyncGenerator[ImageChunk, None]:
        fields = {**fields, **await _files(chosen)}

        async def ask(client: AsyncOpenAI) -> Any:
            return checked(self._sdk, await self._asked(client, fields))

        answer = await self._sdk.call(ask)
        data = field(self._sdk, answer, "data", list)
        if not data:
            raise self._sdk.malformed("an answer without images")
        pictures = await asyncio.to_thread(lambda: [picture_of(self._sdk, one) for one in data])
        warnings = _revised(data)
        if len(pictures) < chosen.count:
            warnings.append(f"{len(pictures)} of {chosen.count} images came")
        yield self._last(1, pictures, warnings, chosen)

    async def _steps(
        self, fields: dict[str, Any], chosen: ImageOptions
    ) -> AsyncGenerator[ImageChunk, None]:
        previews = self.options.previews
        fields = {**fields, **await _files(chosen), "stream": True, "partial_images": previews}
        step = 0
        async with aclosing(self._sdk.events(lambda client: self._asked(client, fields))) as events:
            async for event in events:
                checked(self._sdk, event)
                kind = str(getattr(event, "type", ""))
                if kind.endswith(".partial_image"):
                    step = min(previews, step + 1)
                    preview = await asyncio.to_thread(picture_of, self._sdk, event)
                    yield ImageChunk(step, previews + 1, preview)
                elif kind.endswith(".completed"):
                    picture = await asyncio.to_thread(picture_of, self._sdk, event)
                    yield self._last(previews + 1, [picture], _revised([event]), chosen)
                    return
        raise self._sdk.malformed("a stream that ends before its image is finished")

    async def _asked(self, client: AsyncOpenAI, fields: dict[str, Any]) -> AsyncIterator[Any]:
        ask: Any = client.images.edit if "image" in fields else client.images.generate
        answer: AsyncIterator[Any] = await ask(**fields, extra_body=self._extra())
        return answer

    def _last(
        self, steps: int, pictures: list[Image], warnings: list[str], chosen: ImageOptions
    ) -> ImageChunk:
        if chosen.width is not None:
            for place, picture in enumerate(pictures):
                if picture.url is None and picture.size != (chosen.width, chosen.height):
                    warnings.append(f"image {place} is {picture.width}×{picture.height}")
        return ImageChunk(steps, steps, None, tuple(pictures), warnings=tuple(warnings))


async def _files(chosen: ImageOptions) -> dict[str, Any]:
    if chosen.image is None:
        return {}
    files = {"image": await asyncio.to_thread(file_of, chosen.image)}
    if chosen.mask is not None:
        files["mask"] = await asyncio.to_thread(mask_of, chosen.mask, chosen.image)
    return files


def _revised(data: list[Any]) -> list[str]:
    texts = [getattr(one, "revised_prompt", None) for one in data]
    return [
        f"the prompt was changed to: {text}" for text in texts if isinstance(text, str) and text
    ]
