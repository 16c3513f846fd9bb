"""What an answer costs, where that can be said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blazen.remote.prices import Price

_MILLION = 1_000_000
_HOUR_FACTOR = 2
"""What is kept for an hour costs twice the price of input ("Pricing", "Prompt caching")."""


def cost_of(price: Price | None, usage: Mapping[str, Any], *, prompt: int) -> float | None:
    """Say what an answer costs; ``None`` where something counts that has a price of its own."""
    if price is None or _is_special(usage):
        return None
    created = usage.get("cache_creation") or {}
    hour = created.get("ephemeral_1h_input_tokens") or 0
    written = (usage.get("cache_creation_input_tokens") or 0) - hour
    cost = price.cost(
        prompt - hour,
        usage["output_tokens"],
        cached=usage.get("cache_read_input_tokens") or 0,
        written=written,
    )
    if cost is None or (price.up_to is not None and prompt > price.up_to):
        return None
    return cost + hour * _HOUR_FACTOR * price.input / _MILLION


def _is_special(usage: Mapping[str, Any]) -> bool:
    return (
        usage.get("speed") == "fast"
        or usage.get("service_tier") not in (None, "standard")
        or usage.get("inference_geo") == "us"
        or any((usage.get("server_tool_use") or {}).values())
    )
