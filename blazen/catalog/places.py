"""All places where models are looked for, in their order."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blazen.catalog.folders import Search, is_folder
from blazen.catalog.found import Found
from blazen.catalog.listing import Source
from blazen.catalog.programs import gguf_folders, hub_caches, ollama_models
from blazen.catalog.repositories import models_of, repositories
from blazen.weights.cache import cache_root
from blazen.weights.inventory import cached
from blazen.weights.starter import Starter, starters

_KINDS = {
    "chat": "model",
    "embedding": "embedding",
    "transcription": "transcription",
    "speech": "tts",
}
_FORMS = {"transcription": "ggml", "embedding": "onnx"}


def starter_models() -> Iterator[Found]:
    """Give the starter models whose packages are here."""
    for row in starters():
        if row.installed:
            yield Found(
                name=f"starter:{row.name}",
                target=f"starter:{row.name}",
                form=_starter_form(row),
                kind=_KINDS[row.task],
                source="starter",
                size=row.size,
                description=row.description,
                aliases=(row.name, *(f"{file.into or Path(file.path).name}" for file in row.files)),
            )


def cached_models(problems: list[str]) -> Iterator[Found]:
    """Give what blazen's own cache holds whole."""
    root = cache_root()
    try:
        held = cached()
    except OSError as error:
        problems.append(f"the cache {root} can't be read: {error.strerror or error}")
        return
    for model in held:
        if not model.complete:
            problems.append(f"{model.target} has not arrived whole: pull it again")
        elif model.source == "url" and model.path.suffix.lower() == ".gguf":
            yield from _from_url(model.path, model.target, model.size)
    yield from _of_hub(root / "hub", "cache", problems)


def folder_models(
    folders: Sequence[Path], problems: list[str], *, programs: bool
) -> Iterator[Found]:
    """Give the GGUF models of folders, the named ones first, then those of other programs."""
    search = Search()
    for folder in _wanted(folders):
        if is_folder(folder):
            yield from search.models(folder)
        else:
            problems.append(f"there is no folder {folder}, in which models were to be looked for")
    if programs:
        for folder in gguf_folders():
            yield from search.models(folder)
        yield from ollama_models(problems)
        for cache in hub_caches():
            yield from _of_hub(cache, "folder", problems)
    problems += search.problems


def looked_in(folders: Sequence[Path], discover: Mapping[str, Any]) -> list[str]:
    """Name the places that are looked in, for a message."""
    places = [str(folder) for folder in _wanted(folders)]
    if discover.get("cache", True):
        places.append(str(cache_root()))
    if discover.get("programs", True):
        places += [str(folder) for folder in [*gguf_folders(), *hub_caches()]]
    return places


def _wanted(folders: Sequence[Path]) -> Collection[Path]:
    """Give the folders that the user named, here and in the environment, each once."""
    named = os.environ.get("BLAZEN_MODEL_DIR", "").split(os.pathsep)
    wanted = [*folders, *(Path(name).expanduser() for name in named if name.strip())]
    return {os.path.realpath(folder): folder for folder in wanted}.values()


def _of_hub(cache: Path, source: Source, problems: list[str]) -> Iterator[Found]:
    for repo, folder in repositories(cache):
        try:
            yield from models_of(repo, folder, source)
        except OSError as error:  # noqa: PERF203 - one must not hide the others
            problems.append(f"{folder} can't be read: {error.strerror or error}")


def _starter_form(row: Starter) -> str:
    if row.task == "speech":
        return "kokoro" if "kokoro" in row.name else "piper"
    return _FORMS.get(row.task, "gguf")


def _from_url(path: Path, target: str, size: int) -> Iterator[Found]:
    if "-of-" in path.stem and "-00001-of-" not in path.stem:
        return
    yield Found(
        name=path.stem,
        target=str(path),
        form="gguf",
        source="cache",
        path=path,
        size=size,
        aliases=(target, path.name),
    )
