"""What each of Gemini's models can't do, as Google's documentation and the API itself say.

Read in November 2026 at https://ai.google.dev/gemini-api/docs: models, thinking, thought-signatures
and the "what's new" page of each model. A name that is not Gemini's (``gemma-…``, a tuned model) is
taken to do everything: the API says what it does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from blazen.errors import UnsupportedError
from blazen.types.completion import CompletionOptions

_VERSION = re.compile(r"(?:models/)?gemini-(\d+)(?:\.(\d+))?(?:-(.*))?")
_LATEST = re.compile(r"(?:models/)?gemini-[a-z-]+-latest")

_NOWHERE = {
    "min_p": "the API has no min_p",
    "typical_p": "the API has no typical sampling",
    "repeat_penalty": "the API has no repeat_penalty",
    "mirostat": "the API has no mirostat",
    "mirostat_tau": "the API has no mirostat",
    "mirostat_eta": "the API has no mirostat",
    "logit_bias": "the API has no logit_bias",
    "parallel_tool_calls": "the model alone decides how many tools it calls at once",
}
_MOST_STOPS = 5
_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Abilities:
    """What a model can do."""

    samples: bool = True
    """Whether temperature, top_p and top_k do something: later models accept and ignore them."""
    penalises: bool = True
    logprobs: bool = True
    thinks_by: Literal["level", "budget", "any"] = "any"
    stops_thinking: bool = True
    signs: bool = False
    """Whether a call without a signature of its thinking is refused when it comes back."""
    shapes_beside_tools: bool = True
    """Whether it takes a response_format together with tools."""
    ends_with_model: bool = True
    """Whether the last message may be an assistant's, to be gone on with."""

    def refuse(self, model: str, options: CompletionOptions) -> None:
        """Refuse by its name what the API, or this model of it, can't do."""
        reasons = dict(_NOWHERE)
        if not self.samples:
            why = f"{model} takes no sampling settings: the API would ignore it"
            reasons |= {"temperature": why, "top_p": why, "top_k": why}
        if not self.penalises:
            why = f"the API has no penalties for {model}"
            reasons |= {"presence_penalty": why, "frequency_penalty": why}
        if not self.logprobs:
            reasons["logprobs"] = f"the API tells none of {model}"
        if len(options.stop) > _MOST_STOPS:
            reasons["stop"] = f"the API takes {_MOST_STOPS} of them at the most"
        if options.seed is not None and options.seed > _LARGEST_SEED:
            reasons["seed"] = f"the API takes none above {_LARGEST_SEED:,}"
        if options.reasoning is False and not self.stops_thinking:
            reasons["reasoning"] = (
                f"{model} always thinks; thinking_level='low' in its options makes that short"
                if self.thinks_by == "level"
                else f"{model} always thinks; thinking_budget=128 in its options makes that short"
            )
        wanted = options.response_format
        if wanted is not None and wanted.kind in ("regex", "grammar"):
            reasons["response_format"] = f"the API knows JSON and its schemas, and no {wanted.kind}"
        options.refuse("gemini", reasons)
        calls = bool(options.tools) and options.tool_choice != "none"
        if wanted is not None and calls and not self.shapes_beside_tools:
            raise UnsupportedError(
                f"{model} takes no 'response_format' together with 'tools': models from gemini-3 "
                "on do"
            )


def abilities_of(model: str) -> Abilities:
    """Say what a model can do, by its name."""
    found = _VERSION.fullmatch(model)
    if found is None:
        return _NEWEST if _LATEST.fullmatch(model) else Abilities()
    version = int(found[1]), int(found[2] or 0)
    kind = found[3] or ""
    if version >= (3, 5):
        return _NEWEST
    if version >= (3, 0):
        return Abilities(
            penalises=False, logprobs=False, thinks_by="level", stops_thinking=False, signs=True
        )
    return Abilities(
        penalises=False,
        thinks_by="budget",
        stops_thinking="pro" not in kind,
        shapes_beside_tools=False,
    )


_NEWEST = Abilities(
    samples=False,
    penalises=False,
    logprobs=False,
    thinks_by="level",
    stops_thinking=False,
    signs=True,
    ends_with_model=False,
)
