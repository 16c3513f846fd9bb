"""The options of the backends in this repository, one small dataclass each.

The first field is what a spec names: ``Model.from_spec("xllamacpp:starter:chat")``.
"""

from blazen.options.anthropic import AnthropicOptions as AnthropicOptions
from blazen.options.chat import GgufOptions as GgufOptions
from blazen.options.chat import LlamaCppOptions as LlamaCppOptions
from blazen.options.chat import LoraAdapter as LoraAdapter
from blazen.options.chat import MistralRsOptions as MistralRsOptions
from blazen.options.chat import XllamaCppOptions as XllamaCppOptions
from blazen.options.compat3d import Compat3dOptions as Compat3dOptions
from blazen.options.diffusers import DiffusersOptions as DiffusersOptions
from blazen.options.embedding import EmbedOptions as EmbedOptions
from blazen.options.embedding import GgufEmbedOptions as GgufEmbedOptions
from blazen.options.embedding import GgufRerankOptions as GgufRerankOptions
from blazen.options.gemini import GeminiEmbeddingOptions as GeminiEmbeddingOptions
from blazen.options.gemini import GeminiOptions as GeminiOptions
from blazen.options.isolation import Isolation as Isolation
from blazen.options.kokoro import KokoroOptions as KokoroOptions
from blazen.options.openai import OpenAiEmbeddingOptions as OpenAiEmbeddingOptions
from blazen.options.openai import OpenAiImageOptions as OpenAiImageOptions
from blazen.options.openai import OpenAiOptions as OpenAiOptions
from blazen.options.openai import OpenAiSpeechOptions as OpenAiSpeechOptions
from blazen.options.openai import OpenAiTranscriptionOptions as OpenAiTranscriptionOptions
from blazen.options.piper import PiperOptions as PiperOptions
from blazen.options.provider import ProviderOptions as ProviderOptions
from blazen.options.retrieval import ImageEmbedOptions as ImageEmbedOptions
from blazen.options.retrieval import RerankOptions as RerankOptions
from blazen.options.retrieval import SparseOptions as SparseOptions
from blazen.options.retrieval import TokenEmbedOptions as TokenEmbedOptions
from blazen.options.triposr import TripoSrOptions as TripoSrOptions
from blazen.options.whisper import WhisperModel as WhisperModel
from blazen.options.whisper import WhisperOptions as WhisperOptions
