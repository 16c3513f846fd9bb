"""All that is known of, under names that differ; headers and backends are looked at when needed."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blazen.catalog.found import Found
from blazen.catalog.gguf import gguf_facts
from blazen.catalog.listing import KINDS, Listing, Source
from blazen.catalog.opening import SIGHTED, Openers
from blazen.errors import BlazenError


@dataclass
class Row:
    """One model under its name, with the other texts that it goes by."""

    name: str
    aliases: tuple[str, ...]
    found: Found | None = None
    listing: Listing | None = None
    settled: bool = False
    """Whether it is known if anything opens it."""
    title: str = ""
    """What a file calls its model inside."""
    why_not: str = ""
    is_model: bool = True
    """Whether users would miss it: a projector beside a model is missed by nobody."""


class Rows:
    """Models by name; of what lies at one place only the first is kept."""

    def __init__(self, openers: Openers, hidden: Sequence[str] = ()) -> None:
        self.openers = openers
        self.by_name: dict[str, Row] = {}
        self.problems: list[str] = []
        self._hidden = hidden
        self._by_place: dict[str, Row] = {}

    def put(self, row: Row) -> None:
        """Take a model of which all is known."""
        self.by_name[row.name] = row
        if row.listing is not None and row.listing.path is not None:
            self._by_place.setdefault(place_of(row.listing.path), row)

    def add(self, found: Found) -> Row | None:
        """Take what was found, unless it lies here already or is to be hidden."""
        place = place_of(found.path) if found.path is not None else None
        twin = self._by_place.get(place) if place is not None else None
        if twin is not None:
            twin.aliases = tuple(dict.fromkeys((*twin.aliases, found.name, *found.aliases)))
            return twin
        if any(fnmatch.fnmatchcase(found.name, pattern) for pattern in self._hidden):
            return None
        row = Row(self._free(found), found.aliases, found)
        self.by_name[row.name] = row
        if place is not None:
            self._by_place[place] = row
        return row

    def forget(self, sources: Collection[Source]) -> None:
        """Drop what came from some places, so that they can be looked at again."""
        for name, row in list(self.by_name.items()):
            if row.found is not None and row.found.source in sources:
                del self.by_name[name]
        self._by_place = {p: r for p, r in self._by_place.items() if r.name in self.by_name}
        self.problems.clear()

    def at(self, path: Path) -> Row | None:
        """Give what lies at a place."""
        return self._by_place.get(place_of(path))

    def settle(self, row: Row) -> Listing | None:
        """Say what opens a model; ``None`` where nothing here does."""
        if not row.settled and row.found is not None:
            try:
                row.listing = self._listing(row.found, row)
            except BlazenError as error:
                row.why_not = f"{row.name} is left out: {error}"
            if row.why_not and row.is_model:
                self.problems.append(row.why_not)
            row.settled = True
        return row.listing

    def settled(self, kind: str | None) -> list[Listing]:
        """Give the listings of all, of one kind or of every kind."""
        found = [self.settle(row) for row in tuple(self.by_name.values())]
        return [one for one in found if one is not None and kind in (None, one.kind)]

    def why_not(self, row: Row) -> str:
        """Say why a model can't be asked."""
        return row.why_not or f"{row.name} can't be opened by anything here"

    def _listing(self, found: Found, row: Row) -> Listing | None:
        """Give the listing of what was found, with the first backend here that opens it."""
        facts = None
        if found.form == "gguf" and found.path is not None and found.path.is_file():
            facts = gguf_facts(found.path)
            row.title = facts.name
        kind = found.kind or (facts.kind if facts is not None else None)
        if kind is None:  # an adapter, a projector, the weights of a network that draws
            row.is_model = False
            row.why_not = f"{row.name} can't be asked anything: {facts.why_not if facts else ''}"
            return None
        backend = self.openers.choose(found.form, kind)
        if backend is None:
            row.why_not = f"{row.name} ({KINDS[kind]}) is left out: {self._needed(found, kind)}"
            return None
        return Listing(
            name=row.name,
            kind=kind,
            spec=f"{backend}:{found.target}",
            options={**found.options, **_eyes(found, kind, backend)},
            source=found.source,
            path=found.path,
            size=found.size,
            description=found.description or (facts.description if facts is not None else ""),
        )

    def _needed(self, found: Found, kind: str) -> str:
        able = self.openers.able(found.form, kind)
        if not able:
            return f"no backend opens a {found.form} file for that"
        return str(self.openers.missing(kind, able[0]))

    def _free(self, found: Found) -> str:
        """Give a name that is not taken, from the short to the long."""
        longer = sorted((a for a in found.aliases if a.endswith(found.name)), key=len)
        for name in (found.name, *longer, found.target):
            if name not in self.by_name:
                return name
        return f"{found.source}:{found.target}"


def _eyes(found: Found, kind: str, backend: str) -> dict[str, Any]:
    """Give a chat model the projector beside it, where their vectors are of one length."""
    if found.projector is None or kind != "model" or backend not in SIGHTED:
        return {}
    if found.path is None or "projector" in found.options:
        return {}
    try:
        fits = gguf_facts(found.projector).projection == gguf_facts(found.path).embedding_length
    except BlazenError:
        fits = False
    return {"projector": str(found.projector)} if fits else {}


def place_of(path: Path) -> str:
    """Tell one place from another, whatever links lead there."""
    return os.path.realpath(path)
