"""OpenTelemetry spans of loads, unloads and requests: when, how long and how it ended.

A span never holds content. Only the attributes named here can be set, and of an exception only its
type is kept, since a message may quote what a model was asked or what it answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from blazen.errors import MissingExtraError

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import TracerProvider
    from typing_extensions import Unpack


class Attributes(TypedDict, total=False):
    """What a span may tell."""

    model_id: str
    """Under which id the model was asked for."""
    wait_seconds: float
    """How long the request waited for the model."""
    evicted: Sequence[str]
    """The models that went for it."""
    answered_by: str
    """The model that answered, where it is another."""
    outcome: str
    """How it ended, where that is more than ``ok``, ``error`` or ``cancelled``."""


_NAMES = {
    "model_id": "blazen.model.id",
    "wait_seconds": "blazen.wait_seconds",
    "evicted": "blazen.evicted",
    "answered_by": "blazen.answered_by",
    "outcome": "blazen.outcome",
}


class Tracing:
    """Makes spans; without a provider they go where OpenTelemetry was set up to send them."""

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace
        except ImportError as error:
            # Other packages of that name may be there: 'opentelemetry' is theirs together.
            if getattr(error, "name", None) not in ("opentelemetry", "opentelemetry.trace"):
                raise
            raise MissingExtraError(
                "tracing needs 'opentelemetry-api': pip install 'blazen[otel]'"
            ) from error
        self._trace = trace
        self._tracer = trace.get_tracer("blazen", tracer_provider=tracer_provider)

    @contextlib.contextmanager
    def span(self, name: str, **attributes: Unpack[Attributes]) -> Iterator[Span]:
        """Have a span around a block, as the parent of those that begin within it."""
        span = self.begin(name, **attributes)
        with self._trace.use_span(
            span.otel, end_on_exit=False, record_exception=False, set_status_on_exception=False
        ):
            try:
                yield span
            except BaseException as error:
                span.end(error)
                raise
            span.end()

    def begin(self, name: str, **attributes: Unpack[Attributes]) -> Span:
        """Begin a span that `Span.end` ends, on whatever task or thread: for streams."""
        span = Span(self._tracer.start_span(name))
        span.set(**attributes)
        return span


class Span:
    """One piece of work that is being traced."""

    __slots__ = ("_ended", "_told_outcome", "otel")

    def __init__(self, otel: OtelSpan) -> None:
        self.otel = otel
        """The span of OpenTelemetry."""
        self._ended = False
        self._told_outcome = False

    def set(self, **attributes: Unpack[Attributes]) -> None:
        """Tell more about it; a later value replaces an earlier one."""
        told: Mapping[str, Any] = attributes
        for key, value in told.items():
            self.otel.set_attribute(_NAMES[key], value)
        self._told_outcome = self._told_outcome or "outcome" in attributes

    def end(self, error: BaseException | None = None) -> None:
        """End it, well or with an error; further calls do nothing.

        Not to be called in a finalizer: what exports spans takes locks.
        """
        if self._ended:
            return
        self._ended = True
        stopped = isinstance(error, (asyncio.CancelledError, GeneratorExit))
        if error is not None and not stopped:
            self._fail(error)
        if not self._told_outcome:
            self.set(outcome="ok" if error is None else "cancelled" if stopped else "error")
        self.otel.end()

    def _fail(self, error: BaseException) -> None:
        from opentelemetry.trace import Status, StatusCode

        cls = type(error)
        plain = cls.__module__ == "builtins"
        name = cls.__qualname__ if plain else f"{cls.__module__}.{cls.__qualname__}"
        self.otel.set_attribute("error.type", name)
        self.otel.add_event("exception", {"exception.type": name})
        self.otel.set_status(Status(StatusCode.ERROR, name))
