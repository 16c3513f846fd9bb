"""Who this server is called, and which pages may ask: against other sites in the user's browser."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from blazen.server.settings import ServerSettings

_NEAR = ("localhost", "ip6-localhost")


class Hosts:
    """Knows the names that a request may call this server by.

    A page of another site can have its own name lead to this machine (DNS rebinding), and would
    then be of the same origin as the server. It can't choose the name that the browser sends.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._any = "*" in settings.allowed_hosts
        self._local = settings.is_local
        self._names = {_bare(name) for name in (*settings.allowed_hosts, settings.host)}
        self._ends = tuple(name for name in self._names if name.startswith("."))
        if not self._local:
            own = socket.gethostname().lower()
            self._names |= {own, f"{own}.local", "host.docker.internal"}

    def knows(self, header: str) -> bool:
        """Say whether a ``Host`` header names this server."""
        if self._any:
            return True
        name = _bare(header)
        if name in _NEAR or name in self._names or name.endswith(".localhost"):
            return True
        try:
            # An address is no name that somebody else could lead here.
            return ipaddress.ip_address(name).is_loopback or not self._local
        except ValueError:
            return bool(self._ends) and name.endswith(self._ends)


class Origins:
    """Knows the pages of others that may ask: none, unless the settings name them."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._any = "*" in allowed
        exact = [item.rstrip("/").lower() for item in allowed]
        self._exact = {item for item in exact if not item.endswith("*")}
        self._starts = tuple(item[:-1] for item in exact if item.endswith("*") and item != "*")

    def allows(self, origin: str) -> bool:
        """Say whether a page of another origin may ask."""
        name = origin.lower()
        return (
            self._any
            or name in self._exact
            or (bool(self._starts) and name.startswith(self._starts))
        )


def is_own(origin: str, host: str) -> bool:
    """Say whether a page was served by this server: its origin names the same host and port."""
    # Not the scheme: what ends TLS before this server has another than this server.
    return bool(host) and origin.lower().partition("://")[2] == host.lower()


def _bare(header: str) -> str:
    """Give a host's name or address, without port, brackets and final dot."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    if name.count(":") == 1:
        name = name.partition(":")[0]
    return name.removesuffix(".")
