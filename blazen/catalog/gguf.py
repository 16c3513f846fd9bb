"""What a GGUF file is for: read from its header, once for each file."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from blazen.catalog.remembered import Remembered
from blazen.errors import ModelNotFoundError, ValidationError
from blazen.types.record import Record
from blazen.weights.gguf.reading import read_part

_RANK = 4
_ENCODERS = ("t5encoder",)
# Networks that draw or speak: their files have no tokenizer, or one that is for no chat.
_NO_CHATS = ("clip", "wavtokenizer-dec", "whisper", "t5")


@dataclass(frozen=True)
class GgufFacts(Record):
    """What a catalogue says of a GGUF file."""

    kind: str | None = None
    """``None`` where nothing here opens it."""
    why_not: str = ""
    name: str = ""
    architecture: str = ""
    quantization: str = ""
    embedding_length: int | None = None
    projection: int | None = None
    """How long the vectors are that a projector gives."""

    @property
    def description(self) -> str:
        """Say in a few words what it is."""
        return ", ".join(part for part in (self.name, self.architecture, self.quantization) if part)


remembered = Remembered()


def gguf_facts(path: Path) -> GgufFacts:
    """Say what a file is for; a broken one is a `ValidationError`."""
    try:
        stat = path.stat()
    except OSError as error:
        raise ModelNotFoundError(f"{path} can't be read: {error.strerror or error}") from error
    known = remembered.get(path, stat.st_size, stat.st_mtime_ns)
    if known is not None:
        with contextlib.suppress(ValidationError):  # somebody wrote into it
            return GgufFacts.from_dict(known)
    facts = _look(path)
    remembered.put(path, stat.st_size, stat.st_mtime_ns, facts.to_dict())
    return facts


def _look(path: Path) -> GgufFacts:
    file = read_part(path)
    metadata = file.metadata
    architecture = file.architecture or ""
    kind: str | None = None
    why_not = ""
    said = str(metadata.get("general.type", "model"))
    pooling = file.whole("pooling_type") if architecture else None
    if said != "model":
        why_not = f"it is no model but of type {said!r}"
    elif architecture in _NO_CHATS:
        why_not = f"its architecture {architecture!r} is no chat model's"
    elif "tokenizer.ggml.model" not in metadata:
        why_not = "it has no tokenizer: it is no language model"
    elif pooling == _RANK or any(t.name == "cls.output.weight" for t in file.tensors):
        kind = "rerank"
    elif pooling or "bert" in architecture or architecture in _ENCODERS or _embeds(architecture):
        kind = "embedding"
    else:
        kind = "model"
    projection = metadata.get("clip.vision.projection_dim")
    return GgufFacts(
        kind=kind,
        why_not=why_not,
        name=file.name or "",
        architecture=architecture,
        quantization=file.quantization or "",
        embedding_length=file.embedding_length if architecture else None,
        projection=projection if isinstance(projection, int) else None,
    )


def _embeds(architecture: str) -> bool:
    return architecture.endswith("-embedding")


def is_gguf(path: Path) -> bool:
    """Say whether a file is a GGUF by its first bytes, whatever its name says."""
    from blazen.weights.header import open_model_file

    try:
        with open_model_file(path) as (file, _):
            return file.read(4) == b"GGUF"
    except (ModelNotFoundError, ValidationError):
        return False
