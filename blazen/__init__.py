"""One Python SDK for every kind of model that runs on your own machine.

Everything public is here. A name's module is imported when the name is first used, so that
``import blazen`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blazen.bridge import EngineThread as EngineThread
    from blazen.bridge import Job as Job
    from blazen.bridge import StreamJob as StreamJob
    from blazen.errors import AuthError as AuthError
    from blazen.errors import BackendCrashedError as BackendCrashedError
    from blazen.errors import BlazenError as BlazenError
    from blazen.errors import BudgetError as BudgetError
    from blazen.errors import ContextLengthError as ContextLengthError
    from blazen.errors import DownloadError as DownloadError
    from blazen.errors import InferenceError as InferenceError
    from blazen.errors import LoadError as LoadError
    from blazen.errors import MissingExtraError as MissingExtraError
    from blazen.errors import ModelNotFoundError as ModelNotFoundError
    from blazen.errors import OutputError as OutputError
    from blazen.errors import ProviderError as ProviderError
    from blazen.errors import RateLimitError as RateLimitError
    from blazen.errors import TimeoutError as TimeoutError
    from blazen.errors import UnknownBackendError as UnknownBackendError
    from blazen.errors import UnsupportedError as UnsupportedError
    from blazen.errors import ValidationError as ValidationError
    from blazen.hardware import Device as Device
    from blazen.local import LocalBackend as LocalBackend
    from blazen.manager.manager import ModelManager as ModelManager
    from blazen.middleware import Limits as Limits
    from blazen.middleware import MemoryCache as MemoryCache
    from blazen.middleware import SqliteCache as SqliteCache
    from blazen.middleware import with_cache as with_cache
    from blazen.middleware import with_fallback as with_fallback
    from blazen.middleware import with_hooks as with_hooks
    from blazen.middleware import with_limits as with_limits
    from blazen.middleware import with_retry as with_retry
    from blazen.middleware import with_timeout as with_timeout
    from blazen.middleware import with_tracing as with_tracing
    from blazen.options import AnthropicOptions as AnthropicOptions
    from blazen.options import Compat3dOptions as Compat3dOptions
    from blazen.options import DiffusersOptions as DiffusersOptions
    from blazen.options import EmbedOptions as EmbedOptions
    from blazen.options import GeminiEmbeddingOptions as GeminiEmbeddingOptions
    from blazen.options import GeminiOptions as GeminiOptions
    from blazen.options import GgufEmbedOptions as GgufEmbedOptions
    from blazen.options import GgufRerankOptions as GgufRerankOptions
    from blazen.options import ImageEmbedOptions as ImageEmbedOptions
    from blazen.options import Isolation as Isolation
    from blazen.options import KokoroOptions as KokoroOptions
    from blazen.options import LlamaCppOptions as LlamaCppOptions
    from blazen.options import LoraAdapter as LoraAdapter
    from blazen.options import MistralRsOptions as MistralRsOptions
    from blazen.options import OpenAiEmbeddingOptions as OpenAiEmbeddingOptions
    from blazen.options import OpenAiImageOptions as OpenAiImageOptions
    from blazen.options import OpenAiOptions as OpenAiOptions
    from blazen.options import OpenAiSpeechOptions as OpenAiSpeechOptions
    from blazen.options import OpenAiTranscriptionOptions as OpenAiTranscriptionOptions
    from blazen.options import PiperOptions as PiperOptions
    from blazen.options import ProviderOptions as ProviderOptions
    from blazen.options import RerankOptions as RerankOptions
    from blazen.options import SparseOptions as SparseOptions
    from blazen.options import TokenEmbedOptions as TokenEmbedOptions
    from blazen.options import TripoSrOptions as TripoSrOptions
    from blazen.options import WhisperModel as WhisperModel
    from blazen.options import WhisperOptions as WhisperOptions
    from blazen.options import XllamaCppOptions as XllamaCppOptions
    from blazen.protocols.embedding import EmbeddingModel as EmbeddingModel
    from blazen.protocols.embedding import HostedEmbeddingModel as HostedEmbeddingModel
    from blazen.protocols.embedding import LocalEmbeddingModel as LocalEmbeddingModel
    from blazen.protocols.hosted import Hosted as Hosted
    from blazen.protocols.image import HostedImageGeneration as HostedImageGeneration
    from blazen.protocols.image import ImageGeneration as ImageGeneration
    from blazen.protocols.image import LocalImageGeneration as LocalImageGeneration
    from blazen.protocols.image_embedding import ImageEmbeddingModel as ImageEmbeddingModel
    from blazen.protocols.image_embedding import (
        LocalImageEmbeddingModel as LocalImageEmbeddingModel,
    )
    from blazen.protocols.local import Local as Local
    from blazen.protocols.model import HostedModel as HostedModel
    from blazen.protocols.model import LocalModel as LocalModel
    from blazen.protocols.model import Model as Model
    from blazen.protocols.rerank import LocalReranker as LocalReranker
    from blazen.protocols.rerank import Reranker as Reranker
    from blazen.protocols.sparse import LocalSparseEmbeddingModel as LocalSparseEmbeddingModel
    from blazen.protocols.sparse import SparseEmbeddingModel as SparseEmbeddingModel
    from blazen.protocols.three_d import HostedThreeD as HostedThreeD
    from blazen.protocols.three_d import LocalThreeD as LocalThreeD
    from blazen.protocols.three_d import ThreeD as ThreeD
    from blazen.protocols.three_d import ThreeD as ThreeDGeneration
    from blazen.protocols.token_embedding import (
        LocalTokenEmbeddingModel as LocalTokenEmbeddingModel,
    )
    from blazen.protocols.token_embedding import TokenEmbeddingModel as TokenEmbeddingModel
    from blazen.protocols.transcription import HostedTranscription as HostedTranscription
    from blazen.protocols.transcription import LocalTranscription as LocalTranscription
    from blazen.protocols.transcription import Transcription as Transcription
    from blazen.protocols.tts import TTS as TTS
    from blazen.protocols.tts import HostedTTS as HostedTTS
    from blazen.protocols.tts import LocalTTS as LocalTTS
    from blazen.registry import Backend as Backend
    from blazen.registry import backends as backends
    from blazen.remote.prices import Price as Price
    from blazen.remote.retry import Retry as Retry
    from blazen.remote.secret import Secret as Secret
    from blazen.remote.timeouts import Timeouts as Timeouts
    from blazen.sync import blocking as blocking
    from blazen.types.audio import Audio as Audio
    from blazen.types.chat import ChatMessage as ChatMessage
    from blazen.types.chat import ChatMessage as ChatMessageInput
    from blazen.types.chat import ChatMessage as LlamaCppChatMessageInput
    from blazen.types.chat import Prompt as Prompt
    from blazen.types.chat import Role as Role
    from blazen.types.chat import Tool as Tool
    from blazen.types.chat import ToolCall as ToolCall
    from blazen.types.completion import CompletionOptions as CompletionOptions
    from blazen.types.completion import FinishReason as FinishReason
    from blazen.types.completion import InferenceChunk as InferenceChunk
    from blazen.types.completion import InferenceChunk as LlamaCppInferenceChunk
    from blazen.types.completion import InferenceChunkStream as InferenceChunkStream
    from blazen.types.completion import InferenceChunkStream as LlamaCppInferenceChunkStream
    from blazen.types.completion import InferenceTiming as InferenceTiming
    from blazen.types.completion import InferenceUsage as InferenceUsage
    from blazen.types.completion import InferenceUsage as LlamaCppInferenceUsage
    from blazen.types.completion import LikelyToken as LikelyToken
    from blazen.types.completion import ModelResponse as CandleInferenceResult
    from blazen.types.completion import ModelResponse as InferenceResult
    from blazen.types.completion import ModelResponse as LlamaCppInferenceResult
    from blazen.types.completion import ModelResponse as ModelResponse
    from blazen.types.completion import TokenLogprob as TokenLogprob
    from blazen.types.embedding import EmbeddingRecipe as EmbeddingRecipe
    from blazen.types.embedding import EmbeddingResponse as EmbeddingResponse
    from blazen.types.embedding import EmbeddingStream as EmbeddingStream
    from blazen.types.embedding import EmbeddingUsage as EmbeddingUsage
    from blazen.types.embedding import Vectors as Vectors
    from blazen.types.footprint import Footprint as Footprint
    from blazen.types.generation import ImageChunk as ImageChunk
    from blazen.types.generation import ImageOptions as ImageOptions
    from blazen.types.generation import ImageResponse as ImageResponse
    from blazen.types.generation import ImageStream as ImageStream
    from blazen.types.generation import MeshChunk as MeshChunk
    from blazen.types.generation import MeshOptions as MeshOptions
    from blazen.types.generation import MeshStream as MeshStream
    from blazen.types.image import Image as Image
    from blazen.types.live import LiveAudio as LiveAudio
    from blazen.types.mesh import Mesh as Mesh
    from blazen.types.progress import Progress as Progress
    from blazen.types.rerank import RankedDocument as RankedDocument
    from blazen.types.rerank import RerankResponse as RerankResponse
    from blazen.types.response_format import ResponseFormat as ResponseFormat
    from blazen.types.route import Route as Route
    from blazen.types.sparse import SparseEmbeddingResponse as SparseEmbeddingResponse
    from blazen.types.sparse import SparseVectors as SparseVectors
    from blazen.types.speech import SpeechOptions as SpeechOptions
    from blazen.types.speech import SpeechStream as SpeechStream
    from blazen.types.speech import VoiceInfo as VoiceInfo
    from blazen.types.stream import Stream as Stream
    from blazen.types.token_vectors import TokenEmbeddingResponse as TokenEmbeddingResponse
    from blazen.types.token_vectors import TokenVectors as TokenVectors
    from blazen.types.transcription import LanguageGuess as LanguageGuess
    from blazen.types.transcription import Segment as Segment
    from blazen.types.transcription import TranscriptionChunk as TranscriptionChunk
    from blazen.types.transcription import TranscriptionRequest as TranscriptionRequest
    from blazen.types.transcription import TranscriptionResponse as TranscriptionResponse
    from blazen.types.transcription import TranscriptionStream as TranscriptionStream
    from blazen.types.transcription import Word as Word
    from blazen.weights.pull import pull as pull
    from blazen.weights.quantization import Quantization as Quantization
    from blazen_anthropic import AnthropicProvider as AnthropicProvider
    from blazen_compat3d import Compat3dProvider as Compat3dProvider
    from blazen_gemini import GeminiProvider as GeminiProvider
    from blazen_openai import OpenAiProvider as OpenAiProvider

_HOMES = {
    "blazen.bridge": (
        "EngineThread",
        "Job",
        "StreamJob",
    ),
    "blazen.errors": (
        "AuthError",
        "BackendCrashedError",
        "BlazenError",
        "BudgetError",
        "ContextLengthError",
        "DownloadError",
        "InferenceError",
        "LoadError",
        "MissingExtraError",
        "ModelNotFoundError",
        "OutputError",
        "ProviderError",
        "RateLimitError",
        "TimeoutError",
        "UnknownBackendError",
        "UnsupportedError",
        "ValidationError",
    ),
    "blazen.hardware": ("Device",),
    "blazen.local": ("LocalBackend",),
    "blazen.manager.manager": ("ModelManager",),
    "blazen.middleware": (
        "Limits",
        "MemoryCache",
        "SqliteCache",
        "with_cache",
        "with_fallback",
        "with_hooks",
        "with_limits",
        "with_retry",
        "with_timeout",
        "with_tracing",
    ),
    "blazen.options": (
        "AnthropicOptions",
        "Compat3dOptions",
        "DiffusersOptions",
        "EmbedOptions",
        "GeminiEmbeddingOptions",
        "GeminiOptions",
        "GgufEmbedOptions",
        "GgufRerankOptions",
        "ImageEmbedOptions",
        "Isolation",
        "KokoroOptions",
        "LlamaCppOptions",
        "LoraAdapter",
        "MistralRsOptions",
        "OpenAiEmbeddingOptions",
        "OpenAiImageOptions",
        "OpenAiOptions",
        "OpenAiSpeechOptions",
        "OpenAiTranscriptionOptions",
        "PiperOptions",
        "ProviderOptions",
        "RerankOptions",
        "SparseOptions",
        "TokenEmbedOptions",
        "TripoSrOptions",
        "WhisperModel",
        "WhisperOptions",
        "XllamaCppOptions",
    ),
    "blazen.protocols.embedding": (
        "EmbeddingModel",
        "HostedEmbeddingModel",
        "LocalEmbeddingModel",
    ),
    "blazen.protocols.hosted": ("Hosted",),
    "blazen.protocols.image": (
        "HostedImageGeneration",
        "ImageGeneration",
        "LocalImageGeneration",
    ),
    "blazen.protocols.image_embedding": (
        "ImageEmbeddingModel",
        "LocalImageEmbeddingModel",
    ),
    "blazen.protocols.local": ("Local",),
    "blazen.protocols.model": (
        "HostedModel",
        "LocalModel",
        "Model",
    ),
    "blazen.protocols.rerank": (
        "LocalReranker",
        "Reranker",
    ),
    "blazen.protocols.sparse": (
        "LocalSparseEmbeddingModel",
        "SparseEmbeddingModel",
    ),
    "blazen.protocols.three_d": (
        "HostedThreeD",
        "LocalThreeD",
        "ThreeD",
    ),
    "blazen.protocols.token_embedding": (
        "LocalTokenEmbeddingModel",
        "TokenEmbeddingModel",
    ),
    "blazen.protocols.transcription": (
        "HostedTranscription",
        "LocalTranscription",
        "Transcription",
    ),
    "blazen.protocols.tts": (
        "HostedTTS",
        "LocalTTS",
        "TTS",
    ),
    "blazen.registry": (
        "Backend",
        "backends",
    ),
    "blazen.remote.prices": ("Price",),
    "blazen.remote.retry": ("Retry",),
    "blazen.remote.secret": ("Secret",),
    "blazen.remote.timeouts": ("Timeouts",),
    "blazen.sync": ("blocking",),
    "blazen.types.audio": ("Audio",),
    "blazen.types.chat": (
        "ChatMessage",
        "Prompt",
        "Role",
        "Tool",
        "ToolCall",
    ),
    "blazen.types.completion": (
        "CompletionOptions",
        "FinishReason",
        "InferenceChunk",
        "InferenceChunkStream",
        "InferenceTiming",
        "InferenceUsage",
        "LikelyToken",
        "ModelResponse",
        "TokenLogprob",
    ),
    "blazen.types.embedding": (
        "EmbeddingRecipe",
        "EmbeddingResponse",
        "EmbeddingStream",
        "EmbeddingUsage",
        "Vectors",
    ),
    "blazen.types.footprint": ("Footprint",),
    "blazen.types.generation": (
        "ImageChunk",
        "ImageOptions",
        "ImageResponse",
        "ImageStream",
        "MeshChunk",
        "MeshOptions",
        "MeshStream",
    ),
    "blazen.types.image": ("Image",),
    "blazen.types.live": ("LiveAudio",),
    "blazen.types.mesh": ("Mesh",),
    "blazen.types.progress": ("Progress",),
    "blazen.types.rerank": (
        "RankedDocument",
        "RerankResponse",
    ),
    "blazen.types.response_format": ("ResponseFormat",),
    "blazen.types.route": ("Route",),
    "blazen.types.sparse": (
        "SparseEmbeddingResponse",
        "SparseVectors",
    ),
    "blazen.types.speech": (
        "SpeechOptions",
        "SpeechStream",
        "VoiceInfo",
    ),
    "blazen.types.stream": ("Stream",),
    "blazen.types.token_vectors": (
        "TokenEmbeddingResponse",
        "TokenVectors",
    ),
    "blazen.types.transcription": (
        "LanguageGuess",
        "Segment",
        "TranscriptionChunk",
        "TranscriptionRequest",
        "TranscriptionResponse",
        "TranscriptionStream",
        "Word",
    ),
    "blazen.weights.pull": ("pull",),
    "blazen.weights.quantization": ("Quantization",),
    "blazen_anthropic": ("AnthropicProvider",),
    "blazen_compat3d": ("Compat3dProvider",),
    "blazen_gemini": ("GeminiProvider",),
    "blazen_openai": ("OpenAiProvider",),
}

# Other names of the same classes: those that the first documentation gave to one engine's answers.
_ALIASES = {
    "ThreeDGeneration": "ThreeD",
    "ChatMessageInput": "ChatMessage",
    "InferenceResult": "ModelResponse",
    "LlamaCppChatMessageInput": "ChatMessage",
    "LlamaCppInferenceChunk": "InferenceChunk",
    "LlamaCppInferenceChunkStream": "InferenceChunkStream",
    "LlamaCppInferenceResult": "ModelResponse",
    "LlamaCppInferenceUsage": "InferenceUsage",
    "CandleInferenceResult": "ModelResponse",
}

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*_MODULE_OF, *_ALIASES]


def __getattr__(name: str) -> Any:
    original = _ALIASES.get(name, name)
    if original not in _MODULE_OF:
        raise AttributeError(f"module 'blazen' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[original]), original)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
