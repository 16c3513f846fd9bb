"""What ``/v1/completions`` is asked, and what it answers."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from blazen.server.apis.openai.chat_asked import MOST_CHOICES, StreamOptions, several
from blazen.server.apis.openai.telling import Timings, Usage
from blazen.server.fields import WHOLE, Flag, Text, TokenId
from blazen.server.refusals import RefusedError, refuse
from blazen.server.sampling import Format, Sampling, read_format
from blazen.types.chat import Prompt
from blazen.types.completion import CompletionOptions

_REFUSED = {
    "suffix": "nothing here fills in the middle of a text; write the model's own marks for that "
    "into the prompt"
}

Tokens = Annotated[list[TokenId], Field(min_length=1)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=MOST_CHOICES), WHOLE]


class CompletionBody(Sampling):
    """Texts to go on from, and how."""

    model: Text | None = None
    """Without one, the default chat model goes on."""
    prompt: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=MOST_CHOICES)]
        | Tokens
        | Annotated[list[Tokens], Field(min_length=1, max_length=MOST_CHOICES)]
    )
    """A text, a list of texts, the token ids of one, or of several."""
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    n: Count | None = None
    best_of: Count | None = None
    """How many are written for each prompt, of which the n likeliest are given."""
    echo: Flag | None = None
    """Whether the prompt stands before the text."""
    logprobs: Annotated[int, Field(ge=0, le=20), WHOLE] | None = None
    suffix: Text | None = None
    response_format: Format | None = None

    def prompts(self) -> list[Prompt]:
        """Give the prompts."""
        given: Any = self.prompt
        several_given = isinstance(given, list) and not isinstance(given[0], int)
        return [Prompt(one) for one in (given if several_given else [given])]

    def options(self) -> list[CompletionOptions]:
        """Give the options of each text that is written for one prompt."""
        refuse(self, _REFUSED)
        wanted, written = self.n or 1, self.best_of or self.n or 1
        if written < wanted:
            raise RefusedError(
                f"best_of ({written}) must be at least n ({wanted})", param="best_of"
            )
        if written > wanted and self.stream:
            raise RefusedError("best_of picks among whole texts: don't stream", param="best_of")
        if len(self.prompts()) * written > MOST_CHOICES:
            raise RefusedError(
                f"{len(self.prompts())} prompts with {written} texts each are more than the "
                f"{MOST_CHOICES} that one request may ask for",
                param="n",
            )
        if self.echo and self.logprobs is not None:
            raise RefusedError(
                "no engine here tells how likely a prompt was: leave out echo or logprobs",
                param="echo",
                code="unsupported_parameter",
            )
        if self.echo and not isinstance(self.prompts()[0].text, str):
            raise RefusedError("echo goes with prompts that are texts, not token ids", param="echo")
        likely = self.logprobs
        if likely is None and written > wanted:
            likely = 0  # which of them are the likeliest must be known
        options = CompletionOptions(
            **self.settings(),
            logprobs=likely,
            response_format=read_format(self.response_format),
        )
        return several(options, written)

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with the count of tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)


@dataclasses.dataclass(frozen=True)
class Task:
    """One text to write."""

    prompt: Prompt
    options: CompletionOptions

    def echo(self, *, wanted: bool) -> str:
        """Give what stands before the text."""
        return str(self.prompt.text) if wanted else ""


class TextLikelihoods(BaseModel):
    """How likely the tokens of a text were, in columns."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]
    """Where in the text each token begins, in characters."""


class TextChoice(BaseModel):
    """One text, or a piece of it."""

    index: int
    text: str
    logprobs: TextLikelihoods | None
    finish_reason: Literal["stop", "length", "content_filter"] | None


class CompletionAnswer(BaseModel):
    """The texts that models wrote."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    usage: Usage | None = None
    timings: Timings | None = None
