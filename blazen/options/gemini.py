"""Options of Gemini."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

from blazen.checks import check_choice, check_range
from blazen.errors import ValidationError
from blazen.options.provider import ProviderOptions

DEFAULT_MODEL = "gemini-3.8-flash"
DEFAULT_EMBEDDING_MODEL = "gemini-embedding-2"

Purpose = Literal[
    "retrieval", "question", "facts", "code", "similarity", "classification", "clustering"
]

_PURPOSES = (
    "retrieval",
    "question",
    "facts",
    "code",
    "similarity",
    "classification",
    "clustering",
)
_LEVELS = ("minimal", "low", "medium", "high", "xhigh", None)
_MODEL = re.compile(r"(?!.*\.\.)[\w@:./-]+")


@dataclass(frozen=True)
class GeminiOptions(ProviderOptions):
    """A chat model of Gemini, through Google's Gemini API and a key.

    Without a ``model`` it is ``gemini-3.8-flash``; without an ``api_key`` the environment's
    ``GEMINI_API_KEY`` or ``GOOGLE_API_KEY``.
    """

    _: KW_ONLY
    thinking_level: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None
    """How much a model from Gemini 3 on thinks; ``None`` is its own habit."""
    thinking_budget: int | None = None
    """How many tokens a model of Gemini 2.5 may think; 0 turns it off, -1 leaves it to it."""
    safety: Mapping[str, str] = field(default_factory=dict)
    """What is blocked, as the API names it: ``{"HARM_CATEGORY_HARASSMENT": "BLOCK_ONLY_HIGH"}``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _take_model(self, DEFAULT_MODEL)
        check_choice("thinking_level", self.thinking_level, _LEVELS)
        check_range("thinking_budget", self.thinking_budget, at_least=-1, integer=True)
        if self.thinking_level is not None and self.thinking_budget is not None:
            raise ValidationError("thinking_level and thinking_budget say the same: give one")
        if not isinstance(self.safety, Mapping) or not all(
            isinstance(text, str) for pair in self.safety.items() for text in pair
        ):
            raise ValidationError(
                f"safety maps a category to a threshold, both texts, not {self.safety!r:.80}"
            )


@dataclass(frozen=True)
class GeminiEmbeddingOptions(ProviderOptions):
    """An embedding model of Gemini; without a ``model`` it is ``gemini-embedding-2``."""

    _: KW_ONLY
    dimensions: int | None = None
    """How long the vectors are; ``None`` is the model's own length, which is 3,072."""
    purpose: Purpose = "retrieval"
    """What the vectors are for: the model makes others for each."""
    batch_size: int = 100
    """How many texts go into one request, at the most; the API takes up to 100."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _take_model(self, DEFAULT_EMBEDDING_MODEL)
        check_range("dimensions", self.dimensions, at_least=1, at_most=3072, integer=True)
        check_choice("purpose", self.purpose, _PURPOSES)
        check_range("batch_size", self.batch_size, at_least=1, at_most=100, integer=True)


def _take_model(options: ProviderOptions, default: str) -> None:
    model = default if options.model is None else options.model
    # It becomes a part of the URL's path.
    if not isinstance(model, str) or not _MODEL.fullmatch(model):
        raise ValidationError(
            f"a model of Gemini has a name such as {default!r}, not {options.model!r:.80}"
        )
    object.__setattr__(options, "model", model)
