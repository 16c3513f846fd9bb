"""A worker process, seen from here: requests to it, its signs of life, and its end."""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import logging
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from blazen.errors import BackendCrashedError, InferenceError
from blazen.isolation import spawn
from blazen.isolation.asked import Request
from blazen.isolation.carried import arrived
from blazen.isolation.channel import Closed, Packed, Unreadable, pack
from blazen.isolation.endings import ending
from blazen.isolation.output import Output, hand_on
from blazen.options.isolation import Isolation

_TICK = 0.25
_ASKED_AFTER = 0.25
"""The part of the time that it may be silent, after which it is asked for a sign of life."""
_DRAIN = 0.3
"""Seconds in which the last words of a dead process must arrive."""
_DYING = 0.5
"""Seconds after it was killed in which its end is waited for, before anyone is told."""
_LONGEST = 30.0
"""Seconds after which a process that can't be ended, since a driver holds it, is let be."""

log = logging.getLogger("blazen.isolation")


class Worker:
    """A worker process, and the two threads that talk to it."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self.title = "a worker"
        self._started = spawn.start(isolation)
        self._numbers = itertools.count(1)
        self._requests: dict[int, Request] = {}
        self._lock = threading.Lock()  # held for a few instructions
        self._outgoing: SimpleQueue[Packed | None] = SimpleQueue()
        self._cancelled: deque[int] = deque()
        self.end: Callable[[], BackendCrashedError] | None = None
        """Tells how it ended, once it has."""
        self._closing = False
        self._blameless = False
        self._reason: str | None = None
        """Why this side ended it, where it did."""
        self._killed_at: float | None = None
        self._alive = time.monotonic()
        self._asked: float | None = None
        """When it was asked for the sign of life that has not come yet."""
        self._output = Output(lambda: self.title)
        self.ended: Future[None] = Future()
        """Set when the process is no more, and all who waited for it have heard so."""
        self.lost: Future[bool] = Future()
        """Set before the requests fail, if it ended unasked: whether by a fault of its own."""
        self.worked: Callable[[], None] = lambda: None
        """Called by whoever has had an answer of it."""
        self.used: Callable[[Sequence[str]], None] = lambda modules: None
        """Told once, after its first answer, what it has imported; must not wait."""
        try:
            for target, role in ((self._talk, "talk"), (self._listen, "listen")):
                threading.Thread(
                    target=target, name=f"blazen:worker:{self.pid}:{role}", daemon=True
                ).start()
        except RuntimeError:  # there are too many threads, or the interpreter ends
            self._outgoing.put(None)
            self._started.reap(0, _LONGEST)
            self._started.close()
            raise

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._started.process.pid

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._started.is_running()

    def begin(
        self, kind: str, *what: Any, heard: Callable[[str, Any], None] | None = None
    ) -> Request:
        """Send a request, and give what will hold its answer."""
        request = Request(next(self._numbers), heard, in_pieces=kind == "stream")
        packed = pack(kind, request.number, *what)
        with self._lock:
            if self.end is not None:
                raise self.end()
            self._requests[request.number] = request
        self._outgoing.put(packed)
        return request

    def post(self, kind: str, *what: Any) -> None:
        """Send what needs no answer."""
        self._outgoing.put(pack(kind, 0, *what))

    def steer(self, kind: str, request: Request) -> None:
        """Say of a request that is under way how its pieces are to come."""
        self._outgoing.put(pack(kind, request.number))

    def feed(self, request: Request, piece: Any) -> None:
        """Send a piece of what a request works on."""
        self._outgoing.put(pack("feed", request.number, piece))

    def cancel(self, request: Request) -> None:
        """Ask for a request to be stopped. It takes no lock and waits for nothing."""
        if request.cancelled_at is None:
            request.cancelled_at = time.monotonic()
            self._cancelled.append(request.number)
            self._outgoing.put(_NUDGE)

    def close(self) -> None:
        """Let it close its engine and end, or end it if that takes too long; wait until it has."""
        self._closing = True
        self.post("close")
        concurrent.futures.wait([self.ended], timeout=self._isolation.grace)
        self.dismiss("it did not close in time")
        self.ended.result()

    def dismiss(self, reason: str) -> None:
        """End it now, since nobody wants it any more. It takes no lock and waits for nothing."""
        self._closing = True
        self._kill(reason)

    def _kill(self, reason: str) -> None:
        if not self.ended.done():
            self._reason = self._reason or reason
            self._killed_at = self._killed_at or time.monotonic()
            self._started.kill()

    def _talk(self) -> None:
        channel = self._started.channel
        try:
            while (packed := self._outgoing.get()) is not None:
                while self._cancelled:
                    channel.send(pack("cancel", self._cancelled.popleft()))
                if packed is not _NUDGE:
                    channel.send(packed)
        except Closed:
            pass  # who listens tells everyone
        except Exception as error:  # noqa: BLE001 - it is of no use any more
            self._kill("nothing could be sent to it")
            hand_on(log, logging.ERROR, "%s: %s", self.title, _DEAF, error=error)

    def _listen(self) -> None:
        channel, output = self._started.channel, self._started.output
        ready, fd = select.poll(), channel.fileno()
        ready.register(fd, select.POLLIN)
        ready.register(output, select.POLLIN)
        gone, watch_at, problem = False, 0.0, None
        try:
            while True:
                found = dict(ready.poll(0 if gone else _TICK * 1000))
                if output in found and not self._output.read(output):
                    ready.unregister(output)
                if fd in found:
                    for message in channel.receive():
                        self._hear(*message)
                elif gone:
                    break  # a process that it has started may hold its end of the channel open
                else:
                    gone = not self.is_running
                now = time.monotonic()
                if self._killed_at is not None and now - self._killed_at > _DYING:
                    break  # whatever keeps it from ending must not keep those who wait for it
                if now >= watch_at:
                    watch_at = now + _TICK
                    self._watch(now)
        except Closed:
            pass
        except Exception as error:  # noqa: BLE001 - it is of no use any more
            self._kill("what it said could not be read")
            problem = error
        unasked, how = self._bury()
        # An app's own handler may fail, or wait for whoever waits for this: so that comes last.
        if problem is not None:
            hand_on(log, logging.ERROR, "%s: %s", self.title, _GARBLED, error=problem)
        if unasked:
            hand_on(log, logging.WARNING, "%s: its worker process %s", self.title, how)

    def _hear(self, kind: str, number: int, what: Any) -> None:
        self._alive, self._asked = time.monotonic(), None
        if isinstance(what, Unreadable):
            pass  # it is told to whoever has made the request, if anyone has
        elif kind == "log":
            self._output.log(*what)
        elif kind == "used":
            self.used(*what)
        request = self._requests.get(number)
        if request is None:
            return
        request.last = self._alive
        if isinstance(what, Unreadable):
            request.unread = request.unread or what.error
            self.cancel(request)  # what comes after a piece that is lost is of no use
        if kind in ("done", "failed"):
            self._settle(request, kind, what)
        elif request.heard is not None and request.unread is None:
            request.heard(kind, what[0])

    def _settle(self, request: Request, kind: str, what: Any) -> None:
        with self._lock:
            self._requests.pop(request.number, None)
        if request.unread is not None:
            unread = request.unread
            error = InferenceError(f"{self.title}: its answer can't be read here: {unread}")
            error.__cause__ = unread
            request.future.set_exception(error)
        elif kind == "done":
            request.future.set_result(what[0])
        else:
            request.future.set_exception(arrived(what[0]))

    def _watch(self, now: float) -> None:
        """End it where it hangs, or does not stop what it was asked to stop."""
        rules = self._isolation
        if not rules.silence:
            pass
        elif self._asked is None:
            if now - self._alive > rules.silence * _ASKED_AFTER:
                self._asked = now
                self.post("ping")
        # From the asking on, for this process itself may have stood still before.
        elif now - self._asked > rules.silence * (1 - _ASKED_AFTER):
            self._kill(f"it gave no sign of life for {rules.silence:g} s")
        for request in list(self._requests.values()):
            asked, patience = request.cancelled_at, rules.patience
            if asked is not None and now - asked > rules.grace:
                self._blameless = True
                self._kill(f"it did not stop a request within {rules.grace:g} s")
            elif patience is None or not request.in_pieces or request.waits_for:
                pass
            elif now - request.last > patience:
                self._kill(f"a request went {patience:g} s without a piece of its answer")

    def _bury(self) -> tuple[bool, str]:
        """Learn how it ended, and tell all who wait; give whether nobody asked for it, and how."""
        started = self._started
        started.reap(_DRAIN, _DYING)
        self._output.drain(started.output, _DRAIN)
        code, tail = started.code, self._output.tail
        how = ending(code, self._reason, tail)
        end = functools.partial(
            BackendCrashedError,
            f"{self.title}: its worker process {how}",
            signal=-code if code is not None and code < 0 else None,
            code=code if code is not None and code >= 0 else None,
            output=tail,
        )
        with self._lock:
            self.end = end
            requests, self._requests = list(self._requests.values()), {}
        self._outgoing.put(None)
        unasked = not self._closing
        if unasked:
            self._tell(self.lost.set_result, not self._blameless)
        for request in requests:
            self._tell(request.future.set_exception, end())
        started.channel.hang_up()
        started.reap(_LONGEST, 0)  # where that has been done, there is nothing left to wait for
        started.close()
        self._tell(self.ended.set_result, None)
        return unasked, how

    def _tell(self, tell: Callable[[Any], None], what: Any) -> None:
        try:
            tell(what)
        except Exception as error:  # noqa: BLE001 - the next one is to be told all the same
            hand_on(log, logging.ERROR, "%s: %s", self.title, _UNHEARD, error=error)


_DEAF = "it can't be told anything any more"
_GARBLED = "what it says can't be read"
_UNHEARD = "who was to hear of its end has failed"
_NUDGE = Packed(b"", None)
"""Wakes who sends, for there is something to cancel."""


def rss_of(pid: int) -> int | None:
    """Give the resident memory of a process; ``None`` where there is none of that number."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
