"""The models that fastembed knows, under the names that people use for them, and all others."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from blazen.bridge import Job
from blazen.errors import DownloadError, ModelNotFoundError, UnsupportedError
from blazen.options import EmbedOptions
from blazen.types.progress import OnProgress
from blazen.weights.locate import locate
from blazen.weights.target import Target
from blazen_fastembed.folders import check_folder, choose_file, describe_folder
from blazen_fastembed.offered import known_row, near_name

_BESIDE = ("*.json", "*.txt")


@dataclass(frozen=True)
class KnownModel:
    """A model from fastembed's own list, and where its files are."""

    name: str
    repository: str
    file: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Weights:
    """A model whose files are here."""

    name: str
    """What fastembed knows it by."""
    called: str
    """What people call it: what is published about it goes by this."""
    folder: Path
    file: str
    is_known: bool

    @property
    def is_static(self) -> bool:
        """Whether it is a table of vectors, without a network."""
        return self.file.endswith(".safetensors")

    @property
    def size(self) -> int:
        """How many bytes the weights have, with the data that lies beside an ONNX file."""
        path = self.folder / self.file
        return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))


def known_model(name: str | PathLike[str]) -> KnownModel | None:
    """Find a model by its full name, or by its last part written as one word: ``BGESmallENV15``.

    What lies on the disk under that name goes first: it is never taken for the model of the list.
    """
    from fastembed import TextEmbedding

    row = known_row(_public(TextEmbedding.list_supported_models()), name)
    if row is None:
        return None
    file = row["model_file"]
    return KnownModel(row["model"], row["sources"]["hf"], file, (file, *row["additional_files"]))


def find_weights(options: EmbedOptions, job: Job, report: OnProgress) -> Weights:
    """Have a model's files here: those that it needs, and no others of its repository."""
    target = options.model_name
    known = known_model(target)
    if known is None:
        folder = _unknown(options, job, report)
        file = check_folder(folder, options.file)
        return Weights(describe_folder(folder, file), str(target), folder, file, False)
    for name in ("pooling", "file"):
        if getattr(options, name) is not None:
            raise UnsupportedError(
                f"fastembed knows how {known.name} is read: leave {name}= out, or give a folder"
            )
    patterns = [*known.files, *_BESIDE]
    folder = _located(f"hf:{known.repository}", patterns, options, job, report)
    return Weights(known.name, known.name, folder, known.file, True)


def _unknown(options: EmbedOptions, job: Job, report: OnProgress) -> Path:
    target = options.model_name
    try:
        wanted = Target.parse(target)
        patterns: list[str] | None = None
        if wanted.source == "hub" and wanted.repo is not None and wanted.file is None:
            from blazen.weights.hub import list_files

            listed = list_files(
                wanted.repo,
                revision=wanted.revision,
                cache_dir=options.cache_dir,
                cancelled=lambda: job.cancelled,
            )
            names = [file.name for file in listed]
            file = choose_file(wanted.repo, names, options.file)
            patterns = [file, *(n for n in names if n.startswith(f"{file}_data")), *_BESIDE]
        return _located(target, patterns, options, job, report)
    except (ModelNotFoundError, DownloadError) as error:
        from fastembed import TextEmbedding

        near = near_name(_public(TextEmbedding.list_supported_models()), str(target))
        if near is None:
            raise
        raise type(error)(f"{error}; did you mean {near!r}, which fastembed knows?") from error


def _located(
    target: str | PathLike[str],
    patterns: list[str] | None,
    options: EmbedOptions,
    job: Job,
    report: OnProgress,
) -> Path:
    return locate(
        target,
        patterns=patterns,
        cache_dir=options.cache_dir,
        on_progress=report,
        cancelled=lambda: job.cancelled,
    )


def _public(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Leave out the folders that fastembed was told about."""
    return [row for row in rows if not str(row["model"]).startswith("blazen/")]
