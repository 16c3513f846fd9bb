"""Where a GGUF model goes: how many layers to a GPU, and whether there is memory for it at all."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from blazen.checks import check_range
from blazen.errors import BudgetError, UnsupportedError
from blazen.hardware import Device, Gpu, choose_device, find_gpus, memory
from blazen.types.record import Record
from blazen.weights.gguf.estimate import MemoryEstimate, estimate_memory, layers_that_fit
from blazen.weights.gguf.model import GgufFile

_log = logging.getLogger("blazen.weights")

RESERVE = 1 << 30
"""Bytes of VRAM left free for the driver's own part, what the estimate misses, and the screen.

llama.cpp leaves as much when it is told to fit a model itself.
"""
DRIVER = 768 << 20
"""What of it the driver, its kernels and its matrix library may take: see docs/gpu.md."""


@dataclass(frozen=True)
class Placement(Record):
    """Where a model goes, and what it will take there."""

    device: Device
    gpu_layers: int
    """How many layers go to the GPU, the output layer counted, as llama.cpp counts them."""
    estimate: MemoryEstimate


def choose_gpu_layers(
    gguf: GgufFile,
    *,
    free_bytes: int,
    context_length: int | None = None,
    kv_types: tuple[str, str] = ("f16", "f16"),
    parallel: int = 1,
    batch: int = 512,
    outputs: int | None = None,
    flash_attention: bool = True,
    swa_full: bool = False,
    unified: bool = False,
    reserve: int = RESERVE,
) -> int:
    """Give how many layers fit into the free memory of a GPU, of which ``reserve`` is left alone.

    The other settings are those of `estimate_memory`: ``context_length`` is shared by ``parallel``
    conversations.
    """
    check_range("free_bytes", free_bytes, at_least=0, integer=True)
    check_range("reserve", reserve, at_least=0, integer=True)
    return layers_that_fit(
        gguf,
        max(free_bytes - reserve, 0),
        context_length=context_length,
        kv_type=kv_types,
        batch=batch,
        sequences=parallel,
        outputs=outputs,
        flash_attention=flash_attention,
        swa_full=swa_full,
        unified=unified,
    )


def place_gguf(
    gguf: GgufFile,
    *,
    device: Device | str = "auto",
    gpu_layers: int | Literal["auto"] = "auto",
    supported: Collection[str] = ("cpu", "cuda", "metal"),
    context_length: int | None = None,
    kv_types: tuple[str, str] = ("f16", "f16"),
    parallel: int = 1,
    batch: int = 512,
    outputs: int | None = None,
    flash_attention: bool = True,
    swa_full: bool = False,
    unified: bool = False,
    memory_map: bool = True,
    reserve: int = RESERVE,
) -> Placement:
    """Choose the device and how many layers go to it, and refuse what does not fit.

    ``auto`` layers are as many as the free memory of the one chosen GPU holds; all of them on
    Metal, none on the CPU. A number is taken as it is, and one beyond the model's layers (llama.cpp
    users write 999) means all. The device ``auto`` becomes the CPU where not one layer fits.

    Args:
        gguf: What `read_gguf` gave.
        device: Where it is wanted.
        gpu_layers: How many layers go to the GPU.
        supported: What the engine runs on, as `choose_device` takes it.
        context_length: Tokens in all, shared by the conversations; the model's own if left out.
        kv_types: How keys and values are stored.
        parallel: How many conversations are held at once.
        batch: How many tokens are computed at once.
        outputs: For how many tokens of a batch logits are kept, as in `estimate_memory`.
        flash_attention: Whether attention scores are never written out.
        swa_full: Whether layers with a sliding window keep the whole context all the same.
        unified: Whether the conversations share one pool for their keys and values.
        memory_map: Whether the weights in RAM are mapped from the file.
        reserve: Bytes of VRAM to leave free where the number of layers is chosen.

    Raises:
        BudgetError: The RAM, or the GPU that was asked for, has no room for it.
        UnsupportedError: The device is not there, or layers were asked for and there is no GPU.
    """

    def estimate(layers: int) -> MemoryEstimate:
        return estimate_memory(
            gguf,
            context_length=context_length,
            gpu_layers=layers,
            kv_type=kv_types,
            batch=batch,
            sequences=parallel,
            outputs=outputs,
            flash_attention=flash_attention,
            swa_full=swa_full,
            unified=unified,
        )

    wish = Device.parse(device)
    chosen = Device.Cpu if gpu_layers == 0 and wish == Device.Auto else wish
    chosen = choose_device(chosen, supported=supported)
    if chosen == Device.Cpu:
        if gpu_layers not in ("auto", 0):
            raise UnsupportedError(
                f"gpu_layers={gpu_layers} was asked for, and {gguf.path.name} is to run on the CPU "
                f"(device={str(wish)!r}): give a GPU as device, or leave gpu_layers out"
            )
        layers = 0
    elif chosen == Device.Metal:
        layers = -1 if gpu_layers == "auto" else gpu_layers
    elif gpu_layers == "auto":
        gpu = _gpu(chosen)
        layers = choose_gpu_layers(
            gguf,
            free_bytes=gpu.free,
            context_length=context_length,
            kv_types=kv_types,
            parallel=parallel,
            batch=batch,
            outputs=outputs,
            flash_attention=flash_attention,
            swa_full=swa_full,
            unified=unified,
            reserve=reserve,
        )
        if layers == 0:
            chosen = _without_layers(gguf, wish, gpu, estimate(1), supported, reserve)
    else:
        layers = gpu_layers
        _check_vram(gguf, _gpu(chosen), estimate(layers))
    found = estimate(layers)
    _log.info("%s: %d of %d layers on %s", gguf.path.name, found.gpu_layers, found.layers, chosen)
    shared = chosen != Device.Cpu and _gpu(chosen).unified
    check_fits(gguf, found, unified=shared, memory_map=memory_map)
    return Placement(chosen, found.gpu_layers, found)


def check_fits(
    gguf: GgufFile, estimate: MemoryEstimate, *, unified: bool = False, memory_map: bool = True
) -> None:
    """Refuse with a `BudgetError` what this process, or its container, has not enough RAM for.

    Loading it all the same would not fail but have the system kill a process. Weights that are
    mapped from their file don't count, since the system can drop them again; where they are more
    than the memory, that makes the model slow, and the log has a warning. A ``unified`` GPU has no
    memory of its own.
    """
    pool, here = estimate.ram, memory()
    weights, rest = pool.weights, pool.kv_cache + pool.compute
    if unified:
        weights += estimate.vram.weights
        rest += estimate.vram.kv_cache + estimate.vram.compute
    mapped = weights if memory_map else 0
    needed = weights + rest - mapped
    if needed > here.available:
        raise BudgetError(
            f"{gguf.path.name} needs {_mib(needed)} of memory at a context of "
            f"{estimate.context_length:,} (weights {_mib(weights - mapped)}, cache and buffers "
            f"{_mib(rest)}), and {_mib(here.available)} of {_mib(here.total)} can be had: take a "
            "shorter context_length, fewer parallel requests, a smaller kv_type or quantization"
        )
    if weights + rest > here.total:
        _log.warning(
            "%s has %s of weights for %s of memory: they are read from the disk again and again, "
            "which is slow",
            gguf.path.name,
            _mib(weights),
            _mib(here.total),
        )


def _gpu(device: Device) -> Gpu:
    found = next((gpu for gpu in find_gpus() if gpu.device == device), None)
    if found is None:
        raise UnsupportedError(f"device {str(device)!r} is not there any more")
    return found


def _without_layers(
    gguf: GgufFile,
    wish: Device,
    gpu: Gpu,
    one: MemoryEstimate,
    supported: Collection[str],
    reserve: int,
) -> Device:
    """Go to the CPU, if that was left to us."""
    problem = (
        f"not one layer of {gguf.path.name} fits on {gpu.device}: it takes {_mib(one.vram.total)}, "
        f"and of {_mib(gpu.free)} free {_mib(reserve)} are left alone"
    )
    if wish != Device.Auto or "cpu" not in supported:
        raise BudgetError(f"{problem}: free some of its memory, or take device='cpu'")
    _log.warning("%s; it goes to the CPU", problem)
    return Device.Cpu


def _check_vram(gguf: GgufFile, gpu: Gpu, estimate: MemoryEstimate) -> None:
    # With less, llama.cpp may load and then end the whole process at the first batch.
    if estimate.vram.total + DRIVER > gpu.free:
        raise BudgetError(
            f"{estimate.gpu_layers} of {estimate.layers} layers of {gguf.path.name} need "
            f"{_mib(estimate.vram.total)} and {_mib(DRIVER)} for the driver, and {gpu.device} has "
            f"{_mib(gpu.free)} free: ask for fewer gpu_layers, or leave the number out"
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
