"""Pipelines of the shapes of Stable Diffusion 1.5 and XL on a GPU: speed, and memory by the driver.

Their weights are random and in float16: an image means nothing, its sums are those of a real one.
"""

from __future__ import annotations

import asyncio
import datetime
import gc
import importlib.metadata
import importlib.util
import json
import logging
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.diffusers_steps import PROMPT, in_turns
from benchmarks.diffusion_shapes import SIDES, save_shape
from benchmarks.peaks import MIB, Peaks, alone, gpu_used
from blazen import ImageOptions, hardware
from blazen.options.diffusers import DiffusersOptions
from blazen_diffusers import DiffusersImages

ROUNDS = 7
MEMORY_STEPS = 4
CYCLES = 2
# As diffusers itself has it: Stable Diffusion's VAE in half precision, XL's widened as it decodes.
LIKE_RAW = {
    "sd15": {"dtype": "float16", "vae_dtype": "float16"},
    "sdxl": {"dtype": "float16", "vae_dtype": "float32"},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "float16, VAE in float32": {"dtype": "float16"},
    "float16": {"dtype": "float16", "vae_dtype": "float16"},
    "bfloat16": {"dtype": "bfloat16"},
    "bfloat16, 2 at once": {"dtype": "bfloat16", "batch_size": 2},
    "bfloat16, VAE in tiles": {"dtype": "bfloat16", "vae_tiling": True},
    "bfloat16, parts in turns": {"dtype": "bfloat16", "offload": "model"},
    "bfloat16, layers in turns": {"dtype": "bfloat16", "offload": "sequential"},
}
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy")


def run(device: str = "cuda") -> dict[str, Any]:
    """Speed beside diffusers itself; then, in new processes, memory beside the estimate."""
    if importlib.util.find_spec("diffusers") is None or (
        device == "cuda" and not hardware.find_gpus()
    ):
        return {"gpu": "no NVIDIA GPU, or no diffusers, is here"}
    figures: dict[str, Any] = about(PACKAGES, "diffusers_gpu")
    with tempfile.TemporaryDirectory() as place:
        for name in SIDES:
            folder = Path(place) / name
            alone(save_shape, name, folder, device)
            figures[name] = {
                "speed": alone(speed, name, folder, device),
                "memory": alone(memory, name, folder, device),
            }
            print(json.dumps({name: figures[name]}), file=sys.stderr, flush=True)
    return figures


def about(packages: tuple[str, ...], name: str) -> dict[str, Any]:
    """Say when, on what and with which versions."""
    gpus = hardware.find_gpus()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "command": f"PYTHONPATH=.:backends python -m benchmarks {name} --record",
        "gpu": gpus[0].name if gpus else "none",
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


def speed(name: str, folder: Path, device: str) -> dict[str, Any]:
    """Ask for the same image from diffusers and from blazen, in turns."""
    settings = LIKE_RAW[name]
    return asyncio.run(in_turns(folder, side=SIDES[name], rounds=ROUNDS, device=device, **settings))


def memory(name: str, folder: Path, device: str) -> dict[str, Any]:
    """Hold what each way of loading takes to its estimate, and see that all of it comes back."""
    return asyncio.run(_memory(name, folder, device))


async def _memory(name: str, folder: Path, device: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    # The first load brings the CUDA context and libraries: it tells what to take off the others.
    empty = gpu_used()
    await _taken(name, folder, device, {"dtype": "float16"})
    context = gpu_used() - empty
    figures["ways"] = {}
    for words, settings in SETTINGS.items():
        found = await _taken(name, folder, device, settings)
        figures["ways"][words] = found["gpu"]
    left = [gpu_used() - empty - context]
    for _ in range(CYCLES):
        last = await _taken(name, folder, device, {"dtype": "float16"})
        left.append(gpu_used() - empty - context)
    figures["load_into_ram"] = {
        "as_stored": last["load"],
        "into_bfloat16": (await _taken(name, folder, device, {"dtype": "bfloat16"}))["load"],
    }
    whole = figures["ways"]["float16, VAE in float32"]["loaded_by_the_driver_mib"]
    figures["unloaded"] = {
        "cuda_context_mib": context / MIB,
        "left_after_each_mib": [size / MIB for size in left],
        "most_left_percent_of_what_it_took": 100 * max(map(abs, left)) / MIB / max(whole, 1),
    }
    return figures


async def _taken(
    name: str, folder: Path, device: str, settings: Mapping[str, Any]
) -> dict[str, dict[str, float]]:
    model = DiffusersImages(DiffusersOptions(folder, device=device, **settings))
    count = settings.get("batch_size", 1)
    asked = ImageOptions(steps=MEMORY_STEPS, seed=7, count=count)
    footprint = await model.footprint()
    assert footprint is not None
    gc.collect()
    _reset(device)
    weights = _weight_bytes(folder)
    with Peaks() as loading:
        await model.load()
    base = loading.gpu_before
    loaded = gpu_used() - base
    _reset(device)
    with Peaks() as drawing:
        answer = await model.generate(PROMPT, asked)
    assert len(answer.images) == count
    allocated, reserved = _allocated(device)
    plan = await model._call(lambda engine, job: str(engine.plan))
    await model.unload()
    pool = next((pool for pool in footprint.resident if pool != "cpu"), "cpu")
    estimate = footprint.resident[pool] + footprint.per_request.get(pool, 0)
    if pool != "cpu" and plan.startswith("Plan(offload='none'"):
        assert loaded > 0
    return {
        "load": {
            "weights_mib": weights / MIB,
            "peak_ram_mib": (loading.rss - loading.rss_before) / MIB,
            "peak_ram_ratio_to_weights": (loading.rss - loading.rss_before) / weights,
        },
        "gpu": {
            "loaded_by_the_driver_mib": loaded / MIB,
            "peak_allocated_mib": allocated / MIB,
            "peak_reserved_mib": reserved / MIB,
            "peak_by_the_driver_mib": (drawing.gpu - base) / MIB,
            "estimate_mib": estimate / MIB,
            "estimate_over_allocated_percent": _off(estimate, allocated),
            "estimate_over_reserved_percent": _off(estimate, reserved),
        },
    }


def _off(estimate: int, seen: int) -> float:
    return 100 * (estimate / seen - 1) if seen else 0.0


def _reset(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def _allocated(device: str) -> tuple[int, int]:
    if device != "cuda":
        return 0, 0
    import torch

    return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()


def _weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


if __name__ == "__main__":
    logging.getLogger("blazen").setLevel(logging.INFO)
    print(json.dumps(run(), indent=2))
