"""URLs of remote services: checked before anything is sent to them."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from blazen.errors import ValidationError

_PORTS = {"http": 80, "https": 443}


def check_base_url(url: object, *, carries_key: bool, allow_http: bool = False) -> str:
    """Give the URL of a service without its last slash, or say why nothing can be sent there."""
    if not isinstance(url, str):
        raise ValidationError(f"base_url must be a text, not {type(url).__name__}")
    parts = split(url)
    if parts.username is not None or parts.password is not None:
        raise ValidationError(
            f"base_url holds an account ({shown(url)}): leave it out and give the key as api_key"
        )
    if parts.query or parts.fragment:
        raise ValidationError(
            f"base_url ends with its path, unlike {shown(url)} with more behind it: "
            "a query belongs to the path of the request"
        )
    check_encrypted(url, carries_key=carries_key, allow_http=allow_http)
    return url.strip().rstrip("/")


def check_encrypted(url: str, *, carries_key: bool, allow_http: bool = False) -> None:
    """Refuse to send a key over plain HTTP to another machine."""
    parts = split(url)
    if parts.scheme == "http" and carries_key and not allow_http and not is_here(parts.hostname):
        raise ValidationError(
            f"{shown(url)} would carry the key unencrypted to another machine: use https, or say "
            "allow_http=True if you trust every network between"
        )


def split(url: str) -> SplitResult:
    """Give the parts of an http or https URL that names a host."""
    try:
        parts = urlsplit(url.strip())
        named = parts.hostname
        _ = parts.port  # read only when asked for, and then it may fail
    except ValueError as error:
        raise ValidationError(f"this is no URL: {shown(url)!r:.100} ({error})") from None
    if parts.scheme not in _PORTS or not named or any(c.isspace() for c in url.strip()):
        raise ValidationError(
            f"a service's URL reads https://host/path, unlike {shown(url)!r:.100}"
        )
    return parts


def origin(url: str) -> tuple[str, str, int]:
    """Give scheme, host and port: a key given for one of these is for no other."""
    parts = split(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]


def is_here(host: str | None) -> bool:
    """Say whether a host is this very machine, by its name or address; nothing is looked up."""
    name = (host or "").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_private(host: str | None) -> bool:
    """Say whether an address is this machine's or of a private network; nothing is looked up."""
    if is_here(host):
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return not address.is_global or address.is_multicast


async def leads_home(host: str) -> bool:
    """Say whether a name leads to this machine or a private network, by looking it up."""
    import asyncio
    import socket

    if is_private(host):
        return True
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False  # no place of ours: a proxy may know it, or the request will say so
    return any(is_private(str(address[4][0])) for address in found)


def joined(base: str, path: str) -> str:
    """Give the URL of a path below a checked base URL; a path is never a way to another host."""
    return f"{base}/{path.lstrip('/')}"


def shown(url: str) -> str:
    """Give a URL for a message: without account, query and fragment, which may be secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable)"
    bare = f"{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"{parts.scheme}://{bare}" if parts.scheme else bare
