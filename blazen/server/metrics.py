"""Requests, counted by route and status, as Prometheus reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class RequestCounters:
    """Counts requests: how many were answered and how, how long they took, and how many go on."""

    def __init__(self) -> None:
        self.going = 0
        self.waiting = 0
        self._answers: dict[tuple[str, str, int], int] = {}
        self._times: dict[str, list[float]] = {}

    def add(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer. ``route`` is its template, so that there are only so many."""
        key = route, method, status
        self._answers[key] = self._answers.get(key, 0) + 1
        times = self._times.setdefault(route, [0.0] * (len(SECONDS) + 2))
        times[bisect_left(SECONDS, seconds)] += 1
        times[-1] += seconds

    def text(self) -> str:
        """Give all of it in Prometheus's text format."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _head("blazen_http_requests_total", "counter", "Requests that were answered.")
        for (route, method, status), count in self._answers.items():
            labels = f'{_route(route)},method="{method}",status="{status}"'
            yield f"blazen_http_requests_total{{{labels}}} {count}"
        yield from _head("blazen_http_request_seconds", "histogram", "How long answers took.")
        for route, times in self._times.items():
            count = 0
            for most, more in zip((*SECONDS, "+Inf"), times, strict=False):
                count += int(more)
                yield f'blazen_http_request_seconds_bucket{{{_route(route)},le="{most}"}} {count}'
            yield f"blazen_http_request_seconds_sum{{{_route(route)}}} {times[-1]!r}"
            yield f"blazen_http_request_seconds_count{{{_route(route)}}} {count}"
        yield from _head("blazen_http_requests_going", "gauge", "Requests that are worked on.")
        yield f"blazen_http_requests_going {self.going}"
        yield from _head("blazen_http_requests_waiting", "gauge", "Requests that wait for a turn.")
        yield f"blazen_http_requests_waiting {self.waiting}"


def _head(name: str, kind: str, what: str) -> tuple[str, str]:
    return f"# HELP {name} {what}", f"# TYPE {name} {kind}"


def _route(route: str) -> str:
    return f'route="{route.translate(_ESCAPED)}"'
