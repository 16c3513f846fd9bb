"""Where a model goes: on machines with GPUs of all sizes, which are made up here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blazen.errors import BudgetError, UnsupportedError, ValidationError
from blazen.hardware import Cores, Device, Gpu, Hardware, Memory, choice
from blazen.weights.gguf import estimate_memory, placement, read_gguf
from blazen.weights.gguf.placement import DRIVER, RESERVE, check_fits, choose_gpu_layers, place_gguf
from tests.weights.gguf_files import Tensor, small

GIB = 2**30
LAYERS = 8
CONTEXT = {"context_length": 2048}


@pytest.fixture
def gguf(tmp_path):
    tensors = [Tensor("token_embd.weight", (256, 64), "Q8_0"), Tensor("output_norm.weight", (256,))]
    # A layer in RAM visits the GPU with the largest of its tensors: one there must save more.
    parts = ("ffn_up", "ffn_gate", "ffn_down", "attn_output")
    tensors += [
        Tensor(f"blk.{i}.{part}.weight", (256, 512), "Q8_0")
        for i in range(LAYERS)
        for part in parts
    ]
    numbers = {"llama.block_count": LAYERS, "llama.embedding_length": 256}
    return read_gguf(small(metadata=numbers, tensors=tensors).write(tmp_path / "m.gguf"))


@pytest.fixture
def machine(monkeypatch):
    def machine(*gpus: Gpu, available: int = 16 * GIB) -> None:
        found = Hardware(Cores(4, 8, 8, 4), Memory(16 * GIB, available), gpus)
        monkeypatch.setattr(choice, "detect", lambda: found)
        monkeypatch.setattr(placement, "find_gpus", lambda: found.gpus)
        monkeypatch.setattr(placement, "memory", lambda: found.memory)

    machine()
    return machine


def gpu(free: int, index: int = 0) -> Gpu:
    return Gpu(index, "some", f"GPU-{index}", 80 * GIB, free)


METAL = Gpu(0, "Apple GPU", "metal", 16 * GIB, 12 * GIB, api="metal", unified=True)


def vram(gguf, layers: int) -> int:
    return estimate_memory(gguf, gpu_layers=layers, **CONTEXT).vram.total


def test_layers_are_as_many_as_the_free_memory_holds(gguf):
    for layers in range(1, LAYERS + 2):
        free = vram(gguf, layers)
        assert choose_gpu_layers(gguf, free_bytes=free, reserve=0, **CONTEXT) == layers
        assert choose_gpu_layers(gguf, free_bytes=free - 1, reserve=0, **CONTEXT) == layers - 1
        assert choose_gpu_layers(gguf, free_bytes=free + RESERVE, **CONTEXT) == layers
    assert choose_gpu_layers(gguf, free_bytes=RESERVE // 2, **CONTEXT) == 0


def test_what_takes_memory_takes_layers(gguf):
    free = vram(gguf, 5)

    def layers(**settings):
        return choose_gpu_layers(
            gguf, free_bytes=free, reserve=0, **{**CONTEXT, "batch": 64, **settings}
        )

    usual = layers()
    assert layers(context_length=8192) < usual < layers(kv_types=("q8_0", "q8_0"))
    assert layers(batch=512) < usual
    with pytest.raises(ValidationError):
        choose_gpu_layers(gguf, free_bytes=-1)


def test_without_a_gpu_all_is_on_the_cpu(gguf, machine):
    for device in ("auto", "cpu"):
        for layers in ("auto", 0):
            place = place_gguf(gguf, device=device, gpu_layers=layers, **CONTEXT)
            assert (place.device, place.gpu_layers) == (Device.Cpu, 0)
            assert place.estimate == estimate_memory(gguf, **CONTEXT)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_layers_for_a_gpu_that_is_not_there_are_not_forgotten(gguf, machine, device):
    with pytest.raises(UnsupportedError, match="gpu_layers=5"):
        place_gguf(gguf, device=device, gpu_layers=5)
    with pytest.raises(UnsupportedError, match="'cuda'"):
        place_gguf(gguf, device="cuda")


def test_a_roomy_gpu_takes_all_layers(gguf, machine):
    machine(gpu(2 * GIB), gpu(40 * GIB, 1))
    place = place_gguf(gguf, **CONTEXT)
    assert (str(place.device), place.gpu_layers) == ("cuda:1", LAYERS + 1)
    assert place.estimate.vram.total == vram(gguf, -1)


def test_only_the_chosen_gpu_is_filled(gguf, machine):
    machine(gpu(RESERVE + vram(gguf, 3)), gpu(40 * GIB, 1))
    place = place_gguf(gguf, device="cuda:0", **CONTEXT)
    assert (place.device, place.gpu_layers) == (Device("cuda", 0), 3)


def test_cuda_without_a_number_is_the_first(gguf, machine):
    machine(gpu(40 * GIB))
    assert place_gguf(gguf, device="cuda", **CONTEXT).gpu_layers == LAYERS + 1


def test_a_full_gpu_leaves_auto_the_cpu_and_says_so(gguf, machine, caplog):
    machine(gpu(RESERVE))
    place = place_gguf(gguf, **CONTEXT)
    assert (place.device, place.gpu_layers, place.estimate.vram.total) == (Device.Cpu, 0, 0)
    assert "goes to the CPU" in caplog.text
    for words in ({"device": "cuda"}, {"device": "gpu"}, {"supported": ("cuda",)}):
        with pytest.raises(BudgetError, match="not one layer"):
            place_gguf(gguf, **CONTEXT, **words)
    assert place_gguf(gguf, device="cuda", reserve=0, **CONTEXT).gpu_layers == LAYERS + 1


def test_a_number_of_layers_is_kept(gguf, machine):
    machine(gpu(40 * GIB))
    for layers, taken in ((0, 0), (1, 1), (4, 4), (LAYERS + 1, LAYERS + 1), (999, LAYERS + 1)):
        assert place_gguf(gguf, device="cuda", gpu_layers=layers).gpu_layers == taken
    assert place_gguf(gguf, gpu_layers=0).device == Device.Cpu
    machine(gpu(vram(gguf, 4) + DRIVER))
    assert place_gguf(gguf, gpu_layers=4, **CONTEXT).gpu_layers == 4
    with pytest.raises(BudgetError, match=r"5 of 9 layers of m\.gguf need .* free"):
        place_gguf(gguf, gpu_layers=5, **CONTEXT)
    with pytest.raises(ValidationError, match="gpu_layers"):
        place_gguf(gguf, gpu_layers=-2)


def test_metal_takes_all_and_shares_the_memory(gguf, machine):
    machine(METAL)
    place = place_gguf(gguf, **CONTEXT)
    assert (place.device, place.gpu_layers) == (Device.Metal, LAYERS + 1)
    assert place_gguf(gguf, device="metal", gpu_layers=3).gpu_layers == 3
    machine(METAL, available=place.estimate.vram.kv_cache)
    with pytest.raises(BudgetError):
        place_gguf(gguf, **CONTEXT)


def test_too_large_a_context_is_refused_before_the_system_kills(gguf, machine):
    pool = estimate_memory(gguf, **CONTEXT).ram
    rest = pool.kv_cache + pool.compute
    machine(available=rest)
    assert place_gguf(gguf, **CONTEXT).gpu_layers == 0
    for words in ({**CONTEXT, "memory_map": False}, {"context_length": 4096}):
        with pytest.raises(BudgetError) as caught:
            place_gguf(gguf, **words)
        for said in ("m.gguf", "context_length", "kv_type", "16,384 MiB"):
            assert said in str(caught.value)
    machine(available=pool.total)
    assert place_gguf(gguf, memory_map=False, **CONTEXT).gpu_layers == 0


def test_what_lies_on_the_gpu_needs_no_ram(gguf, machine):
    whole = estimate_memory(gguf, gpu_layers=-1, **CONTEXT)
    machine(gpu(40 * GIB), available=whole.ram.kv_cache + whole.ram.compute)
    assert place_gguf(gguf, **CONTEXT).device == Device("cuda", 0)


def test_weights_beyond_the_memory_are_slow_and_not_refused(gguf, machine, caplog):
    estimate = estimate_memory(gguf, **CONTEXT)
    check_fits(gguf, estimate)
    assert not caplog.records
    huge = replace(estimate, ram=replace(estimate.ram, weights=20 * GIB))
    check_fits(gguf, huge)
    assert "slow" in caplog.text
    with pytest.raises(BudgetError, match="20,480"):
        check_fits(gguf, huge, memory_map=False)
