"""What a chat model is asked for, and what it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Literal

from blazen.checks import check_choice, check_range
from blazen.errors import OutputError, UnsupportedError, ValidationError
from blazen.types.chat import ChatMessage, Tool, ToolCall
from blazen.types.record import Record, Settings
from blazen.types.response_format import ResponseFormat
from blazen.types.route import Route
from blazen.types.stream import Source, Stream


@dataclass(frozen=True, kw_only=True)
class CompletionOptions(Settings):
    """How to answer. What is left out is the model's own default."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    mirostat: Literal[1, 2] | None = None
    """Hold the answer's surprise steady, instead of top_k, top_p, min_p and typical_p."""
    mirostat_tau: float | None = None
    """How surprising: low is focused. The engines' own default is 5."""
    mirostat_eta: float | None = None
    """How fast it adapts. The engines' own default is 0.1."""
    seed: int | None = None
    stop: str | Sequence[str] = ()
    logit_bias: dict[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    """Tell how likely each token was, and this many likely ones in its place; 0: itself alone."""
    response_format: Any = None
    """A class, a JSON schema, ``"json"`` or a `ResponseFormat`: the shape of the answer."""
    tools: Sequence[Any] = ()
    """What may be called: each a `Tool`, or a function whose signature and docstring make one."""
    tool_choice: str = "auto"
    """``auto``, ``none``, ``required``, or the name of a tool."""
    parallel_tool_calls: bool = True
    """Whether one answer may call several tools."""
    reasoning: bool | None = None
    """Whether a model that can reason before it answers should; ``None`` is its own habit."""

    def __post_init__(self) -> None:
        check_range("max_tokens", self.max_tokens, at_least=1, integer=True)
        check_range("temperature", self.temperature, at_least=0)
        check_range("top_p", self.top_p, at_least=0, at_most=1)
        check_range("top_k", self.top_k, at_least=0, integer=True)
        check_range("min_p", self.min_p, at_least=0, at_most=1)
        check_range("typical_p", self.typical_p, at_least=0, at_most=1)
        check_range("repeat_penalty", self.repeat_penalty, at_least=0)
        check_range("presence_penalty", self.presence_penalty, at_least=-2, at_most=2)
        check_range("frequency_penalty", self.frequency_penalty, at_least=-2, at_most=2)
        check_choice("mirostat", self.mirostat, (1, 2, None))
        check_range("mirostat_tau", self.mirostat_tau, at_least=0)
        check_range("mirostat_eta", self.mirostat_eta, at_least=0)
        check_range("logprobs", self.logprobs, at_least=0, at_most=20, integer=True)
        check_range("seed", self.seed, at_least=0, at_most=2**32 - 1, integer=True)
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        if not _all_are(str, stop) or not all(stop):
            raise ValidationError(f"stop must be texts that are not empty, not {self.stop!r}")
        tools = _tools(self.tools)
        names = [tool.name for tool in tools]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise ValidationError(f"two tools are called {twice[0]!r}: give each a name of its own")
        check_choice("tool_choice", self.tool_choice, ("auto", "none", "required", *names))
        if not isinstance(self.logit_bias, Mapping):
            raise ValidationError(f"logit_bias maps tokens to numbers, not {self.logit_bias!r:.80}")
        for token, bias in self.logit_bias.items():
            check_range("a token of logit_bias", token, at_least=0, integer=True)
            check_range(f"logit_bias[{token}]", bias)
        object.__setattr__(self, "stop", tuple(stop))
        object.__setattr__(self, "tools", tools)
        if self.response_format is not None:
            object.__setattr__(self, "response_format", ResponseFormat.of(self.response_format))

    def refuse(self, backend: str, reasons: Mapping[str, str]) -> None:
        """Refuse what a backend can't do: ``reasons`` says why, by the option's name."""
        for option in fields(self):
            reason = reasons.get(option.name)
            value = getattr(self, option.name)
            unset = option.default_factory() if callable(option.default_factory) else option.default
            if reason is not None and value != unset:
                raise UnsupportedError(
                    f"the {backend!r} backend takes no {option.name!r}: {reason}"
                )


def _tools(values: object) -> tuple[Tool, ...]:
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes)):
        raise ValidationError(f"tools must be a list of Tool or of functions, not {values!r:.80}")
    return tuple(map(_tool, values))


def _tool(value: Any) -> Tool:
    if isinstance(value, Tool):
        return value
    if isinstance(value, Mapping):
        # As OpenAI's API has it, which many keep their tools in.
        wrapped = value.get("type") == "function" and set(value) == {"type", "function"}
        return Tool.from_dict(value["function"] if wrapped else value)
    if callable(value):
        return Tool.of(value)
    raise ValidationError(f"one of the tools is neither a Tool nor a function: {value!r:.80}")


def _all_are(kind: type, values: object) -> bool:
    return isinstance(values, Sequence) and all(isinstance(value, kind) for value in values)


class FinishReason(str, Enum):
    """Why an answer ended."""

    Stop = "stop"
    Length = "length"
    ToolCalls = "tool_calls"
    ContentFilter = "content_filter"
    Cancelled = "cancelled"


@dataclass(frozen=True)
class InferenceUsage(Record):
    """How many tokens a request took."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """How many of the prompt's tokens the engine had seen before."""
    estimated: bool = False
    """Whether blazen counted, because the engine did not say."""
    reasoning_tokens: int = 0
    """How many of the completion's tokens were spent on reasoning."""
    cost: float | None = None
    """What a provider takes for it, in US dollars; ``None`` where the price is not known."""

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class InferenceTiming(Record):
    """How long a request took, in seconds."""

    first_token: float | None = None
    """From the call to the first token."""
    prompt: float | None = None
    """Reading the prompt."""
    decode: float | None = None
    """Writing the answer."""
    tokens_per_second: float | None = None
    """While writing the answer."""


@dataclass(frozen=True)
class ToolCallDelta(Record):
    """A piece of a tool call: the pieces of one call have the same index."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True)
class LikelyToken(Record):
    """A token that could have come, and the logarithm of how likely it was."""

    text: str
    logprob: float


@dataclass(frozen=True)
class TokenLogprob(Record):
    """A token of the answer, and how likely it was before any setting of the sampling."""

    text: str
    """Its text; a token that holds a part of a character has a replacement mark instead."""
    logprob: float
    top: tuple[LikelyToken, ...] = ()
    """The likeliest tokens in its place, the first of them the likeliest."""


@dataclass(slots=True)
class InferenceChunk(Record):
    """A piece of an answer."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    usage: InferenceUsage | None = None
    timing: InferenceTiming | None = None
    model: str | None = None
    """The model that answers, where the backend says it anew."""
    raw: dict[str, Any] | None = None
    """What the backend said beyond this; the pieces' are joined, a later value over an earlier."""
    state: dict[str, Any] | None = None
    """What a provider wants back with the answer, as `ChatMessage.state`; joined likewise."""


@dataclass(frozen=True)
class ModelResponse(Record):
    """A whole answer."""

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    parsed: Any = field(default=None, compare=False)
    """With a ``response_format``: the values, or the class that it was read from."""
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: FinishReason | None = None
    """``None`` while the answer is still being written."""
    usage: InferenceUsage | None = None
    timing: InferenceTiming | None = None
    model: str = ""
    raw: dict[str, Any] | None = field(default=None, compare=False, repr=False)
    """What the backend said beyond this, as it said it."""
    state: dict[str, Any] | None = field(default=None, compare=False, repr=False)
    """What a provider wants back with this answer; `message` holds it."""
    route: Route | None = field(default=None, compare=False)
    """Which of a manager's models answered, where there was a choice."""

    @property
    def message(self) -> ChatMessage:
        """The answer as the message to go on with: append it to the conversation."""
        return ChatMessage.assistant(self.content, tool_calls=self.tool_calls, state=self.state)


class InferenceChunkStream(Stream[InferenceChunk, ModelResponse]):
    """An answer in pieces: ``async for chunk in stream: print(chunk.content or "", end="")``."""

    def __init__(
        self,
        start: Callable[[], Awaitable[Source[InferenceChunk]]],
        response_format: ResponseFormat | None = None,
    ) -> None:
        super().__init__(start)
        self._format = response_format
        self._parsed: Any = None
        self._logprobs: list[TokenLogprob] = []
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._tool_calls: dict[int, _PartialCall] = {}
        self._finish_reason: FinishReason | None = None
        self._usage: InferenceUsage | None = None
        self._timing: InferenceTiming | None = None
        self._model = ""
        self._raw: dict[str, Any] | None = None
        self._state: dict[str, Any] | None = None

    def _add(self, piece: InferenceChunk) -> None:
        if piece.content:
            self._content.append(piece.content)
        if piece.reasoning:
            self._reasoning.append(piece.reasoning)
        for delta in piece.tool_calls:
            self._tool_calls.setdefault(delta.index, _PartialCall()).add(delta)
        self._logprobs.extend(piece.logprobs)
        self._finish_reason = piece.finish_reason or self._finish_reason
        self._usage = piece.usage or self._usage
        self._timing = piece.timing or self._timing
        self._model = piece.model or self._model
        if piece.raw is not None:
            self._raw = {**(self._raw or {}), **piece.raw}
        if piece.state is not None:
            self._state = {**(self._state or {}), **piece.state}

    def _end(self, *, whole: bool) -> None:
        if self._finish_reason is None:
            self._finish_reason = FinishReason.Stop if whole else FinishReason.Cancelled
        if whole and self._format is not None and not self._tool_calls:
            self._parsed = self._read(self._format)

    def _read(self, wanted: ResponseFormat) -> Any:
        text = "".join(self._content)
        cut = self._finish_reason is FinishReason.Length
        try:
            parsed = wanted.parse(text)
            if cut and _may_go_on(text, wanted):
                raise OutputError(f"the number {text!r:.80} may have gone on", text=text)
        except OutputError as error:
            if not cut:
                raise
            raise OutputError(
                f"the answer was cut at its last token, before its {wanted.kind} was whole: allow "
                "more with max_tokens, or a longer context",
                text=error.text,
            ) from error
        return parsed

    @property
    def response(self) -> ModelResponse:
        """The answer so far; the whole answer once the stream has ended."""
        return ModelResponse(
            content="".join(self._content),
            reasoning="".join(self._reasoning),
            tool_calls=tuple(call.whole() for _, call in sorted(self._tool_calls.items())),
            parsed=self._parsed,
            logprobs=tuple(self._logprobs),
            finish_reason=self._finish_reason,
            usage=self._usage,
            timing=self._timing,
            model=self._model,
            raw=self._raw,
            state=self._state,
            route=self.route,
        )


def _may_go_on(text: str, wanted: ResponseFormat) -> bool:
    """Tell whether an answer is a number of which more digits may be missing."""
    if wanted.kind != "schema" or not text[-1:].isdigit():
        return False
    for more in (*"0123456789", ".1", "e1"):
        try:
            wanted.parse(text + more)
        except OutputError:
            continue
        return True
    return False


class _PartialCall:
    def __init__(self) -> None:
        self._id = self._name = ""
        self._arguments: list[str] = []

    def add(self, delta: ToolCallDelta) -> None:
        self._id = delta.id or self._id
        self._name = delta.name or self._name
        self._arguments.append(delta.arguments)

    def whole(self) -> ToolCall:
        return ToolCall(self._id, self._name, "".join(self._arguments))
