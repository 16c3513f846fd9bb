"""What blazen's own routes answer with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from blazen.server.fields import JsonObject
from blazen.server.streaming import EVENT_STREAM


class Problem(BaseModel):
    """What went wrong."""

    message: str
    kind: str
    status: int


class Failure(BaseModel):
    """An error, as blazen's own routes word it."""

    error: Problem


_STATUSES = (400, 401, 403, 404, 405, 408, 413, 415, 429, 431, 500, 501, 502, 503, 504)

FAILURES: dict[int | str, dict[str, Any]] = {status: {"model": Failure} for status in _STATUSES}
"""Every error that these routes answer with."""


class Generated(BaseModel):
    """An answer, and what it took."""

    text: str
    prompt_tokens: int | None
    generated_tokens: int | None
    prefill_ms: float | None
    decode_ms: float | None
    total_ms: float


class Health(BaseModel):
    """That the server answers."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """Whether it can be given work."""

    status: Literal["ready", "loading", "stopping"]
    waiting_for: list[str]
    """Models that are to be there before: those with ``preload`` in the configuration."""


class Pool(BaseModel):
    """A memory that models fill, in bytes."""

    name: str
    budget: int
    used: int
    quarantined: int
    foreign: int
    available: int


class Model(BaseModel):
    """A model, and where it stands."""

    name: str
    kind: str
    spec: str
    """What it is opened with; of a path only the last part."""
    source: str
    size: int | None
    description: str
    state: Literal["remote", "unloaded", "loading", "ready", "draining", "unloading"]
    registered: bool
    """Whether it was asked for yet."""
    can: list[str]
    device: str
    charges: dict[str, int]
    """Bytes that it holds in each pool."""
    footprint: JsonObject | None
    footprint_source: str
    leases: int
    waiting: int
    pinned: bool
    priority: int
    keep_alive: float | None
    idle_seconds: float | None
    loads: int
    load_seconds: float | None
    uses: int
    fallback: list[str]
    problem: str


class Models(BaseModel):
    """The pools, the models, and who waits."""

    pools: list[Pool]
    models: list[Model]
    waiting: int
    cores: int
    cores_used: int


class FileFacts(BaseModel):
    """A GGUF file."""

    name: str
    size: int
    version: int
    byte_order: Literal["little", "big"]
    parts: int
    architecture: str | None
    title: str | None
    quantization: str | None
    parameters: int
    context_length: int | None
    layers: int | None
    embedding_length: int | None
    vocabulary: int
    chat_template: bool


class Tensor(BaseModel):
    """One tensor; the fastest dimension of its shape comes first."""

    name: str
    dtype: str
    shape: list[int]
    bytes: int


class Opener(BaseModel):
    """A backend that opens such a file."""

    name: str
    installed: bool
    needs: str | None
    """What to install, where something is missing."""


class Explored(BaseModel):
    """What a model's file holds."""

    model: str
    kind: str
    file: FileFacts
    metadata: JsonObject
    """Long lists are given as their type and length."""
    tensors: list[Tensor]
    estimate: JsonObject | None
    """The memory that it takes on a CPU with the context that it is configured with."""
    backends: list[Opener]
    can: list[str]
    """What can be explored beside it: ``tokenize``, ``vector``, ``neighbors``, ``prompt``."""


class Token(BaseModel):
    """A token of a model's vocabulary."""

    id: int
    text: str
    """Bytes that are a part of a character are written as ``<0xE2>``."""
    kind: str
    """``normal``, ``unknown``, ``control``, ``user_defined``, ``unused`` or ``byte``."""


class Tokens(BaseModel):
    """A text as a model reads it."""

    tokens: list[Token]


class Vector(BaseModel):
    """What stands for a token where a model begins."""

    token: Token
    vector: list[float]
    norm: float


class Neighbor(Token):
    """A token, and how alike its vector is: the cosine of the angle between them."""

    similarity: float


class Neighbors(BaseModel):
    """The tokens whose vectors point the same way, the nearest first."""

    token: Token
    neighbors: list[Neighbor]


class PromptText(BaseModel):
    """A conversation as the model's template writes it."""

    prompt: str
    template: str


def streamed(shape: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Say of a route that it answers in one piece, or as server-sent events."""
    return {200: {"model": shape, "content": EVENT_STREAM}, **FAILURES}
