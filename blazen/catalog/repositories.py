"""What lies in a repository of the hub that is here: told by the names of its files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from blazen.catalog.folders import is_folder
from blazen.catalog.found import Found, file_name
from blazen.catalog.listing import Source
from blazen.weights.gguf_choice import group
from blazen.weights.hub.snapshots import commit_of, names_in

_CONFIG = "config.json"
_LARGEST_CONFIG = 1 << 20


def repositories(cache: Path) -> Iterator[tuple[str, Path]]:
    """Give the repositories of a cache in the hub client's layout, each with its newest state."""
    for folder in sorted(cache.glob("models--*--*")):
        snapshots = sorted(path for path in folder.glob("snapshots/*") if is_folder(path))
        commit = commit_of(folder, None)
        newest = folder / "snapshots" / commit if commit else None
        if snapshots:
            path = newest if newest in snapshots else snapshots[-1]
            yield folder.name.removeprefix("models--").replace("--", "/", 1), path


def models_of(repo: str, folder: Path, source: Source) -> Iterator[Found]:
    """Give the models of one repository."""
    names = [name for name in names_in(folder) if (folder / name).is_file()]
    ggufs, _ = group([(name, (folder / name).stat().st_size) for name in names])
    eyes = [n for n in names if n.endswith(".gguf") and "mmproj" in n.lower()]
    for candidate in ggufs:
        path = folder / candidate.name
        yield Found(
            name=repo if len(ggufs) == 1 else file_name(path),
            target=str(path),
            form="gguf",
            source=source,
            path=path,
            size=candidate.size,
            aliases=(f"{repo}/{candidate.name}", file_name(path), path.name),
            projector=folder / eyes[0] if len(eyes) == 1 else None,
        )
    if ggufs:
        return
    single = list(_files(repo, folder, names, source))
    yield from single
    if not single and (whole := _whole(repo, folder, names, source)) is not None:
        yield whole


def _files(repo: str, folder: Path, names: Iterable[str], source: Source) -> Iterator[Found]:
    """Give what is a model in one file: those of Whisper, and Piper's voices."""
    every = set(names)
    for name in sorted(every):
        path = folder / name
        stem = PurePosixPath(name).stem
        if stem.startswith("ggml-") and name.endswith(".bin"):
            form, kind, what = "ggml", "transcription", "Whisper"
            shown = f"whisper-{stem.removeprefix('ggml-')}"
        elif name.endswith(".onnx") and f"{name}.json" in every:
            form, kind, what, shown = "piper", "tts", "Piper voice", stem
        else:
            continue
        yield Found(
            name=shown,
            target=str(path),
            form=form,
            kind=kind,
            source=source,
            path=path,
            size=path.stat().st_size,
            description=what,
            aliases=(f"{repo}/{name}", stem),
        )


def _whole(repo: str, folder: Path, names: list[str], source: Source) -> Found | None:
    told = told_by_names(repo, folder, names)
    if told is None:
        return None
    form, kind, what = told
    return Found(
        name=repo,
        # Of blazen's own cache the id says more: a backend may know how this model is read.
        target=repo if source == "cache" else str(folder),
        form=form,
        kind=kind,
        source=source,
        path=folder,
        size=sum((folder / name).stat().st_size for name in names),
        description=what,
        aliases=(repo.rpartition("/")[2],),
    )


def told_by_names(repo: str, folder: Path, names: list[str]) -> tuple[str, str, str] | None:
    """Say how a repository is stored, its kind, and what it is in a word."""
    plain = repo.lower()
    ends = {PurePosixPath(name).suffix for name in names}
    if "model_index.json" in names:
        return "pipeline", "image", _pipeline(folder)
    if "triposr" in plain and "config.yaml" in names:
        return "triposr", "three_d", "TripoSR"
    if "kokoro" in plain and ".onnx" in ends:
        return "kokoro", "tts", "Kokoro"
    config = _read(folder / _CONFIG)
    network = " ".join(map(str, config.get("architectures") or ()))
    if ".onnx" in ends:
        return "onnx", _onnx_kind(plain, network, names), network
    if ".safetensors" in ends and network.endswith(("ForCausalLM", "ForConditionalGeneration")):
        return "safetensors", "model", network
    return None


def _onnx_kind(repo: str, network: str, names: list[str]) -> str:
    if "colbert" in repo:
        return "token_embedding"
    if "splade" in repo or "bm25" in repo or "bm42" in repo:
        return "sparse"
    if "rerank" in repo or network.endswith("ForSequenceClassification"):
        return "rerank"
    if "vision" in repo or ("preprocessor_config.json" in names and "tokenizer.json" not in names):
        return "image_embedding"
    return "embedding"


def _pipeline(folder: Path) -> str:
    return str(_read(folder / "model_index.json").get("_class_name") or "a pipeline of diffusers")


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_CONFIG:
            return {}
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
