"""What a manager does as numbers for Prometheus: counted, written as text, and served."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.manager.events import Event, EventKind
from blazen.manager.status import ManagerStatus

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger("blazen.manager")

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds of a load: from a small model out of the page cache to a huge one from a slow disk."""

_REQUEST_SECONDS = 10.0
_REQUEST_BYTES = 16 << 10

_COUNTED = {
    EventKind.Loaded: ("loads", "Loads that ended well."),
    EventKind.LoadFailed: ("load_failures", "Loads that failed."),
    EventKind.Retrying: ("load_retries", "Loads that ran out of memory and were tried again."),
    EventKind.Evicting: ("evictions", "Times that the model went to make room for another."),
    EventKind.Unloaded: ("unloads", "Unloads that ended well."),
    EventKind.UnloadFailed: ("unload_failures", "Unloads that failed."),
    EventKind.Crashed: ("crashes", "Times that its worker process ended unasked."),
    EventKind.Waiting: ("waits", "Requests that had to wait."),
    EventKind.Refused: ("refusals", "Requests that could not be served."),
    EventKind.Spilled: ("spill_overs", "Requests that went to another model."),
    EventKind.Thrashing: ("thrashings", "Times that it was found to come back soon after it went."),
}

_OF_POOLS = {
    "budget": "Bytes that models may fill.",
    "used": "Bytes that models are charged, with those that did not come back.",
    "quarantined": "Bytes that models which are unloaded did not give back.",
    "foreign": "Bytes of the budget that other programs have taken.",
    "available": "Bytes that a model which loads now can have without another going.",
}

_OF_MODELS = {
    "leases": "Requests that it works on.",
    "waiting": "Requests that wait for it.",
    "uses": "Requests since it was loaded.",
    "idle_seconds": "Seconds since its last request.",
    "priority": "Its priority.",
    "pinned": "Whether it is never made to go.",
}

_OF_ALL = {
    "waiting": ("waiting_requests", "Requests that wait for a model."),
    "cores": ("cores", "Cores that models share."),
    "cores_used": ("cores_used", "Cores that models at work keep busy."),
}

_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

_Sample: TypeAlias = tuple[str, dict[str, str], float]
_Metric: TypeAlias = tuple[str, str, str, list[_Sample]]


class Counters:
    """Counts what happens, by model. Fed from any thread; give each event to `add`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[str, _Counted] = {}

    def add(self, event: Event) -> None:
        """Count one event. A model that is unregistered is forgotten, with its numbers."""
        with self._lock:
            if event.kind is EventKind.Unregistered:
                self._models.pop(event.id, None)
            elif event.kind in _COUNTED:
                self._models.setdefault(event.id, _Counted()).add(event)

    def samples(self) -> Iterator[_Metric]:
        """Give each metric: its name, type, help, and values (suffix, labels, value)."""
        with self._lock:
            models = {model: counted.copy() for model, counted in self._models.items()}
        for kind, (name, what) in _COUNTED.items():
            rows: list[_Sample] = [
                ("", {"model": model}, counted.times.get(kind, 0))
                for model, counted in models.items()
            ]
            yield f"blazen_{name}_total", "counter", what, rows
        rows = [
            ("", {"model": model, "pool": pool}, size)
            for model, counted in models.items()
            for pool, size in counted.bytes.items()
        ]
        yield "blazen_loaded_bytes_total", "counter", "Bytes that loads brought in.", rows
        rows = [row for model, counted in models.items() for row in counted.histogram(model)]
        yield "blazen_load_seconds", "histogram", "How long loads took.", rows


class _Counted:
    """What was counted of one model."""

    __slots__ = ("buckets", "bytes", "seconds", "times")

    def __init__(self) -> None:
        self.times: dict[EventKind, int] = {}
        self.bytes: dict[str, int] = {}
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def add(self, event: Event) -> None:
        self.times[event.kind] = self.times.get(event.kind, 0) + 1
        if event.kind is not EventKind.Loaded:
            return
        for pool, size in event.bytes.items():
            self.bytes[pool] = self.bytes.get(pool, 0) + size
        if event.seconds is not None:
            self.buckets[bisect_left(BUCKETS, event.seconds)] += 1
            self.seconds += event.seconds

    def copy(self) -> _Counted:
        out = _Counted()
        out.times, out.bytes = dict(self.times), dict(self.bytes)
        out.buckets, out.seconds = list(self.buckets), self.seconds
        return out

    def histogram(self, model: str) -> Iterator[_Sample]:
        count = 0
        for most, more in zip((*BUCKETS, float("inf")), self.buckets, strict=True):
            count += more
            yield "_bucket", {"model": model, "le": _number(most)}, count
        yield "_sum", {"model": model}, self.seconds
        yield "_count", {"model": model}, count


def prometheus_text(status: ManagerStatus, counters: Counters) -> str:
    """Write what there is, and what was counted, in Prometheus's text format."""
    lines: list[str] = []
    for name, kind, what, rows in (*_now(status), *counters.samples()):
        if not rows:
            continue
        lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
        lines += (f"{name}{suffix}{_labels(by)} {_number(value)}" for suffix, by, value in rows)
    return "".join(f"{line}\n" for line in lines)


def _now(status: ManagerStatus) -> Iterator[_Metric]:
    for field, what in _OF_POOLS.items():
        rows: list[_Sample] = [
            ("", {"pool": pool.name}, getattr(pool, field)) for pool in status.pools
        ]
        yield f"blazen_pool_{field}_bytes", "gauge", what, rows
    rows = [("", {"model": model.id, "state": model.state.value}, 1) for model in status.models]
    yield "blazen_model_state", "gauge", "1 for the state that the model is in.", rows
    rows = [
        ("", {"model": model.id, "pool": pool}, size)
        for model in status.models
        for pool, size in model.charges.items()
    ]
    yield "blazen_model_memory_bytes", "gauge", "Bytes that the model is charged.", rows
    for field, what in _OF_MODELS.items():
        values = ((model.id, getattr(model, field)) for model in status.models)
        rows = [("", {"model": name}, value) for name, value in values if value is not None]
        yield f"blazen_model_{field}", "gauge", what, rows
    for field, (name, what) in _OF_ALL.items():
        yield f"blazen_{name}", "gauge", what, [("", {}, getattr(status, field))]


def _labels(labels: Mapping[str, str]) -> str:
    written = ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels.items())
    return f"{{{written}}}" if written else ""


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))  # True is 1
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(value), repr(value))


class MetricsServer:
    """Serves ``GET /metrics`` over HTTP while it is entered, on the loop that entered it.

    ``render`` gives the text of each answer; it is called on a thread. Port 0 takes any free port;
    ``url`` says which. ::

        async with MetricsServer(render, port=9464) as server:
            print(server.url)
    """

    def __init__(
        self, render: Callable[[], str], host: str = "127.0.0.1", port: int = 9464
    ) -> None:
        check_range("port", port, at_least=0, at_most=65_535, integer=True)
        self._render = render
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where the metrics are."""
        if self._server is None or not self._server.sockets:
            raise ValidationError("the metrics are served in 'async with' only: enter it first")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"

    async def __aenter__(self) -> Self:
        if self._server is not None:
            raise ValidationError(f"the metrics are being served already, at {self.url}")
        try:
            self._server = await asyncio.start_server(
                self._accept, self._host, self._port, limit=_REQUEST_BYTES
            )
        except OSError as error:
            raise ValidationError(
                f"metrics can't be served on {self._host}:{self._port} ({error}): "
                "give another port, or 0 for any that is free"
            ) from error
        _log.info("serving metrics at %s", self.url)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        answering = tuple(self._answering)
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)
        await server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: the server of an older Python loses sight of the tasks that it makes.
        if self._server is None:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Whoever dawdles, in asking or in reading, is left.
            await asyncio.wait_for(self._exchange(reader, writer), _REQUEST_SECONDS)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            _log.debug("a request for metrics came to nothing: %r", error)
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            writer.write(_answer("431 Request Header Fields Too Large"))
        else:
            writer.write(await self._respond(head))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def _respond(self, head: bytes) -> bytes:
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not all(words) or not words[2].startswith("HTTP/1."):
            return _answer("400 Bad Request")
        method, target, _ = words
        if target.partition("?")[0] != "/metrics":
            return _answer("404 Not Found", head=method == "HEAD")
        if method not in ("GET", "HEAD"):
            return _answer("405 Method Not Allowed", "Allow: GET, HEAD\r\n")
        try:
            text = await asyncio.to_thread(self._render)
        except Exception:  # noqa: BLE001 - it is the caller's, and the server outlives it
            _log.exception("the metrics could not be written")
            return _answer("500 Internal Server Error", head=method == "HEAD")
        return _answer("200 OK", text=text, type=CONTENT_TYPE, head=method == "HEAD")


def _answer(
    status: str,
    more: str = "",
    *,
    text: str | None = None,
    type: str = "text/plain; charset=utf-8",  # noqa: A002 - the header's name
    head: bool = False,
) -> bytes:
    body = (f"{status}\n" if text is None else text).encode("utf-8", "replace")
    fields = f"Content-Type: {type}\r\nContent-Length: {len(body)}\r\n{more}"
    start = f"HTTP/1.1 {status}\r\n{fields}Connection: close\r\n\r\n".encode("ascii")
    return start if head else start + body
