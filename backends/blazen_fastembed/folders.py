"""A folder with an ONNX file and a tokenizer, as a model that fastembed can load."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

from blazen.errors import ValidationError

_WANTED = ("tokenizer.json", "tokenizer_config.json")
_ONNX = ("model.onnx", "onnx/model.onnx", "model_optimized.onnx", "model_quantized.onnx")

_registering = threading.Lock()


def check_folder(folder: Path) -> None:
    """Refuse what can't be a model, and say what is missing."""
    if not folder.is_dir():
        raise ValidationError(
            f"an embedding model is a folder with an ONNX file and a tokenizer; {folder} is a file"
        )
    for name in _WANTED:
        if not (folder / name).is_file():
            raise ValidationError(f"{folder} has no {name}")
    _onnx_file(folder)


def describe_folder(folder: Path, pooling: str | None) -> str:
    """Tell fastembed about a folder, once, and give the name it has there."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    pooling = pooling or _declared_pooling(folder) or "mean"
    file = _onnx_file(folder)
    identity = f"{folder.resolve()}\n{file}\n{pooling}"
    name = f"blazen/{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    with _registering:
        if name not in {row["model"] for row in TextEmbedding.list_supported_models()}:
            TextEmbedding.add_custom_model(
                model=name,
                pooling=PoolingType.CLS if pooling == "cls" else PoolingType.MEAN,
                normalization=True,
                sources=ModelSource(hf=name),
                dim=_declared_dimensions(folder),
                model_file=file,
            )
    return name


def _onnx_file(folder: Path) -> str:
    for name in _ONNX:
        if (folder / name).is_file():
            return name
    others = sorted(path.name for path in folder.glob("*.onnx"))
    if len(others) == 1:
        return others[0]
    what = f"several ONNX files ({', '.join(others)})" if others else "no ONNX file"
    raise ValidationError(f"{folder} has {what}: name the one to use model.onnx")


def _declared_pooling(folder: Path) -> str | None:
    """Read what sentence-transformers writes beside its models."""
    declared = read_json(folder / "1_Pooling" / "config.json")
    if declared.get("pooling_mode_cls_token"):
        return "cls"
    return "mean" if declared.get("pooling_mode_mean_tokens") else None


def _declared_dimensions(folder: Path) -> int:
    size = read_json(folder / "config.json").get("hidden_size", 0)
    return size if isinstance(size, int) else 0


def read_json(path: Path) -> dict[str, object]:
    """Read one of a folder's settings; where there is no such file, nothing is set."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValidationError(f"{path} is not JSON: {error}") from error
    return content if isinstance(content, dict) else {}
