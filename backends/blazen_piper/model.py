"""`TTS` on Piper."""

from __future__ import annotations

from collections.abc import Iterator

from blazen.bridge import Job, StreamJob, StreamReader
from blazen.errors import LoadError, ValidationError
from blazen.hardware import Device, choose_device
from blazen.local import FixedThreads, LocalBackend
from blazen.onnx import supported_devices
from blazen.options import PiperOptions
from blazen.protocols.tts import TTS
from blazen.speech.pauses import Pause
from blazen.speech.utterances import spoken
from blazen.types.audio import Audio
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress, Progress
from blazen.types.speech import SpeechOptions, SpeechStream, VoiceInfo, as_speakable
from blazen_piper.engine import Engine
from blazen_piper.espeak import InlinePhonemes, split_words
from blazen_piper.files import Fetching, VoiceFiles, voice_files
from blazen_piper.opening import open_voice
from blazen_piper.size import voice_footprint
from blazen_piper.sound import finished

_WIDTH = 4
"""How many requests take turns, a sentence each: the last one too begins to speak soon."""
_AHEAD = 8
"""How many pieces are spoken before they are asked for: what is interrupted was not worth more."""
_LONGEST_TEXT = 200
"""Characters of one piece; a longer sentence is spoken clause by clause."""


class PiperSpeech(FixedThreads, LocalBackend[Engine], TTS):
    """A voice of Piper: by name, from a file, the hub or a URL."""

    Options = PiperOptions
    engine = "piper"
    options: PiperOptions

    def speak_stream(self, text: str, options: SpeechOptions | None = None) -> SpeechStream:
        """Speak sentence by sentence, the first while the rest is still text."""
        chosen, checked = SpeechOptions.of(options), as_speakable(text)

        async def start() -> StreamReader[Audio]:
            job = await self._submitted(
                lambda work: StreamJob[Audio](work, _AHEAD), _speak, checked, chosen, self.options
            )
            return StreamReader(job)

        return SpeechStream(start)

    async def voices(self) -> list[VoiceInfo]:
        """List the voices that can be asked for, and load the model if it is not loaded."""
        return await self._call(_list_voices)

    def _open(self, job: Job, report: OnProgress) -> Engine:
        self._device = choose_device(self.options.device, supported=supported_devices())
        files = self._fetch(job, report)
        report(Progress("load", 0, 1, unit="models", detail=self._title()))
        engine = open_voice(self._title(), files, self._device, self._take_threads(), job)
        if job.cancelled:
            raise LoadError(f"{self._title()}: loading was stopped")
        if self.options.speaker is not None:
            engine.manner(speaker=self.options.speaker, speed=1.0, noise=None, rhythm_noise=None)
        report(Progress("load", 1, 1, unit="models", detail=self._title()))
        return engine

    def _footprint(self, job: Job) -> Footprint | None:
        if choose_device(self.options.device, supported=supported_devices()) != Device.Cpu:
            return None  # cuDNN takes what it likes; nothing was measured there
        return voice_footprint(self._fetch(job, lambda progress: None))

    def _width(self) -> int:
        return _WIDTH

    def _fetch(self, job: Job, report: OnProgress) -> VoiceFiles:
        fetching = Fetching(
            self.options.cache_dir, on_progress=report, cancelled=lambda: job.cancelled
        )
        return voice_files(self.options.voice, fetching)


def _list_voices(engine: Engine, job: Job) -> list[VoiceInfo]:
    return engine.voices()


def _speak(
    engine: Engine,
    job: StreamJob[Audio],
    text: str,
    request: SpeechOptions,
    options: PiperOptions,
) -> None:
    import onnxruntime

    language = engine.reads_as(request.language)
    manner = engine.manner(
        speaker=options.speaker if request.voice is None else request.voice,
        speed=options.speed if request.speed is None else request.speed,
        noise=options.noise,
        rhythm_noise=options.rhythm_noise,
    )
    volume = options.volume if request.volume is None else request.volume
    pieces = _pieces(engine, text, language, options)
    run = onnxruntime.RunOptions()
    job.on_cancel(lambda: setattr(run, "terminate", True))
    gain = engine.gain(manner, job, run)
    rate, spoke = engine.sample_rate, False
    for said, silence in pieces:
        samples = engine.say(said, manner, job, run) if said else None
        if job.cancelled:
            return
        if samples is None and said:
            continue
        sound = finished(samples, rate, usual_gain=gain, volume=volume, silence=silence)
        if len(sound):
            spoke = True
            if not job.emit(Audio.from_samples(sound, rate)):
                return
    if not spoke:
        raise ValidationError(f"there is nothing that {engine.name} can speak in {text!r:.80}")


def _pieces(
    engine: Engine, text: str, language: str, options: PiperOptions
) -> Iterator[tuple[str, float]]:
    """Give what to say next, and the seconds of silence after it."""
    inline = InlinePhonemes(engine.voice.config.phoneme_id_map)
    lexicon = dict(options.lexicon)
    if engine.takes_inline_phonemes:
        text = inline.hide(text)
        lexicon = {word: inline.hide(said) for word, said in lexicon.items()}
    for piece in spoken(
        text,
        language=language,
        normalise=options.normalise,
        lexicon=lexicon,
        pause=options.pause,
        limit=_LONGEST_TEXT,
    ):
        if isinstance(piece, Pause):
            yield "", piece.seconds
        else:
            yield inline.restore(split_words(piece.text)), piece.pause
