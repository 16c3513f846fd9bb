"""Where a Kokoro's files are: one ONNX file, its vocabulary, its voices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blazen.bridge import Job
from blazen.errors import ModelNotFoundError, UnsupportedError, ValidationError
from blazen.options import KokoroOptions
from blazen.types.progress import OnProgress, Progress
from blazen.weights.locate import locate
from blazen.weights.target import Target
from blazen_kokoro.vocabulary import read_vocabulary
from blazen_kokoro.voices import PUBLISHED, Blend, Voices, find_voices

_HUB_MODELS = ("onnx/model.onnx", "model.onnx", "kokoro-v1.0.onnx")
# No pattern that begins "voices*": its star would stand for all of the folder "voices" too.
_ARCHIVES = ("voices-*.bin", "voices-*.npz", "voices_*.npz", "voices.npz")
_TORCH_ONLY = "hexgrad/kokoro-82m"


@dataclass(frozen=True)
class Weights:
    """What a Kokoro is loaded from."""

    model: Path
    vocabulary: dict[str, int]
    voices: Voices


def locate_weights(options: KokoroOptions, job: Job, report: OnProgress) -> Weights:
    """Find the files that the options name; of a hub repository fetch only what is needed."""
    target = Target.parse(options.model)
    if target.source == "hub":
        return _from_hub(options, target, job, report)
    path = locate(
        options.model,
        cache_dir=options.cache_dir,
        on_progress=report,
        cancelled=lambda: job.cancelled,
    )
    model = _onnx_in(path) if path.is_dir() else path
    if model.suffix != ".onnx":
        raise ValidationError(f"a Kokoro is a folder or an .onnx file; {path} is neither")
    return _beside(model, path if path.is_dir() else _folder_of(model), None)


def _from_hub(options: KokoroOptions, target: Target, job: Job, report: OnProgress) -> Weights:
    repository = f"hf:{target.repo}"
    if (target.repo or "").lower() == _TORCH_ONLY:
        raise UnsupportedError(
            f"{target.repo} holds PyTorch files only: take onnx-community/Kokoro-82M-v1.0-ONNX"
        )
    if target.file is not None and not target.file.endswith(".onnx"):
        raise ValidationError(f"{target} names no .onnx file")

    def bring(*patterns: str, listen: OnProgress) -> Path:
        return locate(
            repository,
            patterns=patterns,
            revision=target.revision,
            cache_dir=options.cache_dir,
            on_progress=listen,
            cancelled=lambda: job.cancelled,
        )

    voices = [name for name, _ in Blend.parse(options.voice or PUBLISHED[0]).parts]
    models = (target.file,) if target.file else _HUB_MODELS
    folder = bring(
        *models,
        *(f"voices/{name}.bin" for name in voices),
        *_ARCHIVES,
        *("vocab.json", "tokenizer.json"),
        listen=report,
    )
    found = [folder / name for name in models if (folder / name).is_file()]
    if not found:
        raise ModelNotFoundError(
            f"{target} has none of {', '.join(models)}: name its file, as in "
            f"'{target.repo}/FILE.onnx'"
        )

    def fetch(name: str) -> Path:
        file = f"voices/{name}.bin"
        return bring(file, listen=_silent) / file

    return _beside(found[0], folder, fetch)


def _silent(progress: Progress) -> None:
    """Tell no one: a voice is half a megabyte."""


def _beside(model: Path, folder: Path, fetch: Callable[[str], Path] | None) -> Weights:
    places = find_voices(folder)
    # A repository with its voices in one archive has no files of theirs to fetch.
    one_by_one = any(path.parent.name == "voices" for path in places.values())
    if not places and fetch is None:
        raise ValidationError(
            f"{folder} holds no voices beside {model.name}: they come as voices*.npz, as "
            "kokoro-onnx's voices-v1.0.bin, or as .bin files in a folder 'voices'"
        )
    fetch = fetch if one_by_one or not places else None
    return Weights(model, read_vocabulary(folder), Voices(places, fetch))


def _folder_of(model: Path) -> Path:
    """Give the folder with the voices: where the file is in ``onnx/``, the one above."""
    return model.parent.parent if model.parent.name == "onnx" else model.parent


def _onnx_in(folder: Path) -> Path:
    for pattern in ("onnx/model.onnx", "model.onnx"):
        if (folder / pattern).is_file():
            return folder / pattern
    found = sorted({*folder.glob("*.onnx"), *folder.glob("onnx/*.onnx")})
    if len(found) == 1:
        return found[0]
    what = f"several ONNX files ({', '.join(p.name for p in found)})" if found else "no ONNX file"
    raise ValidationError(f"{folder} holds {what}: give the path of the one to use")
