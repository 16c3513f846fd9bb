"""An official SDK on our own HTTP client: what goes wrong is one of our errors.

The SDK holds no key. The HTTP client puts it into each request, for the provider's own host.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from blazen.errors import BlazenError, ProviderError
from blazen.offline import forbids_remote
from blazen.options.provider import ProviderOptions
from blazen.remote import url as urls
from blazen.remote.client import Clients, open_client
from blazen.remote.failures import failure_inside, shortened
from blazen.remote.keys import Keys
from blazen.remote.opening import EVENTS, OBJECT
from blazen.remote.retry import BUSY, LOST, is_repeatable, repeated
from blazen.remote.secret import Secret
from blazen.remote.timeouts import Deadline, Timeouts

if TYPE_CHECKING:
    import httpx2

    from blazen.remote.guarded import Exchange, GuardedClient

C = TypeVar("C")
E = TypeVar("E")
T = TypeVar("T")

_NOTHING: Any = object()

# Where SDKs send their keys: nothing that they found in the environment may stand there.
_PLACEHOLDERS = ("Authorization", "x-api-key", "x-goog-api-key", "api-key")


class Sdk(Generic[C]):
    """An official SDK: one of its clients for each event loop, closed with it.

    ``open`` makes such a client of an HTTP client and the base URL. It is called in a thread, may
    import there, and gives the SDK some placeholder for a key, and no retries of its own.
    """

    def __init__(
        self,
        options: ProviderOptions,
        *,
        provider: str,
        extra: str,
        base_url: str,
        key: Secret | None,
        key_header: str,
        key_prefix: str,
        open: Callable[[httpx2.AsyncClient, str], C],  # noqa: A002 - what it does
    ) -> None:
        secrets = {
            name: ("", value if isinstance(value, Secret) else Secret(value))
            for name, value in options.headers.items()
        }
        if key is not None:
            secrets[key_header] = (key_prefix, key)
        self.provider = provider
        self.base_url = urls.check_base_url(
            base_url, carries_key=bool(secrets), allow_http=options.allow_http
        )
        self.timeouts = options.timeouts
        self.retry = options.retry
        self._keys = Keys(self.base_url, secrets, others=_PLACEHOLDERS)
        # Not a method of this: the clients would hold it, and only the garbage collector, which
        # closes no connection in order, would let go of both.
        making = partial(_opened, self.base_url, self._keys, open, provider=provider, extra=extra)
        self._clients = Clients(
            partial(making, timeouts=options.timeouts, max_bytes=int(options.max_bytes))
        )

    async def call(self, request: Callable[[C], Awaitable[T]], *, twice: bool = False) -> T:
        """Make one request; it is made again where that is safe.

        ``twice`` says that the request may take effect twice.
        """
        deadline, tried = await self._begun(), list["Exchange"]()

        async def attempt() -> T:
            exchange = self._exchange(deadline, OBJECT)
            tried.append(exchange)
            try:
                return await self._within(exchange, request)
            finally:
                await exchange.aclose()

        return await self._repeated(attempt, deadline, tried, twice=twice)

    async def events(
        self,
        request: Callable[[C], Awaitable[AsyncIterator[E]]],
        *,
        twice: bool = False,
        wanted: str = EVENTS,
    ) -> AsyncGenerator[E, None]:
        """Make a request and give the events of its answer; close what this gives.

        It is made again, where that is safe, until the first event is there. ``wanted`` says what
        comes, if that is no stream of events.
        """
        deadline, tried = await self._begun(), list["Exchange"]()

        async def attempt() -> tuple[Exchange, AsyncIterator[E], E]:
            exchange = self._exchange(deadline, wanted)
            tried.append(exchange)

            async def begin(client: C) -> tuple[AsyncIterator[E], E]:
                stream = aiter(await request(client))
                return stream, await anext(stream, _NOTHING)

            try:
                return exchange, *await self._within(exchange, begin)
            except BaseException:
                await exchange.aclose()
                raise

        exchange, stream, event = await self._repeated(attempt, deadline, tried, twice=twice)
        exchange.cut_in_time()
        try:
            if event is not _NOTHING:
                yield event
            async for event in stream:
                yield event
            exchange.expect_uncut()
        except Exception as error:  # noqa: BLE001 - an SDK has its own, and those below it
            raise self._failed(error, exchange) from self._cause(error, exchange)
        finally:
            await exchange.aclose()
            # Read to the end, which is near now. The SDKs' generators read from one another, and
            # hold themselves: the garbage collector would close them in any order, on any thread.
            with suppress(Exception):
                async for _ in stream:
                    pass

    def error_inside(self, body: Any) -> BlazenError:
        """Give the error that an answer or an event tells of, although its status said nothing.

        Raised within the request it is treated as any other: what may be made again is.
        """
        from blazen.remote.guarded import current

        exchange = current.get(None)
        return failure_inside(
            body,
            {} if exchange is None else exchange.headers,
            provider=self.provider,
            where=self._shown(),
            hide=self._keys.hide,
        )

    def malformed(self, what: str, error: Exception | None = None) -> ProviderError:
        """Give the error for an answer that is not of the shape that it should have."""
        found = ProviderError(
            f"{self._shown()} sends what can't be understood: {shortened(self._keys.hide(what))}",
            provider=self.provider,
        )
        found.__cause__ = error
        return found

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        await self._clients.aclose()

    def _shown(self) -> str:
        return self._keys.hide(urls.shown(self.base_url))

    async def _begun(self) -> Deadline:
        """Give the time that a request has; to import the SDK is no part of it."""
        if forbids_remote():
            raise ProviderError(
                f"nothing was sent to {self._shown()}: BLAZEN_OFFLINE is set",
                provider=self.provider,
            )
        await self._clients.get()
        return Deadline(self.timeouts.total, what=f"the request to {self._shown()}")

    def _exchange(self, deadline: Deadline, wanted: str) -> Exchange:
        from blazen.remote.guarded import Exchange

        return Exchange(
            deadline,
            provider=self.provider,
            timeouts=self.timeouts,
            keys=self._keys,
            wanted=wanted,
        )

    async def _repeated(
        self,
        attempt: Callable[[], Awaitable[T]],
        deadline: Deadline,
        tried: list[Exchange],
        *,
        twice: bool,
    ) -> T:
        def is_safe(error: BlazenError) -> bool:
            # What was answered is paid for, unless the answer says that there is none.
            if tried[-1].is_answered and getattr(error, "status", None) not in BUSY | LOST:
                return False
            return is_repeatable(error, twice=twice, after_silence=False)

        return await repeated(
            attempt,
            self.retry,
            repeatable=is_safe,
            left=deadline.left,
            who=f"{self.provider} at {self._shown()}",
        )

    async def _within(self, exchange: Exchange, request: Callable[[C], Awaitable[T]]) -> T:
        from blazen.remote.guarded import current

        client = cast("GuardedClient", await self._clients.get())
        token = current.set(exchange)
        try:
            return await exchange.deadline.wait(request(client.sdk))
        except Exception as error:  # noqa: BLE001 - an SDK has its own, and those below it
            raise self._failed(error, exchange) from self._cause(error, exchange)
        finally:
            current.reset(token)

    def _failed(self, error: Exception, exchange: Exchange) -> BlazenError:
        """Give our error for what an SDK raised."""
        if exchange.failure is not None:
            return exchange.failure
        if isinstance(error, BlazenError):
            return error
        # The SDKs keep what the server said about an error in a stream here.
        for name in ("body", "details"):
            told = getattr(error, name, None)
            if isinstance(told, dict):
                return failure_inside(
                    told,
                    exchange.headers,
                    provider=self.provider,
                    where=exchange.where,
                    hide=self._keys.hide,
                )
        said = f"{type(error).__name__}: {error}"
        if exchange.response is None:
            return ProviderError(
                f"nothing was sent to {self._shown()}: {shortened(self._keys.hide(said))}",
                provider=self.provider,
            )
        return self.malformed(said)

    def _cause(self, error: Exception, exchange: Exchange) -> BaseException | None:
        """Give what an error of ours came from, unless a server made it hold a key."""
        known = exchange.failure
        if known is not None and known.__cause__ is not None:
            return known.__cause__
        if error is known or isinstance(error, BlazenError):
            return error.__cause__
        text = f"{error!s}{error!r}{vars(error)!r}"
        return None if self._keys.hide(text) != text else error


def _opened(
    base_url: str,
    keys: Keys,
    open_sdk: Callable[[httpx2.AsyncClient, str], Any],
    *,
    provider: str,
    extra: str,
    timeouts: Timeouts,
    max_bytes: int,
) -> httpx2.AsyncClient:
    from blazen.remote.guarded import GuardedClient

    client = open_client(
        timeouts,
        extra=extra,
        what=f"the {provider!r} backend",
        host=urls.split(base_url).hostname,
        kind=GuardedClient,
        connections=None,  # a request that waits for another's stream could wait for minutes
    )
    client.keys, client.max_bytes = keys, max_bytes
    client.sdk = open_sdk(client, base_url)
    return cast("httpx2.AsyncClient", client)
