"""Requests to a model in a worker process; each is made on a thread of the model, on this side."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from blazen.bridge import Job, StreamJob
from blazen.errors import BackendCrashedError, ValidationError
from blazen.isolation.feeding import Feeding
from blazen.isolation.orders import WINDOW
from blazen.isolation.worker import Worker
from blazen.types.completion import CompletionOptions, ModelResponse
from blazen.types.response_format import ResponseFormat

log = logging.getLogger("blazen.isolation")


class Given:
    """The arguments of a request, in a form that another process can read."""

    def __init__(self, args: Any, kwargs: Any) -> None:
        self._wanted: ResponseFormat | None = None
        self.args = [self._crossing(value) for value in args]
        self.kwargs = {name: self._crossing(value) for name, value in kwargs.items()}

    def take_sound(self) -> Feeding | None:
        """Take out the sound that is still being made, where there is some."""
        return Feeding.of(self.args, self.kwargs)

    def read(self, answer: Any) -> Any:
        """Give an answer as the class that it is to be read into, which has not crossed."""
        wanted = self._wanted
        if wanted is None or not isinstance(answer, ModelResponse) or answer.parsed is None:
            return answer
        return dataclasses.replace(answer, parsed=wanted.parse(answer.content))

    def _crossing(self, value: Any) -> Any:
        if not isinstance(value, CompletionOptions) and not (
            isinstance(value, Mapping) and {"tools", "response_format"} & set(value)
        ):
            return value
        try:
            options = CompletionOptions.of(value)
        except ValidationError:  # other settings, or wrong ones: that is for the backend to say
            return value
        wanted = options.response_format
        if wanted is None:
            return options
        # The class that an answer is read into stays here, and so does the reading.
        self._wanted = wanted if wanted.type is not None else None
        return dataclasses.replace(
            options, response_format=ResponseFormat(wanted.kind, wanted.rule)
        )


def ask(
    worker: Worker, job: Job, name: str, args: Any, kwargs: Any, feeding: Feeding | None
) -> Any:
    """Make a request, and wait for its answer."""

    def hear(kind: str, what: Any) -> None:
        if feeding is not None:
            feeding.taken()

    request = worker.begin("call", name, args, kwargs, heard=hear)
    job.on_cancel(functools.partial(worker.cancel, request))
    if feeding is not None:
        feeding.begin(worker, request)
    answer = request.future.result()
    worker.worked()
    return answer


def tell(worker: Worker, name: str, args: Any, kwargs: Any) -> None:
    """Have a method called whose answer nobody waits for: an error of it is logged."""
    failed = functools.partial(_log_failure, worker.title, name)
    try:
        worker.begin("call", name, args, kwargs).future.add_done_callback(failed)
    except BackendCrashedError:
        pass  # the next load tells it
    except Exception as error:  # noqa: BLE001 - an argument that can't cross
        log.warning("%s: %s could not be told to its process: %s", worker.title, name, error)


def _log_failure(title: str, name: str, answer: Future[Any]) -> None:
    error = answer.exception()
    if error is not None and not isinstance(error, BackendCrashedError):
        log.warning("%s: %s failed in its process: %r", title, name, error)


def stream(
    worker: Worker,
    job: StreamJob[Any],
    name: str,
    args: Any,
    kwargs: Any,
    feeding: Feeding | None,
) -> None:
    """Make a request whose answer comes in pieces, and hold the other side back where need be."""
    step = WINDOW // 2
    due = threading.Event()
    come = asked = 0

    def hear(kind: str, what: Any) -> None:
        nonlocal come
        if kind == "fed":
            if feeding is not None:
                feeding.taken()
            return
        for piece in what:
            job.push(piece)
        come += len(what)
        if come - asked >= step:
            due.set()

    request = worker.begin("stream", name, args, kwargs, heard=hear)
    job.on_cancel(functools.partial(worker.cancel, request))
    if feeding is not None:
        feeding.begin(worker, request)
    request.future.add_done_callback(lambda _: due.set())
    if job.gathers:
        worker.steer("gather", request)
    while True:
        due.wait()
        if request.future.done():
            break
        due.clear()
        while come - asked >= step:
            request.waits_for.add("its reader")
            job.wait_room()
            request.go_on("its reader")
            asked += step
            worker.steer("more", request)
    request.future.result()
    worker.worked()
