"""Requests to a model in a worker process; each is made on a thread of the model, on this side."""

from __future__ import annotations

import functools
import threading
from typing import Any

from blazen.bridge import Job, StreamJob
from blazen.isolation.feeding import Feeding
from blazen.isolation.orders import WINDOW
from blazen.isolation.worker import Worker


def ask(worker: Worker, job: Job, name: str, args: Any, kwargs: Any) -> Any:
    """Make a request, and wait for its answer."""
    request = worker.begin("call", name, args, kwargs)
    job.on_cancel(functools.partial(worker.cancel, request))
    answer = request.future.result()
    worker.worked()
    return answer


def stream(
    worker: Worker,
    job: StreamJob[Any],
    name: str,
    arguments: dict[str, Any],
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

    request = worker.begin("stream", name, arguments, heard=hear)
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
