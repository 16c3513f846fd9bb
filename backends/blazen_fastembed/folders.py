"""A folder with an ONNX file and a tokenizer, as a model that fastembed can load."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path

from blazen.checks import unknown_name
from blazen.errors import ValidationError

_WANTED = ("tokenizer.json", "tokenizer_config.json")
_ONNX = tuple(
    f"{place}model{kind}.onnx"
    for kind in ("", "_optimized", "_quantized", "_int8", "_uint8", "_fp16")
    for place in ("", "onnx/")
)

_registering = threading.Lock()


def check_folder(folder: Path, file: str | None = None) -> str:
    """Refuse what can't be a model, and say what is missing; give the place of its ONNX file."""
    if not folder.is_dir():
        raise ValidationError(
            f"an embedding model is a folder with an ONNX file and a tokenizer; {folder} is a file"
        )
    for name in _WANTED:
        if not (folder / name).is_file():
            raise ValidationError(f"{folder} has no {name}")
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*.onnx")]
    return choose_file(str(folder), found, file)


def choose_file(where: str, names: Sequence[str], wanted: str | None) -> str:
    """Give the ONNX file to take: the one that is asked for, a usual one, or the only one."""
    found = sorted(name for name in names if name.endswith(".onnx"))
    if wanted is not None:
        if wanted not in found:
            raise ValidationError(unknown_name(f"ONNX file in {where}", wanted, found))
        return wanted
    for name in _ONNX:
        if name in found:
            return name
    if len(found) == 1:
        return found[0]
    what = f"several ONNX files ({', '.join(found)})" if found else "no ONNX file"
    raise ValidationError(f"{where} has {what}: say which with file=, or name it model.onnx")


def describe_folder(folder: Path, file: str, pooling: str = "mean") -> str:
    """Tell fastembed about a folder, once, and give the name it has there."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    identity = f"{folder.resolve()}\n{file}\n{pooling}"
    name = f"blazen/{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    beside = (folder / file).parent.glob(f"{Path(file).name}_data*")
    with _registering:
        if name not in {row["model"] for row in TextEmbedding.list_supported_models()}:
            TextEmbedding.add_custom_model(
                model=name,
                pooling=PoolingType.CLS if pooling == "cls" else PoolingType.MEAN,
                normalization=True,
                sources=ModelSource(hf=name),
                dim=_declared_dimensions(folder),
                model_file=file,
                additional_files=[path.relative_to(folder).as_posix() for path in beside],
            )
    return name


def declared_length(folder: Path) -> int | None:
    """Read how long a text may be for sentence-transformers, which is often less than it could."""
    longest = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    return longest if isinstance(longest, int) and longest > 2 else None


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
