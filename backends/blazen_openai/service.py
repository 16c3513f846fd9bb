"""OpenAI's SDK, for whoever answers at the place that the options name."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from blazen.errors import AuthError
from blazen.options.openai import OpenAiSharedOptions
from blazen.remote.sdk import Sdk
from blazen.remote.secret import Secret
from blazen_openai.gateways import find_gateway

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI


class OpenAiService:
    """A row, its place and key, and the SDK that asks there."""

    def __init__(self, options: OpenAiSharedOptions, *, kind: str) -> None:
        base_url = options.base_url
        if base_url is None and options.gateway in (None, "openai"):
            base_url = os.environ.get("OPENAI_BASE_URL", "").strip() or None
        self.gateway = find_gateway(options.gateway, base_url)
        """Who answers."""
        self.gateway.check_kind(kind)
        key = Secret.of(options.api_key)
        for variable in self.gateway.keys:
            key = Secret.of(key, variable=variable)
        self._lacks_key = key is None and self.gateway.needs_key and options.base_url is None
        self.sdk: Sdk[AsyncOpenAI] = Sdk(
            options,
            provider=self.gateway.name,
            extra="openai",
            base_url=self.gateway.url(base_url),
            key=key,
            key_header=self.gateway.key_header,
            key_prefix=self.gateway.key_prefix,
            open=partial(_opened, options.organization, options.project),
        )
        """What asks."""

    def check_key(self) -> None:
        """Refuse to ask without the key that is needed there."""
        if self._lacks_key:
            raise AuthError(
                f"{self.gateway.title} needs a key: give api_key, or set "
                f"{' or '.join(self.gateway.keys)}",
                provider=self.gateway.name,
            )


def _opened(
    organization: str | None, project: str | None, client: httpx2.AsyncClient, base_url: str
) -> AsyncOpenAI:
    import openai

    made = openai.AsyncOpenAI(
        api_key="placeholder", base_url=base_url, http_client=client, max_retries=0
    )
    # What the SDK found in the environment may be secret, and is not meant for each gateway.
    made.admin_api_key = made.webhook_secret = None
    made._custom_headers = {}
    made.organization, made.project = organization, project
    return made
