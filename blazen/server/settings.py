"""What a server is told: where it listens, who may ask, and how much."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from os import PathLike
from typing import Any

from blazen.checks import check_range, check_texts, parse_bytes
from blazen.errors import ValidationError
from blazen.remote.secret import Secret
from blazen.types.record import Settings

PORT = 8642
KEY_VARIABLE = "BLAZEN_SERVER_KEY"

_SIZES = ("max_header_bytes", "max_body", "max_upload", "max_buffered", "skill_max_bytes")
_COUNTS = (
    "max_headers",
    "max_json_depth",
    "max_json_values",
    "max_image_pixels",
    "max_connections",
    "max_handshakes",
    "max_requests",
    "max_skills",
)
_SECONDS = (
    "handshake_timeout",
    "header_timeout",
    "body_timeout",
    "write_timeout",
    "idle_timeout",
    "shutdown_timeout",
    "heartbeat",
    "max_sound",
)


@dataclass(frozen=True)
class ServerSettings(Settings):
    """Where a server listens, who may ask it, and how much it takes from them."""

    _: KW_ONLY
    host: str = "127.0.0.1"
    """An address. One that other machines reach needs `api_key`, or `allow_public`."""
    port: int = PORT
    """0 takes any free port."""
    api_key: Secret | str | None = None
    """What clients have to send as ``Authorization: Bearer …`` or ``x-api-key``."""
    allow_public: bool = False
    """Whether other machines may ask without a key."""
    allowed_hosts: Sequence[str] = ()
    """Names that browsers may know this server by, beside its address: ``models.example.org``."""
    cors_origins: Sequence[str] = ()
    """Pages of others that may ask: ``https://app.example.org``, or ``*`` for all."""
    tls_cert: str | PathLike[str] | None = None
    tls_key: str | PathLike[str] | None = None

    max_headers: int = 100
    max_header_bytes: int | str = "32KiB"
    max_body: int | str = "32MiB"
    """Of a JSON request, pictures in it included."""
    max_upload: int | str = "256MiB"
    """Of a request that uploads files."""
    max_buffered: int | str = "1GiB"
    """Of all requests' bodies together, while they are worked on."""
    max_json_depth: int = 64
    max_json_values: int = 500_000
    max_image_pixels: int = 50_000_000
    max_sound: float = 4 * 3600.0
    """Seconds of a sound that is to be transcribed."""
    max_connections: int = 1024
    max_handshakes: int = 64
    """TLS handshakes that may be going on at once."""
    max_requests: int = 256
    """Requests that are worked on at once, streams included."""
    max_waiting: int = 256
    """Requests that may wait for their turn; the next are told to come back later."""

    handshake_timeout: float = 10.0
    header_timeout: float = 20.0
    body_timeout: float = 60.0
    """Seconds that a body may lag behind 16 KiB a second."""
    write_timeout: float = 60.0
    """Seconds in which a client must read something of an answer."""
    idle_timeout: float = 75.0
    """Seconds that a connection is kept without a request."""
    shutdown_timeout: float = 10.0
    """Seconds that answers have to end when the server stops."""
    heartbeat: float = 15.0
    """Seconds after which a stream says that it is alive, where it has nothing to say."""

    remote_images: bool = False
    """Whether pictures may be given as URLs, which the server fetches."""
    pages: bool = True
    pull: bool = False
    """Whether clients may have models downloaded."""
    access_log: bool = False
    preload: Sequence[str] = ()
    """Models that are loaded before the server listens."""
    keep_alive: float | None = None
    """Seconds that models stay loaded without a request, where the configuration does not say."""
    thinking: bool = False
    """Whether prompts are rewritten before they are answered, where a request does not say."""
    skills_dir: str | PathLike[str] | None = None
    max_skills: int = 3
    skill_max_bytes: int | str = "16KiB"
    chat_history: str | PathLike[str] | None = None
    """A file to which each turn of a chat is added, as a line of JSON."""

    def __post_init__(self) -> None:
        put = object.__setattr__  # it is frozen, but for its own checks
        check_texts(host=self.host)
        check_range("port", self.port, at_least=0, at_most=65_535, integer=True)
        for name in _SIZES:
            put(self, name, parse_bytes(name, getattr(self, name)))
        for name in _COUNTS:
            check_range(name, getattr(self, name), at_least=1, integer=True)
        check_range("max_waiting", self.max_waiting, at_least=0, integer=True)
        check_range("keep_alive", self.keep_alive, at_least=0)
        for name in _SECONDS:
            check_range(name, getattr(self, name), at_least=0.01)
        for name in ("allowed_hosts", "cors_origins", "preload"):
            put(self, name, _texts(name, getattr(self, name)))
        put(self, "api_key", Secret.of(self.api_key, variable=KEY_VARIABLE))
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValidationError("TLS needs both: a certificate (tls_cert) and its key (tls_key)")
        if not self.is_local and self.api_key is None and not self.allow_public:
            raise ValidationError(
                f"{self.host} is an address that other machines reach: give an API key (a file "
                f"with --api-key-file, or {KEY_VARIABLE}), or say --allow-public (allow_public) if "
                "whoever reaches it may use your models"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise ValidationError(f"{name} is a list of texts, not {value!r:.80}")
    return tuple(value)
