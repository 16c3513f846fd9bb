"""What an answer costs, where that can be said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from blazen.options.provider import ProviderOptions
from blazen.remote.prices import price_of
from blazen.types.completion import InferenceUsage
from blazen_gemini.client import PROVIDER


def answer_cost(
    options: ProviderOptions, usages: Iterable[tuple[InferenceUsage, Any]]
) -> float | None:
    """Add up what the requests of an answer cost; ``None`` where a part of it is not known.

    Each has its usage, and what the API told of it.
    """
    price = options.price or _known(options)
    if price is None:
        return None
    total = 0.0
    for usage, told in usages:
        # The table has the price of texts and images; that of sounds is another.
        if options.price is None and _has_sound(told):
            return None
        cost = price.cost(usage.prompt_tokens, usage.completion_tokens, cached=usage.cached_tokens)
        if cost is None:
            return None
        total += cost
    return total


def embedding_cost(options: ProviderOptions, tokens: int) -> float | None:
    """Say what embeddings cost."""
    price = options.price or _known(options)
    return None if price is None else price.cost(tokens)


def _known(options: ProviderOptions) -> Any:
    return price_of(PROVIDER, str(options.model).removeprefix("models/"))


def _has_sound(told: Any) -> bool:
    details = told.prompt_tokens_details or ()
    return any(one.modality is not None and one.modality.value == "AUDIO" for one in details)
