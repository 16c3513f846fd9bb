"""What the options of a model are in the engine's own terms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blazen.errors import UnsupportedError
from blazen.options import GgufOptions
from blazen.weights.gguf import GgufFile
from blazen.weights.gguf.placement import Placement

LOOKUP = 3
"""How many tokens must have come before in the same order, for what followed to be proposed."""


CHECKPOINTS = 8
"""Copies of the windows or states of a conversation, to go back to; the engine would keep 32.

Each stays in memory, which with a window of 512 tokens is 15 MB even for a small model.
"""


def write_settings(
    options: GgufOptions,
    placement: Placement,
    *,
    context: int,
    threads: int,
    adapters: Sequence[tuple[Path, float]] = (),
    draft: Path | None = None,
    projector: Path | None = None,
) -> dict[str, Any]:
    """Give the settings of a chat model; ``context`` is for one request."""
    keys, values = options.kv_types
    settings: dict[str, Any] = {
        "n_ctx": context * options.parallel,
        "n_parallel": options.parallel,
        "n_batch": options.batch_size,
        "n_ubatch": options.batch_size,
        "cpuparams.n_threads": threads,
        "cpuparams_batch.n_threads": threads,
        "n_gpu_layers": placement.gpu_layers,
        "main_gpu": placement.device.index or 0,
        "split_mode": "LLAMA_SPLIT_MODE_NONE",
        # Without these a build for a GPU takes some of its memory for a model on the CPU.
        "no_kv_offload": placement.gpu_layers == 0,
        "no_op_offload": placement.gpu_layers == 0,
        "cache_type_k": f"GGML_TYPE_{keys.upper()}",
        "cache_type_v": f"GGML_TYPE_{values.upper()}",
        "flash_attn_type": _FLASH[options.flash_attention],
        "load_mode": "LLAMA_LOAD_MODE_MMAP" if options.memory_map else "LLAMA_LOAD_MODE_NONE",
        "ctx_shift": options.context_shift,
        "n_ctx_checkpoints": CHECKPOINTS,
    }
    if options.chat_template is not None:
        settings["chat_template"] = options.chat_template
    if adapters:
        settings["lora_adapters"] = [[str(path), scale] for path, scale in adapters]
    if projector is not None:
        settings["mmproj.path"] = str(projector)
        settings["mmproj_use_gpu"] = placement.gpu_layers > 0
    if draft is not None:
        settings |= {
            "speculative.types": ["COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE"],
            "speculative.draft.mparams.path": str(draft),
            "speculative.draft.n_max": options.draft_length,
            "speculative.draft.n_gpu_layers": 999 if placement.gpu_layers else 0,
            "speculative.draft.cpuparams.n_threads": threads,
            "speculative.draft.cpuparams_batch.n_threads": threads,
        }
    if options.prompt_lookup:
        settings |= {
            "speculative.types": ["COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE"],
            "speculative.ngram_simple.size_n": LOOKUP,
            "speculative.ngram_simple.size_m": options.draft_length,
        }
    return settings


def check_options(options: GgufOptions) -> None:
    """Refuse what the engine can't do together, before anything is fetched or loaded."""
    if options.flash_attention is False and options.kv_types[1] not in _PLAIN:
        raise UnsupportedError(
            f"kv_type {options.kv_types[1]!r} for values needs flash attention: leave "
            "flash_attention out, or store the values as f16"
        )


def check_draft(model: GgufFile, draft: GgufFile) -> None:
    """Refuse a draft model of another vocabulary: the engine would go on without a word."""
    ours, theirs = model.tokenizer, draft.tokenizer
    if ours is None or theirs is None:
        return
    if (ours.model, ours.pre, ours.bos_id, ours.eos_id) != (
        theirs.model,
        theirs.pre,
        theirs.bos_id,
        theirs.eos_id,
    ) or abs(ours.vocab_size - theirs.vocab_size) > _PADDING:
        raise UnsupportedError(
            f"the draft model {draft.path.name} has another vocabulary than {model.path.name}: "
            "take a small model of the same family"
        )


_FLASH = {
    None: "LLAMA_FLASH_ATTN_TYPE_AUTO",
    True: "LLAMA_FLASH_ATTN_TYPE_ENABLED",
    False: "LLAMA_FLASH_ATTN_TYPE_DISABLED",
}
_PLAIN = ("f32", "f16", "bf16")
_PADDING = 128  # by which the engine lets two vocabularies differ: unused tokens at the end


def media_of(projector: GgufFile) -> tuple[str, ...]:
    """Say what a projector takes beside text."""
    taken = {"image": "clip.has_vision_encoder", "audio": "clip.has_audio_encoder"}
    return tuple(kind for kind, key in taken.items() if projector.metadata.get(key) is True)
