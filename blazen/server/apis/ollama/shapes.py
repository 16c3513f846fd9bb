"""What Ollama's API answers with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from blazen.server.fields import JsonObject


class Failure(BaseModel):
    """What went wrong."""

    error: str


_STATUSES = (400, 401, 403, 404, 405, 408, 413, 415, 429, 431, 500, 501, 502, 503, 504)

FAILURES: dict[int | str, dict[str, Any]] = {status: {"model": Failure} for status in _STATUSES}
"""Every error that these routes answer with."""


class Likely(BaseModel):
    """A token that could have come."""

    token: str
    logprob: float
    bytes: list[int] | None
    """Its text in UTF-8; ``null`` where it holds a part of a character."""


class Likelihood(Likely):
    """A token of the answer, and the likeliest ones in its place."""

    top_logprobs: list[Likely] | None = None


class Answered(BaseModel):
    """What every piece of an answer says, and at its end how long it took, in nanoseconds."""

    model: str
    created_at: str
    done: bool
    done_reason: Literal["stop", "length", "load", "unload", "content_filter"] | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    logprobs: list[Likelihood] | None = None


class GenerateAnswer(Answered):
    """An answer to a prompt, or a piece of it."""

    response: str
    thinking: str | None = None
    context: list[int] | None = None
    """The conversation so far, to be sent with the next prompt; only this server can read it."""


class CalledFunction(BaseModel):
    """A function that is to be called, and with what."""

    index: int
    name: str
    arguments: dict[str, Any]


class ToolCallMade(BaseModel):
    """A call that the model asks for."""

    id: str
    function: CalledFunction


class AnswerMessage(BaseModel):
    """What the model says."""

    role: Literal["assistant"]
    content: str
    thinking: str | None = None
    tool_calls: list[ToolCallMade] | None = None


class ChatAnswer(Answered):
    """An answer to a conversation, or a piece of it."""

    message: AnswerMessage


class EmbedAnswer(BaseModel):
    """A vector for each text."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class EmbeddingsAnswer(BaseModel):
    """The vector of one text."""

    embedding: list[float]


class Details(BaseModel):
    """A model in a few words."""

    parent_model: str
    format: str
    family: str
    families: list[str] | None = None
    parameter_size: str
    quantization_level: str


class Tag(BaseModel):
    """A model that can be asked for."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Tags(BaseModel):
    """All models that can be asked for."""

    models: list[Tag]


class Running(BaseModel):
    """A model that is loaded."""

    name: str
    model: str
    size: int
    size_vram: int
    digest: str
    details: Details
    expires_at: str
    """When it goes for want of requests; in the year 9999 where it stays."""
    context_length: int


class Processes(BaseModel):
    """All models that are loaded."""

    models: list[Running]


class Shown(BaseModel):
    """All about one model."""

    modelfile: str
    parameters: str
    template: str
    license: str | None = None
    system: str | None = None
    details: Details
    model_info: JsonObject
    """The metadata of its file; long lists are left out where ``verbose`` does not ask for them."""
    capabilities: list[str]
    modified_at: str


class Version(BaseModel):
    """Which of Ollama's versions these routes follow, and whose they are."""

    version: str
    blazen: str


class Status(BaseModel):
    """How far a download is."""

    status: str
    digest: str | None = None
    total: int | None = Field(default=None, ge=0)
    completed: int | None = Field(default=None, ge=0)


def streamed(shape: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Say of a route that it answers in one piece, or in lines of the same shape."""
    lines = {"schema": {"type": "string", "description": f"A line of JSON each: {shape.__name__}"}}
    return {200: {"model": shape, "content": {"application/x-ndjson": lines}}, **FAILURES}
