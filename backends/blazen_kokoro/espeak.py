"""Phonemes by espeak-ng, from the library that espeakng-loader carries."""

from __future__ import annotations

import ctypes
import functools
import re
from typing import Any

from blazen.errors import InferenceError, LoadError, UnsupportedError
from blazen.speech.phonemes import espeak_lock

_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_UTF8 = 1
_IPA_WITH_TIES = 0x02 | 0x80 | ord("^") << 8
_OK = 0
_SWITCH = re.compile(r"\([a-z]{2,3}(?:-[a-z0-9-]+)?\)")
"""espeak's notes, as in ``(fr)...(en)``, that it read a word as one of another language."""


def check_espeak() -> None:
    """Raise a `LoadError` where espeak-ng can't be started, or says nothing."""
    if not phonemes_of("hello", "en-us"):
        raise LoadError(
            "espeak-ng gives no phonemes: pip install --force-reinstall espeakng-loader"
        )


def phonemes_of(text: str, voice: str) -> str:
    """Give the IPA of a text in one of espeak's languages; ``^`` ties the parts of one sound.

    It may be called from any thread: one text is worked on after the other.
    """
    data = text.replace("\0", " ").encode("utf-8", "replace")
    out = []
    with espeak_lock:
        library = _library()
        # Another user of the library may have set a voice of its own since.
        if library.espeak_SetVoiceByName(voice.encode()) != _OK:
            raise UnsupportedError(f"espeak-ng has no voice for the language {voice!r}")
        place = ctypes.c_char_p(data)
        while place.value is not None:
            piece = library.espeak_TextToPhonemes(ctypes.byref(place), _UTF8, _IPA_WITH_TIES)
            if piece is None:
                raise InferenceError(f"espeak-ng could not read {text!r:.80}")
            out.append(piece.decode("utf-8", "replace"))
    return " ".join(_SWITCH.sub("", " ".join(out)).split())


@functools.cache
def _library() -> Any:
    """Load and start espeak-ng, once in a process; the lock is held."""
    import espeakng_loader

    path, data = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise LoadError(f"espeak-ng can't be loaded from {path}: {error}") from error
    library.espeak_Initialize.argtypes = [
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
    ]
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_TextToPhonemes.argtypes = [
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.c_int,
        ctypes.c_int,
    ]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    # Without a path of its own it looks where it was built, and then ends the whole process.
    if library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _DONT_EXIT) <= 0:
        raise LoadError(
            f"espeak-ng could not read its data in {data}; a path of more than some 150 characters "
            "is too long for it"
        )
    return library
