"""Which model of a manager answered a request, and why that one."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import TypeVar

from blazen.types.record import Record

T = TypeVar("T")


@dataclass(frozen=True)
class Route(Record):
    """The way of a request that had more than one model to go to."""

    asked: str
    """The model that was asked for."""
    answered: str
    """The model that answered."""
    reasons: tuple[str, ...] = ()
    """Why each one before it did not."""


def joined_route(own: Route | None, inner: Route | None) -> Route | None:
    """Put a decision and one that was made behind it into one way."""
    if own is None or inner is None:
        return own or inner
    return Route(own.asked, inner.answered, own.reasons + inner.reasons)


def with_route(answer: T, route: Route) -> T:
    """Give an answer that says by which way it came, where its kind has a place for that."""
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        if any(field.name == "route" for field in dataclasses.fields(answer)):
            return dataclasses.replace(answer, route=route)
    elif hasattr(answer, "route"):
        answer = copy.copy(answer)  # the model may give the same one to others
        answer.route = route
    return answer
