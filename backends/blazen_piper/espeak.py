"""Texts become phonemes, by espeak, which is one for the whole process."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from blazen.errors import LoadError, ValidationError
from blazen.speech.inline import LETTER, LETTERS, hide_phonemes
from blazen.speech.phonemes import espeak_lock

if TYPE_CHECKING:
    from piper import PiperVoice

LONGEST_WORD = 100
"""espeak drops the end of a word of more than some 130 letters without a sign."""

_LONG_WORD = re.compile(rf"(\S{{{LONGEST_WORD}}})(?=\S)")
_DATA = ("phontab", "phonindex", "phondata", "intonations")
_OPENING = re.compile(r"\[(?=\[)")
_MARK = re.compile(LETTER)


def check_data(folder: Path) -> None:
    """Refuse a folder that is not espeak's data: espeak itself would end the process."""
    missing = [name for name in _DATA if not (folder / name).is_file()]
    if missing:
        raise LoadError(
            f"espeak's data in {folder} lacks {', '.join(missing)}: reinstall piper-tts "
            "(pip install --force-reinstall --no-deps piper-tts)"
        )


def phonemes_of(voice: PiperVoice, text: str) -> list[list[str]]:
    """Give the phonemes of each sentence that espeak finds in a text."""
    with espeak_lock:
        found: list[list[str]] = voice.phonemize(text)
    return found


def split_words(text: str) -> str:
    """Break words that espeak would cut."""
    return _LONG_WORD.sub(r"\1 ", text)


class InlinePhonemes:
    """Keeps phonemes that a text gives as ``[[ … ]]`` from whatever is done to the text.

    Each stands as one letter of a script that no voice speaks, until it is put back. What holds
    anything but the voice's own phonemes is text.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._marks: dict[str, str] = {}
        self._phonemes: dict[str, str] = {}

    def hide(self, text: str) -> str:
        """Put a mark in the place of each group of phonemes."""
        return hide_phonemes(text, self._known, self._mark)

    def restore(self, text: str) -> str:
        """Put the phonemes back, and let nothing else look like some."""
        text = _OPENING.sub("[ ", text)
        return _MARK.sub(lambda found: self._phonemes.get(found[0], found[0]), text)

    def _mark(self, phonemes: str) -> str:
        if phonemes not in self._marks:
            if len(self._marks) == len(LETTERS):
                raise ValidationError(
                    f"a text may give phonemes in [[ … ]] for {len(LETTERS)} words, not more"
                )
            mark = chr(LETTERS[len(self._marks)])
            self._marks[phonemes], self._phonemes[mark] = mark, f"[[{phonemes}]]"
        return self._marks[phonemes]
