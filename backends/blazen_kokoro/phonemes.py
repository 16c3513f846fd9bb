"""Text as Kokoro reads it: espeak's phonemes in the symbols that the model was trained with."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

from blazen_kokoro.espeak import phonemes_of
from blazen_kokoro.given import Given

ENGLISH = ("en-us", "en-gb")

# espeak ties the parts of one sound with ^. Longer ones first: each is replaced where it stands.
_EVERYWHERE = {
    "a^ɪ": "I",
    "a^ʊ": "W",
    "d^ʒ": "ʤ",
    "e^ɪ": "A",
    "o^ʊ": "O",
    "t^ʃ": "ʧ",
    "ə^ʊ": "Q",
    "ɔ^ɪ": "Y",
}
_ENGLISH = {
    "ʔˌn\u0329": "tᵊn",
    "ʔn\u0329": "tᵊn",
    "n\u0329": "ᵊn",
    "l\u0329": "ᵊl",
    "m\u0329": "ᵊm",
    "ə^l": "ᵊl",
    "ʲə": "jə",
    "ʲ": "",
    "ʔ": "t",
    "ɬ": "l",
    "ç": "k",
    "x": "k",
    "r": "ɹ",
    "ɐ": "ə",
    "ɚ": "əɹ",
    "e": "A",
    "\u0303": "",
}
_AMERICAN = {"ɜː": "ɜɹ", "ɾ": "T", "ɪə": "iə", "ː": "", "o": "ɔ", "^": "", "ɹɹ": "ɹ"}
_BRITISH = {"e^ə": "ɛː", "i^ə": "ɪə", "iə": "ɪə", "o": "ɔ"}
_OTHERS = {"d^z": "ʣ", "s^s": "S", "t^s": "ʦ", "-": ""}

# What parts a sentence; a stop or a comma inside a number or a name does not.
_PUNCTUATION = re.compile(
    r"\s*(?:[;!?…—«»“”„\"()\[\]{}¿¡。、，！？；：।]|[.,:](?=[\s.,:;!?…»”\")\]}]|$)|\s[-–](?=\s))"
    r"(?:[;:,.!?…—«»“”„\"()\[\]{}¿¡।]|\s(?=[;:,.!?…—«»“”„\"()\[\]{}¿¡–-](?:\s|$)))*\s*"
)
_SAME = str.maketrans(
    {
        "«": "“", "»": "”", "„": "“", "[": "(", "]": ")", "{": "(", "}": ")", "¿": "", "¡": "",
        "。": ".", "।": ".", "、": ",", "，": ",", "！": "!", "？": "?", "；": ";", "：": ":",
        "–": "—", "-": "—",
    }
)  # fmt: skip
_JOINED_THE = re.compile(r"(?<=\w)(ð[əɪ])(?!\S)")
_BREAKS = ("!.?…:;—", ",", " ")


def to_phonemes(text: str, voice: str, given: Given) -> str:
    """Give a text in Kokoro's symbols, with its punctuation, which is prosody to the model."""
    out = []
    end = 0
    for mark in _PUNCTUATION.finditer(text):
        out += [_words(text[end : mark.start()], voice, given), _marks(mark[0])]
        end = mark.end()
    out.append(_words(text[end:], voice, given))
    return " ".join("".join(out).split())


def _words(text: str, voice: str, given: Given) -> str:
    out = []
    for part, phonemes in given.parts(text):
        out += [_read(part, voice), phonemes]
    return " ".join(filter(None, out))


def _read(text: str, voice: str) -> str:
    return to_symbols(phonemes_of(text, voice), voice) if any(map(str.isalnum, text)) else ""


def _marks(text: str) -> str:
    marks = re.sub(r"\.\.+", "…", "".join(text.translate(_SAME).split()))
    before = " " if text[:1].isspace() and marks[:1] in ("—", "(", "“") else ""
    after = " " if text[-1:].isspace() or marks[-1:] in (".", "?", "!", ",", "—") else ""
    return before + marks + after


def to_symbols(phonemes: str, voice: str) -> str:
    """Write espeak's phonemes of a language in Kokoro's symbols."""
    tables = [_EVERYWHERE, _OTHERS]
    if voice == "en-us":
        tables = [_EVERYWHERE, _ENGLISH, _AMERICAN]
    elif voice == "en":
        tables = [_BRITISH, _EVERYWHERE, _ENGLISH]
    if voice == "en-us":
        # espeak writes "in the" as one word; no other word ends like this where r is spoken.
        phonemes = _JOINED_THE.sub(r" \1", phonemes)
    for table in tables:
        for old, new in table.items():
            phonemes = phonemes.replace(old, new)
    return phonemes.replace("^", "")


def in_vocabulary(phonemes: str, vocabulary: Mapping[str, int]) -> str:
    """Keep what the model has a symbol for; the rest of what espeak writes has no sound here."""
    out = []
    for symbol in phonemes:
        parts = symbol if symbol in vocabulary else unicodedata.normalize("NFD", symbol)
        out += [part for part in parts if part in vocabulary]
    return " ".join("".join(out).split())


def pieces(symbols: str, limit: int) -> Iterator[str]:
    """Cut symbols where one would take breath, else between words; none is lost but blanks."""
    rest = symbols.strip()
    while len(rest) > limit:
        cut = limit
        for marks in _BREAKS:
            place = max(rest.rfind(mark, limit // 4, limit) for mark in marks)
            if place > 0:
                cut = place + 1
                break
        yield rest[:cut].strip()
        rest = rest[cut:].strip()
    if rest:
        yield rest
