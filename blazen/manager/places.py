"""Where a model that is registered runs: in this process, or in one of its own."""

from __future__ import annotations

import logging
from typing import Any, Literal, TypeAlias

from blazen.errors import ValidationError
from blazen.options.isolation import Isolated, Isolation, isolation_of

log = logging.getLogger("blazen.manager")

Place: TypeAlias = Isolated | Literal["default"]
"""As for a factory, or ``"default"``: as the manager has it."""


def placed(model: Any, wanted: Place, default: Isolation | None) -> Any:
    """Give a model, or one like it with its engine in a process of its own.

    What one model is asked to do must be possible. The manager's default is for those that can:
    models elsewhere, in memory already, in a process already or not built of options stay. One that
    is wrapped stays too, which is logged, for it looks as if it could.
    """
    asked = wanted != "default"
    where = isolation_of(wanted) if asked else default
    if where is None or not (asked or _can_move(model)):
        if where is not None and _is_here_within(model):
            log.warning(
                "%.80r stays in this process, for it is wrapped: isolate the model, then wrap it",
                model,
            )
        return model
    from blazen.isolation.model import isolate

    moved = isolate(model, where)
    if model.is_loaded:
        raise ValidationError(
            f"{model!r:.80} is in this process's memory already: unload it first, or leave out "
            "isolation"
        )
    return moved


def _can_move(model: Any) -> bool:
    lifecycle = all(hasattr(model, name) for name in ("load", "unload", "is_loaded"))
    return lifecycle and hasattr(type(model), "Options") and not model.is_loaded


def _is_here_within(model: Any) -> bool:
    """Say whether a model is around one whose engine runs in this process."""
    within = (model.wrapped,) if hasattr(model, "wrapped") else getattr(model, "models", ())
    return any(_is_here(one) or _is_here_within(one) for one in within)


def _is_here(model: Any) -> bool:
    from blazen.isolation.backend import IsolatedBackend

    could = hasattr(type(model), "load") and hasattr(type(model), "Options")
    return could and not isinstance(model, IsolatedBackend)
