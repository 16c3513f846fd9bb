"""From what a user typed to one model: by its name, a part of it, a spec, a path or a hub id."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blazen.catalog.given import is_far, is_path, is_spec, named, spec_kind
from blazen.catalog.listing import Listing
from blazen.catalog.rows import Row, Rows
from blazen.catalog.wording import ambiguous, another_kind, no_starter, not_found
from blazen.errors import ModelNotFoundError, ValidationError
from blazen.weights.target import MODEL_SUFFIXES

_LONGEST = 4096
"""Characters of a name, which may be a path."""
_BEGINNINGS = ("./", "../", "~/", "/", ".\\", "..\\")


@dataclass(frozen=True)
class Lookup:
    """Finds models by name, in the places that cost least first."""

    rows: Rows
    look_near: Callable[[], None]
    """Lists what costs no search."""
    look_far: Callable[[], None]
    """Searches the cache and the folders too."""

    def known(self, name: str, kind: str | None) -> Listing | None:
        """Give the one of those that are listed; ``None`` where none goes by the name."""
        if not isinstance(name, str) or not name.strip():
            raise ValidationError(f"a model is named by text, not {name!r:.80}")
        if len(name) > _LONGEST:
            return None  # and nothing is made of a megabyte from elsewhere
        row = self.rows.by_name.get(name)
        if row is None:
            self.look_near()
            row = self._exact(name)
        if row is None and is_spec(name):
            return self._of_spec(name, kind)
        if row is None and is_path(name):
            row = self.rows.at(Path(name).expanduser())
            if row is None:
                self.look_far()
                row = self.rows.at(Path(name).expanduser())
            return None if row is None else self._fitting([row], name, kind)
        if row is not None:
            return self._fitting([row], name, kind)
        self.look_far()
        found = match(name, {n: row.aliases for n, row in self.rows.by_name.items()})
        if not found:
            self.rows.settled(None)  # then each file's own word for itself is known
            titles = {n: (row.title,) for n, row in self.rows.by_name.items() if row.title}
            found = match(name, titles)
        rows = [self.rows.by_name[one] for one in found]
        return self._fitting(rows, name, kind) if rows else None

    def open(self, text: str, kind: str | None) -> Listing:
        """Take a spec, a path, a hub id or a URL that is not listed, and list it."""
        if text.startswith("starter:"):
            raise no_starter(text)
        if is_spec(text):
            listing = _of_backend(text, kind)
        elif is_path(text) or is_far(text):
            listing = self._of_target(text, kind)
        elif text.startswith(_BEGINNINGS) or text.lower().endswith(MODEL_SUFFIXES):
            raise ModelNotFoundError(f"there is no file {text!r:.200}")
        else:
            raise not_found(text, kind, self.names(kind))
        return self._list(listing, text)

    def names(self, kind: str | None) -> list[str]:
        """Give the names that there are."""
        self.look_far()
        return [one.name for one in self.rows.settled(kind)]

    def _exact(self, name: str) -> Row | None:
        row = self.rows.by_name.get(name)
        if row is not None:
            return row
        same = [row for row in self.rows.by_name.values() if name in row.aliases]
        return same[0] if len(same) == 1 else None

    def _fitting(self, rows: Sequence[Row], name: str, kind: str | None) -> Listing:
        """Give the one of several that is of the kind."""
        every = [one for one in map(self.rows.settle, rows) if one is not None]
        fit = [one for one in every if kind in (None, one.kind)]
        if len(fit) == 1:
            return fit[0]
        if fit:
            raise ambiguous(name, [one.name for one in fit])
        if every and kind is not None:
            raise another_kind(every[0].name, every[0].kind, kind)
        raise ModelNotFoundError(self.rows.why_not(rows[0]))

    def _of_spec(self, spec: str, kind: str | None) -> Listing | None:
        """Give what is listed with this very spec."""
        for row in self.rows.by_name.values():
            one = row.listing
            if one is not None and one.spec == spec and kind in (None, one.kind):
                return one
        backend, _, target = spec.partition(":")
        found = self.rows.at(Path(target).expanduser()) if is_path(target) else self._exact(target)
        same = None if found is None else self.rows.settle(found)
        fits = same is not None and same.backend == backend and kind in (None, same.kind)
        return same if fits else None

    def _of_target(self, text: str, kind: str | None) -> Listing:
        found = named(text, kind, self.rows.openers)
        row = Row(found.name, found.aliases, found)
        listing = self.rows.settle(row)
        if listing is None:
            raise ModelNotFoundError(self.rows.why_not(row))
        if kind is not None and listing.kind != kind:
            raise another_kind(text, listing.kind, kind)
        return listing

    def _list(self, listing: Listing, text: str) -> Listing:
        """Keep what was opened, so that the same text means the same model from now on."""
        taken = self.rows.by_name.get(listing.name)
        if taken is not None and taken.listing is not None:
            if taken.listing.key == listing.key:
                return taken.listing
            listing = replace(listing, name=text)
        self.rows.put(Row(listing.name, (text,), listing=listing, settled=True))
        return listing


def match(wanted: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """Give the names that a text means: its own, else another name's, else those it is a part of.

    ``names`` maps each name to the other texts it goes by. Case counts only where it tells two
    names apart.
    """
    if wanted in names:
        return [wanted]
    for fold in (str, str.lower):
        sought = fold(wanted)
        same = [n for n, others in names.items() if sought in map(fold, (n, *others))]
        if same:
            return same
    sought = wanted.lower()
    return [n for n, others in names.items() if sought in n.lower()] or [
        n for n, others in names.items() if any(sought in other.lower() for other in others)
    ]


def _of_backend(spec: str, kind: str | None) -> Listing:
    backend, _, target = spec.partition(":")
    path = Path(os.path.abspath(Path(target).expanduser())) if is_path(target) else None  # noqa: PTH100
    return Listing(
        name=spec if path is None else f"{backend}:{path.stem}",
        kind=spec_kind(backend, target, kind),
        spec=f"{backend}:{path or target}",
        source="given",
        path=path,
        size=path.stat().st_size if path is not None and path.is_file() else None,
    )
