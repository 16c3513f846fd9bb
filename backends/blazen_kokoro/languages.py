"""The languages that Kokoro's voices speak, and which of them can be read here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from blazen.checks import unknown_name
from blazen.errors import UnsupportedError, ValidationError


@dataclass(frozen=True)
class Language:
    """A language, and espeak's voice that reads it; empty where espeak reads it too badly."""

    code: str
    name: str
    espeak: str
    needs: str = ""
    """What would be needed to read it."""


_JAPANESE = Language("ja", "Japanese", "", "a dictionary such as pyopenjtalk's")
_CHINESE = Language("zh", "Mandarin Chinese", "", "a dictionary of pinyin such as pypinyin's")
AMERICAN = Language("en-us", "American English", "en-us")
BY_PREFIX = {
    "a": AMERICAN,
    "b": Language("en-gb", "British English", "en"),
    "e": Language("es", "Spanish", "es"),
    "f": Language("fr", "French", "fr"),
    "h": Language("hi", "Hindi", "hi"),
    "i": Language("it", "Italian", "it"),
    "j": _JAPANESE,
    "p": Language("pt-br", "Brazilian Portuguese", "pt-br"),
    "z": _CHINESE,
}
_BY_CODE = {language.code: language for language in BY_PREFIX.values()}
_ALSO = {"en": "en-us", "en-uk": "en-gb", "pt": "pt-br", "jp": "ja", "cmn": "zh"}
_VOICE = re.compile(r"[abefhijpz][fm]_")
_HAN_OR_KANA = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f]")


def find_language(code: str) -> Language:
    """Give the language of a code such as ``en-us``, ``en_GB`` or ``pt``."""
    plain = code.strip().lower().replace("_", "-")
    for name in (plain, _ALSO.get(plain, ""), plain.partition("-")[0]):
        name = _ALSO.get(name, name)
        if name in _BY_CODE:
            return _BY_CODE[name]
    raise ValidationError(unknown_name("language", code, list(_BY_CODE)))


def voice_language(voice: str) -> Language:
    """Give the language that a voice was made of, as its name says; English where it does not."""
    return BY_PREFIX[voice[0]] if _VOICE.match(voice) else AMERICAN


def settle_language(asked: str | None, voice: str, text: str) -> Language:
    """Give the language to read a text in.

    A Japanese or Chinese voice reads a text without a character of its script as English.
    """
    language = voice_language(voice) if asked is None else find_language(asked)
    if asked is None and not language.espeak and not _HAN_OR_KANA.search(text):
        return AMERICAN
    return language


def check_readable(language: Language) -> None:
    """Refuse a language whose texts become no phonemes here."""
    if not language.espeak:
        raise UnsupportedError(
            f"text in {language.name} can't be turned into phonemes here: that takes "
            f"{language.needs}; give the phonemes yourself, as in '[[koɲɲiʨiβa]]'"
        )
