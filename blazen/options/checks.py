"""What the options of several backends check alike."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.hardware import Device


def check_place(device: Device | str, threads: int | None) -> None:
    """Check where a model runs, and with how many threads."""
    Device.parse(device)
    check_range("threads", threads, at_least=1, integer=True)


def check_layers(wanted: int | str) -> None:
    """Refuse a number of layers that can't be."""
    if wanted != "auto":
        check_range("gpu_layers", wanted, at_least=0, integer=True)


def check_target(name: str, value: object) -> None:
    """Refuse what names no weights."""
    if not isinstance(value, (str, PathLike)) or not str(value).strip():
        raise ValidationError(f"{name} must be a path, a hub id, a URL or a starter, not {value!r}")


def check_lexicon(lexicon: object) -> None:
    """Refuse what does not say of words how they are to be said."""
    pairs = lexicon.items() if isinstance(lexicon, Mapping) else [(lexicon, None)]
    for word, said in pairs:
        if not isinstance(word, str) or not isinstance(said, str):
            raise ValidationError(
                "lexicon must map words to how they are said, as in {'nginx': 'engine x'}, not "
                f"{lexicon!r:.80}"
            )
