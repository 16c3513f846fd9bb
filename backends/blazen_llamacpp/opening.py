"""From options to a loaded model: the file, its place, its weights, its context, its engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from blazen.chat.template import ChatTemplate
from blazen.errors import UnsupportedError, ValidationError
from blazen.hardware import Device
from blazen.options import LlamaCppOptions, LoraAdapter
from blazen.types.progress import OnProgress
from blazen.weights.gguf import GgufFile, read_gguf
from blazen.weights.gguf.placement import Placement, place_gguf
from blazen.weights.gguf_files import DEFAULT_CONTEXT, locate_gguf
from blazen.weights.locate import locate
from blazen_llamacpp.cache import Cache
from blazen_llamacpp.draft_model import ModelDrafter, check_vocabularies
from blazen_llamacpp.engine import Engine
from blazen_llamacpp.library import load_library
from blazen_llamacpp.loading import (
    apply_adapters,
    close_adapters,
    explained_build,
    kv_settings,
    open_adapter,
    open_context,
    open_model,
    supported_devices,
)
from blazen_llamacpp.speculation import Drafter, LookupDrafter, NoDrafts
from blazen_llamacpp.threads import Threads
from blazen_llamacpp.vocabulary import Vocabulary

_LEAST_READING = 16


@dataclass
class Loaded:
    """A loaded model, with all that was opened for it."""

    model: Any
    context: Any
    engine: Engine
    template: ChatTemplate | None
    name: str
    device: Device
    adapters: list[tuple[Any, float]]
    close: Callable[[], None]


@dataclass(frozen=True)
class Sizes:
    """How large things are, in tokens and requests."""

    context: int
    """What one request may have."""
    cells: int
    """What all of them have together: a batch at the least, which the engine would else shorten."""
    batch: int
    outputs: int
    slots: int


def open_loaded(
    options: LlamaCppOptions,
    title: str,
    threads: Threads,
    report: OnProgress,
    cancelled: Callable[[], bool],
) -> Loaded:
    """Load all that the options ask for; what fails leaves nothing behind."""
    path = find_model(options, report, cancelled)
    threads.settle()
    gguf = read_gguf(path)
    sizes = sizes_of(options, gguf)
    placement = _place(options, gguf, sizes)
    with contextlib.ExitStack() as undo:
        model = _model(path, placement, options, undo, report=report, cancelled=cancelled)
        context = _context(model, path, placement.device, sizes, options, threads, undo)
        _check_kind(model, context, path)
        adapters = open_adapters(model, options.lora, options.cache_dir)
        if adapters:
            apply_adapters(context, adapters)
        vocabulary = Vocabulary(model)
        cuts = _can_cut(model)
        if _speculates(options) and not cuts:
            raise UnsupportedError(
                f"{path.name} can't take back what it has read, so it can't check guesses: leave "
                "draft_model and prompt_lookup out"
            )
        engine = Engine(
            context,
            vocabulary,
            Cache(context, sizes.slots, can_cut=cuts, counts_cells=not _is_recurrent(model)),
            name=title,
            batch=sizes.batch,
            context_length=sizes.context,
            threads=threads,
            context_shift=options.context_shift,
            drafter=_drafter(options, vocabulary, placement.device, sizes, threads, undo),
        )
        undo.callback(engine.close)
        template = _template(options, gguf, vocabulary)
        return Loaded(
            model,
            context,
            engine,
            template,
            path.name,
            placement.device,
            adapters,
            undo.pop_all().close,
        )


def find_model(options: LlamaCppOptions, report: OnProgress, cancelled: Callable[[], bool]) -> Path:
    """Give the file, fetched if it is not here yet."""
    return locate_gguf(
        options.model_id,
        file=options.file,
        quantization=options.quantization,
        memory_budget=options.memory_budget,
        context_length=options.context_length,
        kv_types=options.kv_types,
        cache_dir=options.cache_dir,
        on_progress=report,
        cancelled=cancelled,
    )


def open_adapters(
    model: Any,
    wanted: Sequence[LoraAdapter | str | PathLike[str]],
    cache_dir: str | PathLike[str] | None,
) -> list[tuple[Any, float]]:
    """Load adapters, each with its scale."""
    found: list[tuple[Any, float]] = []
    with contextlib.ExitStack() as undo:
        undo.callback(close_adapters, found)
        for given in wanted:
            adapter = as_adapter(given)
            path = locate(adapter.path, cache_dir=cache_dir)
            found.append((open_adapter(model, path), adapter.scale))
        undo.pop_all()
    return found


def as_adapter(given: LoraAdapter | str | PathLike[str]) -> LoraAdapter:
    """Take a bare path as an adapter of full weight."""
    return given if isinstance(given, LoraAdapter) else LoraAdapter(given)


def sizes_of(options: LlamaCppOptions, gguf: GgufFile) -> Sizes:
    """Say how large context, batch and the rest are."""
    wanted, longest = options.context_length, gguf.context_length
    if wanted is not None and longest is not None and wanted > longest:
        raise ValidationError(
            f"context_length is {wanted}, and {gguf.path.name} knows at most {longest}: ask for "
            "that or less"
        )
    outputs = options.parallel + (2 * options.draft_length if _speculates(options) else 0)
    context = wanted or min(longest or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    # Next to those who write there must always be a place for those who read.
    batch = max(options.batch_size, outputs + _LEAST_READING)
    return Sizes(
        context=context,
        cells=max(context, batch),
        batch=batch,
        outputs=outputs,
        slots=options.parallel,
    )


def _place(options: LlamaCppOptions, gguf: GgufFile, sizes: Sizes) -> Placement:
    with explained_build():
        return place_gguf(
            gguf,
            device=options.device,
            gpu_layers=options.gpu_layers,
            supported=supported_devices(),
            kv_types=options.kv_types,
            parallel=sizes.slots,
            memory_map=options.memory_map,
            **shape_of(options, sizes),
        )


def shape_of(options: LlamaCppOptions, sizes: Sizes) -> dict[str, Any]:
    """Give what decides on the memory, in the words that estimate and placement share."""
    return {
        "context_length": sizes.cells,
        "batch": sizes.batch,
        "outputs": sizes.outputs,
        "flash_attention": options.flash_attention is not False,
        "swa_full": True,
        "unified": True,
    }


def _model(
    path: Path,
    placement: Placement,
    options: LlamaCppOptions,
    undo: contextlib.ExitStack,
    **watching: Any,
) -> Any:
    model = open_model(
        path,
        device=placement.device,
        gpu_layers=placement.gpu_layers,
        memory_map=options.memory_map,
        **watching,
    )
    undo.callback(load_library().llama_model_free, model)
    return model


def _context(
    model: Any,
    path: Path,
    device: Device,
    sizes: Sizes,
    options: LlamaCppOptions,
    threads: Threads,
    undo: contextlib.ExitStack,
) -> Any:
    context = open_context(
        model,
        path,
        n_ctx=sizes.cells,
        n_batch=sizes.batch,
        n_ubatch=sizes.batch,
        n_seq_max=sizes.slots,
        n_outputs_max=sizes.outputs,
        n_threads=threads.now,
        n_threads_batch=threads.now,
        kv_unified=True,  # one pool of cells: a request may use all of it, and share beginnings
        swa_full=True,  # else what is older than the window could not be used again
        offload_kqv=device != Device.Cpu,
        op_offload=device != Device.Cpu,
        **kv_settings(options.kv_types, options.flash_attention),
    )
    undo.callback(load_library().llama_free, context)
    return context


def _check_kind(model: Any, context: Any, path: Path) -> None:
    library = load_library()
    if library.llama_model_has_encoder(model) or library.llama_model_is_diffusion(model):
        raise UnsupportedError(
            f"{path.name} does not write token after token: this backend can't run it"
        )
    if not library.llama_get_memory(context):
        raise UnsupportedError(
            f"{path.name} writes no texts: it may be an embedding model, see EmbeddingModel"
        )


def _drafter(
    options: LlamaCppOptions,
    vocabulary: Vocabulary,
    device: Device,
    sizes: Sizes,
    threads: Threads,
    undo: contextlib.ExitStack,
) -> Drafter:
    if options.prompt_lookup:
        return LookupDrafter(options.draft_length)
    if options.draft_model is None:
        return NoDrafts()
    path = locate_gguf(options.draft_model, cache_dir=options.cache_dir)
    layers = 0 if device == Device.Cpu else -1
    with contextlib.ExitStack() as mine:
        model = open_model(path, device=device, gpu_layers=layers, memory_map=options.memory_map)
        mine.callback(load_library().llama_model_free, model)
        check_vocabularies(vocabulary, Vocabulary(model), path)
        if not _can_cut(model):
            raise UnsupportedError(f"{path.name} can't take back its guesses: draft by another")
        context = _context(model, path, device, sizes, options, threads, mine)
        undo.callback(mine.pop_all().close)
    return ModelDrafter(
        context,
        slots=sizes.slots,
        batch=sizes.batch,
        length=options.draft_length,
        threads=threads,
    )


def _template(
    options: LlamaCppOptions, gguf: GgufFile, vocabulary: Vocabulary
) -> ChatTemplate | None:
    source = options.chat_template or gguf.chat_template
    if source is None:
        return None
    bos, eos = (
        vocabulary.text(token) if token >= 0 else "" for token in (vocabulary.bos, vocabulary.eos)
    )
    return ChatTemplate(source, bos=bos, eos=eos, name=gguf.path.name)


def _can_cut(model: Any) -> bool:
    return not _is_recurrent(model) and not load_library().llama_model_is_hybrid(model)


def _is_recurrent(model: Any) -> bool:
    return bool(load_library().llama_model_is_recurrent(model))


def _speculates(options: LlamaCppOptions) -> bool:
    return options.prompt_lookup or options.draft_model is not None
