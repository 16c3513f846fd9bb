"""Where other programs on this machine keep their models."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blazen.catalog.folders import is_folder
from blazen.catalog.found import Found

_MODEL = "application/vnd.ollama.image.model"
_PROJECTOR = "application/vnd.ollama.image.projector"
_HOST = "registry.ollama.ai"
_LARGEST_MANIFEST = 1 << 20
_MOST_MANIFESTS = 2_000


def gguf_folders() -> list[Path]:
    """Give the folders of GGUF files that LM Studio, GPT4All, Jan and users fill, if they exist."""
    home = _home()
    if home is None:
        return []
    data = _data(home)
    folders = [
        home / ".lmstudio" / "models",
        home / ".cache" / "lm-studio" / "models",
        data / "nomic.ai" / "GPT4All",
        home / ".cache" / "gpt4all",
        data / "Jan" / "data" / "llamacpp" / "models",
        data / "Jan" / "data" / "models",
        home / "jan" / "models",
        home / "models",
    ]
    return [folder for folder in folders if is_folder(folder)]


def hub_caches() -> list[Path]:
    """Give the caches of the Hugging Face hub's own client."""
    home = _home()
    named = [os.environ.get("HF_HUB_CACHE"), os.environ.get("HUGGINGFACE_HUB_CACHE")]
    if hub_home := os.environ.get("HF_HOME"):
        named.append(str(Path(hub_home) / "hub"))
    folders = [Path(name).expanduser() for name in named if name]
    if not folders and home is not None:
        folders = [home / ".cache" / "huggingface" / "hub"]
    return [folder for folder in folders if is_folder(folder)]


def ollama_models(problems: list[str]) -> Iterator[Found]:
    """Give the models of Ollama: its manifests name them, and lead to its blobs."""
    home = _home()
    named = os.environ.get("OLLAMA_MODELS")
    root = Path(named).expanduser() if named else home and home / ".ollama" / "models"
    if root is None or not is_folder(root / "manifests"):
        return
    for number, manifest in enumerate(sorted((root / "manifests").glob("*/*/*/*"))):
        if number >= _MOST_MANIFESTS:
            problems.append(
                f"{root} has more than {_MOST_MANIFESTS:,} models: the rest is left out"
            )
            return
        try:
            found = _from_manifest(root, manifest)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{manifest} is left out: {error}")
            continue
        if found is not None:
            yield found


def _from_manifest(root: Path, manifest: Path) -> Found | None:
    if not manifest.is_file() or manifest.stat().st_size > _LARGEST_MANIFEST:
        return None
    host, owner, model, tag = manifest.relative_to(root / "manifests").parts
    layers = json.loads(manifest.read_bytes())["layers"]
    blob = _blob(root, layers, _MODEL)
    if blob is None:
        return None
    name = f"{model}:{tag}" if owner == "library" else f"{owner}/{model}:{tag}"
    name = name if host == _HOST else f"{host}/{name}"
    return Found(
        name=name,
        target=str(blob),
        form="gguf",
        source="folder",
        path=blob,
        size=blob.stat().st_size,
        aliases=(name.removesuffix(":latest"),) if tag == "latest" else (),
        projector=_blob(root, layers, _PROJECTOR),
    )


def _blob(root: Path, layers: list[dict[str, Any]], kind: str) -> Path | None:
    digest = next((str(layer["digest"]) for layer in layers if layer["mediaType"] == kind), None)
    if digest is None:
        return None
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or not value.isalnum():
        raise ValueError(f"{digest!r:.80} is no digest")
    blob = root / "blobs" / f"sha256-{value}"
    if not blob.is_file():
        raise ValueError(f"its weights are not there: {blob}")
    return blob


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # a user without one
        return None


def _data(home: Path) -> Path:
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
