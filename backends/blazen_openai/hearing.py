"""What a model that writes speech down can do, and what it then is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blazen.errors import UnsupportedError
from blazen.types.live import LiveAudio
from blazen.types.transcription import TranscriptionRequest
from blazen_openai.asking import given
from blazen_openai.languages import language_code


@dataclass(frozen=True)
class Hearing:
    """What a model can do."""

    format: str
    """The richest form of answer that it has."""
    streams: bool = False
    words: bool = False
    translates: bool = False
    prompts: bool = True
    speakers: bool = False


_WHISPER = Hearing("verbose_json", words=True, translates=True)
_GPT = Hearing("json", streams=True)
_SPEAKERS = Hearing("diarized_json", streams=True, prompts=False, speakers=True)
_OTHER = Hearing("json")


def hearing_of(model: str) -> Hearing:
    """Tell by its name what a model can do; of an unknown one little is asked."""
    name = model.rpartition("/")[2].lower()
    if name.endswith("-diarize"):
        return _SPEAKERS
    if name.startswith("gpt-"):
        return _GPT
    return _WHISPER if "whisper" in name else _OTHER


def form_of(model: str, asked: TranscriptionRequest, language: str | None) -> dict[str, Any]:
    """Give the fields of the form, but the file; what the model can't do is refused."""
    can = hearing_of(model)
    _refuse(model, can, asked)
    code = language_code(asked.language or language)
    form = given(
        prompt=asked.prompt,
        temperature=asked.temperature,
        response_format=can.format,
        language=code,
    )
    if asked.translate:
        if code is not None:
            raise UnsupportedError(
                f"{model} finds the language out itself when it translates: leave out language="
                f"{code!r}"
            )
        return form
    if can.words:
        form["timestamp_granularities"] = ["segment", *["word"] * asked.words]
    if can.speakers:
        form["chunking_strategy"] = "auto"
    return form


def _refuse(model: str, can: Hearing, asked: TranscriptionRequest) -> None:
    if isinstance(asked.audio, LiveAudio):
        raise UnsupportedError(
            f"{model} hears whole sounds, none that still come: collect() it first, or take a "
            "model that hears live sound, as Transcription.whispercpp()"
        )
    reasons = {
        "translate": (asked.translate and not can.translates, "take whisper-1"),
        "words": (asked.words and not can.words, "it tells no times of words; take whisper-1"),
        "diarize": (asked.diarize and not can.speakers, "take gpt-4o-transcribe-diarize"),
        "prompt": (asked.prompt is not None and not can.prompts, "leave it out"),
    }
    for name, (refused, advice) in reasons.items():
        if refused:
            raise UnsupportedError(f"{model} takes no {name!r}: {advice}")
    if asked.translate and asked.words:
        raise UnsupportedError(
            f"{model} tells no times of words when it translates: leave out words"
        )
    if asked.temperature is not None and asked.temperature > 1:
        raise UnsupportedError(f"{model} takes a temperature up to 1, not {asked.temperature!r}")
