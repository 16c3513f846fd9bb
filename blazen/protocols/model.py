"""Chat: messages in, an answer out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from blazen.options import (
    AnthropicOptions,
    GeminiOptions,
    LlamaCppOptions,
    MistralRsOptions,
    OpenAiOptions,
    XllamaCppOptions,
)
from blazen.protocols.hosted import Hosted
from blazen.protocols.local import Local
from blazen.registry import Factory, Kind, O, P
from blazen.types.chat import Messages
from blazen.types.completion import CompletionOptions, InferenceChunkStream, ModelResponse


class ModelFactory(Factory[P, O, "LocalModel"]):
    """Builds a chat model that runs on this machine."""

    kind = "model"


class HostedModelFactory(Factory[P, O, "HostedModel"]):
    """Builds a chat model that a provider runs."""

    kind = "model"


class ModelKind(Kind):
    """The factories of `Model`."""

    kind = "model"

    anthropic = HostedModelFactory("anthropic", AnthropicOptions)
    gemini = HostedModelFactory("gemini", GeminiOptions)
    openai = HostedModelFactory("openai", OpenAiOptions)
    llamacpp = ModelFactory("llamacpp", LlamaCppOptions)
    xllamacpp = ModelFactory("xllamacpp", XllamaCppOptions)
    mistralrs = ModelFactory("mistralrs", MistralRsOptions)


@runtime_checkable
class Model(Protocol, metaclass=ModelKind):
    """A chat model, on this machine or elsewhere.

    A subclass writes `complete_stream` and has the rest; a class of any other descent that has both
    methods is a model as well.
    """

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> InferenceChunkStream:
        """Answer piece by piece: await the stream, enter it, or read it at once."""
        ...

    async def complete(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> ModelResponse:
        """Answer in one piece."""
        return await self.complete_stream(messages, options).collect()


@runtime_checkable
class HostedModel(Model, Hosted, Protocol):
    """A chat model that runs elsewhere."""


@runtime_checkable
class LocalModel(Model, Local, Protocol):
    """A chat model on this machine."""
