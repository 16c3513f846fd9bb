"""TripoSR at its published size with random weights on a GPU: each stage, memory, and precision."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.diffusers_gpu import about
from benchmarks.peaks import MIB, Peaks, alone, gpu_used
from benchmarks.triposr_shape import picture, save_published
from blazen import MeshOptions, hardware
from blazen.options.triposr import TripoSrOptions
from blazen_triposr import TripoSr

RESOLUTION = 256
ROUNDS = 5
CYCLES = 3
# So much of the cube is inside: about what an object of the usual size fills.
INSIDE = 0.1
DTYPES = ("float16", "float32")
PACKAGES = ("torch", "scikit-image", "trimesh", "numpy")


def run(device: str = "cuda", **shape: Any) -> dict[str, Any]:
    """Time and memory of an image to a mesh, in half and in full precision."""
    if importlib.util.find_spec("torch") is None or (device == "cuda" and not hardware.find_gpus()):
        return {"gpu": "no NVIDIA GPU, or no torch, is here"}
    figures: dict[str, Any] = {**about(PACKAGES, "triposr_gpu"), "resolution": RESOLUTION}
    with tempfile.TemporaryDirectory() as place:
        folder = alone(save_published, Path(place))
        for dtype in DTYPES:
            figures[dtype] = alone(measure, folder, dtype, device)
            print(json.dumps({dtype: figures[dtype]}), file=sys.stderr, flush=True)
        figures["float16_beside_float32"] = alone(differences, folder, device)
    return figures


def measure(folder: Path, dtype: str, device: str) -> dict[str, Any]:
    """Give the seconds of each stage, and what it takes."""
    return asyncio.run(_measure(folder, dtype, device))


async def _measure(folder: Path, dtype: str, device: str) -> dict[str, Any]:
    def built() -> TripoSr:
        return TripoSr(TripoSrOptions(folder, device=device, dtype=dtype))

    empty = gpu_used()
    async with built() as model:
        threshold = await _threshold(model)
        options = MeshOptions(resolution=RESOLUTION, threshold=threshold)
        await model.image_to_mesh(picture(), options)
    context = gpu_used() - empty  # what stays: libraries, and the workspaces of their handles
    figures: dict[str, Any] = {}
    model = built()
    footprint = await model.footprint()
    assert footprint is not None
    _reset(device)
    base = gpu_used()
    with Peaks() as loading:
        await model.load()
    loaded = gpu_used() - base
    _reset(device)
    with Peaks() as making:
        mesh = await model.image_to_mesh(picture(), options)
    allocated, reserved = _allocated(device)
    pool = next((pool for pool in footprint.resident if pool != "cpu"), "cpu")
    estimate = footprint.resident[pool] + footprint.per_request.get(pool, 0)
    weights = (folder / "model.ckpt").stat().st_size
    figures["mesh"] = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
    figures["seconds"] = await _seconds(model, options, device)
    await model.unload()
    left = [gpu_used() - empty - context]
    for _ in range(CYCLES):
        async with built() as again:
            await again.image_to_mesh(picture(), options)
        left.append(gpu_used() - empty - context)
    figures["memory"] = {
        "loaded_by_the_driver_mib": loaded / MIB,
        "peak_allocated_mib": allocated / MIB,
        "peak_reserved_mib": reserved / MIB,
        "peak_by_the_driver_mib": (making.gpu - base) / MIB,
        "estimate_mib": estimate / MIB,
        "estimate_over_allocated_percent": _off(estimate, allocated),
        "estimate_over_reserved_percent": _off(estimate, reserved),
        "cuda_context_mib": context / MIB,
        "left_after_each_unload_mib": [size / MIB for size in left],
        "most_left_percent_of_what_it_took": 100 * max(map(abs, left)) / max(loaded, 1),
        "weights_on_disk_mib": weights / MIB,
        "peak_ram_of_the_load_mib": (loading.rss - loading.rss_before) / MIB,
        "peak_ram_of_the_load_ratio_to_weights": (loading.rss - loading.rss_before) / weights,
        "peak_ram_of_a_request_mib": (making.rss - making.rss_before) / MIB,
    }
    return figures


def threshold(folder: Path, dtype: str, device: str) -> float:
    """Give the density at which random weights have a surface of the usual size."""

    async def found() -> float:
        async with TripoSr(TripoSrOptions(folder, device=device, dtype=dtype)) as model:
            return await _threshold(model)

    return asyncio.run(found())


async def _threshold(model: TripoSr) -> float:
    """Find how dense it is around so much of the volume."""
    import numpy as np

    grid = await model._call(lambda engine, job: _grid(engine, 64)[1])
    return float(np.quantile(grid, 1 - INSIDE))


def _grid(engine: Any, resolution: int) -> tuple[Any, Any]:
    """Give the planes of the picture's volume, and how dense it is at the points of a cube."""
    import torch

    from blazen_triposr.field import density_grid
    from blazen_triposr.picture import centred, normalised, pixels_of

    pace = mock.Mock()
    with torch.inference_mode():
        pixels = normalised(centred(pixels_of(picture()), None), engine.settings.image_size)
        field = engine.field(pixels, pace)
        return field._planes.cpu().double(), density_grid(field, resolution, 1 << 16, pace)


async def _seconds(model: TripoSr, options: MeshOptions, device: str) -> dict[str, float]:
    rounds: list[dict[str, float]] = []
    whole: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await model.image_to_mesh(picture(), options)
        whole.append(time.perf_counter() - began)
        with _stages(device) as stages:
            await model.image_to_mesh(picture(), options)
        rounds.append(stages)
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    return {**medians, "whole_request": statistics.median(whole)}


@contextmanager
def _stages(device: str) -> Iterator[dict[str, float]]:
    """Time each stage; a GPU is waited for between them, as it is not in a common request."""
    from blazen_triposr.pace import Pace

    found: dict[str, float] = {}
    last: list[tuple[str, float]] = []
    begin, emit = Pace.begin, Pace.emit

    def stamp(stage: str) -> None:
        if device == "cuda":
            import torch

            torch.cuda.synchronize()
        now = time.perf_counter()
        if last:
            found[last[-1][0]] = now - last[-1][1]
        last.append((stage, now))

    def begun(self: Pace, stage: str, total: int) -> None:
        stamp(stage)
        begin(self, stage, total)

    def emitted(self: Pace, chunk: Any) -> None:
        if chunk.mesh is not None:
            stamp("mesh")
        emit(self, chunk)

    with mock.patch.object(Pace, "begin", begun), mock.patch.object(Pace, "emit", emitted):
        yield found


def differences(folder: Path, device: str) -> dict[str, float]:
    """Hold the volume of half precision to that of full precision, on the same weights."""
    import numpy as np

    planes, grids = zip(*(_volume(folder, dtype, device) for dtype in DTYPES), strict=True)
    half, full = (np.log(grid) for grid in grids)
    threshold = np.quantile(full, 1 - INSIDE)
    return {
        "planes_relative": float((planes[0] - planes[1]).norm() / planes[1].norm()),
        "log_density_relative_to_its_spread": float(np.abs(half - full).mean() / full.std()),
        "points_on_the_other_side_of_the_surface_percent": float(
            100 * ((half > threshold) != (full > threshold)).mean()
        ),
    }


def _volume(folder: Path, dtype: str, device: str) -> tuple[Any, Any]:
    async def made() -> tuple[Any, Any]:
        async with TripoSr(TripoSrOptions(folder, device=device, dtype=dtype)) as model:
            return await model._call(lambda engine, job: _grid(engine, 128))

    return asyncio.run(made())


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


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
