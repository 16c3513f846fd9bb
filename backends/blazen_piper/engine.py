"""A loaded voice: texts become phonemes, and phonemes become sound."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from blazen.bridge import Job
from blazen.errors import InferenceError, UnsupportedError, ValidationError
from blazen_piper.espeak import phonemes_of
from blazen_piper.sound import gain_of

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from piper import PiperVoice

    from blazen.types.speech import VoiceInfo

LONGEST_PASS = 400
"""How many phoneme ids are spoken in one go: some ten seconds, and 350 MB for the sums."""

_SHOWN = 20
_SAMPLE = "1 2 3 4 5."
"""What every voice can say, whatever its language: its loudness is taken from this."""

log = logging.getLogger("blazen.piper")


@dataclass(frozen=True)
class Manner:
    """How one request is to sound."""

    speaker: int | None
    length_scale: float
    noise: float
    rhythm_noise: float


@dataclass
class Engine:
    """A voice and its session; several requests may use it at once."""

    info: VoiceInfo
    voice: PiperVoice
    session: InferenceSession
    names: tuple[str, ...] = ()
    """Other names of the voice itself, beside those of its speakers."""
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _gains: dict[int | None, float] = field(default_factory=dict)
    _missing: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.info.name

    @property
    def language(self) -> str:
        """The language that it speaks."""
        return self.info.language

    def voices(self) -> list[VoiceInfo]:
        """Describe each of its speakers, by the name that a request asks for it with."""
        count, named = self.info.speakers, self.info.speaker_names
        if count <= 1:
            return [self.info]
        taken = set((self.voice.config.speaker_id_map or {}).values())
        numbered = [str(number) for number in range(count) if number not in taken]
        alone = replace(self.info, size=None, speakers=1, speaker_names=())
        return [replace(alone, name=name) for name in (*named, *numbered)]

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        rate: int = self.voice.config.sample_rate
        return rate

    @property
    def takes_inline_phonemes(self) -> bool:
        """Whether a text may give phonemes of its own in ``[[ … ]]``."""
        return bool(self.voice.config.phoneme_type == "espeak")

    def manner(
        self,
        *,
        speaker: str | int | None,
        speed: float,
        noise: float | None,
        rhythm_noise: float | None,
    ) -> Manner:
        """Settle how to speak; what is ``None`` is the voice's own."""
        config = self.voice.config
        return Manner(
            self._speaker(speaker),
            config.length_scale / speed,
            config.noise_scale if noise is None else noise,
            config.noise_w_scale if rhythm_noise is None else rhythm_noise,
        )

    def reads_as(self, language: str | None) -> str:
        """Say as what to read a text: a request may ask for another region than the voice's own.

        Another language than the voice's own is refused.
        """
        if language is None:
            return self.language
        wanted, _, region = language.replace("_", "-").lower().partition("-")
        if wanted != self.language.replace("_", "-").lower().partition("-")[0]:
            raise UnsupportedError(
                f"{self.name} speaks {self.language}, not {language!r}: take a voice of that "
                "language; blazen_piper.known_voices() lists them"
            )
        return f"{wanted}-{region}" if region else self.language

    def say(self, text: str, manner: Manner, job: Job, options: Any) -> Any:
        """Give the samples of a text; ``None`` where it has no sound, or nobody waits any more."""
        import numpy as np

        parts = []
        for phonemes in phonemes_of(self.voice, text):
            for ids in self._passes(phonemes):
                parts.append(self._speak(ids, manner, job, options))
                if job.cancelled:
                    return None
        return np.concatenate(parts) if parts else None

    def gain(self, manner: Manner, job: Job, options: Any) -> float:
        """Say by what to multiply a speaker's usual sound, so that every one is equally loud."""
        gain = self._gains.get(manner.speaker)
        if gain is None:
            steady = Manner(manner.speaker, self.voice.config.length_scale, 0.0, 0.0)
            samples = self.say(_SAMPLE, steady, job, options)
            gain = None if samples is None else gain_of(samples, self.sample_rate)
            gain = 1.0 if gain is None else gain
            if not job.cancelled:
                self._gains[manner.speaker] = gain
        return gain

    def _passes(self, phonemes: list[str]) -> Iterator[list[int]]:
        """Give the ids of phonemes, in parts that end between words; unknown ones are left out."""
        known = phonemes
        if self.voice.config.phoneme_type != "pinyin":
            known = [p for p in phonemes if self._is_known(p)]
        if not any(phoneme.strip() for phoneme in known):
            return
        ids: list[int] = self.voice.phonemes_to_ids(known)
        if len(ids) <= LONGEST_PASS or len(known) == 1:
            yield ids
            return
        middle = len(known) // 2
        spaces = [place for place in range(1, len(known)) if known[place - 1] == " "]
        cut = min(spaces, key=lambda place: abs(place - middle), default=middle)
        yield from self._passes(known[:cut])
        yield from self._passes(known[cut:])

    def _is_known(self, phoneme: str) -> bool:
        if phoneme in self.voice.config.phoneme_id_map:
            return True
        if phoneme not in self._missing:
            self._missing.add(phoneme)
            log.warning("%s has no sound for the phoneme %r: it is left out", self.name, phoneme)
        return False

    def _speak(self, ids: list[int], manner: Manner, job: Job, options: Any) -> Any:
        """Give the samples of one pass; ``None`` once the request is cancelled."""
        import numpy as np

        inputs = {
            "input": np.array([ids], dtype=np.int64),
            "input_lengths": np.array([len(ids)], dtype=np.int64),
            "scales": np.array(
                [manner.noise, manner.length_scale, manner.rhythm_noise], dtype=np.float32
            ),
        }
        if manner.speaker is not None:
            inputs["sid"] = np.array([manner.speaker], dtype=np.int64)
        # One at a time: the threads and the memory of one pass are what was asked for.
        with self._turn:
            if job.cancelled:
                return None
            try:
                (samples, *_) = self.session.run(None, inputs, options)
            except Exception as error:
                if job.cancelled:
                    return None
                raise InferenceError(f"{self.name} could not speak: {error}") from error
        samples = samples.reshape(-1)
        if not np.isfinite(samples).all():
            raise InferenceError(f"{self.name} gave sound that is no number: its file is damaged")
        return samples

    def _speaker(self, wanted: str | int | None) -> int | None:
        config = self.voice.config
        count = max(1, config.num_speakers)
        known: Mapping[str, int] = config.speaker_id_map or {}
        has_input = any(given.name == "sid" for given in self.session.get_inputs())
        default: int = getattr(config, "default_speaker_id", 0)
        if wanted is None or wanted in self.names:
            return default if has_input else None
        if count == 1:
            if str(wanted) == "0":
                return default if has_input else None
            raise ValidationError(
                f"{self.name} has one speaker, and {wanted!r} is not it: leave voice= out, or load "
                "a voice that has several"
            )
        if wanted in known:
            return known[str(wanted)]
        if str(wanted).isdecimal() and int(wanted) < count:
            return int(wanted)
        shown = ", ".join(list(known)[:_SHOWN])
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        names = f"known are {shown}{more}, or " if known else "known are "
        raise ValidationError(
            f"{self.name} has no speaker {wanted!r}: {names}a number from 0 to {count - 1}"
        )
