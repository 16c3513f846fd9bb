"""Memory estimates: against what llama.cpp allocated, and by hand for each kind of layer."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blazen.errors import ValidationError
from blazen.weights.gguf import read_gguf
from blazen.weights.gguf.estimate import KV_TYPES, MemoryEstimate, estimate_memory, layers_that_fit
from blazen.weights.gguf.model import GgufFile
from tests.weights.gguf_files import Maker, Raw, Tensor, small

MIB = 2**20
PLAIN = {"context_length": 256, "batch": 64}


def model(tmp_path: Path, architecture: str = "llama", **numbers: Any) -> GgufFile:
    """A model of two layers, four heads of eight, with other numbers as given."""
    metadata = {
        "block_count": 2,
        "embedding_length": 32,
        "context_length": 4096,
        "feed_forward_length": 64,
        "attention.head_count": 4,
        **{name.replace("__", "."): value for name, value in numbers.items()},
    }
    maker = Maker(
        {
            "general.architecture": architecture,
            **{f"{architecture}.{k}": v for k, v in metadata.items() if v is not None},
        }
    )
    return read_gguf(maker.write(tmp_path / "m.gguf"))


def cache(gguf: GgufFile, **settings: Any) -> int:
    return estimate_memory(gguf, **{**PLAIN, **settings}).ram.kv_cache


# Read off the logs of llama.cpp (xllamacpp 2026.10.11549, where logits are kept for one token of a
# sequence, and llama-cpp-python 0.3.36, where for the whole batch): MiB of weights, cache, compute.
BATCH_LOGITS = {"outputs": 512, "swa_full": True}
MEASURED = [
    ("chat", 2048, {}, (92.10, 45.00, 16.83)),
    ("chat", 4096, {}, (92.10, 90.00, 18.83)),
    ("chat", 4096, {"sequences": 4}, (92.10, 90.00, 16.39)),
    ("chat", 8192, {"batch": 128}, (92.10, 180.00, 5.85)),
    ("chat", 4096, {**BATCH_LOGITS, "flash_attention": False}, (92.10, 90.00, 99.57)),
    ("chat", 8192, {**BATCH_LOGITS, "flash_attention": False}, (92.10, 180.00, 166.57)),
    ("chat", 4096, {**BATCH_LOGITS, "kv_type": "q8_0"}, (92.10, 47.81, 99.57)),
    ("text", 2048, {}, (235.16, 21.00, 22.28)),
    ("text", 4096, {}, (235.16, 27.00, 24.28)),
    ("text", 4096, {"sequences": 4}, (235.16, 72.00, 24.28)),
    ("text", 8192, {"batch": 128}, (235.16, 35.25, 7.76)),
    ("text", 8192, {**BATCH_LOGITS, "flash_attention": False}, (235.16, 144.00, 515.50)),
    ("text", 4096, {"outputs": 512, "kv_type": "q8_0"}, (235.16, 14.35, 515.50)),
]


@pytest.mark.needs("starter:chat", "starter:text")
@pytest.mark.parametrize(("name", "context", "settings", "measured"), MEASURED)
def test_it_is_near_what_was_measured(
    name: str, context: int, settings: dict[str, Any], measured: tuple[float, float, float]
) -> None:
    from blazen.weights.starter import starter_path

    pool = estimate_memory(read_gguf(starter_path(name)), context_length=context, **settings).ram
    weights, kept, compute = measured
    assert pool.weights / MIB == pytest.approx(weights, rel=0.01)
    assert pool.kv_cache / MIB == pytest.approx(kept, rel=0.01)
    assert pool.compute / MIB == pytest.approx(compute, rel=0.05)


# Read off the log of llama.cpp on an NVIDIA H200 (llama-cpp-python 0.3.36 built with CUDA), all
# layers there: MiB of cache and compute. But for the first, the files had random weights.
CHAT_SHAPE = {"block_count": 30, "embedding_length": 576, "feed_forward_length": 1536}
CHAT_SHAPE |= {"attention__head_count": 9, "attention__head_count_kv": 3, "vocab_size": 49152}
LLAMA_7B = {"block_count": 32, "embedding_length": 4096, "feed_forward_length": 11008}
LLAMA_7B |= {"attention__head_count": 32, "vocab_size": 49152}
LLAMA_8B = {**LLAMA_7B, "feed_forward_length": 14336, "attention__head_count_kv": 8}
GEMMA = {"block_count": 34, "embedding_length": 2560, "feed_forward_length": 10240}
GEMMA |= {"attention__head_count": 8, "attention__head_count_kv": 4, "vocab_size": 262144}
GEMMA |= {"attention__key_length": 256, "attention__value_length": 256}
GEMMA |= {"attention__sliding_window": 1024}
EXPERTS = {"block_count": 24, "embedding_length": 2048, "feed_forward_length": 6144}
EXPERTS |= {"attention__head_count": 32, "attention__head_count_kv": 4, "vocab_size": 151936}
EXPERTS |= {"attention__key_length": 128, "attention__value_length": 128, "expert_count": 64}
EXPERTS |= {"expert_used_count": 8, "expert_feed_forward_length": 768}
SHARED = {"sequences": 8, "batch": 256, "unified": True}
ON_GPU = [
    ("llama", CHAT_SHAPE, 2048, {}, (45.0, 14.38)),
    ("llama", CHAT_SHAPE, 32768, {"sequences": 8}, (720.0, 16.38)),
    ("llama", CHAT_SHAPE, 8192, SHARED, (180.0, 10.19)),
    ("llama", CHAT_SHAPE, 32768, {"batch": 2048}, (720.0, 177.54)),
    ("llama", CHAT_SHAPE, 32768, {"kv_type": "q8_0"}, (382.52, 60.54)),
    ("llama", CHAT_SHAPE, 32768, {"kv_type": "bf16"}, (720.0, 61.63)),
    ("llama", CHAT_SHAPE, 8192, {"flash_attention": False}, (180.0, 165.26)),
    ("llama", CHAT_SHAPE, 8192, {"outputs": 512}, (180.0, 97.12)),
    ("llama", LLAMA_7B, 8192, {}, (4096.0, 96.51)),
    ("llama", LLAMA_7B, 8192, {"kv_type": "q8_0"}, (2176.0, 168.09)),
    ("llama", LLAMA_7B, 8192, SHARED, (4096.0, 48.26)),
    ("llama", LLAMA_7B, 8192, {"flash_attention": False}, (4096.0, 576.01)),
    ("llama", LLAMA_8B, 32768, {}, (4096.0, 140.01)),
    ("llama", LLAMA_8B, 32768, {"kv_type": "q8_0"}, (2176.0, 192.09)),
    ("gemma3", GEMMA, 8192, {}, (334.0, 83.52)),
    ("gemma3", GEMMA, 32768, {"swa_full": True}, (4352.0, 138.02)),
    ("gemma3", GEMMA, 8192, {"sequences": 4}, (856.0, 77.52)),
    ("qwen3moe", EXPERTS, 2048, {}, (96.0, 86.01)),
    ("qwen3moe", EXPERTS, 32768, {}, (1536.0, 116.01)),
]


@pytest.mark.parametrize(("architecture", "shape", "context", "settings", "measured"), ON_GPU)
def test_it_is_near_what_was_measured_on_a_gpu(
    tmp_path: Path,
    architecture: str,
    shape: dict[str, int],
    context: int,
    settings: dict[str, Any],
    measured: tuple[float, float],
) -> None:
    gguf = model(tmp_path, architecture, **shape)
    pool = estimate_memory(gguf, gpu_layers=-1, context_length=context, **settings).vram
    kept, compute = measured
    assert pool.kv_cache / MIB == pytest.approx(kept, rel=0.001)
    assert pool.compute / MIB == pytest.approx(compute, rel=0.02)


# The same with so many layers on the GPU: MiB of compute there.
PARTLY = [
    (1, 8192, {}, 21.70),
    (10, 2048, {}, 15.70),
    (10, 8192, {}, 21.70),
    (10, 8192, {"kv_type": "q8_0"}, 23.78),
    (10, 8192, SHARED, 15.45),
    (10, 32768, {}, 60.70),
    (20, 8192, {}, 21.70),
]


@pytest.mark.needs("starter:chat")
@pytest.mark.parametrize(("layers", "context", "settings", "measured"), PARTLY)
def test_layers_in_ram_visit_the_gpu(
    layers: int, context: int, settings: dict[str, Any], measured: float
) -> None:
    from blazen.weights.starter import starter_path

    gguf = read_gguf(starter_path("chat"))
    pool = estimate_memory(gguf, gpu_layers=layers, context_length=context, **settings).vram
    assert pool.compute / MIB == pytest.approx(measured, rel=0.18)


def test_sequences_share_a_pool_or_have_parts_of_their_own(tmp_path: Path) -> None:
    gguf = model(tmp_path, "gemma3", attention__sliding_window=512, block_count=1)
    settings = {"context_length": 8192, "sequences": 4, "batch": 256}
    own, shared = (cache(gguf, **settings, unified=unified) for unified in (False, True))
    row = 2 * 32 * 2
    assert own == 4 * (512 + 256) * row
    assert shared == (4 * 512 + 256) * row


_SERVE = """
import os, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.verbosity = 3072, 1, 1, 4
server = xllamacpp.Server(params)
os._exit(0)  # what matters is in the log; taking the server down is another test's subject
"""


@pytest.mark.needs("xllamacpp", "starter:chat")
def test_it_is_near_what_the_installed_engine_allocates() -> None:
    from blazen.weights.starter import starter_path

    path = starter_path("chat")
    done = subprocess.run(
        [sys.executable, "-c", _SERVE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    sizes = re.findall(r"(model|KV|compute|output) buffer size = +([\d.]+) MiB", done.stderr)
    assert {kind for kind, _ in sizes} == {"model", "KV", "compute", "output"}
    found = {kind: float(size) * MIB for kind, size in sizes}
    pool = estimate_memory(read_gguf(path), context_length=3072).ram
    assert pool.weights == pytest.approx(found["model"], rel=0.01)
    assert pool.kv_cache == pytest.approx(found["KV"], rel=0.01)
    assert pool.compute == pytest.approx(found["compute"] + found["output"], rel=0.25)


def test_keys_and_values_of_every_kind_of_attention(tmp_path: Path) -> None:
    row = 256 * 2 * 2  # tokens, layers, bytes of f16
    assert cache(model(tmp_path)) == row * 2 * 32
    grouped = model(tmp_path, attention__head_count_kv=2)
    assert cache(grouped) == row * 2 * 16
    assert cache(model(tmp_path, attention__head_count_kv=1)) == row * 2 * 8
    assert cache(model(tmp_path, attention__head_count_kv=[4, 1])) == row // 2 * 2 * (32 + 8)
    uneven = model(tmp_path, attention__key_length=24, attention__value_length=16)
    assert cache(uneven) == row * 4 * (24 + 16)
    latent = model(
        tmp_path,
        attention__head_count_kv=1,
        attention__key_length=72,
        attention__value_length=64,
        attention__key_length_mla=24,
        attention__value_length_mla=16,
    )
    assert cache(latent) == row * 72
    assert cache(model(tmp_path, attention__shared_kv_layers=1)) == row // 2 * 2 * 32


def test_the_types_of_the_cache(tmp_path: Path) -> None:
    gguf = model(tmp_path)
    elements = 256 * 2 * 32
    assert cache(gguf, kv_type="f32") == elements * 2 * 4
    assert cache(gguf, kv_type="q8_0") == elements * 2 // 32 * 34
    assert cache(gguf, kv_type=("f16", "q4_0")) == elements * 2 + elements // 32 * 18
    sizes = [cache(gguf, kv_type=kind) for kind in KV_TYPES]
    assert sizes == sorted(sizes, reverse=True)


def test_the_context_is_shared_by_sequences(tmp_path: Path) -> None:
    gguf = model(tmp_path)
    assert cache(gguf, context_length=1000) == cache(gguf, context_length=1024)
    assert cache(gguf, context_length=1024, sequences=4) == cache(gguf, context_length=1024)
    assert cache(gguf, context_length=1024, sequences=3) == 3 * cache(gguf, context_length=512)
    assert cache(gguf, context_length=None) == cache(gguf, context_length=4096)
    assert cache(model(tmp_path, context_length=None), context_length=None) == cache(
        gguf, context_length=4096
    )


@pytest.mark.parametrize(
    ("architecture", "extra", "full"),
    [
        ("gemma3", {}, 1),  # of six layers, the sixth
        ("gemma2", {}, 3),
        ("cohere2moe", {}, 2),  # the first of each four
        ("gemma3", {"attention__sliding_window_pattern": 3}, 2),
        ("gemma3", {"attention__sliding_window_pattern": 0}, 0),
        ("gpt-oss", {"attention__sliding_window_pattern": [True, False, True] * 2}, 2),
        ("phi3", {}, 6),  # llama.cpp has it turned off
        ("llama", {}, 6),  # no pattern is known
    ],
)
def test_sliding_windows(
    tmp_path: Path, architecture: str, extra: dict[str, Any], full: int
) -> None:
    gguf = model(tmp_path, architecture, block_count=6, attention__sliding_window=512, **extra)
    each = 2 * 32 * 2
    settings = {"context_length": 4096, "batch": 128}
    window = 768  # 512 + 128, rounded up to 256
    assert cache(gguf, **settings) == each * (full * 4096 + (6 - full) * window)
    assert cache(gguf, **settings, swa_full=True) == each * 6 * 4096
    assert cache(gguf, context_length=512) == each * 6 * 512


def test_windows_that_the_file_does_not_tell(tmp_path: Path) -> None:
    each, long = 2 * 32 * 2, {"context_length": 16384, "batch": 256}
    gemma = model(tmp_path, "gemma2")
    assert cache(gemma, **long) == each * (16384 + 4096 + 256)
    chunked = model(tmp_path, "llama4", block_count=4)
    assert cache(chunked, **long) == each * (16384 + 3 * (8192 + 256))
    shared = model(tmp_path, "gemma3n", block_count=30, attention__sliding_window=256)
    assert cache(shared, context_length=4096) == each * (4 * 4096 + 16 * 512)


def test_windowed_layers_may_have_heads_of_their_own(tmp_path: Path) -> None:
    gguf = model(
        tmp_path,
        "gemma3",
        attention__sliding_window=256,
        attention__sliding_window_pattern=2,
        attention__key_length=8,
        attention__value_length=8,
        attention__key_length_swa=4,
        attention__value_length_swa=2,
    )
    assert cache(gguf) == 256 * 2 * 4 * ((8 + 8) + (4 + 2))
    # Without flash attention, llama.cpp stores the values of all layers as wide as the widest.
    assert cache(gguf, flash_attention=False) == 256 * 2 * 4 * ((8 + 8) + (4 + 8))


def test_recurrent_layers_keep_a_state(tmp_path: Path) -> None:
    ssm = {
        "ssm__conv_kernel": 4,
        "ssm__inner_size": 64,
        "ssm__state_size": 16,
        "ssm__group_count": 2,
    }
    state = (3 * (64 + 2 * 2 * 16) + 64 * 16) * 4
    mamba = model(tmp_path, "mamba2", attention__head_count=0, **ssm)
    assert cache(mamba) == 2 * state
    assert cache(mamba, context_length=2**20) == 2 * state
    assert cache(mamba, sequences=3) == 2 * state * 3
    attention = 256 * 2 * 2 * 32
    hybrid = model(tmp_path, "jamba", attention__head_count_kv=[0, 4], **ssm)
    assert cache(hybrid) == state + attention
    interval = model(tmp_path, "qwen3next", block_count=8, **ssm)
    assert cache(interval) == 6 * state + 2 * attention
    side_by_side = model(tmp_path, "falcon-h1", **ssm)
    assert cache(side_by_side) == 2 * (state + attention)
    listed = model(tmp_path, "qwen35", attention__recurrent_layers=[True, False], **ssm)
    assert cache(listed) == state + attention
    mlp = model(
        tmp_path,
        "nemotron_h",
        block_count=3,
        attention__head_count_kv=[0, 0, 4],
        feed_forward_length=[0, 64, 0],
        **ssm,
    )
    assert cache(mlp) == state + attention
    delta = model(tmp_path, "kimi-linear", attention__head_count_kv=[0, 4], kda__head_dim=8, **ssm)
    assert cache(delta) == (3 * 3 * 4 * 8 + 8 * 8 * 4) * 4 + attention
    rwkv = model(tmp_path, "rwkv7", attention__head_count=0, wkv__head_size=8)
    assert cache(rwkv) == 2 * 32 * (2 + 8) * 4
    short = model(tmp_path, "lfm2", attention__head_count_kv=[0, 4], shortconv__l_cache=3)
    assert cache(short) == 32 * 2 * 4 + attention


def test_encoders_keep_nothing_and_give_no_logits(tmp_path: Path) -> None:
    estimate = estimate_memory(model(tmp_path, "bert", vocab_size=2**20), outputs=512)
    assert estimate.ram.kv_cache == 0
    assert estimate.ram.compute < 2 * MIB  # the logits alone would be 2 GiB


def test_a_file_without_layers_is_its_weights(tmp_path: Path) -> None:
    maker = Maker({"general.architecture": "clip"}, [Tensor("mm.0.weight", (64, 64))])
    gguf = read_gguf(maker.write(tmp_path / "m.gguf"))
    assert estimate_memory(gguf).ram.total == 64 * 64 * 4
    on_gpu = estimate_memory(gguf, gpu_layers=-1)
    assert (on_gpu.vram.weights, on_gpu.ram.weights, on_gpu.layers) == (64 * 64 * 4, 0, 1)


def test_layers_move_to_the_gpu_from_the_output_down(tmp_path: Path) -> None:
    gguf = read_gguf(small().write(tmp_path / "m.gguf"))
    sizes = {tensor.name: tensor.nbytes for tensor in gguf.tensors}
    block = sizes["blk.0.attn_q.weight"] + sizes["blk.0.ffn_up.weight"]
    embedding, norm = sizes["token_embd.weight"], sizes["output_norm.weight"]
    rows = [estimate_memory(gguf, gpu_layers=layers) for layers in range(4)]
    assert [row.layers for row in rows] == [3] * 4
    assert [row.ram.weights for row in rows] == [
        embedding + norm + 2 * block,
        embedding + 2 * block,
        embedding + block,
        embedding,
    ]
    # The output is tied to the embedding: the GPU needs a copy, the input keeps its own.
    assert [row.vram.weights for row in rows] == [
        0,
        norm + embedding,
        norm + embedding + block,
        norm + embedding + 2 * block,
    ]
    whole = rows[0].ram.kv_cache
    assert [row.vram.kv_cache for row in rows] == [0, 0, whole // 2, whole]
    assert all(row.ram.kv_cache + row.vram.kv_cache == whole for row in rows)
    assert rows[0].vram.total == 0
    assert estimate_memory(gguf, gpu_layers=-1) == rows[3] == estimate_memory(gguf, gpu_layers=99)


def test_an_output_of_its_own_is_not_copied(tmp_path: Path) -> None:
    tensors = [Tensor("token_embd.weight", (32, 4)), Tensor("output.weight", (32, 4), "F16")]
    gguf = read_gguf(small(tensors=tensors).write(tmp_path / "m.gguf"))
    estimate = estimate_memory(gguf, gpu_layers=-1)
    assert (estimate.ram.weights, estimate.vram.weights) == (32 * 4 * 4, 32 * 4 * 2)


def test_experts_widen_the_buffers(tmp_path: Path) -> None:
    dense = estimate_memory(model(tmp_path)).ram.compute
    experts = {
        "expert_count": 8,
        "expert_used_count": 4,
        "expert_feed_forward_length": 64,
    }
    mixture = estimate_memory(model(tmp_path, **experts)).ram.compute
    assert mixture - dense == 512 * 3 * 64 * 3 * 4


def test_attention_scores_are_written_without_flash_attention(tmp_path: Path) -> None:
    gguf = model(tmp_path)
    flash = estimate_memory(gguf, context_length=4096)
    plain = estimate_memory(gguf, context_length=4096, flash_attention=False)
    assert plain.ram.compute >= flash.ram.compute + 4 * 4096 * 512 * 4


@pytest.mark.needs("starter:chat")
def test_the_layers_that_fit_are_the_most_that_do() -> None:
    from blazen.weights.starter import starter_path

    gguf = read_gguf(starter_path("chat"))
    whole = estimate_memory(gguf, gpu_layers=-1, context_length=2048)
    fits = [
        layers_that_fit(gguf, vram, context_length=2048)
        for vram in range(0, whole.vram.total + MIB, 10 * MIB)
    ]
    assert fits == sorted(fits)
    assert fits[0] == 0
    assert layers_that_fit(gguf, whole.vram.total, context_length=2048) == whole.layers == 31
    some = layers_that_fit(gguf, 100 * MIB, context_length=2048)
    assert 0 < some < 31
    used = [
        estimate_memory(gguf, gpu_layers=some + more, context_length=2048).vram.total
        for more in (0, 1)
    ]
    assert used[0] <= 100 * MIB < used[1]


@pytest.mark.parametrize(
    "settings",
    [
        {"context_length": 0},
        {"context_length": 1.5},
        {"gpu_layers": -2},
        {"batch": 0},
        {"sequences": 0},
        {"outputs": -1},
        {"kv_type": "q9"},
        {"kv_type": ("f16",)},
        {"kv_type": ("f16", "q8_0"), "flash_attention": False},
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    name = next(iter(settings))
    with pytest.raises(ValidationError, match=f"{name}|flash_attention"):
        estimate_memory(model(tmp_path), **settings)
    with pytest.raises(ValidationError, match="vram_bytes"):
        layers_that_fit(model(tmp_path), -1)


def test_an_estimate_prints_and_goes_to_json(tmp_path: Path) -> None:
    estimate = estimate_memory(model(tmp_path), gpu_layers=1)
    assert MemoryEstimate.from_json(estimate.to_json()) == estimate
    assert estimate.total == estimate.ram.total + estimate.vram.total
    assert "1 of 3 layers offloaded, context 4,096" in repr(estimate)


def test_a_pattern_may_be_numbers(tmp_path: Path) -> None:
    pattern = Raw(9, b"\4\0\0\0" + (2).to_bytes(8, "little") + b"\1\0\0\0\0\0\0\0")
    gguf = model(
        tmp_path,
        "gpt-oss",
        attention__sliding_window=256,
        attention__sliding_window_pattern=pattern,
    )
    assert cache(gguf, context_length=1024) == 2 * 32 * 2 * (1024 + 512)
