"""Text becomes speech: how it should sound, and its audio piece by piece."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from blazen.checks import check_range, check_texts
from blazen.errors import ValidationError
from blazen.types.audio import Audio
from blazen.types.record import Record, Settings
from blazen.types.stream import Stream


@dataclass(frozen=True, kw_only=True)
class SpeechOptions(Settings):
    """How to speak. What is left out is the voice's own default."""

    voice: str | None = None
    language: str | None = None
    speed: float | None = None
    """1.0 is the voice's own pace, 2.0 twice as fast."""
    volume: float | None = None

    def __post_init__(self) -> None:
        check_texts(voice=self.voice, language=self.language)
        check_range("speed", self.speed, at_least=0.1, at_most=10)
        check_range("volume", self.volume, at_least=0, at_most=10)


@dataclass(frozen=True)
class VoiceInfo(Record):
    """A voice that can be asked for by its name."""

    name: str
    """Of a model's own ``voices()``, what ``SpeechOptions(voice=...)`` takes; of a catalogue, what
    the factory takes."""
    language: str
    """The language that it was made of, as its engine writes it: ``en_US``, ``en-us``."""
    installed: bool
    """Whether it is on this machine; else it is fetched when it is first asked for."""
    quality: str | None = None
    gender: str | None = None
    """``"female"`` or ``"male"``, where that is known."""
    size: int | None = None
    """Bytes of its files, where it has files of its own."""
    speakers: int = 1
    speaker_names: tuple[str, ...] = field(default=(), repr=False)
    """Of a voice of several speakers, the names that ``SpeechOptions(voice=...)`` takes."""


def as_speakable(text: str) -> str:
    """Give a checked text to speak."""
    if not isinstance(text, str):
        raise ValidationError(f"speak takes a text, not {text!r:.80}")
    if not text.strip():
        raise ValidationError("there is nothing to speak: the text is empty")
    return text


class SpeechStream(Stream[Audio, Audio]):
    """Speech in pieces: each is an `Audio`, and ``response`` is all of them joined."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pieces: list[Audio] = []

    def _add(self, piece: Audio) -> None:
        self._pieces.append(piece)

    @property
    def response(self) -> Audio:
        """The speech so far."""
        if not self._pieces:
            raise ValidationError("there is no speech yet: the first piece has not come")
        return Audio.join(self._pieces)

    async def play(self) -> None:
        """Play the pieces aloud as they come, and return when the last was heard.

        It needs ``pip install 'blazen[play]'``. Cancelling it stops the sound and the engine; what
        was made until then stays in `response`.
        """
        # Imported here: only who plays needs it, and it is built on these types.
        from blazen.speech.playing import Player

        player = Player()
        try:
            async with self:
                async for piece in self:
                    await player.add(piece)
                await player.finish()
        finally:
            player.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._pieces)} pieces>"
