"""Messages about names that lead to no model."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from blazen.catalog.listing import KINDS
from blazen.errors import ModelNotFoundError
from blazen.weights.starter import TABLE

_SHOWN = 12


def not_found(wanted: str, kind: str | None, names: Collection[str]) -> ModelNotFoundError:
    """Word that nothing goes by a name: what is near it, or what there is."""
    what = "model" if kind is None else f"model for {KINDS[kind]}"
    lower = {name.lower(): name for name in names}
    said = wanted[:200]  # more is no name, and would take long to compare
    near = [lower[n] for n in difflib.get_close_matches(said.lower(), lower, n=3, cutoff=0.5)]
    if near:
        there = f"did you mean {_listed(near)}?"
    elif names:
        there = f"there is: {_listed(sorted(names))}"
    else:
        there = f"there is no {what} here at all; pip install 'blazen[starter]' brings small models"
    return ModelNotFoundError(f"there is no {what} {said!r}; {there}")


def ambiguous(wanted: str, names: Sequence[str]) -> ModelNotFoundError:
    """Word that several go by a name."""
    return ModelNotFoundError(
        f"{wanted!r} may be any of {len(names)} models: {_listed(names)}; write more of the name"
    )


def another_kind(name: str, is_for: str, wanted: str) -> ModelNotFoundError:
    """Word that a model is there, and for something else."""
    return ModelNotFoundError(f"{name!r} is a model for {KINDS[is_for]}, not for {KINDS[wanted]}")


def no_starter(text: str) -> ModelNotFoundError:
    """Word that a starter model is not installed, or that there never was one of that name."""
    row = TABLE.get(text.removeprefix("starter:"))
    if row is None:
        return not_found(text, None, [f"starter:{name}" for name in TABLE])
    return ModelNotFoundError(f"{text} is not installed: pip install 'blazen[{row.extra}]'")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
