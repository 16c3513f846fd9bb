"""Where several GGUF files lie side by side: a folder of this disk, or a repository of the hub."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from blazen.errors import BlazenError, DownloadError, ValidationError
from blazen.offline import is_offline
from blazen.weights.gguf import GgufFile, read_gguf
from blazen.weights.gguf.reading import read_part, read_start
from blazen.weights.gguf_choice import Candidate, group

_log = logging.getLogger("blazen.weights")


@dataclass(frozen=True)
class Folder:
    """A folder on this disk, and the folders right inside it."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def models(self) -> tuple[list[Candidate], list[str]]:
        """Give the models that lie here, and what is none; a header tells what a name does not."""
        try:
            files = [(p.relative_to(self.path).as_posix(), p.stat().st_size) for p in self._files()]
        except OSError as error:
            raise ValidationError(
                f"{self.path} can't be read: {error.strerror or error}"
            ) from error
        found, left_out = group(files)
        models = []
        for candidate in found:
            model, kind = self._look_inside(candidate)
            if kind == "model":
                models.append(model)
            else:
                left_out.append(f"{candidate.name} ({kind})")
        return models, left_out

    def header(self, candidate: Candidate) -> GgufFile:
        """Read the header of one of them."""
        return read_gguf(self.path / candidate.name)

    def _files(self) -> Iterator[Path]:
        for path in sorted(self.path.iterdir()):
            inside = (
                sorted(path.iterdir()) if path.is_dir() and os.access(path, os.R_OK) else [path]
            )
            yield from (p for p in inside if p.suffix.lower() == ".gguf" and p.is_file())

    def _look_inside(self, candidate: Candidate) -> tuple[Candidate, str]:
        """Ask the header of what has a silent name for its quantization, and what it is."""
        if candidate.quantization is not None:
            return candidate, "model"
        try:
            header = self.header(candidate)
            kind = str(header.metadata.get("general.type", "model"))
            return replace(candidate, quantization=header.quantization), kind
        except BlazenError as error:  # the others may be whole, and this one may not be chosen
            _log.debug("%s is passed over: %s", candidate.name, error)
            return candidate, "model"


@dataclass(frozen=True)
class Repository:
    """A repository of the hub; while offline, what of it is here."""

    repo: str
    revision: str | None
    cache_dir: str | os.PathLike[str] | None
    offline: bool | None
    cancelled: Callable[[], bool]

    def __str__(self) -> str:
        only = " (offline: what of it is here)" if is_offline(self.offline) else ""
        return f"{self.repo}{only}"

    def models(self) -> tuple[list[Candidate], list[str]]:
        """Give the models that are listed there, and what is none."""
        return group(self._files())

    def header(self, candidate: Candidate) -> GgufFile:
        """Read the header of one of them: some megabytes come, and none of its weights."""
        from blazen.weights import hub
        from blazen.weights.cache import cache_root
        from blazen.weights.hub import snapshots

        path = snapshots.local_file(
            cache_root(self.cache_dir), self.repo, candidate.name, self.revision
        )
        if path is not None:
            return read_part(path)
        return hub.read_start(
            self.repo,
            candidate.name,
            lambda more: read_start(Path(self.repo) / candidate.name, more, candidate.first_size),
            revision=self.revision,
            cache_dir=self.cache_dir,
            offline=self.offline,
            cancelled=self.cancelled,
        )

    def _files(self) -> list[tuple[str, int]]:
        from blazen.weights import hub

        here = [
            (file.name, file.size or 0)
            for file in hub.files_here(self.repo, revision=self.revision, cache_dir=self.cache_dir)
        ]
        models = any(name.lower().endswith(".gguf") for name, _ in here)
        if is_offline(self.offline) and models:
            return here
        try:
            listed = hub.list_files(
                self.repo,
                revision=self.revision,
                cache_dir=self.cache_dir,
                offline=self.offline,
                cancelled=self.cancelled,
            )
        except DownloadError as error:
            if self.cancelled() or not models:
                raise
            _log.warning("choosing among what is here of %s: %s", self.repo, error)
            return here
        return [(file.name, file.size or 0) for file in listed]
