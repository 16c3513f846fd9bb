"""When a failed request is made again, and after how long."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from blazen.checks import check_range
from blazen.errors import BlazenError, ProviderError
from blazen.types.record import Settings

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")

BUSY = frozenset({408, 425, 429, 503, 529})
"""The server says that it did not do the work: to ask again is safe."""
LOST = frozenset({500, 502, 504, 520, 521, 522, 523, 524})
"""Nobody knows whether it was done: only what may happen twice is asked again."""

_YEAR = 365.0 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Retry(Settings):
    """How often, and how soon, a failed request is made again."""

    times: int = 3
    """How often at most, after the first try; 0 turns it off."""
    first: float = 0.5
    """Seconds before the first repetition; the pause doubles each time."""
    longest: float = 30.0
    """No pause is longer: where the server asks for more, its refusal is raised at once."""

    def __post_init__(self) -> None:
        check_range("times", self.times, at_least=0, at_most=20, integer=True)
        check_range("first", self.first, at_least=0)
        check_range("longest", self.longest, at_least=0)

    def pause(self, failed: int, asked: float | None = None) -> float | None:
        """Give the seconds before the next try after so many failed ones; ``None``: give up.

        ``asked`` is what the server said in ``Retry-After``.
        """
        if failed > self.times or (asked is not None and asked > self.longest):
            return None
        # Without chance, all who failed together would come back together.
        pause: float = min(self.longest, self.first * 2 ** (failed - 1)) * random.uniform(0.5, 1)  # noqa: S311 - no secret
        return pause if asked is None else min(self.longest, max(pause, asked + pause / 4))


async def repeated(
    attempt: Callable[[], Awaitable[T]],
    retry: Retry,
    *,
    repeatable: Callable[[BlazenError], bool],
    left: Callable[[], float],
    who: str,
) -> T:
    """Give what an attempt gives, made again while that is safe and there is time left.

    ``who`` is asked, as the log has it.
    """
    import asyncio  # here, for the options import this module
    import logging

    failed = 0
    while True:
        try:
            return await attempt()
        except BlazenError as error:
            failed += 1
            pause = retry.pause(failed, getattr(error, "retry_after", None))
            if pause is None or pause >= left() or not repeatable(error):
                raise
            # No message: it may quote what was asked.
            status = getattr(error, "status", None)
            logging.getLogger("blazen").info(
                "%s: %s%s, again in %.1f s (%d of %d)",
                who, type(error).__name__, f" {status}" if status else "", pause, failed,
                retry.times,
            )  # fmt: skip
        await asyncio.sleep(pause)


def is_repeatable(error: BlazenError, *, twice: bool, after_silence: bool = True) -> bool:
    """Say whether a request that failed so may be made again.

    ``twice`` says that it may take effect twice, as one that only reads may; ``after_silence`` that
    one may too to which the server said nothing for as long as it might.
    """
    import httpx2

    cause = error.__cause__
    if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout)):
        return not is_distrust(cause)  # nothing was sent
    if isinstance(cause, httpx2.TimeoutException) and not after_silence:
        return False
    lost = (httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.TimeoutException)
    status = error.status if isinstance(error, ProviderError) else None
    return status in BUSY or (twice and (status in LOST or isinstance(cause, lost)))


def is_distrust(error: BaseException | None) -> bool:
    """Say whether an error is about a certificate, which will be no better the next time."""
    import ssl

    # Below one of our own is what another model met.
    while error is not None and not isinstance(error, (ssl.SSLCertVerificationError, BlazenError)):
        error = error.__cause__ or error.__context__
    return isinstance(error, ssl.SSLCertVerificationError)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds the server asks to wait: a number, a date, or milliseconds."""
    exact = _number(headers.get("retry-after-ms", ""))
    if exact is not None:
        return exact / 1000
    text = headers.get("retry-after", "")
    seconds = _number(text)
    return seconds if seconds is not None else _until(text, headers.get("date", ""))


def _number(text: str) -> float | None:
    # However large it is, it is a wish to wait: more than a year says no more than a year.
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*", text)
    return min(float(found[1]), _YEAR) if found else None


def _until(text: str, now: str) -> float | None:
    """Give the seconds between two dates; by the server's own clock, for ours may be wrong."""
    from datetime import datetime, timezone

    when = _date(text)
    if when is None:
        return None
    seconds = (when - (_date(now) or datetime.now(timezone.utc))).total_seconds()
    return min(max(0.0, seconds), _YEAR)


def _date(text: str) -> datetime | None:
    from datetime import timezone
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError, IndexError):  # it stumbles in all of these ways
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=timezone.utc)
