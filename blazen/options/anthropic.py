"""Options of Anthropic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from blazen.checks import check_choice, check_range
from blazen.errors import ValidationError
from blazen.options.provider import ProviderOptions

DEFAULT_MODEL = "claude-haiku-5-5"
EFFORTS = ("low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True)
class AnthropicOptions(ProviderOptions):
    """A chat model of Anthropic; without a name it is ``claude-haiku-5-5``."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    """How much is put into an answer, its reasoning included; ``None`` is the model's own."""
    thinking_budget: int | None = None
    """How many tokens a model before Claude 4.6 may reason with; newer ones have `effort`."""
    cache: Literal["5m", "1h"] | None = None
    """Keep what a request begins with, for this long: a later one that begins so costs less."""
    version: Literal["2026-10-21", "2023-06-01"] = "2026-10-21"
    """Of the API. The older one takes ``temperature`` and its like, for models up to Claude 4.6."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "model", self.model or DEFAULT_MODEL)
        if not isinstance(self.model, str):
            raise ValidationError(f"a model is named by a text, not {self.model!r:.80}")
        check_choice("effort", self.effort, (*EFFORTS, None))
        check_range("thinking_budget", self.thinking_budget, at_least=1024, integer=True)
        check_choice("cache", self.cache, ("5m", "1h", None))
        check_choice("version", self.version, ("2026-10-21", "2023-06-01"))
