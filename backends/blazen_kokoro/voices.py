"""Kokoro's voices: those that are published, those in a folder, and blends of them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from blazen.checks import unknown_name
from blazen.errors import LoadError, UnsupportedError, ValidationError
from blazen.types.speech import VoiceInfo
from blazen_kokoro.languages import voice_language

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Style: TypeAlias = NDArray[numpy.float32]

WIDTH = 256

_BY_KIND = {
    "af": "heart alloy aoede bella jessica kore nicole nova river sarah sky",
    "am": "adam echo eric fenrir liam michael onyx puck santa",
    "bf": "alice emma isabella lily",
    "bm": "daniel fable george lewis",
    "ef": "dora",
    "em": "alex santa",
    "ff": "siwis",
    "hf": "alpha beta",
    "hm": "omega psi",
    "if": "sara",
    "im": "nicola",
    "jf": "gongitsune alpha nezumi tebukuro",
    "jm": "kumo",
    "pf": "dora",
    "pm": "alex santa",
    "zf": "xiaobei xiaoni xiaoxiao xiaoyi",
    "zm": "yunjian yunxi yunxia yunyang",
}
PUBLISHED = tuple(f"{kind}_{name}" for kind, names in _BY_KIND.items() for name in names.split())
"""The voices of version 1.0. A model whose user names none speaks with the first that it has."""


@dataclass(frozen=True)
class Blend:
    """One voice, or several with the weight of each; the weights add up to one."""

    parts: tuple[tuple[str, float], ...]

    @property
    def loudest(self) -> str:
        """The voice with the most weight."""
        return max(self.parts, key=lambda part: part[1])[0]

    @classmethod
    def parse(cls, text: str) -> Blend:
        """Read ``"af_heart"`` or ``"af_heart:2,am_adam:1"``."""
        parts: dict[str, float] = {}
        for piece in text.split(","):
            name, colon, number = (side.strip() for side in piece.partition(":"))
            if not name or (colon and not _NUMBER.fullmatch(number)):
                raise ValidationError(
                    f"a voice is a name, or a blend such as 'af_heart:2,am_adam:1', not {text!r}"
                )
            parts[name] = parts.get(name, 0.0) + (float(number) if colon else 1.0)
        whole = sum(parts.values())
        if not whole:
            raise ValidationError(f"the weights of the voices in {text!r} add up to nothing")
        return cls(tuple((name, weight / whole) for name, weight in parts.items()))


_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")


@dataclass
class Voices:
    """The voices of one set of weights, read when they are first asked for."""

    places: dict[str, Path]
    """By name: a file of its own, or the archive that it is in."""
    fetch: Callable[[str], Path] | None = None
    """Brings a published voice that is not here."""
    _styles: dict[str, Style] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Give every voice that can be asked for, the published ones in their order."""
        known = set(self.places) | (set(PUBLISHED) if self.fetch else set())
        return sorted(
            known, key=lambda name: (PUBLISHED.index(name) if name in PUBLISHED else 99, name)
        )

    def listing(self) -> list[VoiceInfo]:
        """Describe them."""
        return [described(name, installed=name in self.places) for name in self.names()]

    def style(self, blend: Blend) -> Style:
        """Give the rows of a voice or a blend, one for each number of tokens."""
        loaded = [(self._loaded(name), weight) for name, weight in blend.parts]
        rows = min(len(style) for style, _ in loaded)
        first, weight = loaded[0]
        style = first[:rows] * weight
        for other, weight in loaded[1:]:
            style = style + other[:rows] * weight
        return style

    def _loaded(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = _read(self._place(name), name)
        return self._styles[name]

    def _place(self, name: str) -> Path:
        if name in self.places:
            return self.places[name]
        if self.fetch is None or name not in PUBLISHED:
            raise ValidationError(unknown_name("voice", name, self.names()))
        self.places[name] = self.fetch(name)
        return self.places[name]


def described(name: str, *, installed: bool) -> VoiceInfo:
    """Describe a voice by its name: ``af_heart`` is American and female."""
    gender = {"f": "female", "m": "male"}.get(name[1:2]) if name[2:3] == "_" else None
    return VoiceInfo(name, voice_language(name).code, installed, gender=gender)


def find_voices(folder: Path) -> dict[str, Path]:
    """Find the voices of a folder: archives of NumPy, and raw files in its folder ``voices``."""
    places: dict[str, Path] = {}
    for path in _archives(folder):
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
        except (OSError, zipfile.BadZipFile) as error:
            raise LoadError(f"{path} is no archive of voices: {error}") from error
        places.update(dict.fromkeys(names, path))
    for path in sorted((folder / "voices").glob("*.bin")):
        places[path.stem] = path
    if not places and (pickles := sorted([*folder.glob("*.pt"), *folder.glob("voices/*.pt")])):
        raise UnsupportedError(
            f"{pickles[0]} is a pickle, which can run code as it is read: take the voices as .bin "
            "files from onnx-community/Kokoro-82M-v1.0-ONNX, or save them with numpy.savez"
        )
    return places


def _archives(folder: Path) -> Iterable[Path]:
    yield from sorted(folder.glob("*.npz"))
    # kokoro-onnx names its archive .bin; other .bin files are none of ours.
    yield from (path for path in sorted(folder.glob("voices*.bin")) if zipfile.is_zipfile(path))


def _read(path: Path, name: str) -> Style:
    import numpy

    try:
        if zipfile.is_zipfile(path):
            with numpy.load(path, allow_pickle=False) as archive:
                values: Any = archive[name]
        else:
            values = numpy.fromfile(path, dtype="<f4")
        style: Style = numpy.asarray(values, dtype="float32").reshape(-1, 1, WIDTH)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise LoadError(f"the voice {name!r} in {path} can't be read: {error}") from error
    if not len(style) or not numpy.isfinite(style).all():
        raise LoadError(f"the voice {name!r} in {path} holds no usable numbers")
    return style
