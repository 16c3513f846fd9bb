"""Making the images of a request, step by step."""

from __future__ import annotations

import inspect
import traceback
from typing import Any

from blazen import torch as blazen_torch
from blazen.bridge import StreamJob
from blazen.errors import BudgetError, InferenceError, UnsupportedError, ValidationError
from blazen.types.generation import ImageChunk, ImageOptions
from blazen.types.image import Image
from blazen_diffusers.engine import Engine, log
from blazen_diffusers.quiet import hushed
from blazen_diffusers.request import Request, read_request
from blazen_diffusers.schedulers import fresh_scheduler

_ROOM = 0.25
"""The share of a GPU's memory that should be free for others between two requests."""


@hushed()
def draw(
    engine: Engine,
    job: StreamJob[ImageChunk],
    prompt: str,
    options: ImageOptions,
    with_previews: bool,
) -> None:
    """Emit each step, and at last the images."""
    try:
        _draw(engine, job, read_request(engine, prompt, options), with_previews)
    finally:
        if engine.device.type == "cuda":
            _give_back(engine.device)


def _give_back(device: Any) -> None:
    """Give back what torch keeps for later, where other engines may soon miss it.

    Where there is room it stays: to give it back and have it again takes time.
    """
    import torch

    free, total = torch.cuda.mem_get_info(device)
    if free < total * _ROOM:
        torch.cuda.empty_cache()


def _draw(
    engine: Engine, job: StreamJob[ImageChunk], request: Request, with_previews: bool
) -> None:
    if engine.previews is not None:
        engine.previews.forget()
    steps = _Steps(engine, job, request, with_previews=with_previews)
    images: list[Image] = []
    flagged: list[bool] = []
    cautions = list(request.warnings)
    for first in range(0, len(request.seeds), engine.batch_size):
        seeds = request.seeds[first : first + engine.batch_size]
        try:
            pixels, withheld = _call(engine, job, request, seeds, steps)
        except _Stopped:
            return
        flagged += withheld
        for place, (seed, one) in enumerate(zip(seeds, pixels, strict=True)):
            hidden = bool(withheld) and withheld[place]
            images.append(_finished(one, seed, request, hidden=hidden, cautions=cautions))
    for caution in cautions:
        log.warning("%s: %s", engine.name, caution)
    job.emit(
        ImageChunk(
            steps.total,
            steps.total,
            None,
            tuple(images),
            request.seeds,
            tuple(flagged),
            tuple(cautions),
        )
    )


class _Stopped(Exception):
    """Raised inside a pipeline, which has no other way to be left that gives no image."""


class _Steps:
    """Counts the steps of all batches, tells of each, and stops when the caller has gone."""

    def __init__(
        self, engine: Engine, job: StreamJob[ImageChunk], request: Request, *, with_previews: bool
    ) -> None:
        self._engine = engine
        self._job = job
        self._pipeline = request.pipeline
        self._with_previews = with_previews
        self._batches = -(-len(request.seeds) // engine.batch_size)
        self.done = 0
        self.total = 1

    def arguments(self) -> dict[str, Any]:
        """Give the arguments by which this kind of pipeline tells of its steps."""
        takes = inspect.signature(type(self._pipeline).__call__).parameters
        if "callback_on_step_end" in takes:
            return {"callback_on_step_end": self._at_end}
        if "callback" in takes and "callback_steps" in takes:
            return {"callback": self._at_end_of_old, "callback_steps": 1}
        return {}

    def check(self) -> None:
        """Stop here if the caller has gone."""
        if self._job.cancelled:
            raise _Stopped

    def _at_end(self, pipeline: Any, step: int, timestep: Any, values: dict[str, Any]) -> Any:
        self._count(values.get("latents"))
        return values

    def _at_end_of_old(self, step: int, timestep: Any, latents: Any) -> None:
        self._count(latents)

    def _count(self, latents: Any) -> None:
        self.check()
        if self.done == 0:
            self.total = self._of_one_batch() * self._batches
        self.done = min(self.done + 1, self.total)
        preview = None
        previews = self._engine.previews if self._with_previews else None
        if previews is not None and latents is not None:
            preview = previews.of(latents)
        if not self._job.emit(ImageChunk(self.done, self.total, preview)):
            raise _Stopped

    def _of_one_batch(self) -> int:
        count = getattr(self._pipeline, "num_timesteps", None)
        if not isinstance(count, int):
            count = len(self._pipeline.scheduler.timesteps)
        return max(1, count)


def _call(
    engine: Engine,
    job: StreamJob[ImageChunk],
    request: Request,
    seeds: tuple[int, ...],
    steps: _Steps,
) -> tuple[Any, list[bool]]:
    """Make one batch: its images from 0 to 1, and which of them the checker withheld."""
    import torch

    steps.check()
    pipeline = request.pipeline
    if engine.scheduler_model is not None:
        pipeline.scheduler = fresh_scheduler(engine.scheduler_model, request.scheduler)
    elif request.scheduler is not None:
        raise UnsupportedError(f"{engine.name} has no scheduler that could be another")
    # On the CPU, and one for each image: so a seed means the same on any device, in any company.
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    arguments = {**request.arguments, **steps.arguments()}
    if len(seeds) > 1:
        arguments["num_images_per_prompt"] = len(seeds)
    try:
        answer = pipeline(
            **arguments,
            generator=generators if len(seeds) > 1 else generators[0],
            output_type="pt",
        )
    except _Stopped:
        engine.settle(pipeline)
        raise
    except Exception as error:
        # Whoever keeps the error would keep all that its frames hold: gigabytes of a GPU.
        traceback.clear_frames(error.__traceback__)
        engine.settle(pipeline)
        raise _explained(error, engine, request, begun=steps.done > 0) from error
    steps.check()
    images = getattr(answer, "images", None)
    if images is None:
        raise UnsupportedError(f"{engine.name} ({type(pipeline).__name__}) makes no images")
    told = getattr(answer, "nsfw_content_detected", None) or getattr(answer, "nsfw_detected", None)
    return images, [bool(one) for one in told or ()]


def _explained(error: Exception, engine: Engine, request: Request, *, begun: bool) -> Exception:
    if blazen_torch.is_out_of_memory(error):
        return BudgetError(
            f"{engine.name} ran out of memory on {engine.device}: ask for smaller images or fewer "
            "at once, or load it with memory_budget= so that it saves some"
        )
    if isinstance(error, (ValueError, TypeError)) and not begun:
        return ValidationError(f"{engine.name} refuses this request: {error}")
    return InferenceError(f"{engine.name}: {type(error).__name__}: {error}")


def _finished(
    pixels: Any, seed: int, request: Request, *, hidden: bool, cautions: list[str]
) -> Image:
    # Where the pixels are: a GPU has done this before a processor has read them all.
    pixels = pixels.float()
    levels = (pixels * 255).round().byte().permute(1, 2, 0)
    if not pixels.isfinite().all():
        raise InferenceError(
            f"the image of seed {seed} came out as NaN: the model's numbers overflow in its number "
            "type; load it with dtype='bfloat16' or 'float32', or with vae_dtype='float32'"
        )
    if not hidden and not levels.any():
        cautions.append(
            f"the image of seed {seed} is all black, and no safety checker said that it withheld it"
        )
    array = levels.contiguous().cpu().numpy()
    if request.kept is None or hidden:
        return Image.from_array(array)
    return _within_mask(array, request.kept, cautions)


def _within_mask(array: Any, kept: tuple[Any, Any], cautions: list[str]) -> Image:
    """Put back what lies outside the mask: encoding and decoding has changed it a little."""
    from PIL import Image as Pillow

    image, mask = kept
    made = Pillow.fromarray(array)
    if made.size != image.size:
        cautions.append(
            f"the pipeline made {made.width}×{made.height} of an image of {image.width}×"
            f"{image.height}: what lies outside the mask is not exactly as it was"
        )
        return Image.from_pil(made)
    return Image.from_pil(Pillow.composite(made, image, mask))
