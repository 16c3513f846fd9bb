"""``blazen pull``: a model fetched ahead of its first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blazen.cli.options import Places, catalog_options, json_option

if TYPE_CHECKING:
    from blazen.bridge import Job
    from blazen.catalog import Catalog
    from blazen.types.progress import OnProgress
    from blazen.weights.quantization import Quantization


@click.command(short_help="Download a model.")
@click.argument("targets", metavar="MODEL...", nargs=-1, required=True)
@click.option("-q", "--quantization", metavar="TYPE", help="Which GGUF to take: Q4_K_M, Q8_0, ...")
@click.option("--file", metavar="NAME", help="This file of the repository.")
@click.option(
    "--include", "patterns", multiple=True, metavar="GLOB", help="Only these files (repeatable)."
)
@click.option("--all", "everything", is_flag=True, help="The whole repository, every file.")
@click.option("--revision", metavar="NAME", help="A branch, tag or commit.")
@click.option("--sha256", metavar="HEX", help="What the file must hash to.")
@click.option("--offline", is_flag=True, default=None, help="Only say where it is, if it is here.")
@json_option
@catalog_options
def command(
    targets: tuple[str, ...],
    quantization: str | None,
    file: str | None,
    patterns: tuple[str, ...],
    everything: bool,
    revision: str | None,
    sha256: str | None,
    offline: bool | None,
    as_json: bool,
    places: Places,
) -> None:
    """Fetch models: hub ids, files of the hub, URLs, starter models, names of your file.

    Of a repository with several GGUF files one is fetched: the --quantization, else Q4_K_M or what
    is nearest. What was begun is gone on with, also after Ctrl-C. Prints where each lies.

    \b
    blazen pull bartowski/SmolLM2-135M-Instruct-GGUF
    blazen pull org/name-GGUF --quantization Q8_0
    blazen pull hf:org/name@v1/model.gguf
    blazen pull whispercpp:small
    """
    from blazen.cli.output import emit, emit_json
    from blazen.cli.progress import progress
    from blazen.cli.running import run_async
    from blazen.errors import ValidationError
    from blazen.weights.quantization import Quantization

    if sum((quantization is not None, file is not None, bool(patterns), everything)) > 1:
        raise ValidationError("give one of --quantization, --file, --include and --all")
    if sha256 is not None and len(targets) > 1:
        raise ValidationError("--sha256 is for one model at a time")
    wish = _Wish(
        quantization=None if quantization is None else Quantization.of(quantization),
        file=file,
        patterns=list(patterns) or None,
        everything=everything,
        revision=revision,
        sha256=sha256,
        offline=offline,
    )
    catalog, found = places.read(), []
    for target in targets:
        with progress() as report:
            path = run_async(_fetch(catalog, target, wish, report))
        found.append({"target": target, "path": path, "size": _size(path)})
        if not as_json:
            emit(str(path) if path is not None else target)
    if as_json:
        emit_json(found)


@dataclass(frozen=True)
class _Wish:
    """What the options say."""

    quantization: Quantization | str | None
    file: str | None
    patterns: list[str] | None
    everything: bool
    revision: str | None
    sha256: str | None
    offline: bool | None

    def of(self, named: dict[str, Any]) -> _Wish:
        """Give it with what the file says of a model, where the options leave that open."""
        file, kind = named.get("file"), named.get("quantization")
        free = self.patterns is None and not self.everything and self.quantization is None
        return replace(
            self,
            file=self.file or (file if free else None),
            quantization=self.quantization or (kind if free and self.file is None else None),
        )


async def _fetch(catalog: Catalog, text: str, wish: _Wish, report: OnProgress) -> Path | None:
    """Fetch one thing, and give where it lies; ``None`` where only its backend knows that."""
    from blazen.errors import ValidationError
    from blazen.weights.pull import pull

    backend, target, named = _meant(catalog, text)
    if backend is not None and not _is_target(target):
        await _by_loading(catalog, text, report)
        return None
    wish = wish.of(named)
    is_one = wish.file is None and wish.patterns is None and not wish.everything
    if is_one and _is_repository(target):
        if wish.sha256 is not None:
            raise ValidationError("--sha256 is for one file: name it with --file")
        path = await _one_gguf(target, wish, report)
        if path is not None:
            return path
    if wish.quantization is not None:
        raise ValidationError(f"--quantization is for a repository with GGUF files: {target}")
    return await pull(
        target,
        file=wish.file,
        patterns=wish.patterns,
        revision=wish.revision,
        sha256=wish.sha256,
        offline=wish.offline,
        on_progress=report,
    )


def _meant(catalog: Catalog, text: str) -> tuple[str | None, str, dict[str, Any]]:
    """Say which backend and target a text means, and what the file says of it besides."""
    from blazen.catalog.given import is_spec

    if text in catalog.config.models:
        listing = catalog.find(text)
        return listing.backend, listing.target, dict(listing.options)
    if is_spec(text):
        backend, _, target = text.partition(":")
        return backend, target, {}
    return None, text, {}


def _is_target(text: str) -> bool:
    """Say whether a text can be fetched by itself; a size of Whisper or a voice can not."""
    from blazen.weights.target import Target

    target = Target.parse(text)
    return target.source != "path" or (target.path is not None and target.path.exists())


def _is_repository(text: str) -> bool:
    from blazen.weights.target import Target

    target = Target.parse(text)
    return target.source == "hub" and target.file is None


async def _one_gguf(target: str, wish: _Wish, report: OnProgress) -> Path | None:
    """Fetch the one GGUF of a repository that is to be taken; ``None`` where it has none."""
    from blazen import bridge
    from blazen.weights.gguf_files import locate_gguf
    from blazen.weights.gguf_places import Repository
    from blazen.weights.target import Target

    shown, wanted, eyes = bridge.on_loop(report), Target.parse(target), list[str]()

    def work(job: Job) -> Path | None:
        def cancelled() -> bool:
            return job.cancelled

        revision = wish.revision or wanted.revision
        place = Repository(wanted.repo or "", revision, None, wish.offline, cancelled)
        models, left_out = place.models()
        eyes.extend(name.partition(" (")[0] for name in left_out if "mmproj" in name.lower())
        if not models:
            return None
        return locate_gguf(
            target,
            quantization=wish.quantization,
            revision=wish.revision,
            offline=wish.offline,
            on_progress=shown,
            cancelled=cancelled,
        )

    path = await _threaded(work, f"pull {target}")
    if path is not None and eyes and not any((path.parent / name).exists() for name in eyes):
        from blazen.cli.output import say

        say(f"To show it images, it needs a projector too: blazen pull {target} --file {eyes[0]}")
    return path


async def _threaded(work: Callable[[Job], Path | None], name: str) -> Path | None:
    from blazen import bridge
    from blazen.bridge import EngineThread, Job

    thread: EngineThread[None] = EngineThread(name, close=lambda nothing: None)
    job = Job(work)
    thread.submit(job)
    try:
        path: Path | None = await bridge.outcome(job)
    finally:
        thread.stop()
    return path


async def _by_loading(catalog: Catalog, spec: str, report: OnProgress) -> None:
    """Have a backend fetch what only it can name, such as a voice, by loading it once."""
    from blazen.errors import UnsupportedError

    model = catalog.build(catalog.find(spec))
    if not hasattr(model, "load"):
        raise UnsupportedError(f"{spec} runs elsewhere: there is nothing to fetch")
    try:
        await model.load(on_progress=report)
    finally:
        await model.unload()


def _size(path: Path | None) -> int | None:
    if path is None:
        return None
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)
