"""What providers take for a million tokens, as their own documentation said on a day."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.types.record import Record

_MILLION = 1_000_000
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}|")
# What stands behind a model's name where it names one version of it: a date, or the newest.
_VERSION = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2}|latest)")


@dataclass(frozen=True)
class Price(Record):
    """The price of a model in US dollars for a million tokens.

    Prices change: `as_of` is the day on which it was read at `source`. What a provider adds (for
    tools, regions, faster service) or takes off (for batches) is not in it.
    """

    input: float
    output: float = 0.0
    """What reasoning costs too; embeddings have no output."""
    cached_input: float | None = field(default=None, kw_only=True)
    """For what the provider had kept of the prompt; ``None``: not known."""
    cache_write: float | None = field(default=None, kw_only=True)
    """For what it newly keeps of the prompt, for the shortest time; ``None``: not known."""
    up_to: int | None = field(default=None, kw_only=True)
    """A longer prompt, in tokens, has another price, which is not known here."""
    as_of: str = field(default="", kw_only=True)
    """The day, as ``2026-11-21``."""
    source: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached_input", "cache_write"):
            check_range(f"a price's {name}", getattr(self, name), at_least=0)
        check_range("a price's up_to", self.up_to, at_least=1, integer=True)
        if not isinstance(self.as_of, str) or not _DAY.fullmatch(self.as_of):
            raise ValidationError(f"as_of is a day such as '2026-11-21', not {self.as_of!r:.40}")

    def cost(
        self, prompt: int, completion: int = 0, *, cached: int = 0, written: int = 0
    ) -> float | None:
        """Give what a request costs, or ``None`` where a part of its price is not known.

        ``prompt`` is all of it, with what was ``cached`` and what was newly ``written`` to be.
        """
        if self.up_to is not None and prompt > self.up_to:
            return None
        cost = max(0, prompt - cached - written) * self.input + completion * self.output
        for tokens, price in ((cached, self.cached_input), (written, self.cache_write)):
            if tokens and price is None:
                return None
            cost += tokens * (price or 0)
        return cost / _MILLION


def price_of(provider: str, model: str) -> Price | None:
    """Give what a provider's documentation said about a model, by its name without a date."""
    rows = _ROWS.get(provider, {})
    if model in rows:
        return rows[model]
    return next(
        (price for name, price in rows.items() if _is_version_of(name, model)),
        None,
    )


def _is_version_of(name: str, model: str) -> bool:
    return model.startswith(name) and _VERSION.fullmatch(model, len(name)) is not None


_OPENAI = "https://developers.openai.com/api/docs/models/"
_ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/pricing"
_CLAUDE = "https://platform.claude.com/docs/en/models/{}/overview"
_GEMINI = "https://ai.google.dev/gemini-api/docs/generate-content/whats-new-gemini-3.6"
_SEEN = "2026-11-21"


def _gpt(
    name: str,
    input: float,  # noqa: A002 - as the field
    output: float = 0.0,
    cached: float | None = None,
    written: float | None = None,
    up_to: int | None = None,
) -> tuple[str, Price]:
    return name, Price(
        input,
        output,
        cached_input=cached,
        cache_write=written,
        up_to=up_to,
        as_of=_SEEN,
        source=_OPENAI + name,
    )


def _claude(
    name: str,
    input: float,  # noqa: A002 - as the field
    written: float | None,
    cached: float | None,
    output: float,
    source: str = _ANTHROPIC,
) -> tuple[str, Price]:
    return name, Price(
        input, output, cached_input=cached, cache_write=written, as_of=_SEEN, source=source
    )


def _gemini(name: str, input: float, output: float) -> tuple[str, Price]:  # noqa: A002 - as the field
    return name, Price(input, output, as_of=_SEEN, source=_GEMINI)


_ROWS: dict[str, dict[str, Price]] = {
    "openai": dict(
        (
            _gpt("gpt-6.2-sol", 2, 10, cached=0.10, written=2.50, up_to=272_000),
            _gpt("gpt-6-sol", 2, 10, cached=0.20, written=2.50, up_to=272_000),
            _gpt("gpt-5-mini", 0.25, 2, cached=0.025),
            _gpt("gpt-3.5-turbo", 0.5, 1.5),
            _gpt("text-embedding-3-large", 0.13),
            _gpt("text-embedding-3-small", 0.02),
        )
    ),
    "anthropic": dict(
        (
            _claude("claude-fable-5-1", 10, 12.50, 0.25, 50),
            _claude("claude-fable-5", 10, 12.50, 1, 50),
            _claude("claude-opus-5", 5, 6.25, 0.50, 25),
            _claude("claude-opus-4-8", 5, 6.25, 0.50, 25),
            _claude("claude-opus-4-7", 5, 6.25, 0.50, 25),
            _claude("claude-opus-4-6", 5, 6.25, 0.50, 25),
            _claude("claude-opus-4-5", 5, 6.25, 0.50, 25),
            _claude("claude-opus-4-1", 15, 18.75, 1.50, 75),
            # Of these two the pages that were seen do not agree about the cache, or leave it out.
            _claude("claude-opus-5-5", 4, None, None, 20, _CLAUDE.format("sonnet-5-5")),
            _claude("claude-sonnet-5-5", 2, 2.50, None, 10, _CLAUDE.format("sonnet-5-5")),
            _claude("claude-sonnet-5", 2, 2.50, 0.20, 10, _CLAUDE.format("sonnet-5")),
            _claude("claude-sonnet-4-6", 3, 3.75, 0.30, 15),
            _claude("claude-sonnet-4-5", 3, 3.75, 0.30, 15),
            _claude("claude-haiku-4-5", 1, 1.25, 0.10, 5),
        )
    ),
    "gemini": dict(
        (
            _gemini("gemini-3.6-flash", 1.50, 7.50),
            _gemini("gemini-3.5-flash-lite", 0.30, 2.50),
        )
    ),
}
