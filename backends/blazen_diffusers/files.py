"""Where the files of a pipeline are, and which of them may be loaded."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from blazen.errors import LoadError, ModelNotFoundError, ValidationError
from blazen.weights import hub
from blazen.weights.safetensors import read_safetensors
from blazen.weights.target import Target
from blazen_diffusers.choosing import choose_files
from blazen_diffusers.index import INDEX, PICKLES, Fetching, check_header, is_part, read_index
from blazen_diffusers.single import check_single, single_checker, single_settings


@dataclass(frozen=True)
class PipelineFiles:
    """A pipeline on this disk: a folder, or one file with all weights and a folder of settings."""

    path: Path
    config: Path | None = None
    variant: str | None = None
    pickles: bool = False
    checker: Path | None = None
    """For a single file: the folder of the safety checker that its settings name."""

    @property
    def is_single(self) -> bool:
        """Whether one file holds all weights."""
        return self.path.is_file()


def pipeline_files(
    target: str | PathLike[str],
    fetching: Fetching,
    *,
    config: str | PathLike[str] | None = None,
    variant: str | None = None,
    allow_pickle: bool = False,
) -> PipelineFiles:
    """Find a pipeline, fetch what is needed of it, and refuse what can't be one."""
    wanted = Target.parse(target)
    if wanted.source == "hub" and wanted.file is None:
        names = _hub_names(wanted, fetching)
        index = read_index(_hub_file(wanted, INDEX, fetching), str(wanted))
        chosen, variant = choose_files(
            str(wanted), names, index, variant=variant, allow_pickle=allow_pickle
        )
        path = fetching.locate(target, chosen)
    else:
        path = fetching.locate(target)
    if path.is_dir():
        if config is not None:
            raise ValidationError(
                f"config={str(config)!r} is for a single file, and {path} is a folder"
            )
        index = read_index(path / INDEX, str(path))
        here = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
        _, variant = choose_files(
            str(path), here, index, variant=variant, allow_pickle=allow_pickle
        )
        _check_weights(path, index)
        return PipelineFiles(path, variant=variant, pickles=allow_pickle)
    if variant is not None:
        raise ValidationError(f"variant={variant!r} is for a folder, and {path} is one file")
    check_single(path, allow_pickle=allow_pickle)
    settings = single_settings(path, config, fetching)
    checker = None if settings is None else single_checker(settings)
    return PipelineFiles(path, config=settings, pickles=allow_pickle, checker=checker)


def component_files(files: PipelineFiles) -> dict[str, list[Path]]:
    """Give the weight files of each part; those of a single file have the part ``all``."""
    if files.is_single:
        checker = files.checker
        found = {} if checker is None else {checker.name: sorted(checker.glob("*.safetensors"))}
        return {"all": [files.path], **found}
    index = read_index(files.path / INDEX, str(files.path))
    here = [f.relative_to(files.path).as_posix() for f in files.path.rglob("*") if f.is_file()]
    chosen, _ = choose_files(
        str(files.path), here, index, variant=files.variant, allow_pickle=files.pickles
    )
    found = {}
    for name in chosen:
        if name.endswith((".safetensors", *PICKLES)):
            found.setdefault(name.partition("/")[0], []).append(files.path / name)
    return found


def stored_type(files: PipelineFiles) -> str | None:
    """Say in which type most numbers of a pipeline are stored; of pickles nothing is known."""
    counts: dict[str, int] = {}
    for paths in component_files(files).values():
        for path in paths:
            if path.suffix == ".safetensors":
                for tensor in read_safetensors(path).tensors:
                    counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.elements
    return max(counts, key=lambda name: counts[name], default=None)


def adapter_file(target: str | PathLike[str], fetching: Fetching) -> Path:
    """Give the safetensors file of an adapter."""
    path = fetching.locate(target, None if _names_file(target) else ["*.safetensors"])
    if path.is_dir():
        path = path / hub.pick([p.name for p in path.iterdir()], suffix=".safetensors")
    if path.suffix != ".safetensors":
        raise LoadError(
            f"the adapter {path} is no safetensors file; pickles may run code, and are not loaded"
        )
    read_safetensors(path)
    return path


def _names_file(target: str | PathLike[str]) -> bool:
    wanted = Target.parse(target)
    return wanted.source != "hub" or wanted.file is not None


def _hub_names(wanted: Target, fetching: Fetching) -> list[str]:
    listed = hub.list_files(
        wanted.repo or "",
        revision=wanted.revision,
        cache_dir=fetching.cache_dir,
        cancelled=fetching.cancelled,
    )
    names = [file.name for file in listed]
    if INDEX not in names:
        single = [name for name in names if name.endswith(".safetensors") and "/" not in name]
        hint = f"; name one of its files: {wanted}/{single[0]}" if single else ""
        raise ModelNotFoundError(f"{wanted} is no pipeline of diffusers: it has no {INDEX}{hint}")
    return names


def _hub_file(wanted: Target, name: str, fetching: Fetching) -> Path:
    return hub.fetch_file(
        wanted.repo or "",
        name,
        revision=wanted.revision,
        cache_dir=fetching.cache_dir,
        on_progress=fetching.on_progress,
        cancelled=fetching.cancelled,
    )


def _check_weights(folder: Path, index: dict[str, Any]) -> None:
    """Read every header: a file that is cut off shows before gigabytes were loaded."""
    for part in (name for name, kind in index.items() if is_part(kind)):
        for path in sorted((folder / part).glob("*.safetensors")):
            check_header(path)
