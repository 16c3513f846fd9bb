"""Typical traces: what a manager has to cope with, made to order.

Whatever is drawn here is drawn with ``random.Random(seed).random()`` alone, whose numbers are the
same on every Python, so that a trace is the same wherever it is made.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence

from blazen.checks import check_range, parse_bytes
from blazen.errors import ValidationError
from blazen.manager.simulation.trace import Request, SimulatedModel, Trace
from blazen.types.footprint import Footprint

__all__ = [
    "Request",
    "SimulatedModel",
    "Trace",
    "bursts",
    "day_and_night",
    "models",
    "one_huge",
    "zipf",
]

DAY_SECONDS = 86_400.0
HUGE = 8
"""How many times as large as the others the huge model is."""


def models(
    count: int,
    size: int | str = "4GiB",
    *,
    largest: int | str | None = None,
    pool: str = "cpu",
    bytes_per_second: int | str = "2GiB",
    seed: int = 0,
) -> tuple[SimulatedModel, ...]:
    """Make models for a trace: all of one size, or of sizes drawn between two.

    Args:
        count: How many.
        size: What each takes; with ``largest``, what the smallest may take.
        largest: What the largest may take. As many are small as are large, on a scale of factors.
        pool: Whose memory they take.
        bytes_per_second: How fast they load.
        seed: Another one gives other sizes.
    """
    check_range("count", count, at_least=1, integer=True)
    least = parse_bytes("size", size)
    most = least if largest is None else parse_bytes("largest", largest)
    speed = parse_bytes("bytes_per_second", bytes_per_second)
    if most < least:
        raise ValidationError(f"largest is {largest!r}, and size is more than that: {size!r}")
    dice = _Dice(seed)
    sizes = [round(least * (most / least) ** dice.roll()) for _ in range(count)]
    width = len(str(count - 1))
    return tuple(
        SimulatedModel(f"model-{number:0{width}}", {pool: takes}, round(takes / speed, 6))
        for number, takes in enumerate(sizes)
    )


def zipf(
    models: int | Sequence[SimulatedModel] = 20,
    requests: int = 1000,
    *,
    exponent: float = 1.0,
    per_second: float = 1.0,
    seconds: float = 1.0,
    seed: int = 0,
) -> Trace:
    """A few models are asked for often, and many now and then.

    Args:
        models: The models, the most popular first; or how many.
        requests: How many requests.
        exponent: How uneven it is: the second model is asked for ``2 ** exponent`` times less often
            than the first. With 0 all are alike.
        per_second: How many requests come in a second, on average and at random.
        seconds: How long a request takes, on average.
        seed: Another one gives another trace.
    """
    every, dice = _models(models), _Dice(seed)
    check_range("exponent", exponent, at_least=0)
    popular = _Popularity(every, exponent)
    clock = _clock(dice, per_second)
    return _trace(every, requests, seconds, dice, lambda: (next(clock), popular.draw(dice)))


def bursts(
    models: int | Sequence[SimulatedModel] = 20,
    requests: int = 1000,
    *,
    burst: int = 20,
    pause: float = 30.0,
    per_second: float = 5.0,
    seconds: float = 1.0,
    seed: int = 0,
) -> Trace:
    """One model is asked for many times on end, then another.

    Args:
        models: The models, all alike; or how many.
        requests: How many requests.
        burst: How many of them come for one model, one after the other.
        pause: Seconds from the end of a burst to the next, on average.
        per_second: How many requests come in a second of a burst.
        seconds: How long a request takes, on average.
        seed: Another one gives another trace.
    """
    every, dice = _models(models), _Dice(seed)
    check_range("burst", burst, at_least=1, integer=True)
    check_range("pause", pause, at_least=0)
    alike, clock = _Popularity(every, 0.0), _clock(dice, per_second)

    def draw() -> Iterator[tuple[float, SimulatedModel]]:
        paused = 0.0
        while True:
            model = alike.draw(dice)
            for _ in range(burst):
                yield paused + next(clock), model
            paused += dice.wait(pause)

    return _trace(every, requests, seconds, dice, draw().__next__)


def day_and_night(
    models: int | Sequence[SimulatedModel] = 20,
    requests: int = 1000,
    *,
    days: float = 2.0,
    night: float = 0.1,
    exponent: float = 1.0,
    seconds: float = 1.0,
    seed: int = 0,
) -> Trace:
    """Some models are busy by day, others by night, and most of it is by day.

    It begins at midnight.

    Args:
        models: The models, the first half of them those of the day; or how many.
        requests: How many requests.
        days: How many days of 24 hours these are spread over.
        night: How many come at midnight for each that comes at noon.
        exponent: How uneven the popularity is in either half, as for `zipf`.
        seconds: How long a request takes, on average.
        seed: Another one gives another trace.
    """
    every, dice = _models(models, at_least=2), _Dice(seed)
    check_range("days", days, at_least=0)
    check_range("night", night, at_least=0, at_most=1)
    check_range("exponent", exponent, at_least=0)
    half = (len(every) + 1) // 2
    by_day, by_night = _Popularity(every[:half], exponent), _Popularity(every[half:], exponent)

    def draw() -> tuple[float, SimulatedModel]:
        while True:
            at = dice.roll() * days
            light = (1 - math.cos(2 * math.pi * at)) / 2
            if dice.roll() < night + (1 - night) * light:
                shift = by_day if dice.roll() < light else by_night
                return at * DAY_SECONDS, shift.draw(dice)

    return _trace(every, requests, seconds, dice, draw)


def one_huge(
    models: int | Sequence[SimulatedModel] = 20,
    requests: int = 1000,
    *,
    share: float = 0.02,
    exponent: float = 1.0,
    per_second: float = 1.0,
    seconds: float = 1.0,
    seed: int = 0,
) -> Trace:
    """Small models, and now and then a huge one that has no room beside most of them.

    Args:
        models: The models, the huge one first; or how many: then it is eight times as large as each
            of the others.
        requests: How many requests.
        share: How many of the requests are for the huge one.
        exponent: How uneven the popularity of the others is, as for `zipf`.
        per_second: How many requests come in a second, on average and at random.
        seconds: How long a request takes, on average.
        seed: Another one gives another trace.
    """
    check_range("share", share, at_least=0, at_most=1)
    check_range("exponent", exponent, at_least=0)
    every, dice = _models(models, at_least=2), _Dice(seed)
    if isinstance(models, int):
        every = (_huge(every[0]), *every[1:])
    small, clock = _Popularity(every[1:], exponent), _clock(dice, per_second)

    def draw() -> tuple[float, SimulatedModel]:
        return next(clock), every[0] if dice.roll() < share else small.draw(dice)

    return _trace(every, requests, seconds, dice, draw)


class _Dice:
    """Draws numbers; the same seed draws the same."""

    def __init__(self, seed: int) -> None:
        check_range("seed", seed, integer=True)
        self.roll = random.Random(seed).random  # noqa: S311 - a trace is no secret

    def wait(self, mean: float) -> float:
        """Draw a time until something that comes at random."""
        return -mean * math.log(1 - self.roll())


class _Popularity:
    """Draws models, the first ones more often."""

    def __init__(self, every: Sequence[SimulatedModel], exponent: float) -> None:
        self._every = every
        weights = (rank**-exponent for rank in range(1, len(every) + 1))
        self._up_to = list(itertools.accumulate(weights))

    def draw(self, dice: _Dice) -> SimulatedModel:
        at = bisect.bisect(self._up_to, dice.roll() * self._up_to[-1])
        return self._every[min(at, len(self._every) - 1)]


def _models(given: int | Sequence[SimulatedModel], at_least: int = 1) -> Sequence[SimulatedModel]:
    every = models(given) if isinstance(given, int) else tuple(given)
    if len(every) < at_least:
        raise ValidationError(f"this trace needs at least {at_least} models, not {len(every)}")
    return every


def _huge(model: SimulatedModel) -> SimulatedModel:
    resident = {pool: HUGE * size for pool, size in model.takes.resident.items()}
    return SimulatedModel("huge", Footprint(resident), round(HUGE * model.load_seconds, 6))


def _clock(dice: _Dice, per_second: float) -> Iterator[float]:
    check_range("per_second", per_second, at_least=0)
    if not per_second:
        raise ValidationError("per_second must be more than 0, or no request ever comes")
    return itertools.accumulate(dice.wait(1 / per_second) for _ in itertools.count())


def _trace(
    every: Sequence[SimulatedModel],
    requests: int,
    seconds: float,
    dice: _Dice,
    draw: Callable[[], tuple[float, SimulatedModel]],
) -> Trace:
    check_range("requests", requests, at_least=0, integer=True)
    check_range("seconds", seconds, at_least=0)
    drawn = []
    for _ in range(requests):
        at, model = draw()
        # To the microsecond: the last digit of a logarithm depends on the machine.
        drawn.append(Request(round(at, 6), model.id, round(dice.wait(seconds), 6)))
    return Trace(tuple(every), tuple(drawn))
