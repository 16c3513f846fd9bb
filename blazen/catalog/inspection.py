"""A model looked into without its weights: its header, what opens it, what memory it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from blazen.catalog.gguf import is_gguf
from blazen.catalog.listing import Listing
from blazen.catalog.opening import FORMS, Openers
from blazen.errors import (
    BlazenError,
    DownloadError,
    LoadError,
    ModelNotFoundError,
    ValidationError,
)
from blazen.types.record import Record
from blazen.weights.gguf import GgufFile, MemoryEstimate, estimate_memory, read_gguf
from blazen.weights.gguf.pooling import check_reranker, choose_pooling
from blazen.weights.gguf.vocabulary import check_vocabulary
from blazen.weights.gguf_files import DEFAULT_CONTEXT
from blazen.weights.safetensors import SafetensorsFile, read_safetensors
from blazen.weights.target import Target


@dataclass(frozen=True)
class Compatibility(Record):
    """Whether a backend opens a model, and if not, why."""

    backend: str
    kind: str
    opens: bool
    why_not: str = ""
    chosen: bool = False
    """Whether it is the one that is taken."""


@dataclass(frozen=True)
class Inspection(Record):
    """What is known of a model before any of its weights is read."""

    name: str
    kind: str
    spec: str
    source: str
    form: str
    """``gguf``, ``safetensors``, or ``other`` where no header was read."""
    path: Path | None = None
    size: int | None = None
    description: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    tensors: tuple[dict[str, Any], ...] = ()
    backends: tuple[Compatibility, ...] = ()
    estimates: tuple[MemoryEstimate, ...] = ()
    problems: tuple[str, ...] = ()


def inspect_listing(
    listing: Listing,
    openers: Openers,
    *,
    contexts: Sequence[int] = (),
    gpu_layers: Sequence[int] = (0,),
    kv_type: str = "f16",
    offline: bool | None = None,
) -> Inspection:
    """Look into a model; of one that lies on the hub alone, no more than its header is fetched.

    ``contexts`` and ``gpu_layers`` say for what lengths and what parts on a GPU (-1: all) the
    memory is estimated, each with each.
    """
    header = header_of(listing, offline=offline)
    plain = Inspection(
        name=listing.name,
        kind=listing.kind,
        spec=listing.spec,
        source=listing.source,
        form="other",
        path=listing.path,
        size=listing.size,
        description=listing.description,
    )
    if isinstance(header, GgufFile):
        lengths = contexts or [min(header.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)]
        return replace(
            plain,
            form="gguf",
            path=header.path if header.path.exists() else None,
            size=header.size,
            facts=_gguf_facts(header),
            metadata=header.to_dict()["metadata"],
            tensors=tuple(tensor.to_dict() for tensor in header.tensors),
            backends=_backends("gguf", listing, openers, header),
            estimates=tuple(
                estimate_memory(header, context_length=length, gpu_layers=layers, kv_type=kv_type)
                for length in lengths
                for layers in gpu_layers
            ),
            problems=_problems(header),
        )
    plain = replace(plain, backends=_backends(form_of(listing), listing, openers, None))
    if isinstance(header, SafetensorsFile):
        return replace(
            plain,
            form="safetensors",
            path=header.path,
            size=header.size,
            facts={
                "dtype": header.dtype,
                "parameters": header.parameters,
                "tensors": len(header.tensors),
            },
            metadata=dict(header.metadata),
            tensors=tuple(tensor.to_dict() for tensor in header.tensors),
        )
    return plain


def header_of(
    listing: Listing, *, offline: bool | None = None
) -> GgufFile | SafetensorsFile | None:
    """Read the header of a model; ``None`` where it has none that is read without its engine."""
    if listing.backend in FORMS["gguf", "model"]:
        gguf = _gguf(listing, offline)
        if gguf is not None:
            return gguf
    path = listing.path
    if path is None:
        return None
    if path.is_file() and path.suffix == ".safetensors":
        return read_safetensors(path)
    folders = [path, *sorted(p for p in path.iterdir() if p.is_dir())] if path.is_dir() else []
    for folder in folders:  # a pipeline has its weights in folders of its parts
        # One that holds several models does not say which is meant.
        with contextlib.suppress(ModelNotFoundError, ValidationError):
            return read_safetensors(folder)
    return None


def _gguf(listing: Listing, offline: bool | None) -> GgufFile | None:
    from blazen.weights.gguf_files import locate_gguf

    path = listing.path
    if path is not None and path.is_file():
        return read_gguf(path) if is_gguf(path) else None
    if path is not None and not any(path.rglob("*.gguf")):
        return None
    target = Target.parse(listing.target)
    file, quantization = listing.options.get("file"), listing.options.get("quantization")
    try:
        return read_gguf(
            locate_gguf(
                listing.target,
                file=file,
                quantization=quantization,
                offline=True if target.source in ("hub", "url") else None,
            )
        )
    except (ModelNotFoundError, DownloadError):
        if target.source != "hub":
            raise
        return _on_the_hub(target, file, quantization, offline)


def _on_the_hub(
    target: Target, file: str | None, quantization: Any, offline: bool | None
) -> GgufFile:
    """Read the header of a file that is not here: some megabytes come, and none of its weights."""
    from blazen.weights.gguf_choice import choose
    from blazen.weights.gguf_places import Repository
    from blazen.weights.quantization import Quantization

    place = Repository(target.repo or "", target.revision, None, offline, lambda: False)
    models, left_out = place.models()
    wanted = file or target.file
    named = [model for model in models if wanted in model.parts]
    kind = None if quantization is None else Quantization.of(quantization)
    chosen = (
        named[0]
        if named
        else choose(models, where=str(place), left_out=left_out, quantization=kind)[0]
    )
    return place.header(chosen)


def _gguf_facts(header: GgufFile) -> dict[str, Any]:
    tokenizer = header.tokenizer
    return {
        "name": header.name,
        "architecture": header.architecture,
        "quantization": header.quantization,
        "parameters": header.parameters,
        "context_length": header.context_length,
        "layers": header.block_count,
        "embedding_length": header.embedding_length,
        "heads": header.head_count,
        "kv_heads": header.head_count_kv,
        "experts": header.expert_count or None,
        "vocabulary": header.vocab_size,
        "tokenizer": tokenizer.model if tokenizer is not None else None,
        "chat_template": header.chat_template is not None,
        "tensors": len(header.tensors),
        "parts": max(1, len(header.parts)),
        "version": header.version,
        "byte_order": header.byte_order,
    }


def _problems(header: GgufFile) -> tuple[str, ...]:
    """Say what would keep an engine from this file, or a user from a good answer."""
    found = []
    # The vocabulary of a file on the hub is not here.
    with contextlib.suppress(ModelNotFoundError, ValidationError):
        try:
            check_vocabulary(header)
        except LoadError as error:
            found.append(str(error))
    odd = sorted({t.dtype for t in header.tensors if t.dtype.startswith("unknown")})
    if odd:
        found.append(f"tensors are of types that are not known: {', '.join(odd)}")
    if header.byte_order == "big":
        found.append("it is written for big-endian machines, and engines expect the other order")
    return tuple(found)


def _backends(
    form: str, listing: Listing, openers: Openers, header: GgufFile | None
) -> tuple[Compatibility, ...]:
    """Say of each backend that has to do with such models whether it opens this one."""
    found = []
    for of, kind in FORMS:
        # A chat model may give vectors too; what is stored otherwise is for one thing alone.
        if of != form or (form != "gguf" and kind != listing.kind):
            continue
        for name in openers.able(of, kind):
            why_not = openers.missing(kind, name) or ""
            if not why_not and header is not None:
                why_not = _unfit(header, kind)
            chosen = (name, kind) == (listing.backend, listing.kind)
            found.append(Compatibility(name, kind, not why_not, why_not, chosen))
    if not any(one.chosen for one in found):
        why_not = openers.missing(listing.kind, listing.backend) or ""
        found.insert(0, Compatibility(listing.backend, listing.kind, not why_not, why_not, True))
    return tuple(found)


def _unfit(header: GgufFile, kind: str) -> str:
    """Say why a file can't be what a kind asks for; empty where it can."""
    try:
        if kind == "embedding":
            choose_pooling(header, None)
        elif kind == "rerank":
            check_reranker(header)
        elif kind == "model" and header.whole("pooling_type"):
            return f"{header.path.name} gives vectors or scores, and writes no text"
    except BlazenError as error:
        return str(error)
    return ""


def form_of(listing: Listing) -> str:
    """Say how a model is stored, as far as its backend tells that; else ``other``."""
    forms = [f for (f, kind), n in FORMS.items() if listing.backend in n and kind == listing.kind]
    return forms[0] if len(forms) == 1 else "other"
