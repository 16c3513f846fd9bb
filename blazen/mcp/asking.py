"""What a client may ask each tool for: schemas that it reads, and checks of what it sends."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from blazen.types.completion import CompletionOptions

MAX_ANSWER = 512
"""How many tokens an answer has where the client says nothing: a small model may go on for long."""
MAX_TEXTS = 1024
MAX_LETTERS = 1_000_000
MAX_SOUND = 128 * 2**20
"""Characters of base64 that a sound may have."""

Letters = Annotated[str, Field(max_length=MAX_LETTERS)]


class Arguments(BaseModel):
    """What every tool takes: names that it knows, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Named(Arguments):
    """What every tool takes that runs a model."""

    model: str | None = Field(
        default=None,
        max_length=1000,
        description="Name of the model, or a part of it, as the tool `models` lists it. "
        "Leave it out for the default.",
    )


class Sampled(Named):
    """How an answer is written."""

    max_tokens: int = Field(
        default=MAX_ANSWER, ge=1, le=1_000_000, description="Longest answer, in tokens."
    )
    temperature: float | None = Field(
        default=None, ge=0, le=5, description="0 always takes the likeliest word; 1 varies freely."
    )
    top_p: float | None = Field(default=None, ge=0, le=1, description="Nucleus sampling.")
    top_k: int | None = Field(default=None, ge=0, description="Choose among this many words.")
    seed: int | None = Field(
        default=None, ge=0, le=2**32 - 1, description="The same seed gives the same answer again."
    )
    stop: list[str] = Field(
        default_factory=list, max_length=16, description="The answer ends before one of these."
    )
    json_schema: dict[str, Any] | None = Field(
        default=None,
        description="A JSON schema: the answer is held to it, word for word, and is valid JSON.",
    )

    def options(self) -> CompletionOptions:
        """Give them as a model takes them."""
        return CompletionOptions(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            seed=self.seed,
            stop=tuple(self.stop),
            response_format=self.json_schema,
        )


class GenerateArguments(Sampled):
    """What `generate` takes."""

    prompt: Letters = Field(min_length=1, description="What the model is asked, or told to do.")
    system: Letters | None = Field(
        default=None, description="How it should behave. Not with `raw`."
    )
    raw: bool = Field(
        default=False,
        description="Go on with the prompt as plain text, with no roles and no template: for base "
        "models, or a prompt that holds the template's marks already.",
    )


class Message(Arguments):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"] = Field(description="Who says it.")
    content: Letters = Field(description="What is said.")


class ChatArguments(Sampled):
    """What `chat` takes."""

    messages: list[Message] = Field(
        min_length=1,
        max_length=MAX_TEXTS,
        description="The conversation so far, oldest first; the model answers the last message.",
    )


class EmbedArguments(Named):
    """What `embed` takes."""

    texts: list[Letters] = Field(
        min_length=1, max_length=MAX_TEXTS, description="The texts, each of which gets a vector."
    )
    query: bool = Field(
        default=False,
        description="Whether the texts are searched with; else they are what is to be found. Some "
        "models treat the two differently.",
    )
    compare: bool = Field(
        default=False,
        description="Give the similarity of each pair of texts, from -1 to 1, in place of vectors.",
    )


class TranscribeArguments(Named):
    """What `transcribe` takes."""

    audio: str = Field(
        max_length=MAX_SOUND,
        description="The sound file as base64: wav, mp3, flac, ogg, m4a or webm.",
    )
    language: str | None = Field(
        default=None, max_length=20, description="A code such as `en`; `auto` has it found out."
    )
    translate: bool = Field(default=False, description="Translate into English.")
    prompt: Letters | None = Field(
        default=None, description="What was said before, or how names are spelt."
    )
    format: Literal["txt", "srt", "vtt"] = Field(
        default="txt", description="How the text is written: plain, or as subtitles with times."
    )


class TranscribeFileArguments(TranscribeArguments):
    """What `transcribe` takes where it may read files."""

    audio: str | None = Field(  # type: ignore[assignment]  # one of the two is given
        default=None,
        max_length=MAX_SOUND,
        description="The sound file as base64: wav, mp3, flac, ogg, m4a or webm. Or give `path`.",
    )
    path: str | None = Field(
        default=None,
        max_length=4096,
        description="A sound file on this machine, below a folder that the user has allowed.",
    )


class SpeakArguments(Named):
    """What `speak` takes."""

    text: Letters = Field(min_length=1, description="What is read aloud.")
    voice: str | None = Field(default=None, max_length=200, description="Name of the voice.")
    language: str | None = Field(default=None, max_length=20, description="A code such as `en-us`.")
    speed: float | None = Field(
        default=None, ge=0.1, le=10, description="1 is the voice's own pace, 2 twice as fast."
    )
    format: Literal["wav", "mp3", "flac", "ogg", "m4a"] = Field(
        default="wav", description="The kind of sound file."
    )


class ModelsArguments(Arguments):
    """What `models` takes."""

    kind: str | None = Field(
        default=None,
        max_length=40,
        description="Only those of one kind: model (chat), embedding, transcription, tts, image, "
        "three_d, rerank and so on.",
    )
