"""Time to the first token when a long beginning was seen before."""

from __future__ import annotations

import statistics
import sys
from typing import Any

from benchmarks import blazen_models as ours
from blazen import ChatMessage, CompletionOptions
from blazen.hardware import thread_budget

ROUNDS = 5
WORDS = (
    "The keeper of the lighthouse wrote down the weather, the ships that passed, the price of "
    "oil, and what the gulls were doing on the rocks below. "
)


def run() -> dict[str, Any]:
    """The same 1,000 tokens of system message before a question that is new each time."""
    threads = thread_budget(None)
    figures: dict[str, Any] = {}
    for backend in ("llamacpp", "xllamacpp"):
        with ours.loaded(backend, threads=threads) as mine:
            cold, warm, tokens, cached = [], [], [], []
            for number in range(ROUNDS):
                # A first word of its own makes the whole prompt new to the engine.
                notes = f"{number}. Notes. " + WORDS * 32
                first = mine.run(_first_token(mine.model, notes, "What is the news?"))
                second = mine.run(_first_token(mine.model, notes, "Who wrote all this?"))
                cold.append(first.timing.first_token)
                warm.append(second.timing.first_token)
                tokens.append(second.usage.prompt_tokens)
                cached.append(second.usage.cached_tokens)
            print(backend, cold, warm, file=sys.stderr)
            figures[backend] = {
                "ratio_warm_to_cold": statistics.median(warm) / statistics.median(cold),
                "cold_seconds": statistics.median(cold),
                "warm_seconds": statistics.median(warm),
                "prompt_tokens": statistics.median(tokens),
                "cached_tokens": statistics.median(cached),
            }
    return {**figures, "rounds": ROUNDS, "threads": threads}


async def _first_token(model: Any, notes: str, question: str) -> Any:
    chat = [ChatMessage.system(notes), ChatMessage.user(question)]
    return await model.complete(chat, CompletionOptions(max_tokens=2, temperature=0))
