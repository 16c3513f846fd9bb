"""Folders of GGUF files: searched a few levels deep, whoever filled them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blazen.catalog.found import Found, file_name
from blazen.weights.gguf_choice import group

DEEPEST = 5
MOST = 20_000
"""Entries that are looked at in one folder with all that is in it."""


@dataclass
class Search:
    """Looks through a folder, and notes what it had to leave out."""

    deepest: int = DEEPEST
    most: int = MOST
    problems: list[str] = field(default_factory=list)

    def models(self, root: Path) -> Iterator[Found]:
        """Give the GGUF models of a folder and of those inside it."""
        for folder, sizes in self._folders(root):
            candidates, left_out = group(sizes.items())
            self.problems += [
                f"{folder}: {one} is left out" for one in left_out if one.endswith(" parts)")
            ]
            eyes = [name for name in sizes if "mmproj" in name.lower()]
            for candidate in candidates:
                path = folder / candidate.name
                inside = path.relative_to(root).as_posix()
                yield Found(
                    name=file_name(path),
                    target=str(path),
                    form="gguf",
                    source="folder",
                    path=path,
                    size=candidate.size,
                    aliases=(inside, inside.removesuffix(path.suffix), path.name),
                    projector=folder / eyes[0] if len(eyes) == 1 else None,
                )

    def _folders(self, root: Path) -> Iterator[tuple[Path, dict[str, int]]]:
        """Give each folder that has GGUF files, with these and their sizes."""
        seen: set[tuple[int, int]] = set()
        looked_at = 0
        waiting = [(root, 0)]
        while waiting:
            folder, depth = waiting.pop(0)
            sizes: dict[str, int] = {}
            below = []
            try:
                place = folder.stat()
                mark = (place.st_dev, place.st_ino)
                if mark in seen:  # a link that leads back
                    continue
                seen.add(mark)
                with os.scandir(folder) as entries:
                    for entry in entries:
                        looked_at += 1
                        if looked_at > self.most:
                            self.problems.append(
                                f"{root} has more than {self.most:,} files: the rest was not "
                                "looked at; name a folder inside it"
                            )
                            return
                        if entry.name.startswith("."):
                            continue
                        if is_folder(entry):
                            below.append(Path(entry.path))
                        elif entry.name.lower().endswith(".gguf") and is_file(entry):
                            sizes[entry.name] = entry.stat().st_size
            except OSError as error:
                self.problems.append(f"{folder} can't be read: {error.strerror or error}")
            if sizes:
                yield folder, dict(sorted(sizes.items()))
            if depth < self.deepest:
                waiting += [(path, depth + 1) for path in sorted(below)]


def is_folder(place: os.DirEntry[str] | Path) -> bool:
    """Say whether a folder is there; one in a place that may not be looked into is none."""
    try:
        return place.is_dir()
    except OSError:
        return False


def is_file(place: os.DirEntry[str] | Path) -> bool:
    """Say whether it is a regular file: a pipe or a device would act when it is opened."""
    try:
        return place.is_file()
    except OSError:
        return False
