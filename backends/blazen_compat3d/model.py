"""Meshes by a hosted 3D service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from blazen.errors import ProviderError, UnsupportedError, ValidationError
from blazen.options.compat3d import Compat3dOptions, FormValue
from blazen.protocols.three_d import ThreeD
from blazen.remote import url as urls
from blazen.remote.secret import Secret
from blazen.remote.service import Service
from blazen.types.generation import MeshChunk, MeshOptions, MeshStream
from blazen.types.image import Image
from blazen.types.mesh import Mesh
from blazen_compat3d.exchange import Exchange, File
from blazen_compat3d.formats import mesh_format

if TYPE_CHECKING:
    from typing_extensions import Self

_SENT_AS_IT_IS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


class Compat3dProvider(ThreeD):
    """A hosted 3D service that takes an image as a form, in the way of OpenAI's API.

    Nothing is loaded here. The end of ``async with``, or `aclose`, closes the connections, and
    otherwise the end of the event loop does.
    """

    Options = Compat3dOptions
    engine = "httpx2"

    def __init__(self, options: Compat3dOptions) -> None:
        self.options = options
        key = Secret.of(options.api_key, variable=options.api_key_env)
        secrets = {name: ("", value) for name, value in _secrets(options).items()}
        if key is not None:
            secrets[options.key_header] = (options.key_prefix, key)
        self._service = Service(
            options.base_url,
            provider="compat3d",
            extra="compat3d",
            secrets=secrets,
            allow_http=options.allow_http,
            timeouts=options.timeouts,
            retry=options.retry,
        )

    def image_to_mesh_stream(self, image: Any, options: MeshOptions | None = None) -> MeshStream:
        """Have a mesh made, and hear how far it is where the service tells."""
        picture = Image.of(image)
        form = self._form(MeshOptions.of(options))
        return MeshStream.of(self._pieces(picture, form), at_once=True)

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        await self._service.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        model = f", {self.options.model!r}" if self.options.model else ""
        return f"<{type(self).__name__} at {urls.shown(self.options.base_url)}{model}>"

    async def _pieces(
        self, picture: Image, form: dict[str, str]
    ) -> AsyncGenerator[MeshChunk, None]:
        file = await asyncio.to_thread(_file, picture)
        exchange = Exchange(self._service, self.options)
        async with aclosing(exchange.run(file, form)) as chunks:
            async for chunk in chunks:
                yield chunk
        mesh = await asyncio.to_thread(_mesh, exchange.mesh)
        yield MeshChunk("read", 1, 1, mesh)

    def _form(self, asked: MeshOptions) -> dict[str, str]:
        """Give the form's texts; what this service was not said to understand is refused."""
        form = {name: _text(value) for name, value in self.options.fields.items()}
        if self.options.model is not None:
            form[self.options.model_field] = self.options.model
        usual = MeshOptions()
        for field in fields(MeshOptions):
            value = getattr(asked, field.name)
            if value == getattr(usual, field.name):
                continue
            name = self.options.option_fields.get(field.name)
            if name is None:
                raise UnsupportedError(
                    f"{field.name}={value!r} has no field in this service's form: name one in "
                    "option_fields, or leave it out"
                )
            form[name] = _text(value)
        return form


def _secrets(options: Compat3dOptions) -> dict[str, Secret]:
    return {name: value for name, value in options.headers.items() if isinstance(value, Secret)}


def _text(value: FormValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _file(picture: Image) -> File:
    media_type = picture.media_type
    if media_type not in _SENT_AS_IT_IS:
        return "image.png", picture.to_bytes("png"), "image/png"
    return f"image.{_SENT_AS_IT_IS[media_type]}", picture.to_bytes(), media_type


def _mesh(data: bytes) -> Mesh:
    try:
        return Mesh.from_bytes(data, mesh_format(data) or "glb")
    except ValidationError as error:
        raise ProviderError(
            f"the service's mesh can't be read: {error}", provider="compat3d", status=200
        ) from error
