"""Twenty steps of one image, by blazen and by diffusers alone, and how late the loop comes."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.loop_lag import lag_during
from blazen import ImageOptions
from blazen.hardware import thread_budget
from blazen.options.diffusers import DiffusersOptions
from blazen.testing.tiny_diffusion import save_tiny_pipeline
from blazen_diffusers import DiffusersImages

STEPS = 20
PROMPT = "a lighthouse in a storm"


def run(rounds: int = 9, side: int = 64, widths: tuple[int, int] = (32, 64)) -> dict[str, Any]:
    """On the CPU, with random weights."""
    with tempfile.TemporaryDirectory() as place:
        folder = save_tiny_pipeline(Path(place) / "pipeline", widths=widths)
        return asyncio.run(in_turns(folder, side=side, rounds=rounds))


async def in_turns(
    folder: Path,
    *,
    side: int,
    rounds: int,
    device: str = "cpu",
    dtype: str = "float32",
    vae_dtype: str = "auto",
) -> dict[str, Any]:
    """Take turns, so that what else the machine does hits both alike."""
    import numpy as np
    import torch
    from diffusers import DiffusionPipeline

    threads = thread_budget(None)
    raw: Any = DiffusionPipeline.from_pretrained(
        folder, local_files_only=True, dtype=getattr(torch, dtype)
    )
    raw.to(device)
    raw.set_progress_bar_config(disable=True)

    def draw_raw() -> Any:
        torch.set_num_threads(threads)
        answer = raw(
            PROMPT,
            width=side,
            height=side,
            num_inference_steps=STEPS,
            generator=torch.Generator("cpu").manual_seed(7),
        )
        return answer.images[0]

    asked = ImageOptions(width=side, height=side, steps=STEPS, seed=7)
    options = DiffusersOptions(
        folder, device=device, dtype=dtype, vae_dtype=vae_dtype, threads=threads
    )
    times: dict[str, list[float]] = {"raw": [], "blazen": [], "blazen_with_previews": []}
    lags: list[dict[str, float]] = []
    async with DiffusersImages(options) as model:
        for number in range(rounds + 1):
            # Whoever begins changes each time; the first round warms both up.
            for who in ("raw", "blazen") if number % 2 else ("blazen", "raw"):
                began = time.perf_counter()
                if who == "raw":
                    drawn = await asyncio.to_thread(draw_raw)
                else:
                    answer = await model.generate(PROMPT, asked)
                if number:
                    times[who].append(time.perf_counter() - began)
            began = time.perf_counter()
            lag = await lag_during(_all_of(model.generate_stream(PROMPT, asked)))
            if number:
                times["blazen_with_previews"].append(time.perf_counter() - began)
                lags.append(lag)
    rates = {name: STEPS / statistics.median(taken) for name, taken in times.items()}
    made, theirs = answer.images[0].to_array().astype(int), np.asarray(drawn).astype(int)
    return {
        "steps_per_second": rates,
        "ratio_blazen_to_raw": rates["blazen"] / rates["raw"],
        "ratio_with_previews_to_raw": rates["blazen_with_previews"] / rates["raw"],
        "loop_lag_median_of_rounds": {
            name: statistics.median(lag[name] for lag in lags) for name in lags[0]
        },
        "largest_difference_of_the_images": int(abs(made - theirs).max()),
        "device": device,
        "dtype": dtype,
        "side": side,
        "steps": STEPS,
        "threads": threads,
    }


async def _all_of(stream: Any) -> None:
    async for _ in stream:
        pass
