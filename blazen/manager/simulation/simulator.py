"""What a manager would do with a trace of requests: the same decisions, on a clock of its own.

Everything that decides is the manager's own `Scheduler`; only loads, unloads and requests are
made up: each takes the seconds that the trace says, whatever else goes on. So the answer is the
same every time, and a day of requests takes seconds.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from blazen.checks import check_range
from blazen.errors import BudgetError
from blazen.manager.entries import Entry, Load, Settle, StopLoading, Ticket, Unload, Wake
from blazen.manager.events import EventKind
from blazen.manager.policy import Policy, least_recently_used
from blazen.manager.pools import read_budgets
from blazen.manager.scheduler import Scheduler
from blazen.manager.simulation.optimum import find_optimum
from blazen.manager.simulation.report import ModelUse, PoolUse, SimulationReport, Waits
from blazen.manager.simulation.trace import Request, SimulatedModel, Trace

MAX_WAITING = 10_000


def simulate(
    trace: Iterable[SimulatedModel | Request],
    pools: Mapping[str, int | str],
    policy: Policy = least_recently_used,
    *,
    cores: int | None = None,
    timeout: float | None = None,
    max_waiting: int = MAX_WAITING,
) -> SimulationReport:
    """Replay requests, and report what a manager with these pools would have done.

    Args:
        trace: The models and the requests for them: a `Trace`, or any iterable of both.
        pools: Every pool's budget: ``{"cpu": "48GiB", "gpu:0": "20GiB"}``.
        policy: Which models go first: `least_recently_used`, `ReloadCost`, or your own.
        cores: How many cores the models that say how many they use may keep busy together; any
            number by default.
        timeout: Seconds that a request waits for its model at the longest.
        max_waiting: How many requests may wait at once.
    """
    check_range("cores", cores, at_least=1, integer=True)
    check_range("timeout", timeout, at_least=0)
    check_range("max_waiting", max_waiting, at_least=1, integer=True)
    budgets = read_budgets(None, None, pools)
    run = _Run(Trace.of(trace), budgets, policy, cores or 0, timeout, max_waiting)
    run.play()
    return run.report()


class _Asked(Ticket):
    """A request that was made."""

    __slots__ = ("began", "request")

    def __init__(self, entry: Entry, request: Request) -> None:
        super().__init__(entry, priority=request.priority, cores=True)
        self.request = request
        self.began: float | None = None


class _Counts:
    """What was counted of one model."""

    def __init__(self, model: SimulatedModel) -> None:
        self.model = model
        self.requests = 0
        self.refused = 0
        self.late = 0
        self.loads = 0
        self.evictions = 0
        self.waits: list[float] = []


class _Run:
    """One replay, from its first request to the end of the last."""

    def __init__(
        self,
        trace: Trace,
        budgets: Mapping[str, int],
        policy: Policy,
        cores: int,
        timeout: float | None,
        max_waiting: int,
    ) -> None:
        self._trace = trace
        self._budgets = budgets
        self._policy = policy
        self._timeout = timeout
        self._scheduler = Scheduler(
            budgets, policy=policy, cores=cores, max_waiting=max_waiting, tell=self._heard
        )
        self._counts = {model.id: _Counts(model) for model in trace.models}
        self._due: list[tuple[float, int, int, Callable[[Any], None], Any]] = []
        self._numbers = itertools.count()
        self._clients: dict[str, deque[Request]] = {}
        self._open = len(trace.requests)
        """Requests that have not ended."""
        self._running = 0
        self._loading: dict[Entry, int] = {}
        """Which of its loads a model is at."""
        self._began: list[str] = []
        """The models of the requests, in the order in which these began."""
        self._asked: list[_Asked] = []
        self._idle_unloads = 0
        self._now = self._first = self._last = 0.0
        self._busy = 0.0
        self._peak = dict.fromkeys(budgets, 0)
        self._byte_seconds = dict.fromkeys(budgets, 0.0)
        self._add_models()
        self._add_requests()

    def _add_models(self) -> None:
        for model in self._trace.models:
            self._scheduler.check(model.takes, model.id)
            self._scheduler.add(
                Entry(
                    model.id,
                    footprint=model.takes,
                    pinned=model.pinned,
                    priority=model.priority,
                    keep_alive=model.keep_alive,
                    threads=model.threads,
                )
            )

    def _add_requests(self) -> None:
        for request in self._trace.requests:
            queue = self._clients.get(request.client)
            if queue is None:
                self._at(request.at, self._ask, request, rank=1)
                if request.client:
                    self._clients[request.client] = deque()
            else:
                queue.append(request)

    # The clock

    def _at(self, time: float, what: Callable[[Any], None], about: Any, rank: int = 0) -> None:
        """Have something happen. What ends at a time comes before the requests of that time."""
        heapq.heappush(self._due, (time, rank, next(self._numbers), what, about))

    def play(self) -> None:
        """Let everything happen in its order."""
        if self._due:
            self._now = self._first = self._last = self._due[0][0]
        while self._open:
            assert self._due, f"{self._open} requests wait, and nothing will ever answer them"
            time, _, _, what, about = heapq.heappop(self._due)
            self._pass_to(time)
            what(about)
            self._perform()

    def _pass_to(self, time: float) -> None:
        used, passed = self._scheduler.ledger.used, time - self._now
        if passed:
            for pool in self._budgets:
                self._byte_seconds[pool] += used[pool] * passed
            if self._running:
                self._busy += passed
        self._now = time

    def _perform(self) -> None:
        """Do what the scheduler says; each thing takes the time that it takes."""
        used = self._scheduler.ledger.used
        for pool, peak in self._peak.items():
            if used[pool] > peak:
                self._peak[pool] = used[pool]
        for action in self._scheduler.take_actions():
            if isinstance(action, Settle):
                if isinstance(action.ticket, _Asked):
                    self._settled(action.ticket, action.error)
            elif isinstance(action, Load):
                self._load(action.entry)
            elif isinstance(action, Unload):
                model = self._counts[action.entry.id].model
                self._at(self._now + model.unload_seconds, self._unloaded, action.entry)
            elif isinstance(action, StopLoading):
                self._stop_loading(action.entry)
            elif isinstance(action, Wake):
                self._at(max(action.at, self._now), self._wake, None)

    # Requests

    def _ask(self, request: Request) -> None:
        counts = self._counts[request.model]
        counts.requests += 1
        asked = _Asked(self._scheduler.entries[request.model], request)
        asked.since = self._now
        self._asked.append(asked)
        if self._scheduler.acquire(asked, self._now):
            self._settled(asked, None)
            return
        try:
            self._scheduler.wait(asked, self._now)
        except BudgetError as error:
            self._settled(asked, error)
            return
        if self._timeout is not None:
            self._at(self._now + self._timeout, self._give_up, asked)

    def _settled(self, asked: _Asked, error: BaseException | None) -> None:
        counts = self._counts[asked.request.model]
        if error is not None:
            counts.refused += 1
            self._over(asked)
            return
        asked.began = self._now
        counts.waits.append(self._now - asked.since)
        self._began.append(asked.request.model)
        self._running += 1
        self._at(self._now + asked.request.seconds, self._end, asked)

    def _end(self, asked: _Asked) -> None:
        self._running -= 1
        self._scheduler.release(asked, self._now)
        self._over(asked)

    def _give_up(self, asked: _Asked) -> None:
        if asked.waiting:
            self._counts[asked.request.model].late += 1
            self._scheduler.cancel(asked, self._now)
            self._over(asked)

    def _over(self, asked: _Asked) -> None:
        self._open -= 1
        self._last = self._now
        client = asked.request.client
        if client and self._clients[client]:
            following = self._clients[client].popleft()
            self._at(max(following.at, self._now), self._ask, following, rank=1)

    # Loads

    def _load(self, entry: Entry) -> None:
        load = self._loading[entry] = next(self._numbers)
        seconds = self._counts[entry.id].model.load_seconds
        self._at(self._now + seconds, self._loaded, (entry, load))

    def _loaded(self, which: tuple[Entry, int]) -> None:
        entry, load = which
        if self._loading.get(entry) != load:
            return  # it was stopped
        counts = self._counts[entry.id]
        counts.loads += 1
        charges = counts.model.takes.resident
        self._scheduler.loaded(entry, charges, counts.model.load_seconds, self._now)

    def _stop_loading(self, entry: Entry) -> None:
        if self._loading.pop(entry, None) is not None:
            seconds = self._counts[entry.id].model.unload_seconds
            self._at(self._now + seconds, self._stopped, entry)

    def _stopped(self, entry: Entry) -> None:
        self._scheduler.load_failed(entry, None, self._now)

    def _unloaded(self, entry: Entry) -> None:
        self._scheduler.unloaded(entry, {}, self._now)

    def _wake(self, _: None) -> None:
        self._scheduler.pump(self._now)

    def _heard(self, kind: EventKind, id: str, **_: Any) -> None:  # noqa: A002
        if kind is EventKind.Evicting:
            self._counts[id].evictions += 1
        elif kind is EventKind.Unloading:
            self._idle_unloads += 1

    # What came of it

    def report(self) -> SimulationReport:
        """Sum it up."""
        models = tuple(_use(counts) for counts in self._counts.values())
        makespan = self._last - self._first
        as_asked = [asked.request.model for asked in self._asked if asked.began is not None]
        footprints = {model.id: model.takes for model in self._trace.models}
        pinned = {model.id for model in self._trace.models if model.pinned}
        return SimulationReport(
            policy=getattr(self._policy, "__name__", None) or repr(self._policy),
            requests=len(self._asked),
            answered=len(self._began),
            refused=sum(model.refused for model in models),
            late=sum(model.late for model in models),
            loads=sum(model.loads for model in models),
            evictions=sum(model.evictions for model in models),
            idle_unloads=self._idle_unloads,
            bytes_loaded=sum(model.bytes_loaded for model in models),
            waits=Waits.of(w for counts in self._counts.values() for w in counts.waits),
            makespan=makespan,
            busy_share=self._busy / makespan if makespan else 0.0,
            pools=tuple(
                PoolUse(
                    pool,
                    budget,
                    self._peak[pool],
                    self._byte_seconds[pool] / makespan if makespan else 0.0,
                )
                for pool, budget in self._budgets.items()
            ),
            models=models,
            optimum=find_optimum(self._began, footprints, self._budgets, pinned),
            optimum_as_asked=find_optimum(as_asked, footprints, self._budgets, pinned),
        )


def _use(counts: _Counts) -> ModelUse:
    return ModelUse(
        counts.model.id,
        requests=counts.requests,
        answered=len(counts.waits),
        refused=counts.refused,
        late=counts.late,
        loads=counts.loads,
        evictions=counts.evictions,
        bytes_loaded=counts.loads * sum(counts.model.takes.resident.values()),
        waits=Waits.of(counts.waits),
    )
