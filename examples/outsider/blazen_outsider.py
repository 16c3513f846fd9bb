"""A backend from outside blazen's repository: a chat model that counts which word follows which.

Its weights are a JSON file that `train` writes, and it needs no engine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from blazen import (
    CompletionOptions,
    FinishReason,
    InferenceChunk,
    InferenceChunkStream,
    InferenceUsage,
    Job,
    LocalBackend,
    Model,
    StreamJob,
)
from blazen.errors import LoadError, ModelNotFoundError, UnsupportedError
from blazen.types.chat import Messages, as_messages
from blazen.types.progress import OnProgress

SUPPORTED = {"max_tokens", "temperature", "seed"}


def train(text: str, path: str | PathLike[str]) -> None:
    """Count which word follows each word and each two words, and write the counts to a file."""
    words = text.split()
    counts: dict[str, dict[str, int]] = {}
    for place, word in enumerate(words):
        for length in range(min(place, 2) + 1):
            following = counts.setdefault(" ".join(words[place - length : place]), {})
            following[word] = following.get(word, 0) + 1
    Path(path).write_text(json.dumps({"counts": counts}), "utf-8")


class Chain:
    """Words, and what follows them: the engine."""

    def __init__(self, counts: dict[str, dict[str, int]]) -> None:
        self._counts = counts

    def next_word(self, words: list[str], temperature: float, chance: random.Random) -> str:
        """Give a word that may follow: after the last two if they are known, or one, or none."""
        contexts = (" ".join(words[len(words) - length :]) for length in (2, 1, 0))
        following = next(self._counts[context] for context in contexts if context in self._counts)
        most = max(following.values())
        if temperature == 0:
            return next(word for word, count in following.items() if count == most)
        weights = [(count / most) ** (1 / temperature) for count in following.values()]
        return chance.choices(list(following), weights)[0]


@dataclass(frozen=True)
class ChainOptions:
    """The options of the backend. The first is what a spec names."""

    weights: str | PathLike[str]


class ChainModel(LocalBackend[Chain], Model):
    """A chat model that goes on from a prompt with the words of the text it has read."""

    Options = ChainOptions
    options: ChainOptions

    def _open(self, job: Job, report: OnProgress) -> Chain:
        path = Path(self.options.weights)
        if not path.exists():
            raise ModelNotFoundError(f"there is no file {str(path)!r}: write one with train()")
        try:
            counts = json.loads(path.read_text("utf-8"))["counts"]
            return Chain({context: dict(counts[context]) for context in ("", *counts)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LoadError(f"{str(path)!r} holds no counts that train() wrote") from error

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> InferenceChunkStream:
        """Go on from the messages, a word a piece."""
        chat, chosen = as_messages(messages), CompletionOptions.of(options)
        refused = set(chosen.to_dict()) - SUPPORTED
        if refused:
            raise UnsupportedError(f"this model knows {SUPPORTED}, and not {refused}: leave it out")
        prompt = " ".join(message.text for message in chat).split()
        return InferenceChunkStream(lambda: self._source(_write, prompt, chosen))


def _write(
    chain: Chain, job: StreamJob[InferenceChunk], prompt: list[str], options: CompletionOptions
) -> None:
    words, chance = list(prompt), random.Random(options.seed)
    temperature = 1.0 if options.temperature is None else options.temperature
    count = options.max_tokens or 50
    for _ in range(count):
        words.append(chain.next_word(words, temperature, chance))
        if not job.emit(InferenceChunk(content=f"{words[-1]} ")):
            return  # whoever read this has gone
    usage = InferenceUsage(max(1, len(prompt)), count)
    job.emit(InferenceChunk(finish_reason=FinishReason.Length, usage=usage))
