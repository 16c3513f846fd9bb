"""Measuring how fast a model is here, and comparing two measurements."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.types.completion import CompletionOptions
from blazen.types.record import Record

VERSION = 1
TEXTS = 64
"""How many texts one run of an embedding model embeds."""
FIGURES = {
    "prompt": "prompt tokens/s",
    "decode": "answer tokens/s",
    "first_token": "first token, s",
    "texts": "texts/s",
    "tokens": "tokens/s",
}
"""What is measured, as people read it."""
LESS_IS_BETTER = ("first_token",)


@dataclass(frozen=True)
class Spread(Record):
    """One figure over all runs."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum up what was measured."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Row(Record):
    """A model with one number of threads."""

    threads: int | None
    load_seconds: float
    prompt_tokens: int
    completion_tokens: int
    figures: dict[str, Spread] = field(default_factory=dict)


async def measure_chat(
    model: Any, prompt: str, max_tokens: int, runs: int, told: Callable[[int], object]
) -> Row:
    """Answer a prompt several times; the first answer is not counted."""
    options = CompletionOptions(max_tokens=max_tokens, temperature=0)
    begun = time.perf_counter()
    if hasattr(model, "load"):
        await model.load()
    load_seconds = time.perf_counter() - begun
    seen: dict[str, list[float]] = {"prompt": [], "decode": [], "first_token": []}
    tokens, written = 0, 0
    for run in range(runs + 1):
        # No two begin alike, so that what an engine remembers of the last one helps it nowhere.
        answer = await model.complete(f"({run}) {prompt}", options)
        told(run)
        usage, timing = answer.usage, answer.timing
        if usage is None or timing is None:
            raise UnsupportedError("this model does not tell how many tokens took how long")
        if run == 0:
            continue
        read = usage.prompt_tokens - usage.cached_tokens
        tokens, written = usage.prompt_tokens, max(written, usage.completion_tokens)
        if timing.prompt:
            seen["prompt"].append(read / timing.prompt)
        if timing.tokens_per_second:
            seen["decode"].append(timing.tokens_per_second)
        if timing.first_token is not None:
            seen["first_token"].append(timing.first_token)
    figures = {name: Spread.of(values) for name, values in seen.items() if values}
    return Row(_threads(model), load_seconds, tokens, written, figures)


async def measure_embedding(
    model: Any, prompt: str, runs: int, told: Callable[[int], object]
) -> Row:
    """Embed the same texts several times; the first time is not counted."""
    texts = [f"({number}) {prompt}" for number in range(TEXTS)]
    begun = time.perf_counter()
    if hasattr(model, "load"):
        await model.load()
    load_seconds = time.perf_counter() - begun
    seen: dict[str, list[float]] = {"texts": [], "tokens": []}
    tokens = 0
    for run in range(runs + 1):
        begun = time.perf_counter()
        answer = await model.embed(texts)
        seconds = time.perf_counter() - begun
        told(run)
        if run == 0:
            continue
        seen["texts"].append(TEXTS / seconds)
        if answer.usage is not None:
            tokens = answer.usage.tokens
            seen["tokens"].append(tokens / seconds)
    figures = {name: Spread.of(values) for name, values in seen.items() if values}
    return Row(_threads(model), load_seconds, tokens, 0, figures)


def _threads(model: Any) -> int | None:
    threads: int | None = getattr(model, "threads", None)
    return threads if isinstance(threads, int) else None


def ratios(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give each figure of two reports side by side, with the new one in terms of the old."""
    before = {row["threads"]: row["figures"] for row in _rows(old, "the old report")}
    found = []
    for row in _rows(new, "the new report"):
        for name, figure in row["figures"].items():
            base = before.get(row["threads"], {}).get(name)
            if base is None:
                continue
            ratio = figure["median"] / base["median"] if base["median"] else None
            found.append(
                {
                    "threads": row["threads"],
                    "figure": name,
                    "old": base["median"],
                    "new": figure["median"],
                    "ratio": ratio,
                }
            )
    if not found:
        raise ValidationError("the two reports measure nothing in common: the same threads twice?")
    return found


def _rows(report: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    try:
        if report["version"] != VERSION:
            raise ValidationError(f"{what} is of version {report['version']!r}, not {VERSION}")
        rows: list[dict[str, Any]] = report["rows"]
        for row in rows:
            Row.from_dict(row)
            row.setdefault("threads", None)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValidationError(f"{what} is none that blazen bench --json wrote: {error}") from error
    return rows
