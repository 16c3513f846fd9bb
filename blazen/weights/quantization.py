"""How weights are stored: the names, and what a file's name says."""

from __future__ import annotations

import re
from enum import Enum

from blazen.checks import unknown_name
from blazen.errors import ValidationError

# Other words of a name have digits too, so that a quantisation stands alone between marks. What is
# only like one (``Q4_K_XL``, ``Q4_0_4_4``) is found whole, and not taken for what it begins with.
_WORD = re.compile(
    r"(?<![A-Za-z0-9])(?:I?Q[1-8][A-Z0-9_]*|TQ[12]_0|(?:MX|NV)FP4[A-Z0-9_]*|BF16|FP?(?:16|32))"
    r"(?![A-Za-z0-9_])",
    re.IGNORECASE,
)

KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
"""How llama.cpp can store keys and values."""


class Quantization(str, Enum):
    """How weights are stored: the number is bits a weight, roughly; fewer is smaller and worse."""

    F32 = "F32"
    F16 = "F16"
    BF16 = "BF16"
    Q80 = "Q8_0"
    Q6K = "Q6_K"
    Q5KM = "Q5_K_M"
    Q5KS = "Q5_K_S"
    Q51 = "Q5_1"
    Q50 = "Q5_0"
    Q4KM = "Q4_K_M"
    Q4KS = "Q4_K_S"
    Q41 = "Q4_1"
    Q40 = "Q4_0"
    IQ4NL = "IQ4_NL"
    IQ4XS = "IQ4_XS"
    Q3KL = "Q3_K_L"
    Q3KM = "Q3_K_M"
    Q3KS = "Q3_K_S"
    IQ3M = "IQ3_M"
    IQ3S = "IQ3_S"
    IQ3XS = "IQ3_XS"
    IQ3XXS = "IQ3_XXS"
    Q2K = "Q2_K"
    IQ2M = "IQ2_M"
    IQ2S = "IQ2_S"
    IQ2XS = "IQ2_XS"
    IQ2XXS = "IQ2_XXS"
    IQ1M = "IQ1_M"
    IQ1S = "IQ1_S"

    @classmethod
    def of(cls, value: Quantization | str) -> Quantization:
        """Read a name however it is written: ``Q4KM``, ``q4_k_m``, ``Q4-K-M``."""
        if isinstance(value, cls):
            return value
        member = cls._read(str(value))
        if member is None:
            raise ValidationError(unknown_name("quantization", str(value), [m.value for m in cls]))
        return member

    @classmethod
    def _read(cls, text: str) -> Quantization | None:
        plain = re.sub(r"[^A-Z0-9]", "", text.upper())
        plain = {"FP16": "F16", "FP32": "F32"}.get(plain, plain)
        return next((member for member in cls if member.name == plain), None)


def quantization_in(name: str) -> str | None:
    """Give the quantisation that a file's name says, or its folder's; ``None`` where none does.

    ``qwen-q4_k_m.gguf`` gives ``Q4_K_M``, as `Quantization` writes it. A word that is none of these
    comes as it is, in capitals: ``Q4_K_XL``.
    """
    for part in reversed(name.replace("\\", "/").split("/")):
        if words := _WORD.findall(part):
            known = Quantization._read(words[-1])
            return known.value if known else str(words[-1]).upper()
    return None


def check_quantization(value: Quantization | str | None) -> None:
    """Refuse a name that is none."""
    if value is not None:
        Quantization.of(value)
