"""What comes back of a GPU's memory, by its driver: an engine in process, and in one of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.diffusers_gpu import about
from benchmarks.diffusion_shapes import save_shape
from benchmarks.peaks import MIB, alone, gpu_used
from benchmarks.triposr_gpu import threshold
from benchmarks.triposr_shape import picture, save_published
from blazen import (
    BackendCrashedError,
    ImageGeneration,
    ImageOptions,
    MeshOptions,
    ModelManager,
    ThreeD,
    hardware,
)

CYCLES = 5
PACKAGES = ("torch", "diffusers", "numpy")
SETTLED_SECONDS = 2.0


def run(device: str = "cuda") -> dict[str, Any]:
    """Load, use and unload, in process and isolated; then a crash under a manager."""
    missing = [name for name in ("torch", "diffusers") if importlib.util.find_spec(name) is None]
    if missing or (device == "cuda" and not hardware.find_gpus()):
        return {"gpu": f"no NVIDIA GPU, or no {' and '.join(missing) or 'torch'}, is here"}
    figures: dict[str, Any] = about(PACKAGES, "isolation_gpu")
    with tempfile.TemporaryDirectory() as place:
        mesh = alone(save_published, Path(place))
        surface = alone(threshold, mesh, "float16", device)
        image = Path(place) / "sd15"
        alone(save_shape, "sd15", image, device)
        for name, folder in (("triposr", mesh), ("diffusers", image)):
            figures[name] = {
                "in_process": alone(cycles, name, folder, device, surface, None),
                "isolated": alone(cycles, name, folder, device, surface, "process"),
            }
        figures["crash"] = alone(crash, mesh, device, surface)
    return figures


def cycles(name: str, folder: Path, device: str, surface: float, isolation: Any) -> dict[str, Any]:
    """Give what a model holds, and what stays of it after each unload."""
    return asyncio.run(_cycles(name, folder, device, surface, isolation))


async def _cycles(
    name: str, folder: Path, device: str, surface: float, isolation: Any
) -> dict[str, Any]:
    empty, held, left, later = gpu_used(), [], [], []
    model = _model(name, folder, device, isolation)
    footprint = await model.footprint()
    for _ in range(CYCLES):
        await model.load()
        await _use(name, model, surface)
        held.append(gpu_used() - empty)
        await model.unload()
        left.append(gpu_used() - empty)
        time.sleep(SETTLED_SECONDS)
        later.append(gpu_used() - empty)
    return {
        "held_mib": max(held) / MIB,
        "estimate_mib": sum(v for p, v in footprint.resident.items() if p != "cpu") / MIB,
        "left_after_each_unload_mib": [size / MIB for size in left],
        "left_two_seconds_later_mib": [size / MIB for size in later],
    }


def crash(folder: Path, device: str, surface: float) -> dict[str, Any]:
    """Kill a model's process at work: what the driver and the manager's account say then."""
    return asyncio.run(_crash(folder, device, surface))


async def _crash(folder: Path, device: str, surface: float) -> dict[str, Any]:
    empty = gpu_used()
    async with ModelManager.detect(isolation="process") as manager:
        await manager.register("mesh", _model("triposr", folder, device, None))
        await _asked(manager, surface)
        pool = next(iter(manager.status().models[0].charges.keys() - {"cpu"}))
        held, account = gpu_used() - empty, await manager.used_bytes(pool=pool)
        work = asyncio.create_task(_asked(manager, surface))
        await asyncio.sleep(0.3)
        began = time.perf_counter()
        os.kill(manager.get("mesh").pid, signal.SIGKILL)
        try:
            await work
        except BackendCrashedError:
            failed = time.perf_counter() - began
        else:
            raise AssertionError("the request outlived its process")
        after, account_after = gpu_used() - empty, await manager.used_bytes(pool=pool)
        await _asked(manager, surface)  # it is there again
    return {
        "held_mib": held / MIB,
        "account_mib": account / MIB,
        "request_failed_after_ms": failed * 1e3,
        "left_mib": after / MIB,
        "account_left_mib": account_after / MIB,
        "left_after_it_worked_again_mib": (gpu_used() - empty) / MIB,
    }


async def _asked(manager: ModelManager, surface: float) -> None:
    mesh = await manager.image_to_mesh("mesh", picture(), MeshOptions(threshold=surface))
    assert len(mesh.faces)


def _model(name: str, folder: Path, device: str, isolation: Any) -> Any:
    settings = {"device": device, "dtype": "float16", "isolation": isolation}
    if name == "triposr":
        return ThreeD.triposr(folder, **settings)
    return ImageGeneration.diffusers(folder, **settings)


async def _use(name: str, model: Any, surface: float) -> None:
    if name == "triposr":
        await model.image_to_mesh(picture(), MeshOptions(threshold=surface))
    else:
        await model.generate("a bird", ImageOptions(steps=4, seed=7))
