"""The files of the pages, read once: a request names one of them or gets nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path, PurePosixPath

from blazen.types.record import Record

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What a browser is told that a file is; a file of another kind is not served at all."""

PAGES = {
    "chat": "Chat",
    "expert": "Expert",
    "explorer": "Explorer",
    "models": "Models",
    "studio": "Studio",
}
"""The pages, in the order of the menu, and what the menu calls them."""


@dataclass(frozen=True)
class File(Record):
    """One file as it is sent."""

    body: bytes
    type: str
    etag: str


@dataclass(frozen=True)
class Site(Record):
    """All pages and files of this version."""

    version: str
    """A hash of all files: a browser may keep for ever what it got under this name."""
    pages: Mapping[str, File]
    files: Mapping[str, File]


@lru_cache(maxsize=1)
def site() -> Site:
    """Read the files that lie beside this module."""
    here = Path(__file__).parent
    static = _all(here / "static")
    version = _digest(b"".join(name.encode() + body for name, body in sorted(static.items())))
    html = {name: body.decode() for name, body in _all(here / "html").items()}
    return Site(
        version=version,
        pages={name: _file(f"{name}.html", _page(html, name, version).encode()) for name in PAGES},
        files={name: _file(name, body) for name, body in static.items()},
    )


def _all(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.suffix in TYPES}


def _file(name: str, body: bytes) -> File:
    return File(body, TYPES[PurePosixPath(name).suffix], f'"{_digest(body)}"')


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def _page(html: Mapping[str, str], name: str, version: str) -> str:
    """Put a page into the frame that all share."""
    icons = f"static/{version}/icons.svg"
    links = "\n".join(
        f'<li><a href="{other}"{current}><svg class="icon" aria-hidden="true">'
        f'<use href="{icons}#{other}"></use></svg><span>{escape(title)}</span></a></li>'
        for other, title in PAGES.items()
        for current in (' aria-current="page"' if other == name else "",)
    )
    words = {
        "body": html[f"{name}.html"],
        "links": links,
        "name": name,
        "title": escape(PAGES[name]),
        "static": f"static/{version}",
        "icons": icons,
    }
    text = html["frame.html"]
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    return text
