"""Where the bytes of a picture or a sound come from: a file, memory, or a URL, read when needed."""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from blazen.errors import DownloadError, ValidationError
from blazen.offline import is_offline

URL_LIMIT = 64 * 1024 * 1024
URL_TIMEOUT = 30.0
_URL_DEADLINE = 300.0
_CHUNK = 64 * 1024

# Offset, bytes, media type; the first that fits wins.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (8, b"WEBP", "image/webp"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypavis", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypheix", "image/heic"),
    (4, b"ftyphevc", "image/heic"),
    (4, b"ftypmif1", "image/heic"),
    (8, b"WAVE", "audio/wav"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"BM", "image/bmp"),
)


class Source:
    """Bytes that are at hand, in a file, or behind a URL.

    A file is read and a URL fetched when the bytes are first asked for; what a URL gave is kept.
    """

    __slots__ = ("_data", "media_type", "path", "url")

    def __init__(
        self,
        *,
        data: bytes | None = None,
        path: Path | None = None,
        url: str | None = None,
        media_type: str | None = None,
    ) -> None:
        self._data = data
        self.path = path
        self.url = url
        self.media_type = media_type

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, what: str) -> Source:
        """Point at a file that exists and is not empty."""
        place = Path(path)
        try:
            if not place.exists():
                raise ValidationError(f"no such {what} file: {str(place)!r}")
            if not place.is_file():
                raise ValidationError(f"{str(place)!r} is not a file: give the path of {what}")
            if place.stat().st_size == 0:
                raise ValidationError(f"the {what} file {str(place)!r} is empty")
        except (OSError, ValueError) as error:
            if isinstance(error, ValidationError):
                raise
            raise ValidationError(f"cannot read {str(place)!r}: {error}") from error
        return cls(path=place)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, *, what: str) -> Source:
        """Hold bytes, which must not be empty."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise ValidationError(f"{what} bytes must be bytes, not {type(data).__name__}")
        if not data:
            raise ValidationError(f"the {what} bytes are empty")
        return cls(data=bytes(data))

    @classmethod
    def from_url(cls, url: str, *, what: str) -> Source:
        """Point at an http or https URL; nothing is fetched yet."""
        if not isinstance(url, str) or not re.match(r"https?://[^\s/]", url, re.IGNORECASE):
            raise ValidationError(
                f"{what} URLs start with http:// or https://, unlike {url!r:.80}; "
                "give a file by its path"
            )
        return cls(url=url)

    @classmethod
    def from_data_url(cls, text: str, *, what: str) -> Source:
        """Hold what a ``data:`` URL carries."""
        from urllib.parse import unquote_to_bytes

        head, comma, body = text.partition(",")
        if head[:5].lower() != "data:" or not comma:
            raise ValidationError(f"this is no data URL: {text!r:.60}")
        media_type, *parameters = head[5:].split(";")
        raw = unquote_to_bytes(body)
        if any(p.strip().lower() == "base64" for p in parameters):
            raw = from_base64(raw, what=f"the {what} data URL")
        source = cls.from_bytes(raw, what=what)
        source.media_type = media_type.strip().lower() or None
        return source

    @classmethod
    def from_text(cls, text: str, *, what: str) -> Source:
        """Tell a data URL, a URL and a path apart, and hold what it is."""
        if text[:5].lower() == "data:":
            return cls.from_data_url(text, what=what)
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
            return cls.from_url(text, what=what)
        return cls.from_file(text, what=what)

    @property
    def name(self) -> str:
        """What an error message calls it."""
        if self.path is not None:
            return repr(str(self.path))
        if self.url is not None:
            return repr(self.url if len(self.url) <= 80 else self.url[:77] + "...")
        return f"the {len(self._data or b''):,} bytes given"

    def read(self) -> bytes:
        """Give all bytes, fetching a URL the first time."""
        if self._data is not None:
            return self._data
        if self.url is not None:
            self._data = fetch(self.url)
            return self._data
        with self.open() as file:
            return file.read()

    def open(self) -> BinaryIO:
        """Open for reading, without taking a whole file into memory."""
        if self.path is None:
            return io.BytesIO(self.read())
        try:
            return self.path.open("rb")
        except OSError as error:
            raise ValidationError(f"cannot read {self.name}: {error}") from error

    def head(self, count: int) -> bytes:
        """Give the first bytes."""
        if self._data is not None:
            return self._data[:count]
        with self.open() as file:
            return file.read(count)

    def sniff(self) -> str | None:
        """Tell the media type by the first bytes, or ``None`` where they say nothing."""
        head = self.head(16)
        for offset, magic, media_type in _MAGIC:
            if head[offset : offset + len(magic)] == magic:
                return media_type
        # An MPEG frame starts with eleven set bits; layer 0 there means AAC in ADTS.
        if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
            return "audio/mpeg" if head[1] & 0x06 else "audio/aac"
        return None

    def same_bytes(self, other: Source) -> bool:
        """Say whether both hold the same bytes; two URLs are compared as they are written."""
        if self.url is not None or other.url is not None:
            return self.url == other.url
        if self.path is not None and self.path == other.path:
            return True
        try:
            return self.read() == other.read()
        except ValidationError:
            return False

    def to_dict(self, kind: str, media_type: str | None) -> dict[str, Any]:
        """Give the JSON form: a URL stays one, everything else is embedded as base64."""
        if self.url is not None:
            return {"kind": kind, "url": self.url}
        return embed(kind, self.read(), media_type)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, what: str) -> Source:
        """Build one from what ``to_dict`` gave."""
        unknown = set(data) - {"kind", "url", "data", "media_type"}
        if unknown or ("url" in data) == ("data" in data):
            raise ValidationError(f"{what} in JSON has either 'url' or 'data', not {sorted(data)}")
        if "url" in data:
            return cls.from_url(data["url"], what=what)
        return cls.from_bytes(from_base64(data["data"], what=what), what=what)


def embed(kind: str, data: bytes, media_type: str | None) -> dict[str, Any]:
    """Give the JSON form of bytes."""
    out: dict[str, Any] = {"kind": kind}
    if media_type is not None:
        out["media_type"] = media_type
    out["data"] = base64.b64encode(data).decode("ascii")
    return out


def data_url(data: bytes, media_type: str) -> str:
    """Give bytes as a ``data:`` URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def from_base64(text: str | bytes, *, what: str) -> bytes:
    """Decode base64 with or without padding and line breaks, refusing anything else."""
    if not isinstance(text, (str, bytes)):
        raise ValidationError(f"{what} must be base64 text, not {type(text).__name__}")
    try:
        raw = text.encode("ascii") if isinstance(text, str) else text
        raw = b"".join(raw.split()).rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValidationError(f"{what} is not base64: {error}") from error


def write_file(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> Path:
    """Write a file that is there whole or not at all; an older one stays until the new is done."""
    place = Path(path).resolve()  # a link stays a link: what it leads to is replaced
    if place.exists() and not place.is_file():
        raise ValidationError(f"cannot write {str(path)!r}: that is no file")
    if not place.parent.is_dir():
        raise ValidationError(f"cannot write {str(path)!r}: there is no folder {place.parent}")
    part = place.with_name(f".{place.name}.{os.getpid()}-{time.monotonic_ns()}.part")
    try:
        try:
            with part.open("xb") as file:
                write(file)
            part.replace(place)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        # Without the name of the part, which nobody asked to write.
        reason = error.strerror or error
        raise ValidationError(f"cannot write {str(path)!r}: {reason}") from error
    return place


def fetch(url: str, *, limit: int = URL_LIMIT, timeout: float = URL_TIMEOUT) -> bytes:
    """Get the bytes behind an http or https URL, refusing more than `limit`."""
    if is_offline():
        raise DownloadError(f"{url!r} was not fetched: BLAZEN_OFFLINE or HF_HUB_OFFLINE is set")
    import http.client
    import urllib.error
    import urllib.request

    # Built by hand: the ready-made opener also follows redirects to ftp.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", "blazen")]
    try:
        with opener.open(url, timeout=timeout) as response:
            return _read_body(response, url, limit)
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"{url!r} answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(f"{url!r} could not be fetched: {error}") from error


def _read_body(response: Any, url: str, limit: int) -> bytes:
    announced = response.headers.get("Content-Length")
    expected = int(announced) if announced and announced.isdigit() else None
    too_big = DownloadError(f"{url!r} is larger than the {limit:,} bytes that a URL may bring")
    if expected is not None and expected > limit:
        raise too_big
    end = time.monotonic() + _URL_DEADLINE
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > limit:
            raise too_big
        if time.monotonic() > end:
            raise DownloadError(f"{url!r} took longer than {_URL_DEADLINE:.0f} s: it was given up")
    if expected is not None and len(body) != expected:
        raise DownloadError(f"{url!r} broke off after {len(body):,} of {expected:,} bytes")
    if not body:
        raise DownloadError(f"{url!r} gave no bytes")
    return bytes(body)
