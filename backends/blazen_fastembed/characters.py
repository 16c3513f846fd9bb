"""Characters that no tokenizer takes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from blazen.errors import ValidationError

_HALF = re.compile("[\ud800-\udfff]")


def check_texts(texts: Sequence[str], first: int = 0, *, name: str = "texts") -> None:
    """Refuse half a surrogate pair; ``first`` is the place of the first text in its call."""
    for place, text in enumerate(texts, first):
        check_text(text, f"{name}[{place}]")


def check_text(text: str, what: str) -> None:
    """Refuse half a surrogate pair in a text, which ``what`` names."""
    if not text.isascii() and (half := _HALF.search(text)):
        raise ValidationError(
            f"{what} has half a surrogate pair as its character {half.start()}: mend it with "
            "text.encode('utf-8', 'replace').decode()"
        )
