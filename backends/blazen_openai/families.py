"""Models of one provider that differ in what they take, told apart by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from blazen.errors import UnsupportedError
from blazen.types.completion import CompletionOptions
from blazen_openai.gateway import Gateway

Habit = Literal["never", "always", "when told", "unless told"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """What some models have in common, as their makers' guides said on 2026-11-21."""

    names: re.Pattern[str]
    reasons: Habit
    refuses: Mapping[str, str] = field(default_factory=dict)
    """Options that they never take, and why."""
    while_reasoning: Mapping[str, str] = field(default_factory=dict)
    """Options that they don't take while they reason."""
    chat_tools: bool = True
    """Whether the chat API lets them call tools while they reason."""
    hears: bool = False
    """Whether they take audio."""


_FIXED = "a reasoning model has it fixed"
_SAMPLING = dict.fromkeys(("temperature", "top_p", "logprobs"), _FIXED)
_PENALTIES = dict.fromkeys(("presence_penalty", "frequency_penalty", "logit_bias"), _FIXED)
_NO_STOP = {"stop": "reasoning models take no stop texts"}
_ALL = {**_SAMPLING, **_PENALTIES, **_NO_STOP}


def _family(names: str, reasons: Habit, **more: Any) -> Family:
    return Family(names=re.compile(names), reasons=reasons, **more)


# The first that fits. A model that none fits reasons as it likes and takes what its API takes.
_FAMILIES: dict[str, tuple[Family, ...]] = {
    "openai": (
        _family(r"gpt-audio|gpt-4o(-mini)?-audio", "never", hears=True),
        _family(r"gpt-5(\.[0-9]+)?-chat|chatgpt|gpt-4|gpt-3", "never"),
        _family(r"o1", "always", refuses={**_SAMPLING, **_PENALTIES}),
        _family(r"o[3-9]", "always", refuses=_ALL),
        _family(r"gpt-5(-|$)|gpt-[5-9].*-(codex|pro)", "always", refuses=_ALL),
        _family(
            r"gpt-5\.[1-4]",
            "when told",
            refuses={**_PENALTIES, **_NO_STOP},
            while_reasoning=_SAMPLING,
        ),
        _family(
            r"gpt-5\.|gpt-[6-9]",
            "unless told",
            refuses={**_PENALTIES, **_NO_STOP},
            while_reasoning=_SAMPLING,
            chat_tools=False,
        ),
    ),
    "xai": (
        _family(r".*non-reasoning|grok-2|grok-3(?!-mini)", "never"),
        _family(
            r"grok-3-mini|grok-4(?!\.)|grok-code",
            "always",
            refuses=dict.fromkeys(("presence_penalty", "frequency_penalty", "stop"), _FIXED),
        ),
        _family(
            r"grok",
            "unless told",
            while_reasoning=dict.fromkeys(
                ("presence_penalty", "frequency_penalty", "stop"), "a reasoning model refuses it"
            ),
        ),
    ),
    "deepseek": (
        _family(r"deepseek-chat", "never"),
        _family(
            r"deepseek",
            "unless told",
            while_reasoning=dict.fromkeys(
                ("temperature", "presence_penalty", "frequency_penalty", "logprobs"),
                "it is left out in silence while it thinks",
            ),
        ),
    ),
}


class Capabilities:
    """What one model at one place takes."""

    def __init__(self, gateway: Gateway, model: str) -> None:
        self._gateway = gateway
        self._model = model
        name = re.sub(r"^(ft:|[\w.-]+/)", "", model.lower())
        known = _FAMILIES.get(gateway.families, ())
        self._family = next((each for each in known if each.names.match(name)), None)

    @property
    def reasons(self) -> bool:
        """Whether it is known to be able to reason."""
        return self._family is not None and self._family.reasons != "never"

    @property
    def hears(self) -> bool:
        """Whether it may take audio, as far as that is known."""
        ours = self._gateway.name in ("openai", "azure")
        known = self._family is not None and self._family.hears
        return self._gateway.audio and (known or not (ours and self._family is not None))

    @property
    def max_tokens(self) -> str:
        """What the chat API calls ``max_tokens`` for it."""
        openai = self._gateway.families == "openai" and self._gateway.name == "compatible"
        return "max_completion_tokens" if openai and self.reasons else self._gateway.max_tokens

    def check(self, options: CompletionOptions, *, chat: bool) -> None:
        """Refuse what it does not take, by the option's name."""
        name, family = self._gateway.name, self._family
        options.refuse(name, self._gateway.refuses)
        if family is None:
            return
        options.refuse(name, {option: self._why(why) for option, why in family.refuses.items()})
        if family.reasons == "never" and options.reasoning:
            raise UnsupportedError(
                f"the {name!r} backend takes no 'reasoning': {self._model} does not reason"
            )
        if family.reasons == "always" and options.reasoning is False:
            raise UnsupportedError(
                f"the {name!r} backend takes no 'reasoning' of False: {self._model} always reasons"
            )
        thinks = options.reasoning or (
            options.reasoning is None and family.reasons == "unless told"
        )
        if thinks:
            options.refuse(
                name,
                {
                    option: f"{self._why(why)}; reasoning=False makes it possible"
                    for option, why in family.while_reasoning.items()
                },
            )
        if chat and options.reasoning and options.tools and not family.chat_tools:
            raise UnsupportedError(
                f"the {name!r} backend takes no 'tools' while {self._model} reasons: use "
                "api='responses', or reasoning=False"
            )

    def switch(self, reasoning: bool | None, *, chat: bool) -> Mapping[str, Any]:
        """Give the fields that turn reasoning on or off."""
        family = self._family
        if reasoning is None or (family is not None and family.reasons == "never"):
            return {}
        if self._gateway.reasoning is None and family is None:
            raise UnsupportedError(
                f"the {self._gateway.name!r} backend takes no 'reasoning': it is not known how "
                f"{self._model} is told to; give the field for it in body="
            )
        effort = "medium" if reasoning else "none"
        if not chat:
            return {"reasoning": {"effort": effort, **({"summary": "auto"} if reasoning else {})}}
        if self._gateway.reasoning is not None:
            return self._gateway.reasoning[0 if reasoning else 1]
        return {"reasoning_effort": effort}

    def _why(self, reason: str) -> str:
        return f"{reason} ({self._model})"
