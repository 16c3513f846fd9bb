"""The symbols that Kokoro reads, and their numbers, as published with version 1.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from blazen.errors import ValidationError

CALL_TOKENS = 300
"""How many symbols are given to the model in one call.

It would take 510, but the memory of a call grows with the length of its sound.
"""


def call_tokens(speed: float) -> int:
    """Give the most symbols of a call: slow speech is as much sound with fewer of them."""
    return max(1, min(CALL_TOKENS, int(CALL_TOKENS * speed)))


# Symbols whose numbers follow each other, by the number of the first.
_RUNS = {
    1: ";:,.!?",
    9: '—…"()“” \u0303ʣʥʦʨᵝꭧAI',
    31: "O",
    33: "Q",
    35: "ST",
    39: "W",
    41: "Yᵊabcdef",
    50: "hijklmnopqrstuvwxyzɑɐɒæ",
    75: "βɔɕç",
    80: "ɖðʤə",
    85: "ɚɛɜ",
    90: "ɟ",
    92: "ɡ",
    99: "ɥ",
    101: "ɨɪʝ",
    110: "ɯɰŋɳɲɴø",
    118: "ɸθœ",
    123: "ɹ",
    125: "ɾɻ",
    128: "ʁɽʂʃʈʧ",
    135: "ʊʋ",
    138: "ʌɣɤ",
    142: "χʎ",
    147: "ʒʔ",
    156: "ˈˌː",
    162: "ʰ",
    164: "ʲ",
    169: "↓",
    171: "→↗↘",
    177: "ᵻ",
}
VOCABULARY = {
    symbol: first + place for first, run in _RUNS.items() for place, symbol in enumerate(run)
}


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Give the vocabulary of a folder with weights: its own where it has one, else the usual."""
    for name, keys in (
        ("vocab.json", ("vocab",)),
        ("tokenizer.json", ("model", "vocab")),
        ("config.json", ("vocab",)),
    ):
        path = folder / name
        if not path.is_file():
            continue
        try:
            found: Any = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValidationError(f"{path} is not JSON: {error}") from error
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict) and all(isinstance(number, int) for number in found.values()):
            return {symbol: number for symbol, number in found.items() if number}
    return VOCABULARY
