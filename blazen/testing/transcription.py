"""What holds for a model that writes down speech."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from blazen.errors import UnsupportedError
from blazen.protocols.transcription import Transcription
from blazen.testing.local import LocalSuite
from blazen.testing.running import on_loop
from blazen.testing.streaming import StreamSuite
from blazen.types.audio import Audio
from blazen.types.live import LiveAudio
from blazen.types.transcription import (
    TranscriptionChunk,
    TranscriptionRequest,
    TranscriptionResponse,
)

BAD_REQUESTS: dict[str, Any] = {
    "nothing": None,
    "a number": 42,
    "no bytes": b"",
    "a list": [0.1, 0.2],
    "samples without a rate": ([0.1, 0.2], None),
    "a negative rate": ([0.1, 0.2], -16_000),
    "a missing file": Path("there-is-no-such-file.wav"),
    "a directory": Path(),
    "bytes that are no sound": b"These bytes are no sound. " * 50,
    "an unknown key": {"sound": "x"},
}
SHORT_SOUNDS = {
    "silence": (0.0, 16_000, 16_000),
    "a hundredth of a second": (0.0, 160, 16_000),
    "a click": (0.9, 1, 16_000),
    "8 kHz": (0.0, 8_000, 8_000),
}


class TranscriptionSuite(StreamSuite, LocalSuite):
    """What a transcription model must do, whatever its engine."""

    protocol = Transcription
    words: Sequence[str] = ()
    """Words that the speech holds, in order."""

    @pytest.fixture
    def speech(self) -> Any:
        """Give speech that holds `words`: an `Audio`, or whatever ``Audio.of`` takes."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture 'speech' that gives one")

    @pytest.fixture(autouse=True)
    def _hold_speech(self, speech: Any) -> None:
        # Questions are asked for by tests of every kind, which know of no speech.
        self._speech = Audio.of(speech)

    def questions(self, count: int) -> list[Any]:
        """Give the speech, each time as a sound of its own."""
        sound = self._speech
        return [Audio.from_samples(sound.samples, sound.sample_rate) for _ in range(count)]

    def long_question(self) -> Any:
        """Give the speech three times over."""
        return Audio.join([self._speech] * 3)

    async def ask(self, model: Any, question: Any) -> TranscriptionResponse:
        """Transcribe a sound."""
        answer: TranscriptionResponse = await model.transcribe(question)
        return answer

    def stream(self, model: Any, question: Any) -> Any:
        """Transcribe a sound piece by piece."""
        return model.transcribe_stream(question)

    def same(self, answer: TranscriptionResponse, expected: TranscriptionResponse) -> bool:
        """Compare texts and segments."""
        return answer.text == expected.text and [s.text for s in answer.segments] == [
            s.text for s in expected.segments
        ]

    def joined(self, pieces: list[TranscriptionChunk]) -> str:
        """Join what is settled."""
        return "".join(piece.text for piece in pieces if piece.final).strip()

    def content(self, answer: TranscriptionResponse) -> str:
        """Give the text."""
        return answer.text

    def says_something(self, piece: TranscriptionChunk) -> bool:
        """Say whether there is text in it."""
        return bool(piece.text.strip())

    def check_partial(self, partial: TranscriptionResponse, whole: TranscriptionResponse) -> None:
        """What was heard until then is kept."""
        assert partial.text, "nothing of the transcript was kept"
        assert len(partial.segments) <= len(whole.segments)

    @on_loop
    async def test_the_words_are_heard(self, model: Any, speech: Any) -> None:
        """The known words are in the text, in their order."""
        self.check_words(await model.transcribe(speech))

    def check_words(self, answer: TranscriptionResponse) -> None:
        """Fail where the known words are not in a transcript, in their order."""
        said = iter(_plain(answer.text))
        missing = [word for word in _plain(" ".join(self.words)) if word not in said]
        assert not missing, f"{missing} were not heard, or out of order: {answer.text!r}"

    @on_loop
    async def test_segments_rise_and_end_within_the_sound(self, model: Any, speech: Any) -> None:
        """Times go forward, and none lies beyond the end."""
        answer = await model.transcribe(speech)
        duration = Audio.of(speech).duration
        assert answer.segments
        assert answer.duration is None or abs(answer.duration - duration) < 0.1
        before = 0.0
        for segment in answer.segments:
            assert before <= segment.start <= segment.end <= duration + 0.1, (
                f"{segment} follows {before} s, in a sound of {duration} s"
            )
            before = segment.start
            for word in segment.words:
                assert segment.start - 0.1 <= word.start <= word.end <= segment.end + 0.1

    @on_loop
    async def test_progress_never_falls(self, model: Any, speech: Any) -> None:
        """Where pieces tell how far they are, that never falls, and ends with the sound."""
        pieces = [piece async for piece in model.transcribe_stream(speech)]
        places = [piece.position for piece in pieces if piece.position is not None]
        assert places == sorted(places), f"the progress falls: {places}"
        duration = Audio.of(speech).duration
        assert not places or 0 <= places[-1] <= duration + 0.1, (
            f"{places[-1]} s were heard of a sound of {duration} s"
        )

    @on_loop
    async def test_speakers_are_told_or_refused(self, model: Any, speech: Any) -> None:
        """Asked who speaks, it says so in each segment, or that it can't."""
        try:
            answer = await model.transcribe(TranscriptionRequest(speech, diarize=True))
        except UnsupportedError:
            return
        silent = [segment for segment in answer.segments if segment.speaker is None]
        assert not silent, f"diarize=True was passed over: no speaker in {silent}"

    @on_loop
    async def test_live_sound_is_followed_or_refused(self, model: Any, speech: Any) -> None:
        """Sound that still comes is heard to its end and closed, or refused before it is read."""
        sound = Audio.of(speech)
        seen: list[str] = []

        async def spoken() -> AsyncIterator[tuple[Any, int]]:
            try:
                for block in sound.blocks(0.1):
                    seen[:1] = ["read"]
                    yield block, sound.sample_rate
            finally:
                seen.append("closed")

        try:
            answer = await model.transcribe(TranscriptionRequest(LiveAudio(spoken())))
        except UnsupportedError:
            assert not seen, "live sound was read before it was refused"
            return
        self.check_words(answer)
        assert seen == ["read", "closed"]
        assert answer.duration is None or abs(answer.duration - sound.duration) < 0.1

    @on_loop
    async def test_sound_is_taken_in_every_form(
        self, model: Any, speech: Any, tmp_path: Path
    ) -> None:
        """A file, its bytes, samples and a request of them are heard alike."""
        sound = Audio.of(speech)
        path = sound.save(tmp_path / "speech.wav")
        expected = await model.transcribe(path)
        for form in (
            str(path),
            path.read_bytes(),
            Audio.from_file(path),
            TranscriptionRequest.from_file(path),
            {"audio": Audio.from_file(path).to_dict()},
        ):
            self.check_same(await model.transcribe(form), expected)

    @pytest.mark.parametrize("what", SHORT_SOUNDS)
    @on_loop
    async def test_short_and_silent_sounds_do_no_harm(self, model: Any, what: str) -> None:
        """They are heard as something or nothing, and the next request is answered."""
        level, count, rate = SHORT_SOUNDS[what]
        await self.check_answers_or_blazen_error(model, Audio.from_samples([level] * count, rate))

    @pytest.mark.parametrize("what", BAD_REQUESTS)
    @on_loop
    async def test_bad_requests_are_refused(self, model: Any, what: str) -> None:
        """What is no sound is a `ValidationError`, whole or streamed."""
        request = BAD_REQUESTS[what]
        await self.check_refused(lambda: model.transcribe(request))
        await self.check_refused(lambda: model.transcribe_stream(request))


def _plain(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())
