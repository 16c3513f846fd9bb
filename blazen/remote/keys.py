"""The headers that are secret: put into a request when it is sent, to one place and to no other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from blazen.errors import AuthError, ValidationError
from blazen.remote import url as urls
from blazen.remote.secret import Secret

if TYPE_CHECKING:
    import httpx2


_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OF_THE_REQUEST = ("content-length", "content-type", "transfer-encoding", "host")


def check_header(name: object) -> None:
    """Refuse what is no name of a header, or is one that belongs to the request itself."""
    if not isinstance(name, str) or not _HEADER.fullmatch(name):
        raise ValidationError(f"{name!r:.60} is no name of a header")
    if name.lower() in _OF_THE_REQUEST:
        raise ValidationError(
            f"the header {name} belongs to the request, which sets it: leave it out"
        )


class Keys:
    """Secret headers for one host: for each its name, what stands before the key, and the key.

    ``others`` are headers that someone else puts in, and that are taken out: what an SDK sends in
    the place of a key that it does not have.
    """

    def __init__(
        self,
        base_url: str,
        secrets: Mapping[str, tuple[str, Secret]],
        *,
        others: tuple[str, ...] = (),
    ) -> None:
        self._base_url = base_url
        self._secrets = dict(secrets)
        self._others = others
        # The longest first, for one may be the beginning of another.
        self._by_length = sorted(
            (secret for _, secret in self._secrets.values()),
            key=lambda secret: len(secret.reveal()),
            reverse=True,
        )
        self._ours: tuple[str, str, int] | None = None

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def hide(self, text: str) -> str:
        """Give a text without any of the secrets."""
        for secret in self._by_length:
            text = secret.hidden_in(text)
        return text

    def sign(self, request: httpx2.Request) -> httpx2.Request:
        """Put the keys in, if the request goes where they belong."""
        self.unsign(request)
        if self._secrets and self.is_ours(str(request.url)):
            for name, (prefix, secret) in self._secrets.items():
                request.headers[name] = prefix + secret.reveal()
        return request

    def unsign(self, request: httpx2.Request) -> None:
        """Take the keys out: the answer, and the error, hold their request."""
        for name in (*self._secrets, *self._others):
            request.headers.pop(name, None)

    def is_ours(self, url: str) -> bool:
        """Say whether a URL, as the client writes it, is of the place that the keys are for."""
        import httpx2

        if self._ours is None:
            self._ours = urls.origin(str(httpx2.URL(self._base_url)))
        return urls.origin(url) == self._ours


def key_of(given: Secret | None, *variables: str, provider: str) -> Secret:
    """Give the key, or what the first of the environment variables that is set holds."""
    for variable in variables:
        given = Secret.of(given, variable=variable)
        if given is not None:
            return given
    raise AuthError(
        f"{provider} needs a key: give api_key, or set {' or '.join(variables)}", provider=provider
    )
