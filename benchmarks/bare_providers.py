"""The providers' own SDKs, each as its documentation uses it: what ours is measured against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

TOKENS = 64


class Bare(Protocol):
    """An SDK by itself."""

    def __init__(self, url: str) -> None: ...

    @staticmethod
    def base_url(url: str) -> str:
        """Give the address that this SDK is told."""
        ...

    async def call(self, question: str) -> str:
        """Ask for a whole answer."""
        ...

    def stream(self, question: str) -> AsyncIterator[str]:
        """Ask for the texts of an answer."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


class OpenAi:
    """Chat completions of the `openai` package."""

    def __init__(self, url: str) -> None:
        import openai

        self._client: Any = openai.AsyncOpenAI(
            api_key="sk-bench", base_url=self.base_url(url), max_retries=0
        )

    @staticmethod
    def base_url(url: str) -> str:
        return f"{url}/v1"

    def _asked(self, question: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": question}]
        return {"model": "bench-model", "messages": messages, "max_completion_tokens": TOKENS}

    async def call(self, question: str) -> str:
        answer = await self._client.chat.completions.create(**self._asked(question))
        return str(answer.choices[0].message.content)

    async def stream(self, question: str) -> AsyncIterator[str]:
        chunks = await self._client.chat.completions.create(
            **self._asked(question), stream=True, stream_options={"include_usage": True}
        )
        async for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content

    async def aclose(self) -> None:
        await self._client.close()


class Anthropic:
    """Messages of the `anthropic` package."""

    def __init__(self, url: str) -> None:
        import anthropic

        self._client: Any = anthropic.AsyncAnthropic(
            api_key="sk-bench", base_url=self.base_url(url), max_retries=0
        )

    @staticmethod
    def base_url(url: str) -> str:
        return url

    def _asked(self, question: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": question}]
        return {"model": "bench-model", "messages": messages, "max_tokens": TOKENS}

    async def call(self, question: str) -> str:
        answer = await self._client.messages.create(**self._asked(question))
        return str(answer.content[0].text)

    async def stream(self, question: str) -> AsyncIterator[str]:
        async for event in await self._client.messages.create(**self._asked(question), stream=True):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                yield event.delta.text

    async def aclose(self) -> None:
        await self._client.close()


class Gemini:
    """The `google-genai` package."""

    def __init__(self, url: str) -> None:
        from google import genai

        options: Any = {"base_url": self.base_url(url)}
        self._client: Any = genai.Client(api_key="sk-bench", http_options=options)

    @staticmethod
    def base_url(url: str) -> str:
        return url

    def _asked(self, question: str) -> dict[str, Any]:
        config = {"max_output_tokens": TOKENS}
        return {"model": "bench-model", "contents": question, "config": config}

    async def call(self, question: str) -> str:
        answer = await self._client.aio.models.generate_content(**self._asked(question))
        return str(answer.text)

    async def stream(self, question: str) -> AsyncIterator[str]:
        async for chunk in await self._client.aio.models.generate_content_stream(
            **self._asked(question)
        ):
            if chunk.text:
                yield chunk.text

    async def aclose(self) -> None:
        await self._client.aio.aclose()


BARE: dict[str, type[Bare]] = {"openai": OpenAi, "anthropic": Anthropic, "gemini": Gemini}
