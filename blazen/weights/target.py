"""What a text that names a model means: a path, a hub repository, a URL or a starter model."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from blazen.errors import ValidationError
from blazen.types.record import Record

MODEL_SUFFIXES = (".gguf", ".onnx", ".safetensors", ".bin", ".pt", ".pth", ".tflite", ".npz")

_SEGMENT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._/-]*")
_STARTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATH_START = re.compile(r"[/\\~]|\.{1,2}(?:[/\\]|$)|[A-Za-z]:[/\\]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# What a signed URL changes at each signing. Whole names only: two URLs that differ in anything else
# must not share one place in the cache.
_SIGNING = re.compile(
    r"x-(amz|goog)-.*|(access[-_]?)?token|sig|signature|expires|policy|key-pair-id|api[-_]?key|"
    r"awsaccesskeyid|googleaccessid",
    re.IGNORECASE,
)
_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_FORMS = (
    "write a path, 'org/name', 'org/name/file.gguf', 'hf:org/name@revision/file', "
    "a http(s) URL, or 'starter:name'"
)


@dataclass(frozen=True)
class Target(Record):
    """What one text names: where it comes from, and the parts that this source needs.

    `parse` reads the text, in this order:

    1. ``starter:NAME`` is a starter model.
    2. ``hf:ORG/NAME[@REVISION][/FILE]`` is the hub, whatever lies on the disk.
    3. A ``http(s)://`` URL is a file to download; a page or a file link of the hub is the hub.
    4. What starts like a path (``/``, ``./``, ``../``, ``~``, ``C:\\``) is one, there or not.
    5. What exists on the disk is a path: a folder ``org/name`` hides the hub's ``org/name``.
    6. ``ORG/NAME[@REVISION][/FILE]`` is the hub. ``models/qwen.gguf`` is a path all the same: two
       parts of which the second ends like a model file. Deeper than that (``a/b/c.gguf``) it is
       a file of the hub's ``a/b``; write ``./a/b/c.gguf`` for a path.
    7. All else is a path.

    A revision with a slash (``refs/pr/1``) is written ``refs%2Fpr%2F1``.
    """

    source: Literal["path", "hub", "url", "starter"]
    path: Path | None = None
    repo: str | None = None
    revision: str | None = None
    file: str | None = None
    url: str | None = field(default=None, repr=False)  # it may hold a signature or a password
    name: str | None = None
    """The starter model's name, or the name of the file that the URL leads to."""

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> Target:
        """Read a text; one that can't name a model is a `ValidationError`."""
        if not isinstance(text, (str, os.PathLike)):
            raise ValidationError(f"a model must be named by text or a path, not {text!r:.80}")
        plain = os.fspath(text)
        if not isinstance(plain, str) or not plain.strip() or "\0" in plain:
            raise ValidationError(f"{plain!r:.80} names no model: {_FORMS}")
        if not isinstance(text, str):
            return cls("path", path=_local(plain))
        plain = plain.strip()
        if plain.startswith("starter:"):
            return cls._starter(plain.removeprefix("starter:"))
        if plain.startswith("hf:"):
            return cls._hub(plain.removeprefix("hf:").removeprefix("//"), plain)
        if _SCHEME.match(plain):
            return cls._url(plain)
        if _PATH_START.match(plain) or "\\" in plain or _exists(plain) or not _hub_like(plain):
            return cls("path", path=_local(plain))
        return cls._hub(plain, plain)

    def __str__(self) -> str:
        if self.source == "path":
            return str(self.path)
        if self.source == "starter":
            return f"starter:{self.name}"
        if self.source == "url":
            return public_url(self.url or "")
        revision = f"@{self.revision.replace('/', '%2F')}" if self.revision else ""
        file = f"/{self.file}" if self.file else ""
        return f"{self.repo}{revision}{file}"

    @classmethod
    def _starter(cls, name: str) -> Target:
        if not _STARTER.fullmatch(name):
            raise ValidationError(f"'starter:{name:.80}' has no valid name: write starter:chat")
        return cls("starter", name=name)

    @classmethod
    def _hub(cls, text: str, whole: str) -> Target:
        parts = text.split("/")
        name, at, revision = parts[1].partition("@") if len(parts) > 1 else ("", "", "")
        repo = f"{parts[0]}/{name}"
        if not _SEGMENT.fullmatch(parts[0]) or not _SEGMENT.fullmatch(name) or _escapes(repo):
            raise ValidationError(f"{whole!r:.120} has no valid hub id (org/name): {_FORMS}")
        revision = unquote(revision)
        if at and not _is_revision(revision):
            raise ValidationError(f"{whole!r:.120} has no valid revision: {revision!r:.80}")
        file = "/".join(parts[2:])
        if len(parts) > 2:
            check_hub_file(file)
        return cls("hub", repo=repo, revision=revision or None, file=file or None)

    @classmethod
    def _url(cls, text: str) -> Target:
        try:
            parts = urlsplit(text)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise ValidationError(f"this URL can't be read: {error}") from error
        if parts.scheme.lower() == "file":
            from urllib.request import url2pathname

            return cls("path", path=_local(url2pathname(parts.path)))
        if parts.scheme.lower() not in ("http", "https"):
            raise ValidationError(f"a model can't come by {parts.scheme + '://'!r}: {_FORMS}")
        if not host or any(ord(letter) < 33 for letter in text):
            raise ValidationError(f"this is no whole URL: {public_url(text)!r:.120}")
        if _is_hub(parts) and (hub := _hub_link(parts)) is not None:
            return hub
        return cls("url", url=text, name=_file_name(parts.path))


def check_hub_file(file: str) -> None:
    """Refuse the name of a hub file that leads out of its repository."""
    if not file or "\0" in file or "\\" in file or ":" in file or _escapes(file):
        raise ValidationError(f"{file!r:.120} is no file inside a hub repository")


def public_url(url: str) -> str:
    """Give a URL without what must stay secret: user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(a URL that can't be read)"
    host = parts.hostname or ""
    place = f"[{host}]" if ":" in host else host
    shown = urlunsplit((parts.scheme, place + port, parts.path, "", ""))
    return f"{shown}?…" if parts.query else shown


def url_key(url: str) -> str:
    """Give the name under which a URL is kept: it stays the same when only a signature changes."""
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query, True) if not _SIGNING.fullmatch(pair[0])]
    place = f"{(parts.hostname or '').lower()}:{parts.port or ''}"
    plain = urlunsplit((parts.scheme.lower(), place, parts.path, urlencode(query), ""))
    return hashlib.sha256(plain.encode()).hexdigest()[:32]


def _hub_like(text: str) -> bool:
    parts = text.split("/")
    names = [parts[0], *(part.partition("@")[0] for part in parts[1:2])]
    if len(parts) < 2 or not all(_SEGMENT.fullmatch(name) for name in names):
        return False
    return len(parts) > 2 or not parts[1].lower().endswith(MODEL_SUFFIXES)


def _hub_link(parts: SplitResult) -> Target | None:
    path = [unquote(part) for part in parts.path.strip("/").split("/")]
    if len(path) < 2 or path[0] in ("api", "datasets", "spaces", "docs", "collections", "papers"):
        return None
    repo = f"{path[0]}/{path[1]}"
    if len(path) == 2:
        return Target._hub(repo, repo)
    if path[2] not in ("resolve", "blob", "raw", "tree") or len(path) < 4:
        return None
    revision = path[3].replace("/", "%2F")
    if path[2] == "tree" and len(path) > 4:
        raise ValidationError(
            f"{public_url(urlunsplit(parts))!r} names a folder: give the repository {repo!r}, "
            f"and patterns=['{'/'.join(path[4:])}/*']"
        )
    text = "/".join((f"{repo}@{revision}", *path[4:]))
    return Target._hub(text, text)


def _is_hub(parts: SplitResult) -> bool:
    mine = urlsplit(os.environ.get("HF_ENDPOINT", ""))
    return parts.hostname in _HUB_HOSTS or (mine.netloc != "" and parts.netloc == mine.netloc)


def _is_revision(text: str) -> bool:
    return bool(_REVISION.fullmatch(text)) and not _escapes(text)


def _escapes(path: str) -> bool:
    return any(part in ("", ".", "..") for part in path.split("/")) or "--" in path.split("/")[0]


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # a name too long for the file system, or not a name at all
        return False


def _local(text: str) -> Path:
    path = Path(text)
    if not text.startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValidationError(f"{text!r:.120} names a home folder that is not known") from error


def _file_name(path: str) -> str:
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", unquote(path.rpartition("/")[2])).rstrip(". ")
    if name.startswith(".") or not name:  # hidden names are for our own marks
        name = f"download{name}"
    # The suffix matters to those who open the file, so a long name is cut before it.
    return name if len(os.fsencode(name)) <= 200 else f"{name[:40]}{Path(name).suffix[:20]}"
