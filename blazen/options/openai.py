"""Options of OpenAI, and of gateways that speak its API."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

from blazen.checks import check_choice, check_range, check_texts
from blazen.options.provider import ProviderOptions
from blazen.remote.timeouts import Timeouts

QUALITIES = ("auto", "low", "medium", "high", "xhigh", "max")
"""How carefully images are drawn; not every model knows all of these."""


@dataclass(frozen=True)
class OpenAiSharedOptions(ProviderOptions):
    """What models of OpenAI have in common, and of gateways that speak its API."""

    _: KW_ONLY
    gateway: str | None = None
    """Who speaks OpenAI's API, by name: ``"groq"``, ``"openrouter"``; ``None`` is OpenAI itself."""
    organization: str | None = None
    """Which of a key's organizations pays."""
    project: str | None = None
    """Which of its projects pays."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_texts(gateway=self.gateway, organization=self.organization, project=self.project)


@dataclass(frozen=True)
class OpenAiOptions(OpenAiSharedOptions):
    """A chat model of OpenAI, or of a gateway that speaks its API."""

    _: KW_ONLY
    api: Literal["chat", "responses"] | None = None
    """Which of OpenAI's two; ``None`` is the gateway's usual one, for OpenAI Chat Completions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("api", self.api, ("chat", "responses", None))


@dataclass(frozen=True)
class OpenAiEmbeddingOptions(OpenAiSharedOptions):
    """An embedding model of OpenAI, or of a gateway that speaks its API."""

    model: str | None = None
    """Its name; ``None`` is ``text-embedding-3-small``."""
    _: KW_ONLY
    dimensions: int | None = None
    """How long a vector shall be, for models that can shorten theirs; ``None`` is their own."""
    max_batch_size: int = 2048
    """How many texts are sent in one request, at the most."""
    max_batch_bytes: int = 300_000
    """How many bytes of text are sent in one request, at the most. A token has one byte or more: so
    the API's limit of tokens for a request is kept without counting them."""
    parallel: int = 4
    """How many requests of one call are under way at once."""
    max_bytes: int | str = "64MiB"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dimensions", "max_batch_size", "max_batch_bytes", "parallel"):
            check_range(name, getattr(self, name), at_least=1, integer=True)


@dataclass(frozen=True)
class OpenAiTranscriptionOptions(OpenAiSharedOptions):
    """A model of OpenAI that writes down what is said, or of a gateway that speaks its API."""

    model: str | None = None
    """Its name; ``None`` is ``gpt-transcribe``."""
    _: KW_ONLY
    language: str | None = None
    """A code such as ``en``, for requests that name none; ``None`` has it found out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_texts(language=self.language)


@dataclass(frozen=True)
class OpenAiSpeechOptions(OpenAiSharedOptions):
    """A model of OpenAI that speaks, or of a gateway that speaks its API."""

    model: str | None = None
    """Its name; ``None`` is ``gpt-4o-mini-tts``."""
    _: KW_ONLY
    voice: str = "alloy"
    """Who speaks, where a request does not say it: a name, or ``voice_…``, an own voice's id."""
    speed: float | None = None
    instructions: str | None = None
    """How to speak, in words: "whisper, as to a child that falls asleep"."""
    format: Literal["pcm", "wav"] = "pcm"
    """How the sound comes. ``pcm`` is at `sample_rate`; ``wav`` says its own."""
    sample_rate: int = 24_000
    """Of ``pcm``, which does not say it: OpenAI's is always this."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_texts(voice=self.voice, instructions=self.instructions)
        check_range("speed", self.speed, at_least=0.25, at_most=4)
        check_choice("format", self.format, ("pcm", "wav"))
        check_range("sample_rate", self.sample_rate, at_least=1000, at_most=768_000, integer=True)


@dataclass(frozen=True)
class OpenAiImageOptions(OpenAiSharedOptions):
    """A model of OpenAI that draws, or of a gateway that speaks its API."""

    model: str | None = None
    """Its name; ``None`` is ``gpt-image-2``."""
    _: KW_ONLY
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max"] | None = None
    background: Literal["auto", "transparent", "opaque"] | None = None
    format: Literal["png", "jpeg", "webp"] | None = None
    """How the images come; ``None`` is the model's own choice."""
    previews: int = 1
    """How many unfinished images a stream shows, from 0 to 3; each is paid for."""
    timeouts: Timeouts = field(default_factory=lambda: Timeouts(idle=300.0))
    max_bytes: int | str = "256MiB"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("quality", self.quality, (*QUALITIES, None))
        check_choice("background", self.background, ("auto", "transparent", "opaque", None))
        check_choice("format", self.format, ("png", "jpeg", "webp", None))
        check_range("previews", self.previews, at_least=0, at_most=3, integer=True)
