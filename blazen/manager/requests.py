"""The requests that a manager takes by a model's name, one method for each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blazen.manager.dispatch import Dispatch
from blazen.types.audio import Audio
from blazen.types.chat import Messages
from blazen.types.completion import (
    CompletionOptions,
    InferenceChunk,
    InferenceChunkStream,
    ModelResponse,
)
from blazen.types.embedding import EmbeddingResponse, EmbeddingStream
from blazen.types.generation import (
    ImageOptions,
    ImageResponse,
    ImageStream,
    MeshOptions,
    MeshStream,
)
from blazen.types.mesh import Mesh
from blazen.types.rerank import RerankResponse
from blazen.types.sparse import SparseEmbeddingResponse
from blazen.types.speech import SpeechOptions, SpeechStream
from blazen.types.token_vectors import TokenEmbeddingResponse
from blazen.types.transcription import (
    TranscriptionRequest,
    TranscriptionResponse,
    TranscriptionStream,
)
from blazen.types.windows import Texts


class Requests(Dispatch):
    """The requests that `ModelManager` takes by name."""

    async def complete(
        self,
        id: str,  # noqa: A002
        messages: Messages,
        options: CompletionOptions | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> ModelResponse:
        """Answer in one piece. ``timeout`` is how long the model may take to be ready."""
        answer: ModelResponse = await self._ask(
            "complete", id, (messages, options), timeout, priority
        )
        return answer

    def complete_stream(
        self,
        id: str,  # noqa: A002
        messages: Messages,
        options: CompletionOptions | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> InferenceChunkStream:
        """Answer piece by piece; the model is held until the stream ends, is closed or dropped."""
        arguments = (messages, options)
        wanted = CompletionOptions.of(options).response_format
        kind = functools.partial(InferenceChunkStream, response_format=wanted)
        return self._stream(kind, "complete_stream", id, arguments, timeout, priority)

    async def stream(
        self,
        id: str,  # noqa: A002
        messages: Messages,
        on_chunk: Callable[[InferenceChunk], object],
        options: CompletionOptions | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> ModelResponse:
        """Answer, with a function called for each piece; give the whole."""
        pieces = self.complete_stream(id, messages, options, timeout=timeout, priority=priority)
        async with pieces:
            async for chunk in pieces:
                on_chunk(chunk)
        return pieces.response

    async def embed(
        self,
        id: str,  # noqa: A002
        texts: str | Sequence[str],
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> EmbeddingResponse:
        """Give a vector for each text."""
        answer: EmbeddingResponse = await self._ask("embed", id, (texts,), timeout, priority)
        return answer

    async def embed_query(
        self,
        id: str,  # noqa: A002
        texts: str | Sequence[str],
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> EmbeddingResponse:
        """Give the vector of what is searched with."""
        answer: EmbeddingResponse = await self._ask("embed_query", id, (texts,), timeout, priority)
        return answer

    def embed_stream(
        self,
        id: str,  # noqa: A002
        texts: Texts,
        *,
        window: int | None = None,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> EmbeddingStream:
        """Embed any number of texts, ``window`` at a time; the model is held until the stream ends.

        Left out, the model's own window holds.
        """
        settings = {} if window is None else {"window": window}
        return self._stream(
            EmbeddingStream, "embed_stream", id, (texts,), timeout, priority, settings
        )

    async def embed_sparse(
        self,
        id: str,  # noqa: A002
        texts: str | Sequence[str],
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> SparseEmbeddingResponse:
        """Give a sparse vector for each text."""
        answer: SparseEmbeddingResponse = await self._ask(
            "embed_sparse", id, (texts,), timeout, priority
        )
        return answer

    async def embed_sparse_query(
        self,
        id: str,  # noqa: A002
        texts: str | Sequence[str],
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> SparseEmbeddingResponse:
        """Give the sparse vector of what is searched with."""
        answer: SparseEmbeddingResponse = await self._ask(
            "embed_sparse_query", id, (texts,), timeout, priority
        )
        return answer

    async def embed_tokens(
        self,
        id: str,  # noqa: A002
        texts: str | Sequence[str],
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> TokenEmbeddingResponse:
        """Give the vectors of each text's tokens."""
        answer: TokenEmbeddingResponse = await self._ask(
            "embed_tokens", id, (texts,), timeout, priority
        )
        return answer

    async def embed_tokens_query(
        self,
        id: str,  # noqa: A002
        texts: str | Sequence[str],
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> TokenEmbeddingResponse:
        """Give the vectors of the tokens of what is searched with."""
        answer: TokenEmbeddingResponse = await self._ask(
            "embed_tokens_query", id, (texts,), timeout, priority
        )
        return answer

    async def embed_images(
        self,
        id: str,  # noqa: A002
        images: Any | Sequence[Any],
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> EmbeddingResponse:
        """Give a vector for each image."""
        answer: EmbeddingResponse = await self._ask(
            "embed_images", id, (images,), timeout, priority
        )
        return answer

    async def rerank(
        self,
        id: str,  # noqa: A002
        query: str,
        documents: Sequence[str],
        *,
        top: int | None = None,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> RerankResponse:
        """Give the documents, the most relevant first."""
        answer: RerankResponse = await self._ask(
            "rerank", id, (query, documents), timeout, priority, {"top": top}
        )
        return answer

    async def transcribe(
        self,
        id: str,  # noqa: A002
        request: TranscriptionRequest | Any,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> TranscriptionResponse:
        """Write down speech."""
        answer: TranscriptionResponse = await self._ask(
            "transcribe", id, (request,), timeout, priority
        )
        return answer

    def transcribe_stream(
        self,
        id: str,  # noqa: A002
        request: TranscriptionRequest | Any,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> TranscriptionStream:
        """Write down speech piece by piece."""
        return self._stream(
            TranscriptionStream, "transcribe_stream", id, (request,), timeout, priority
        )

    async def speak(
        self,
        id: str,  # noqa: A002
        text: str,
        options: SpeechOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> Audio:
        """Speak a text."""
        answer: Audio = await self._ask("speak", id, (text, options), timeout, priority)
        return answer

    def speak_stream(
        self,
        id: str,  # noqa: A002
        text: str,
        options: SpeechOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> SpeechStream:
        """Speak a text piece by piece."""
        return self._stream(SpeechStream, "speak_stream", id, (text, options), timeout, priority)

    async def generate_image(
        self,
        id: str,  # noqa: A002
        prompt: str,
        options: ImageOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> ImageResponse:
        """Make images of a prompt."""
        answer: ImageResponse = await self._ask(
            "generate_image", id, (prompt, options), timeout, priority
        )
        return answer

    def generate_image_stream(
        self,
        id: str,  # noqa: A002
        prompt: str,
        options: ImageOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> ImageStream:
        """Make images of a prompt step by step."""
        return self._stream(
            ImageStream, "generate_image_stream", id, (prompt, options), timeout, priority
        )

    async def image_to_mesh(
        self,
        id: str,  # noqa: A002
        image: Any,
        options: MeshOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> Mesh:
        """Make a mesh of what an image shows."""
        answer: Mesh = await self._ask("image_to_mesh", id, (image, options), timeout, priority)
        return answer

    def image_to_mesh_stream(
        self,
        id: str,  # noqa: A002
        image: Any,
        options: MeshOptions | None = None,
        *,
        timeout: float | None = None,
        priority: int | None = None,
    ) -> MeshStream:
        """Make a mesh of what an image shows, and tell of each step on the way."""
        return self._stream(
            MeshStream, "image_to_mesh_stream", id, (image, options), timeout, priority
        )
