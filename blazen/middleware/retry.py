"""Requests that are made again when they failed for now."""

from __future__ import annotations

import asyncio
import builtins
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from blazen.checks import check_range
from blazen.errors import AuthError, BlazenError, ProviderError, UnsupportedError, ValidationError
from blazen.middleware.sources import Pieces, Replaceable
from blazen.middleware.wrapping import M, Way, WrappedModel, around
from blazen.remote.retry import BUSY, LOST, Retry, is_repeatable
from blazen.types.chat import Messages
from blazen.types.completion import CompletionOptions, ModelResponse

T = TypeVar("T")

NEVER = (ValidationError, UnsupportedError, AuthError)
"""What would be the same however often it is asked."""

log = logging.getLogger("blazen")


def with_retry(
    model: M,
    retry: Retry | Mapping[str, Any] | None = None,
    *,
    within: float | None = 120.0,
    also: tuple[type[Exception], ...] = (),
) -> M:
    """Give the model with failed requests made again, as long as nothing of an answer has come.

    Made again is what failed for now: a busy or broken provider, a lost connection, a time that
    was up. What is wrong with the request, or with the key, is raised at once.

    Args:
        model: Any chat model. A provider's repeats requests by itself; this comes on top of it.
        retry: How often and how soon; a provider's ``Retry-After`` is kept to.
        within: No repetition begins later than so many seconds after the request.
        also: Further errors to repeat, such as `OutputError`, which a sampled answer may not
            have the next time.
    """
    return around(RetryModel, model, retry, within=within, also=also)


class RetryModel(WrappedModel):
    """A chat model whose failed requests are made again."""

    def __init__(
        self,
        model: Any,
        retry: Retry | Mapping[str, Any] | None,
        *,
        within: float | None,
        also: tuple[type[Exception], ...],
    ) -> None:
        super().__init__(model)
        check_range("within", within, at_least=0)
        self._retry = Retry.of(retry)
        self._within = within
        self._also = _checked(also)

    async def _answer(self, messages: Messages, options: CompletionOptions) -> ModelResponse:
        return await self._tries().run(lambda: self._inner.complete(messages, options))

    async def _begin(self, messages: Messages, options: CompletionOptions, way: Way) -> Pieces:
        tries = self._tries()

        async def attempt() -> Pieces:
            return await self._inner.open(messages, options, way)

        async def again(error: Exception) -> Pieces:
            await tries.pause_after(error)
            return await tries.run(attempt)

        return Replaceable(await tries.run(attempt), again)

    def _tries(self) -> _Tries:
        return _Tries(self._retry, self._within, self._also, self.title)


class _Tries:
    """The tries of one request."""

    def __init__(
        self,
        retry: Retry,
        within: float | None,
        also: tuple[type[Exception], ...],
        title: str,
    ) -> None:
        self._retry = retry
        self._also = also
        self._title = title
        self._failed = 0
        self._time = asyncio.get_running_loop().time
        self._end = None if within is None else self._time() + within

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it is done, or must not be tried any more."""
        while True:
            try:
                return await attempt()
            except Exception as error:  # noqa: BLE001 - raised again there, where it stays
                problem = error
            await self.pause_after(problem)

    async def pause_after(self, error: Exception) -> None:
        """Wait as long as is right after a failure, or raise it."""
        self._failed += 1
        pause = self._retry.pause(self._failed, getattr(error, "retry_after", None))
        late = pause is not None and self._end is not None and self._time() + pause >= self._end
        if pause is None or late or not (isinstance(error, self._also) or is_for_now(error)):
            raise error
        # No message: it may quote what the model was asked.
        log.info(
            "%s: %s, again in %.1f s (%d of %d)",
            self._title, type(error).__name__, pause, self._failed, self._retry.times,
        )  # fmt: skip
        await asyncio.sleep(pause)


def is_for_now(error: BaseException) -> bool:
    """Tell whether the same request may well be answered a little later."""
    if isinstance(error, NEVER):
        return False
    if isinstance(error, (builtins.TimeoutError, ConnectionError)):
        return True
    if not isinstance(error, ProviderError):
        return False
    if error.status is not None:
        return error.status in BUSY | LOST
    # Without the HTTP client it can't be an error of its connections.
    return "httpx2" in sys.modules and is_repeatable(error, twice=True)


def _checked(also: Any) -> tuple[type[Exception], ...]:
    kinds = also if isinstance(also, tuple) else (also,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise ValidationError(f"also takes classes of errors, not {kind!r:.80}")
        if issubclass(kind, NEVER) or kind in (Exception, BlazenError, ProviderError):
            raise ValidationError(
                f"also can't be {kind.__name__}: with it would be repeated what is never better "
                "the next time"
            )
    return kinds
