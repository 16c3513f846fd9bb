"""Model files that are small, and as large as their headers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.weights.gguf_files import Maker, Tensor

TOKENS = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a", "b"]}


def chat_gguf(path: Path, **metadata: Any) -> Path:
    """A GGUF file that says of itself that it chats."""
    return _write(path, {**_language("llama"), **metadata})


def embedding_gguf(path: Path) -> Path:
    """A GGUF file that says how its vectors are pooled."""
    return _write(path, {**_language("nomic-bert"), "nomic-bert.pooling_type": 1})


def rerank_gguf(path: Path) -> Path:
    """A GGUF file with scores for its answer."""
    return _write(path, {**_language("bert"), "bert.pooling_type": 4})


def projector_gguf(path: Path, *, width: int = 32) -> Path:
    """What gives a chat model eyes."""
    return _write(
        path,
        {
            "general.architecture": "clip",
            "general.type": "mmproj",
            "clip.vision.projection_dim": width,
        },
    )


def ollama(root: Path, name: str, tag: str, model: Path, *more: tuple[str, str]) -> Path:
    """A manifest of Ollama for a blob that is moved to its place."""
    digest = f"{abs(hash(name)) % 10**8:064d}"
    blob = root / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    model.rename(blob)
    owner = Path(name) if "/" in name else Path("library") / name
    manifest = root / "manifests" / "registry.ollama.ai" / owner / tag
    manifest.parent.mkdir(parents=True, exist_ok=True)
    layers = [("application/vnd.ollama.image.model", f"sha256:{digest}"), *more]
    text = json.dumps({"layers": [{"mediaType": kind, "digest": of} for kind, of in layers]})
    manifest.write_text(text, encoding="utf-8")
    return blob


def hub_repo(cache: Path, repo: str, files: dict[str, bytes]) -> Path:
    """A repository in the layout of the hub's client."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    commit = "c" * 40
    for name, data in files.items():
        path = folder / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return folder / "snapshots" / commit


def _language(architecture: str) -> dict[str, Any]:
    return {
        "general.architecture": architecture,
        "general.name": "Tiny Test",
        "general.file_type": 15,
        f"{architecture}.embedding_length": 32,
        **TOKENS,
    }


def _write(path: Path, metadata: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Maker(metadata, [Tensor("token_embd.weight", (32, 2))]).write(path)
