"""What a user named that no place had: a spec, a path, a hub id, a URL."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

from blazen.catalog.found import Found, file_name
from blazen.catalog.gguf import gguf_facts, is_gguf
from blazen.catalog.opening import Openers, backend_kinds
from blazen.catalog.repositories import told_by_names
from blazen.errors import ModelNotFoundError, ValidationError
from blazen.weights.locate import locate
from blazen.weights.target import MODEL_SUFFIXES, Target

_HUB_FORMS = {
    "transcription": "ggml",
    "image": "pipeline",
    "three_d": "triposr",
    "sparse": "onnx",
    "token_embedding": "onnx",
    "image_embedding": "onnx",
}


def is_spec(text: str) -> bool:
    """Say whether a text begins with the name of a backend."""
    backend, colon, target = text.partition(":")
    return bool(colon and target) and backend in backend_kinds()


def is_path(text: str) -> bool:
    """Say whether a text plainly is the path of something on this machine."""
    plain = "/" in text or os.sep in text or text.startswith((".", "~"))
    if not plain and not text.lower().endswith(MODEL_SUFFIXES):
        return False
    try:
        return Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def is_far(text: str) -> bool:
    """Say whether a text names something of the hub or the web."""
    try:
        return Target.parse(text).source in ("hub", "url")
    except ValidationError:
        return False


def spec_kind(backend: str, target: str, kind: str | None) -> str:
    """Give the kind of model that a spec means, where none is said."""
    kinds = backend_kinds().get(backend, ())
    if kind is not None or not kinds:
        return kind or "model"
    path = Path(target).expanduser()
    if len(kinds) > 1 and is_path(target) and path.is_file() and is_gguf(path):
        said = gguf_facts(_first(path)).kind
        if said in kinds:
            return said
    return "model" if "model" in kinds else kinds[0]


def named(text: str, kind: str | None, openers: Openers) -> Found:
    """Say what a path, a hub id or a URL leads to."""
    target = Target.parse(text)
    if target.source == "path":
        return _path(text, kind)
    shown = target.name if target.source == "url" else str(target)
    file = (target.name if target.source == "url" else target.file) or ""
    form, kind = _far(f"{target.repo or ''} {file}".lower(), kind, openers)
    return Found(
        name=shown or text,
        target=text,
        form=form,
        kind=kind,
        source="given",
        description="from the web" if target.source == "url" else "from the hub",
        aliases=(text,),
    )


def _path(text: str, kind: str | None) -> Found:
    path = locate(text)
    if path.is_dir():
        return _folder(path, kind)
    path = _first(path)
    if not os.access(path, os.R_OK):
        raise ModelNotFoundError(f"{path} can't be read: {os.strerror(errno.EACCES)}")
    found = Found(
        name=file_name(path),
        target=str(path),
        form="gguf",
        source="given",
        path=path,
        size=path.stat().st_size,
        aliases=(text, path.name),
    )
    if is_gguf(path):
        return replace(found, kind=kind)
    suffix = path.suffix.lower()
    if suffix == ".bin" and kind in (None, "transcription"):
        return replace(found, form="ggml", kind="transcription", description="Whisper")
    if suffix == ".onnx" and kind in (None, "tts"):
        return replace(found, form="piper", kind="tts", description="Piper voice")
    if suffix == ".safetensors" and kind in (None, "image"):
        return replace(found, form="pipeline", kind="image", description="a pipeline in one file")
    raise ModelNotFoundError(
        f"{path} is no model that can be told by itself: write backend:{path}, "
        "with the backend that opens it"
    )


def _folder(path: Path, kind: str | None) -> Found:
    found = Found(
        name=path.name,
        target=str(path),
        form="gguf",
        source="given",
        path=path,
        aliases=(str(path),),
    )
    names = [p.relative_to(path).as_posix() for p in path.glob("*") if p.is_file()]
    if any(name.lower().endswith(".gguf") for name in names):
        return replace(found, kind=kind or "model")
    names += [f"onnx/{p.name}" for p in path.glob("onnx/*") if p.is_file()]
    told = told_by_names(path.name, path, names)
    if told is None:
        raise ModelNotFoundError(
            f"{path} holds no model that is known here: it needs a GGUF file, a model_index.json "
            "(images), or a config.json with ONNX or safetensors weights"
        )
    form, known, what = told
    return replace(found, form=form, kind=known, description=what)


def _far(name: str, kind: str | None, openers: Openers) -> tuple[str, str]:
    kind = kind or "model"
    if kind == "model":
        is_whole = "gguf" not in name and openers.choose("safetensors", kind) is not None
        return ("safetensors" if is_whole else "gguf"), kind
    if kind in ("embedding", "rerank"):
        return ("gguf" if "gguf" in name else "onnx"), kind
    if kind == "tts":
        return ("kokoro" if "kokoro" in name else "piper"), kind
    return _HUB_FORMS[kind], kind


def _first(path: Path) -> Path:
    """Give the first part of a split model."""
    return locate(path)
