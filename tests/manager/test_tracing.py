"""Spans, with OpenTelemetry's own SDK as the one who collects them."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from blazen.errors import LoadError, MissingExtraError
from blazen.manager.tracing import Tracing

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

SECRET = "what the user asked"


class Collected:
    """Tracing whose ended spans can be looked at."""

    def __init__(self) -> None:
        self._exporter = memory.InMemorySpanExporter()
        provider = sdk.TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(export.SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)

    @property
    def spans(self):
        return self._exporter.get_finished_spans()

    @property
    def only(self):
        (span,) = self.spans
        return span


@pytest.fixture
def collected() -> Collected:
    return Collected()


def test_a_span_tells_what_is_known_of_it(collected: Collected) -> None:
    with collected.tracing.span("blazen.complete", model_id="llm", wait_seconds=0.5) as span:
        span.set(evicted=("a", "b"), wait_seconds=0.75, answered_by="cloud")
    assert collected.only.name == "blazen.complete"
    assert dict(collected.only.attributes) == {
        "blazen.model.id": "llm",
        "blazen.wait_seconds": 0.75,
        "blazen.evicted": ("a", "b"),
        "blazen.answered_by": "cloud",
        "blazen.outcome": "ok",
    }
    assert collected.only.status.is_unset
    assert collected.only.instrumentation_scope.name == "blazen"


def test_a_span_is_the_parent_of_those_within_it(collected: Collected) -> None:
    with collected.tracing.span("blazen.complete"), collected.tracing.span("blazen.load"):
        pass
    load, complete = collected.spans
    assert (load.name, load.parent.span_id) == ("blazen.load", complete.context.span_id)


async def test_a_task_that_a_span_starts_belongs_to_it(collected: Collected) -> None:
    async def load() -> None:
        with collected.tracing.span("blazen.load"):
            await asyncio.sleep(0)

    with collected.tracing.span("blazen.complete"):
        task = asyncio.create_task(load())
    with collected.tracing.span("blazen.embed"):
        await task
    spans = {span.name: span for span in collected.spans}
    assert spans["blazen.load"].parent.span_id == spans["blazen.complete"].context.span_id


def test_an_error_is_told_by_its_type_alone(collected: Collected) -> None:
    with pytest.raises(LoadError), collected.tracing.span("blazen.load", model_id="llm"):
        raise LoadError(SECRET) from ValueError(SECRET)
    assert collected.only.status.status_code.name == "ERROR"
    assert collected.only.status.description == "blazen.errors.LoadError"
    assert collected.only.attributes["error.type"] == "blazen.errors.LoadError"
    assert collected.only.attributes["blazen.outcome"] == "error"
    (event,) = collected.only.events
    assert (event.name, dict(event.attributes)) == (
        "exception",
        {"exception.type": "blazen.errors.LoadError"},
    )
    assert SECRET not in collected.only.to_json()


def test_a_built_in_error_has_its_plain_name(collected: Collected) -> None:
    with pytest.raises(KeyError), collected.tracing.span("blazen.load"):
        raise KeyError(SECRET)
    assert collected.only.attributes["error.type"] == "KeyError"


@pytest.mark.parametrize("gone", [asyncio.CancelledError, GeneratorExit])
def test_a_caller_who_goes_is_no_error(collected: Collected, gone: type[BaseException]) -> None:
    with pytest.raises(gone), collected.tracing.span("blazen.complete"):
        raise gone
    assert collected.only.attributes["blazen.outcome"] == "cancelled"
    assert collected.only.status.is_unset
    assert collected.only.events == ()


def test_an_outcome_that_was_told_stays(collected: Collected) -> None:
    with collected.tracing.span("blazen.complete") as span:
        span.set(outcome="spilled")
    assert collected.only.attributes["blazen.outcome"] == "spilled"


def test_what_could_be_content_cant_be_told(collected: Collected) -> None:
    with pytest.raises(KeyError):
        collected.tracing.begin("blazen.complete", prompt=SECRET)
    assert collected.spans == ()


def test_a_stream_begins_and_ends_by_hand_on_any_thread(collected: Collected) -> None:
    span = collected.tracing.begin("blazen.complete_stream", model_id="llm")
    with collected.tracing.span("blazen.embed"):
        pass
    assert [span.name for span in collected.spans] == ["blazen.embed"]
    assert collected.only.parent is None  # a stream is nobody's parent: it is read now and then

    thread = threading.Thread(target=span.end, args=(LoadError(SECRET),))
    thread.start()
    thread.join()
    span.end()  # it has ended, and how is not changed any more
    assert len(collected.spans) == 2
    assert collected.spans[1].attributes["blazen.outcome"] == "error"


def test_a_stream_belongs_to_the_span_that_it_was_begun_in(collected: Collected) -> None:
    with collected.tracing.span("outer"):
        span = collected.tracing.begin("blazen.complete_stream")
    span.end()
    outer, stream = collected.spans
    assert stream.parent.span_id == outer.context.span_id
    assert stream.attributes["blazen.outcome"] == "ok"


def test_without_a_provider_the_programs_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import trace

    exporter = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with Tracing().span("blazen.load"):
        pass
    assert [span.name for span in exporter.get_finished_spans()] == ["blazen.load"]


@pytest.mark.parametrize("name", ["opentelemetry", "opentelemetry.trace"])
def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for loaded in [module for module in sys.modules if module.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'blazen\[otel\]'") as caught:
        Tracing()
    assert isinstance(caught.value.__cause__, ImportError)


def test_a_broken_installation_stays_visible_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for loaded in [module for module in sys.modules if module.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(ImportError, match="context") as caught:
        Tracing()
    assert not isinstance(caught.value, MissingExtraError)
