"""What each tool answers with: the schemas that a client reads."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Text(BaseModel):
    """What a chat model wrote."""

    text: str = Field(description="The answer.")
    reasoning: str = Field(default="", description="What the model thought before it answered.")
    parsed: Any = Field(default=None, description="With json_schema: the values of the answer.")
    model: str = Field(description="The model that answered.")
    finish_reason: str | None = Field(
        default=None, description="`length` means that the answer was cut at max_tokens."
    )
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tokens_per_second: float | None = Field(default=None, description="How fast it was written.")


class Vectors(BaseModel):
    """What an embedding model made of texts."""

    embeddings: list[list[float]] | None = Field(
        default=None, description="A vector for each text, in order. Not with `compare`."
    )
    similarities: list[list[float]] | None = Field(
        default=None,
        description="With `compare`: row i, column j is how alike texts i and j are, from -1 to 1.",
    )
    dimensions: int = Field(description="How long each vector is.")
    model: str = Field(description="The model that made them.")
    tokens: int | None = Field(default=None, description="How many tokens were read.")
    truncated: int | None = Field(
        default=None, description="How many texts were too long for the model and lost their end."
    )


class Segment(BaseModel):
    """A stretch of speech."""

    text: str
    start: float = Field(description="In seconds from the start of the sound.")
    end: float


class Transcript(BaseModel):
    """What was said in a sound."""

    text: str = Field(description="What was said, without times.")
    segments: list[Segment]
    language: str | None = None
    duration: float | None = Field(default=None, description="Seconds that the sound lasts.")
    model: str = Field(description="The model that heard it.")


class Speech(BaseModel):
    """What is told of a sound; the sound itself is the content."""

    seconds: float = Field(description="How long it lasts.")
    sample_rate: int
    format: str
    mime_type: str
    size: int = Field(description="Bytes of the sound file.")
    model: str = Field(description="The model that spoke.")


class KnownModel(BaseModel):
    """One model that can be asked for."""

    name: str = Field(description="What the other tools take as `model`.")
    kind: str = Field(
        description="What it is for: model (chat: generate, chat), embedding (embed), "
        "transcription (transcribe), tts (speak); the other kinds have no tool here."
    )
    description: str = ""
    size: int | None = Field(default=None, description="Bytes of its files.")
    loaded: bool = Field(description="Whether it is in memory now, and answers at once.")
    state: str = Field(description="unloaded, loading, ready, draining, unloading or remote.")
    memory: int = Field(default=0, description="Bytes that it takes of memory now.")
    in_use: int = Field(default=0, description="Requests that it works on now.")


class Pool(BaseModel):
    """One kind of memory that models are loaded into."""

    name: str
    budget: int = Field(description="Bytes that models may take of it together.")
    used: int


class Models(BaseModel):
    """Which models there are."""

    models: list[KnownModel]
    pools: list[Pool]
