"""What holds for a model that speaks."""

from __future__ import annotations

from typing import Any

import pytest

from blazen.errors import BlazenError, UnsupportedError
from blazen.protocols.tts import TTS
from blazen.testing.local import LocalSuite
from blazen.testing.running import on_loop
from blazen.testing.streaming import StreamSuite
from blazen.types.audio import Audio

BAD_TEXTS: dict[str, Any] = {
    "empty": "",
    "blanks": " \n\t ",
    "nothing": None,
    "a number": 42,
    "bytes": b"hello",
    "a list": ["hello"],
}
BAD_OPTIONS: dict[str, Any] = {
    "an unknown option": {"spede": 1.0},
    "no options at all": 42,
    "no speed": {"speed": 0},
    "a negative speed": {"speed": -1},
    "a speed that is text": {"speed": "fast"},
    "a negative volume": {"volume": -1},
}
ODD_TEXTS = {
    "punctuation": "... !? —",
    "emoji": "🦙🏽‍🔬",
    "NUL": "one\0two",
    "half a surrogate pair": "one \ud83d",
    "numbers and names": "Dr. Łukasz paid $3.50 on 1/2/2024.",
    "another script": "שלום 你好",
    "one very long word": "a" * 600,
}


class TTSSuite(StreamSuite, LocalSuite):
    """What a speaking model must do, whatever its engine."""

    protocol = TTS
    sentence = "The lighthouse keeper counted seven ships."
    repeatable = True
    """Whether the same text always has the same samples. ``False`` for a voice with chance in it:
    then answers count as the same whose lengths are near each other."""
    marks_pauses = False
    """``True`` for a voice that keeps ``<break time="1s"/>`` and refuses tags it can't keep."""
    reads_numbers = False
    """``True`` for a voice that speaks digits as the words they stand for."""
    sentence_by_sentence = True
    """Whether a text of several sentences comes in several pieces, the first before the rest."""
    quietest = 0.01
    """The loudest sample of speech is at least this loud."""

    def questions(self, count: int) -> list[Any]:
        """Give different sentences."""
        return [f"Number {number}. {self.sentence}" for number in range(1, count + 1)]

    def long_question(self) -> Any:
        """Give several sentences."""
        return " ".join(self.questions(6))

    async def ask(self, model: Any, question: Any) -> Audio:
        """Speak a text."""
        answer: Audio = await model.speak(question)
        return answer

    def stream(self, model: Any, question: Any) -> Any:
        """Speak a text piece by piece."""
        return model.speak_stream(question)

    def same(self, answer: Audio, expected: Audio) -> bool:
        """Compare samples, or lengths where chance is in the voice."""
        if self.repeatable:
            return bool(answer == expected)
        near = expected.duration / 1.5 <= answer.duration <= expected.duration * 1.5
        return near and answer.sample_rate == expected.sample_rate

    def joined(self, pieces: list[Audio]) -> Audio:
        """Join the sounds."""
        return Audio.join(pieces)

    def content(self, answer: Audio) -> Audio:
        """Give the sound itself."""
        return answer

    def same_content(self, joined: Audio, content: Audio) -> bool:
        """Compare sounds."""
        return self.same(joined, content)

    def check_pieces(self, pieces: list[Audio], answer: Audio) -> None:
        """All pieces have one sample rate and some length."""
        assert {piece.sample_rate for piece in pieces} == {answer.sample_rate}
        assert all(piece.duration > 0 for piece in pieces)

    def check_partial(self, partial: Audio, whole: Audio) -> None:
        """What was spoken until then is kept."""
        assert partial.duration > 0
        if self.repeatable:
            count = partial.frames
            assert (partial.samples == whole.samples[:count]).all()

    @on_loop
    async def test_speech_can_be_heard(self, model: Any) -> None:
        """It has a length, a sample rate, and samples that are neither silent nor beyond scale."""
        answer = await model.speak(self.sentence)
        assert answer.duration > 0
        assert answer.sample_rate >= 8_000
        loudest = float(abs(answer.samples).max())
        assert self.quietest <= loudest <= 1.0, f"the loudest sample is {loudest}"

    @on_loop
    async def test_more_text_takes_longer(self, model: Any) -> None:
        """Nothing is left out of a longer text."""
        short, long = await model.speak(self.sentence), await model.speak(self.long_question())
        assert long.duration > short.duration * 3

    @on_loop
    async def test_speed_is_kept_or_refused(self, model: Any) -> None:
        """Twice as fast is shorter; a voice of one speed says that it is."""
        usual = await model.speak(self.sentence)
        try:
            fast = await model.speak(self.sentence, {"speed": 2.0})
        except UnsupportedError:
            return
        assert fast.duration < usual.duration * 0.8

    @on_loop
    async def test_a_marked_pause_is_kept(self, model: Any) -> None:
        """It is as long as it says, and a tag that can't be kept is refused, never read out."""
        if not self.marks_pauses:
            pytest.skip("this voice does not claim to keep marked pauses")
        usual = await model.speak(f"{self.sentence} {self.sentence}")
        longer = await model.speak(f'{self.sentence} <break time="3s"/> {self.sentence}')
        # Chance in the voice, and the pause that is usual there, may take a part of three seconds.
        assert longer.duration > usual.duration + 1.5
        text = f"<speak><emphasis level='strong'>{self.sentence}</emphasis></speak>"
        await self.check_refused(lambda: model.speak(text))

    @on_loop
    async def test_numbers_are_spoken(self, model: Any) -> None:
        """Digits are read as the number that they make, and not left out."""
        if not self.reads_numbers:
            pytest.skip("this voice does not claim to read numbers")
        written = await model.speak("It was 1,999,777 miles.")
        words = await model.speak(
            "It was one million nine hundred ninety-nine thousand seven hundred "
            "seventy-seven miles."
        )
        assert words.duration / 1.5 <= written.duration <= words.duration * 1.5

    @on_loop
    async def test_a_long_text_comes_in_pieces(self, model: Any) -> None:
        """The first piece is given before the last is made, and is but a part of the whole."""
        if not self.sentence_by_sentence:
            pytest.skip("this voice gives the whole at once")
        stream = model.speak_stream(self.long_question())
        async with stream:
            first = await stream.__anext__()
            heard = stream.response.duration
            rest = [piece async for piece in stream]
        assert len(rest) >= 2, "one piece is no stream"
        assert heard == first.duration < stream.response.duration / 2

    @on_loop
    async def test_an_unknown_voice_is_refused(self, model: Any) -> None:
        """A voice that is not there is never replaced by another in silence."""
        options = {"voice": "no such voice, to be sure"}
        await self.check_refused(lambda: model.speak(self.sentence, options), BlazenError)

    @pytest.mark.parametrize("what", BAD_TEXTS)
    @on_loop
    async def test_bad_texts_are_refused(self, model: Any, what: str) -> None:
        """What can't be spoken is a `ValidationError`, whole or streamed."""
        await self.check_refused(lambda: model.speak(BAD_TEXTS[what]))
        await self.check_refused(lambda: model.speak_stream(BAD_TEXTS[what]))

    @pytest.mark.parametrize("what", BAD_OPTIONS)
    @on_loop
    async def test_bad_options_are_refused(self, model: Any, what: str) -> None:
        """What can't be options is a `ValidationError`, whole or streamed."""
        options = BAD_OPTIONS[what]
        await self.check_refused(lambda: model.speak(self.sentence, options))
        await self.check_refused(lambda: model.speak_stream(self.sentence, options))

    @pytest.mark.parametrize("what", ODD_TEXTS)
    @on_loop
    async def test_odd_texts_do_no_harm(self, model: Any, what: str) -> None:
        """They are spoken or refused, and the next request is answered."""
        await self.check_answers_or_blazen_error(model, ODD_TEXTS[what])
