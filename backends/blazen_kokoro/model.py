"""`TTS` on Kokoro."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blazen.bridge import Job, StreamJob, StreamReader
from blazen.errors import ValidationError
from blazen.extras import need
from blazen.hardware import Device, choose_device
from blazen.local import FixedThreads, LocalBackend
from blazen.onnx import supported_devices
from blazen.options import KokoroOptions
from blazen.protocols.tts import TTS
from blazen.speech.pauses import Pause
from blazen.speech.utterances import spoken
from blazen.types.audio import Audio
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress, Progress
from blazen.types.speech import SpeechOptions, SpeechStream, VoiceInfo, as_speakable
from blazen_kokoro.espeak import check_espeak
from blazen_kokoro.given import Given, without_given
from blazen_kokoro.languages import check_readable, find_language, settle_language
from blazen_kokoro.phonemes import in_vocabulary, pieces, to_phonemes
from blazen_kokoro.session import Session
from blazen_kokoro.size import model_footprint
from blazen_kokoro.sound import RATE, finished, silence, trimmed
from blazen_kokoro.vocabulary import call_tokens
from blazen_kokoro.voices import Blend, Voices
from blazen_kokoro.weights import locate_weights

if TYPE_CHECKING:
    from blazen_kokoro.sound import Samples


_AHEAD = 8
"""How many pieces are spoken before they are asked for: what is interrupted was not worth more."""
_CHARACTERS = 250
"""How much of a long sentence is spoken in one go; hardly ever does it have too many phonemes."""


@dataclass
class Engine:
    """A loaded Kokoro."""

    session: Session
    vocabulary: dict[str, int]
    voices: Voices
    usual: Blend
    """The voice of a request that names none."""


@dataclass(frozen=True)
class Manner:
    """How to speak one text, settled."""

    blend: Blend | None
    language: str | None
    speed: float
    volume: float
    options: KokoroOptions


class KokoroVoice(FixedThreads, LocalBackend[Engine], TTS):
    """Kokoro-82M: one small model that speaks with many voices and their blends."""

    Options = KokoroOptions
    engine = "espeakng_loader"  # ONNX Runtime comes with other extras too
    options: KokoroOptions

    def speak_stream(self, text: str, options: SpeechOptions | None = None) -> SpeechStream:
        """Speak sentence by sentence; what stands in ``[[ ]]`` is phonemes."""
        chosen = SpeechOptions.of(options)
        checked = as_speakable(text)
        language = self.options.language if chosen.language is None else chosen.language
        manner = Manner(
            blend=None if chosen.voice is None else Blend.parse(chosen.voice),
            language=None if language is None else find_language(language).code,
            speed=self.options.speed if chosen.speed is None else chosen.speed,
            volume=1.0 if chosen.volume is None else chosen.volume,
            options=self.options,
        )

        async def start() -> StreamReader[Audio]:
            job = await self._submitted(
                lambda work: StreamJob[Audio](work, _AHEAD), _speak, checked, manner
            )
            return StreamReader(job)

        return SpeechStream(start)

    async def voices(self) -> list[VoiceInfo]:
        """List the voices that can be asked for, and load the model if it is not loaded."""
        return await self._call(_list_voices)

    def _open(self, job: Job, report: OnProgress) -> Engine:
        self._device = self._chosen_device()
        blend = None if self.options.voice is None else Blend.parse(self.options.voice)
        if self.options.language is not None:
            find_language(self.options.language)
        weights = locate_weights(self.options, job, report)
        report(Progress("load", 0, 1, unit="models", detail=weights.model.name))
        check_espeak()
        if blend is None:
            blend = Blend.parse(weights.voices.names()[0])
        weights.voices.style(blend)  # a voice that is not there is heard of now
        session = Session.open(weights.model, self._take_threads(), self._device)
        report(Progress("load", 1, 1, unit="models", detail=weights.model.name))
        return Engine(session, weights.vocabulary, weights.voices, blend)

    def _footprint(self, job: Job) -> Footprint | None:
        if self._chosen_device() != Device.Cpu:
            return None  # what CUDA takes was not measured
        return model_footprint(locate_weights(self.options, job, lambda progress: None).model)

    def _chosen_device(self) -> Device:
        """Say where it is to run; what it runs with must be installed."""
        for module in ("onnxruntime", "espeakng_loader"):
            need(module, extra="kokoro", what="speech with Kokoro")
        return choose_device(self.options.device, supported=supported_devices())


def _list_voices(engine: Engine, job: Job) -> list[VoiceInfo]:
    return engine.voices.listing()


def _speak(engine: Engine, job: StreamJob[Audio], text: str, manner: Manner) -> None:
    said = False
    for samples in _sounds(engine, job, text, manner):
        said = True
        if not job.emit(Audio.from_samples(samples, RATE)):
            return
    if not said and not job.cancelled:
        raise ValidationError(f"there is nothing to speak in {text!r:.80}")


def _sounds(engine: Engine, job: Job, text: str, manner: Manner) -> Iterator[Samples]:
    """Give the sound of one clause or sentence after another, with the silence after each."""
    blend = manner.blend or engine.usual
    style = engine.voices.style(blend)
    given = Given(engine.vocabulary)
    text = given.take(text)
    language = settle_language(manner.language, blend.loudest, text)
    if any(map(str.isalnum, without_given(text))):
        check_readable(language)
    limit = call_tokens(manner.speed)
    for utterance in spoken(
        text,
        language=language.code,
        normalise=manner.options.normalise,
        lexicon={word: given.take(said) for word, said in manner.options.lexicon.items()},
        pause=manner.options.pause,
        limit=_CHARACTERS,
    ):
        if isinstance(utterance, Pause):
            if utterance.seconds:
                yield silence(utterance.seconds)
            continue
        symbols = to_phonemes(utterance.text, language.espeak, given)
        parts = list(pieces(in_vocabulary(symbols, engine.vocabulary), limit))
        for number, part in enumerate(parts, 1):
            if job.cancelled:
                return
            tokens = [engine.vocabulary[symbol] for symbol in part]
            row = style[min(len(tokens), len(style) - 1)]
            samples = engine.session.run(job, tokens, row, manner.speed)
            if samples is None:
                return
            pause = utterance.pause if number == len(parts) else 0.0
            yield finished(trimmed(samples), manner.volume, pause)
