"""All providers at one address, for programs that the environment leads there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.remote.misbehaving import Request, Wire, serving_apart
from tests.wire import anthropic, gemini, openai, openai_media


class EveryProvider:
    """Behaves as the provider that a request is meant for, which its path tells."""

    def __init__(self) -> None:
        self.openai = openai.OpenAiWire()
        self.gateway = openai.OpenAiWire(lenient=True)
        """Speaks OpenAI's API too, below ``/gateway``, with any key and fields of its own."""
        self.anthropic = anthropic.AnthropicWire()
        self.gemini = gemini.GeminiWire()
        self._media = openai_media.media()
        self.asked: list[str] = []
        """The paths of the requests that came."""

    async def __call__(self, wire: Wire, request: Request) -> None:
        """Answer a request."""
        self.asked.append(request.path)
        await self._meant(request.path)(wire, request)

    def _meant(self, path: str) -> Any:
        if path.startswith("/gateway/"):
            return self.gateway
        if path.startswith("/v1/messages"):
            return self.anthropic
        if ":" in path:
            return self.gemini
        if path.startswith(("/v1/chat/completions", "/v1/responses")):
            return self.openai
        return self._media


@contextmanager
def every_provider() -> Iterator[tuple[EveryProvider, Mapping[str, str]]]:
    """Run them on a thread; gives them, and the environment in which a program finds them."""
    wires = EveryProvider()
    with serving_apart(wires) as server:
        url = server.url.removesuffix("/v1")
        yield (
            wires,
            {
                "OPENAI_BASE_URL": f"{url}/v1",
                "OPENAI_API_KEY": openai_media.KEY,
                "ANTHROPIC_BASE_URL": url,
                "ANTHROPIC_API_KEY": anthropic.KEY,
                "GOOGLE_GEMINI_BASE_URL": url,
                "GEMINI_API_KEY": gemini.KEY,
            },
        )
