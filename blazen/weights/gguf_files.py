"""From what a user wrote to the one GGUF file to load, picked where there are several."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blazen.checks import check_range, parse_bytes
from blazen.errors import BudgetError, ValidationError
from blazen.hardware import Device, find_gpus
from blazen.types.progress import OnProgress
from blazen.weights.gguf import GgufFile, estimate_memory, read_gguf
from blazen.weights.gguf_choice import Candidate, choose, mib
from blazen.weights.gguf_places import Folder, Repository
from blazen.weights.locate import locate
from blazen.weights.quantization import Quantization
from blazen.weights.target import Target

_log = logging.getLogger("blazen.weights")

DEFAULT_CONTEXT = 4096
"""Tokens a conversation may have by default: a model's own length can cost gigabytes."""


@dataclass(frozen=True)
class _Shape:
    """What decides on memory beside the file."""

    context_length: int | None
    parallel: int
    kv_types: tuple[str, str]
    batch: int
    on_gpu: bool

    def beside(self, gguf: GgufFile) -> int:
        """Give what a model needs beside the weights in its file."""
        each = self.context_length or min(gguf.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
        whole = [
            estimate_memory(
                gguf,
                context_length=each * self.parallel,
                gpu_layers=layers,
                kv_type=self.kv_types,
                batch=self.batch,
                sequences=self.parallel,
            )
            # Which it will be is not known yet. A GPU may need a matrix that the CPU keeps too.
            for layers in ((0, -1) if self.on_gpu else (0,))
        ]
        return max(estimate.total for estimate in whole) - whole[0].ram.weights

    def whole(self, gguf: GgufFile) -> int:
        """Give what a model needs in all."""
        return self.beside(gguf) + sum(tensor.nbytes for tensor in gguf.tensors)


def locate_gguf(
    target: str | os.PathLike[str],
    *,
    file: str | None = None,
    quantization: Quantization | str | None = None,
    memory_budget: int | str | None = None,
    context_length: int | None = None,
    parallel: int = 1,
    kv_types: tuple[str, str] = ("f16", "f16"),
    batch: int = 512,
    device: Device | str = "auto",
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Give the path of the one GGUF file to load, fetched first if it is not here yet.

    A target that is one file is that file. Of a folder or a hub repository it is ``file``, else the
    one of the ``quantization``, else the only one, else the largest that fits the ``memory_budget``
    with its cache and buffers, else the first of `PREFERRED`: Q4_K_M. The log says which and why.

    Args:
        target: Anything that `locate` takes.
        file: The file's path inside the folder or the repository.
        quantization: How the weights are stored, as the file's name says it. Where one file was
            named that is stored otherwise, the log has a warning.
        memory_budget: What weights, cache and buffers may take together: bytes or ``"6GiB"``.
        context_length: Tokens of one conversation; the model's own, but at most 4,096, if left out.
        parallel: How many conversations have a context of their own.
        kv_types: How keys and values are stored.
        batch: How many tokens are computed at once.
        device: Where it will run.
        revision: A branch, tag or commit of the hub.
        cache_dir: Where weights are kept.
        offline: Whether to leave the network alone.
        on_progress: Hears of the download.
        cancelled: Asked between blocks of the download.
    """
    kind = None if quantization is None else Quantization.of(quantization)
    budget = None if memory_budget is None else parse_bytes("memory_budget", memory_budget)
    check_range("context_length", context_length, at_least=1, integer=True)
    check_range("parallel", parallel, at_least=1, integer=True)

    on_gpu = Device.parse(device) != Device.Cpu and bool(find_gpus())
    shape = _Shape(context_length, parallel, kv_types, batch, on_gpu)
    wanted = Target.parse(target)
    revision = revision or wanted.revision

    def fetch(name: str | None) -> Path:
        return locate(
            target,
            file=name,
            revision=revision,
            cache_dir=cache_dir,
            offline=offline,
            on_progress=on_progress,
            cancelled=cancelled,
        )

    named = file or wanted.file
    place: Folder | Repository | None = None
    if wanted.source == "hub":
        place = Repository(wanted.repo or "", revision, cache_dir, offline, cancelled)
    elif (path := fetch(file)).is_dir():
        place, named = Folder(path), None
    if place is not None and named is None:
        chosen = _choose(place, kind, budget, shape)
        path = place.path / chosen.name if isinstance(place, Folder) else fetch(chosen.name)
    else:
        if place is not None and budget is not None:
            _check_listed(place, named, budget, shape)
        path = fetch(named) if place is not None else path
        _warn_of_another(path, kind)
    if budget is not None:
        _check(path.name, shape.whole(read_gguf(path)), budget)
    return path


def list_gguf(
    target: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Candidate]:
    """Give the GGUF models of a folder or a hub repository, and fetch none; there may be none."""
    wanted = Target.parse(target)
    if wanted.source == "url":
        return []
    place: Folder | Repository
    if wanted.source == "hub":
        revision = revision or wanted.revision
        place = Repository(wanted.repo or "", revision, cache_dir, offline, cancelled)
    else:
        path = locate(target, cache_dir=cache_dir, cancelled=cancelled)
        if not path.is_dir():
            return []
        place = Folder(path)
    return place.models()[0]


def _choose(
    place: Folder | Repository, kind: Quantization | None, budget: int | None, shape: _Shape
) -> Candidate:
    needs: dict[str, int] = {}

    def need(candidate: Candidate) -> int:
        if candidate.name not in needs:  # a header may come over the network
            needs[candidate.name] = _need(place, candidate, shape)
        return needs[candidate.name]

    models, left_out = place.models()
    chosen, why = choose(
        models, where=str(place), left_out=left_out, quantization=kind, budget=budget, need=need
    )
    _log.info("taking %s of %s: %s", chosen, place, why)
    if budget is not None:
        _check(chosen.name, need(chosen), budget)
    return chosen


def _need(place: Folder | Repository, candidate: Candidate, shape: _Shape) -> int:
    # The size on disk is the weights and a header, of which the engine keeps about as much.
    return candidate.size + shape.beside(place.header(candidate))


def _check_listed(
    place: Folder | Repository, named: str | None, budget: int, shape: _Shape
) -> None:
    """Refuse before it is fetched what is known to be too large."""
    for candidate in place.models()[0]:
        if named in candidate.parts:
            _check(candidate.name, _need(place, candidate, shape), budget)


def _check(name: str, needed: int, budget: int) -> None:
    if needed > budget:
        raise BudgetError(
            f"{name} needs {mib(needed)} with its context, and memory_budget is {mib(budget)}: "
            "take a smaller quantization, a shorter context_length, or a smaller kv_type"
        )


def _warn_of_another(path: Path, kind: Quantization | None) -> None:
    if kind is None:
        return
    try:
        found = read_gguf(path).quantization or ""
    except ValidationError:  # what opens the file next says what is wrong with it
        return
    # A file that names no recipe is known by the type of its tensors: Q4_K for a Q4_K_M.
    if found != kind.value and not kind.value.startswith(f"{found}_"):
        _log.warning(
            "quantization %s was asked for, and %s, which was named, is %s",
            kind.value,
            path.name,
            found or "of an unknown one",
        )
