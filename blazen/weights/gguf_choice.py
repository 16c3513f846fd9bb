"""Which of several GGUF files to take: decided from names and sizes alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from blazen.errors import BudgetError, ModelNotFoundError, ValidationError
from blazen.types.record import Record
from blazen.weights.quantization import Quantization, quantization_in

_PART = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)
_NO_MODEL = re.compile(r"mmproj|(?<![a-z])lora(?![a-z])|(?<![a-z])vocab(?![a-z])", re.IGNORECASE)

PREFERRED = tuple(
    Quantization.of(name).value
    for name in (
        *("Q4_K_M", "Q4_K_S", "IQ4_XS", "IQ4_NL", "Q4_1", "Q4_0"),
        *("Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q6_K", "Q8_0"),
        *("Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "Q3_K_S", "IQ3_XS", "IQ3_XXS"),
        *("F16", "BF16", "F32"),
        *("Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"),
    )
)
"""What is taken first where nothing is asked for: four bits lose little and fit most machines."""


@dataclass(frozen=True)
class Candidate(Record):
    """One model among several: a file, or the parts of a split one."""

    name: str
    """The file's path inside its folder or repository; of a split model the first part's."""
    parts: tuple[str, ...]
    size: int
    """Bytes, all parts together."""
    quantization: str | None = None
    """What its name says, or its header."""
    first_size: int = 0
    """Bytes of the first part alone."""

    def __str__(self) -> str:
        return f"{self.name} ({self.size / 2**20:,.0f} MiB)"


def group(files: Iterable[tuple[str, int]]) -> tuple[list[Candidate], list[str]]:
    """Join the parts of split models, and give apart what is no whole model, each with the reason.

    ``files`` are names with sizes. Projectors, adapters and importance matrices are GGUF files too.
    """
    models: dict[str, dict[str, int]] = {}
    for name, size in files:
        if name.lower().endswith(".gguf"):
            models.setdefault(_PART.sub(r"-00001-of-\2", name), {})[name] = size
    candidates, left_out = [], []
    for first, parts in sorted(models.items()):
        match = _PART.search(first)
        count = int(match[2]) if match else 1
        file = first.rpartition("/")[2]
        quantization = quantization_in(first)
        if found := _NO_MODEL.search(file):
            left_out.append(f"{first} ({found[0].lower()})")
        elif "imatrix" in file.lower() and quantization is None:
            left_out.append(f"{first} (imatrix)")
        elif len(parts) != count:
            left_out.append(f"{first} ({len(parts)} of {count} parts)")
        else:
            names = tuple(sorted(parts))
            size = sum(parts.values())
            candidates.append(Candidate(names[0], names, size, quantization, parts[names[0]]))
    return candidates, left_out


def choose(
    candidates: Sequence[Candidate],
    *,
    where: str,
    left_out: Sequence[str] = (),
    quantization: Quantization | None = None,
    budget: int | None = None,
    need: Callable[[Candidate], int] = lambda candidate: candidate.size,
) -> tuple[Candidate, str]:
    """Pick one, and say why: by its quantisation, else the largest that fits, else by preference.

    ``need`` gives how much memory one takes in all; it is asked only where there is a budget.
    """
    apart = f"; left out: {', '.join(left_out)}" if left_out else ""
    if not candidates:
        raise ModelNotFoundError(f"{where} has no GGUF model{apart}: name another, or a file in it")
    if quantization is not None:
        fit = [c for c in candidates if c.quantization == quantization.value]
        if not fit:
            raise ModelNotFoundError(
                f"{where} has no file of quantization {quantization.value}; {_offer(candidates)}"
                f"{apart}"
            )
        return _only(fit[0], fit, where), f"it is {quantization.value}"
    if len(candidates) == 1:
        return candidates[0], "it is the only one"
    if budget is not None:
        # By size alone most of what is too large is known, and what it needs besides is not asked.
        for candidate in sorted(candidates, key=lambda c: c.size, reverse=True):
            if candidate.size <= budget and (needed := need(candidate)) <= budget:
                return (
                    _only(candidate, candidates, where),
                    f"it is the largest that fits into {mib(budget)}: it needs {mib(needed)}",
                )
        smallest = min(candidates, key=lambda c: c.size)
        raise BudgetError(
            f"nothing of {where} fits into the memory_budget of {mib(budget)}: the smallest, "
            f"{smallest}, needs {mib(need(smallest))} with its context; {_offer(candidates)}. Give "
            "more memory, or take a shorter context_length or a smaller kv_type"
        )
    for wanted in PREFERRED:
        fit = [c for c in candidates if c.quantization == wanted]
        if fit:
            return _only(fit[0], fit, where), f"of {len(candidates)}, {wanted} is preferred"
    raise ValidationError(
        f"the names in {where} don't tell which file to take; {_offer(candidates)}. Name one with "
        f"file={candidates[0].name!r}"
    )


def _offer(candidates: Sequence[Candidate]) -> str:
    """List what there is, for a message."""
    shown = ", ".join(str(candidate) for candidate in candidates[:20])
    more = f" and {len(candidates) - 20} more" if len(candidates) > 20 else ""
    return f"there is: {shown}{more}"


def _only(chosen: Candidate, candidates: Sequence[Candidate], where: str) -> Candidate:
    """Refuse to guess between models that differ in something else than their quantisation."""
    same = [c for c in candidates if c.quantization == chosen.quantization]
    if len(same) > 1:
        kind = f"are {chosen.quantization}" if chosen.quantization else "have names that don't tell"
        raise ValidationError(
            f"several files of {where} {kind}: {', '.join(c.name for c in same)}; name one with "
            f"file={chosen.name!r}"
        )
    return chosen


def mib(size: int) -> str:
    """Write a size as a person reads it."""
    return f"{size / 2**20:,.0f} MiB"
