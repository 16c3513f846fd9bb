"""A conversation by voice: a question is heard, answered and spoken; who speaks again interrupts.

    python examples/assistant.py                      speaks a question itself, and answers it
    python examples/assistant.py question.wav         answers a recording
    python examples/assistant.py --microphone         listens until Ctrl-C, and speaks aloud

The answer begins to sound when its first sentence is there, while the model still writes the rest.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from blazen import (
    TTS,
    Audio,
    BlazenError,
    ChatMessage,
    CompletionOptions,
    LiveAudio,
    Model,
    Transcription,
    TranscriptionRequest,
)
from blazen.speech.sentences import sentences

QUESTION = "What is the capital of France?"
MANNERS = "You are a helpful assistant."
OPTIONS = CompletionOptions(max_tokens=60, temperature=0)


class Assistant:
    """Ears, a mind and a voice, and what was said so far."""

    def __init__(
        self,
        ears: Transcription,
        mind: Model,
        voice: TTS,
        play: Callable[[Audio], Awaitable[None]],
    ) -> None:
        self.ears, self.mind, self.voice, self.play = ears, mind, voice, play
        self.history = [ChatMessage.system(MANNERS)]
        self._answering: asyncio.Task[None] | None = None
        self._unheard = ""  # what was asked, and not a sound of the answer was heard yet

    async def converse(self, sound: LiveAudio) -> None:
        """Listen until the sound ends, and answer whenever something was said."""
        request = TranscriptionRequest(sound, language="en")
        try:
            async with self.ears.transcribe_stream(request) as heard:
                async for piece in heard:
                    if not piece.text.strip():
                        continue
                    await self.be_quiet()  # somebody speaks, were it only the first word
                    if piece.final:
                        # Who pauses for thought goes on with the same question.
                        question = f"{self._unheard} {piece.text.strip()}".strip()
                        print(f"> {question}", flush=True)
                        self._unheard = question
                        self._answering = asyncio.create_task(self.answer(question))
            if self._answering is not None:
                await self._answering
        finally:
            await self.be_quiet()

    async def be_quiet(self) -> None:
        """Stop thinking and speaking, if that is what we do."""
        task, self._answering = self._answering, None
        if task is None:
            return
        if task.cancel():
            print("  (interrupted)", flush=True)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()  # an answer that failed is not passed over in silence

    async def answer(self, question: str) -> None:
        """Think, and speak each sentence as soon as it is there."""
        self.history.append(ChatMessage.user(question))
        said: list[str] = []
        try:
            async with self.mind.complete_stream(self.history, OPTIONS) as thoughts:
                async for sentence in whole_sentences(thoughts):
                    print(f"  {' '.join(sentence.split())}", flush=True)
                    await self.say(sentence, said)
        finally:  # who was interrupted knows how far it came
            if said:
                self.history.append(ChatMessage.assistant(" ".join(said)))
            else:
                self.history.pop()

    async def say(self, sentence: str, said: list[str]) -> None:
        """Speak a sentence, and note it once its first sound is heard."""
        try:
            async with self.voice.speak_stream(sentence) as speech:
                async for sound in speech:
                    self._unheard = ""
                    if not said or said[-1] is not sentence:
                        said.append(sentence)
                    await self.play(sound)
        except BlazenError as error:
            print(f"  (that can't be said: {error})", flush=True)


async def whole_sentences(chunks: Any) -> AsyncIterator[str]:
    """Give sentences as they are completed: the last one may still grow."""
    text = ""
    async for chunk in chunks:
        text += chunk.content or ""
        *whole, last = sentences(text) or [""]
        text = text[text.rindex(last) :]  # with the blanks after it
        for sentence in whole:
            if can_be_said(sentence):
                yield sentence
    if can_be_said(text):
        yield text.strip()


def can_be_said(text: str) -> bool:
    """Say whether there is a word in it: models also write "..."."""
    return any(map(str.isalnum, text))


async def play_aloud(sound: Audio) -> None:
    """Play a sound to its end; to be cancelled silences it."""
    sound.play(blocking=False)
    try:
        await asyncio.sleep(sound.duration)
    except asyncio.CancelledError:
        import sounddevice  # the same that `Audio.play` uses

        sounddevice.stop()
        raise


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recording", nargs="?", help="a sound file with a question")
    parser.add_argument("--microphone", action="store_true", help="listen, and speak aloud")
    parser.add_argument("--to", default="answer.wav", help="where the answer goes")
    arguments = parser.parse_args()
    spoken: list[Audio] = []

    async def keep(sound: Audio) -> None:
        spoken.append(sound)

    ears = Transcription.whispercpp("starter:transcribe")
    mind = Model.xllamacpp("starter:chat")
    voice = TTS.piper("starter:speak")
    async with ears, mind, voice:
        if arguments.microphone:
            print("Ask something. Ctrl-C ends it.")
            sound = LiveAudio.microphone()
        else:
            question = arguments.recording or await voice.speak(QUESTION)
            sound = LiveAudio.from_audio(question)
        play = play_aloud if arguments.microphone else keep
        await Assistant(ears, mind, voice, play).converse(sound)
    if spoken:
        path = Audio.join(spoken).save(Path(arguments.to))
        print(f"The answer is in {path}.")


if __name__ == "__main__":
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(main())
    except BlazenError as error:
        sys.exit(f"{error}")
