"""The client of google-genai: on our HTTP client, without a key, retries or settings of its own."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from blazen.errors import ValidationError
from blazen.extras import need
from blazen.options.provider import ProviderOptions
from blazen.remote.keys import key_of
from blazen.remote.sdk import Sdk
from blazen.remote.secret import Secret

if TYPE_CHECKING:
    import httpx2

PROVIDER = "gemini"

_HOME = "https://generativelanguage.googleapis.com"
_VERSION = "v1beta"
_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_NO_KEY = "the-http-client-has-it"


def open_sdk(options: ProviderOptions) -> Sdk[Any]:
    """Give the SDK for these options; nothing is imported before its first request."""

    def opened(http: httpx2.AsyncClient, base_url: str) -> Any:
        return _client(http, base_url, dict(options.body))

    place = options.base_url or os.environ.get("GOOGLE_GEMINI_BASE_URL", "").strip() or _HOME
    return Sdk(
        options,
        provider=PROVIDER,
        extra="gemini",
        base_url=place,
        key=_key(options, needed=place == _HOME),
        key_header="x-goog-api-key",
        key_prefix="",
        open=opened,
    )


def _key(options: ProviderOptions, *, needed: bool) -> Secret | None:
    key = Secret.of(options.api_key)
    if needed:
        return key_of(key, *_VARIABLES, provider=PROVIDER)
    for variable in _VARIABLES:
        key = Secret.of(key, variable=variable)
    return key


def _client(http: httpx2.AsyncClient, base_url: str, body: dict[str, Any]) -> Any:
    genai = need("google.genai", extra="gemini", what="the 'gemini' backend")
    import httpx2
    from google.genai.client import DebugConfig
    from google.genai.types import HttpOptions

    place, version = _split(base_url)
    try:
        with _unheard():
            # What is left out here is looked up in the environment, up to the metadata server.
            return genai.Client(
                vertexai=False,
                api_key=_NO_KEY,
                debug_config=DebugConfig(client_mode="", replays_directory="", replay_id=""),
                http_options=HttpOptions(
                    base_url=place,
                    api_version=version,
                    httpx_async_client=http,
                    # It wants one that blocks too, and would look for certificates and proxies.
                    httpx_client=httpx2.Client(transport=httpx2.BaseTransport(), trust_env=False),
                    extra_body=body or None,
                ),
            )
    except (ImportError, ValueError) as error:
        raise ValidationError(f"google-genai can't be set up: {error}") from error


def _split(base_url: str) -> tuple[str, str]:
    """Give the place, and the version of the API, which may be the last part of the URL."""
    found = re.fullmatch(r"(.+)/(v\d\w*)", base_url)
    return (found[1], found[2]) if found else (base_url, _VERSION)


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep the SDK from telling, in this thread, which key of the environment it does not use."""
    log, here = logging.getLogger("google_genai._api_client"), threading.get_ident()

    def other(record: logging.LogRecord) -> bool:
        return threading.get_ident() != here

    log.addFilter(other)
    try:
        yield
    finally:
        log.removeFilter(other)
