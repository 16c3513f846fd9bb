"""A remote service: requests to it carry its key, and what goes wrong is one of our errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from blazen.errors import (
    BlazenError,
    ProviderError,
    ValidationError,
)
from blazen.offline import forbids_remote
from blazen.remote import url as urls
from blazen.remote.body import beginning, said
from blazen.remote.client import Clients, open_client
from blazen.remote.failures import broken, failure, network_errors, request_id
from blazen.remote.keys import Keys
from blazen.remote.logs import kept_short
from blazen.remote.retry import Retry, is_repeatable, repeated
from blazen.remote.secret import Secret
from blazen.remote.timeouts import Deadline, Timeouts

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

_REDIRECTS = 5


class Service:
    """A service at a URL. Its secrets go to that URL's host and to no other.

    ``secrets`` are headers: for each its name, what stands before the key, and the key.
    """

    def __init__(
        self,
        base_url: object,
        *,
        provider: str,
        extra: str,
        secrets: Mapping[str, tuple[str, Secret]],
        allow_http: bool = False,
        timeouts: Timeouts,
        retry: Retry,
    ) -> None:
        self.base_url = urls.check_base_url(
            base_url, carries_key=bool(secrets), allow_http=allow_http
        )
        self.provider = provider
        self.timeouts = timeouts
        self.retry = retry
        self._keys = Keys(self.base_url, secrets)
        self._allow_http = allow_http
        host = urls.split(self.base_url).hostname
        what = f"the {provider!r} backend"
        self._clients = Clients(partial(open_client, timeouts, extra=extra, what=what, host=host))

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        await self._clients.aclose()

    def hide(self, text: str) -> str:
        """Give a text without any of the secrets."""
        return self._keys.hide(text)

    def shown(self, url: str) -> str:
        """Give a URL for a message, without what may be secret."""
        return self.hide(urls.shown(url))

    def deadline(self) -> Deadline:
        """Give the moment by which a request that begins now must be answered."""
        return Deadline(self.timeouts.total, what=f"the request to {self.shown(self.base_url)}")

    async def repeated(
        self, attempt: Callable[[], Awaitable[T]], deadline: Deadline, *, twice: bool
    ) -> T:
        """Give what an attempt gives; what fails is made again while that is safe.

        ``twice`` says that the request may take effect twice, as one that only reads may.
        """
        return await repeated(
            attempt,
            self.retry,
            repeatable=partial(is_repeatable, twice=twice),
            left=deadline.left,
            who=f"{self.provider} at {self.shown(self.base_url)}",
        )

    async def send(
        self, method: str, url: str, *, deadline: Deadline, **content: Any
    ) -> httpx2.Response:
        """Make one request and give its answer with the body still to be read: close it.

        A status that tells of an error is raised. Redirects are followed where nothing leaks.
        """
        if forbids_remote():
            raise ProviderError(
                f"nothing was sent to {self.shown(url)}: BLAZEN_OFFLINE is set",
                provider=self.provider,
            )
        client = await self._clients.get()
        await self._check_named(url, deadline)
        for _ in range(_REDIRECTS + 1):
            response = await self._once(client, method, url, deadline, content)
            if not response.has_redirect_location:
                return await self._checked(response, deadline)
            await response.aclose()
            target = self._target(response)
            await self._check_named(target, deadline)
            method, content = self._redirected(method, target, response, content)
            url = target
        raise self._refused(f"{self.shown(url)} redirects again and again", response)

    async def read(
        self, response: httpx2.Response, deadline: Deadline, *, limit: int, advice: str
    ) -> bytes:
        """Read the whole body, unless it is larger than the limit."""
        where = self.shown(str(response.url))
        too_large = self._refused(f"{where} sends more than {limit:,} bytes: {advice}", response)
        announced = response.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            raise too_large
        known_as = request_id(response.headers, self.hide)
        body = await self.step(beginning(response, limit), deadline, where, known_as)
        if len(body) > limit:
            raise too_large
        return body

    async def step(
        self, step: Awaitable[T], deadline: Deadline, where: str, known_as: str | None = None
    ) -> T:
        """Await one step of an exchange; what the HTTP client raises becomes one of our errors."""
        try:
            return await deadline.wait(step)
        except network_errors() as error:
            if isinstance(error, BlazenError):
                raise
            raise broken(
                error,
                self.timeouts,
                provider=self.provider,
                where=where,
                known_as=known_as,
                hide=self.hide,
            ) from error

    async def _once(
        self,
        client: httpx2.AsyncClient,
        method: str,
        url: str,
        deadline: Deadline,
        content: Mapping[str, Any],
    ) -> httpx2.Response:
        async def exchange() -> httpx2.Response:
            request = client.build_request(method, url, **content)
            try:
                with kept_short():
                    return await client.send(request, stream=True, auth=self._keys.sign)
            finally:
                self._keys.unsign(request)

        return await self.step(exchange(), deadline, self.shown(url))

    async def _check_named(self, url: str, deadline: Deadline) -> None:
        """Refuse a URL that the service named, where it leads to what only this side can reach."""
        import httpx2

        try:
            # As the client reads it: what two parsers read differently would pass here.
            target = str(httpx2.URL(url))
            host, scheme = urls.split(target).hostname or "", urls.split(target).scheme
        except (ValidationError, httpx2.InvalidURL, UnicodeError) as error:
            raise self._refused(f"the service names a URL that is none: {error}") from error
        if self._keys.is_ours(target):
            return
        ours = urls.split(self.base_url)
        if scheme == "http" and ours.scheme == "https" and not self._allow_http:
            raise self._refused(
                f"the service names {urls.shown(url)}, which is not encrypted: "
                "say allow_http=True if that is right"
            )
        if not await deadline.wait(urls.leads_home(host)):
            return
        if not await deadline.wait(urls.leads_home(ours.hostname or "")):
            raise self._refused(
                f"the service names {urls.shown(url)}, which is a place in your own network: "
                "nothing was sent there"
            )

    def _target(self, response: httpx2.Response) -> str:
        import httpx2

        try:
            return str(response.url.join(response.headers["location"]))
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise self._refused(f"Invalid URL in location header: {error}") from error

    def _redirected(
        self, method: str, target: str, response: httpx2.Response, content: dict[str, Any]
    ) -> tuple[str, dict[str, Any]]:
        """Give the request that a redirect asks for, unless what it would carry is not for it."""
        here = str(response.url)
        same = urls.origin(target) == urls.origin(here)
        reads = method in ("GET", "HEAD")
        if response.status_code == 303 and not reads and same:
            return "GET", {}
        if not reads and not (same and response.status_code in (307, 308)):
            raise self._refused(
                f"{urls.shown(here)} redirects to {urls.shown(target)}: what is sent, and the key, "
                "go only to base_url; set that to the right one",
                response,
            )
        return method, content

    async def _checked(self, response: httpx2.Response, deadline: Deadline) -> httpx2.Response:
        if response.is_success:
            return response
        raise await self._failure(response, deadline)

    async def _failure(self, response: httpx2.Response, deadline: Deadline) -> BlazenError:
        url = str(response.url)
        return failure(
            response.status_code,
            response.headers,
            await said(response, deadline),
            provider=self.provider,
            where=self.shown(url),
            hide=self.hide,
            had_key=self._keys.is_ours(url),
        )

    def _refused(self, message: str, response: httpx2.Response | None = None) -> ProviderError:
        return ProviderError(
            self.hide(message),
            provider=self.provider,
            status=None if response is None else response.status_code,
            request_id=None if response is None else request_id(response.headers, self.hide),
        )
