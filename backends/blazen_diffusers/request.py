"""A request, as the arguments that a pipeline takes."""

from __future__ import annotations

import inspect
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from blazen.errors import UnsupportedError, ValidationError
from blazen.types.generation import ImageOptions
from blazen.types.image_codec import on_white
from blazen_diffusers.engine import Engine
from blazen_diffusers.prompts import check_text, cut_off

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_SEEDS = 2**64
_DRAWN = 2**32
"""Seeds that we draw stay short enough to be written down."""
_NAMES = {
    "negative_prompt": "negative_prompt",
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "strength": "strength",
    "width": "width",
    "height": "height",
}
"""Our settings, and what pipelines call them."""


@dataclass(frozen=True)
class Request:
    """What to call, with what, and how to finish what comes of it."""

    pipeline: Any
    arguments: dict[str, Any]
    seeds: tuple[int, ...]
    scheduler: str | None
    warnings: tuple[str, ...]
    kept: tuple[PILImage, PILImage] | None = None
    """An image and the mask outside of which it must stay as it is."""


def read_request(engine: Engine, prompt: str, options: ImageOptions) -> Request:
    """Check a request against what the pipeline can do; what it can't is an `UnsupportedError`."""
    check_text("the prompt", prompt)
    if options.negative_prompt is not None:
        check_text("the negative prompt", options.negative_prompt)
    task = "mask" if options.mask is not None else "image" if options.image is not None else "text"
    pipeline = engine.pipeline(task)
    takes = engine.parameters(task)
    arguments: dict[str, Any] = {"prompt": prompt}
    sized = task != "text" and "strength" in takes
    for ours, theirs in _NAMES.items():
        value = getattr(options, ours)
        if value is None or (sized and ours in ("width", "height")):
            continue
        if theirs not in takes or (ours == "strength" and task == "text"):
            raise UnsupportedError(
                f"{engine.name} takes no {ours} here: "
                + (
                    "it is for an image to start from"
                    if ours == "strength" and task == "text"
                    else f"{type(pipeline).__name__} has no such setting"
                )
            )
        arguments[theirs] = value
    cautions = _unguided(engine, takes, pipeline, arguments)
    kept = _place_images(pipeline, takes, arguments, options) if task != "text" else None
    for name in ("width", "height"):
        _check_side(name, arguments.get(name), _multiple(pipeline))
    if sized:
        _check_steps(pipeline, arguments)
    cautions += cut_off(pipeline, "the prompt", prompt)
    cautions += cut_off(pipeline, "the negative prompt", options.negative_prompt)
    return Request(
        pipeline,
        arguments,
        draw_seeds(options.seed, options.count),
        options.scheduler or engine.scheduler,
        tuple(cautions),
        kept,
    )


def draw_seeds(seed: int | None, count: int) -> tuple[int, ...]:
    """Give each image its seed: those after the one that is asked for, or any."""
    if seed is None:
        first = secrets.randbelow(_DRAWN)
        return tuple((first + number) % _DRAWN for number in range(count))
    if seed >= _SEEDS:
        raise ValidationError(f"seed must be below 2**64, not {seed}")
    return tuple((seed + number) % _SEEDS for number in range(count))


def _unguided(
    engine: Engine, takes: frozenset[str], pipeline: Any, arguments: dict[str, Any]
) -> list[str]:
    """Say where a negative prompt has no effect: pipelines pass over it in silence."""
    if not arguments.get("negative_prompt"):
        return []
    name = "true_cfg_scale" if "true_cfg_scale" in takes else "guidance_scale"
    known = inspect.signature(type(pipeline).__call__).parameters
    scale = arguments.get(name, known[name].default if name in known else None)
    if not isinstance(scale, (int, float)) or scale > 1:
        return []
    if name != "guidance_scale":
        raise UnsupportedError(
            f"{engine.name} takes no negative_prompt: {type(pipeline).__name__} is guided without"
        )
    return [f"the negative prompt plays no part: guidance is {scale:g}, and must be above 1"]


def _place_images(
    pipeline: Any, takes: frozenset[str], arguments: dict[str, Any], options: ImageOptions
) -> tuple[PILImage, PILImage] | None:
    image = on_white(options.image.to_pil())
    given = image.size
    if options.mask is not None:
        _check_unscaled(given, options, _multiple(pipeline))
    if "strength" in takes:
        image = image.resize(_size(pipeline, given, options))
        if {"width", "height"} <= takes:
            arguments["width"], arguments["height"] = image.size
    arguments["image"] = image
    if options.mask is None:
        return None
    mask = options.mask.to_pil().convert("L")
    if mask.size != given:
        raise ValidationError(
            f"the mask must be as large as the image, {given[0]}×{given[1]}, not "
            f"{mask.width}×{mask.height}"
        )
    arguments["mask_image"] = mask
    return image, mask


def _size(pipeline: Any, given: tuple[int, int], options: ImageOptions) -> tuple[int, int]:
    """Give the size to work in: as asked for, else that of the image."""
    multiple = _multiple(pipeline)
    _check_side("width", options.width, multiple)
    _check_side("height", options.height, multiple)
    size = options.width or given[0], options.height or given[1]
    if size[0] % multiple or size[1] % multiple:
        raise ValidationError(
            f"{_unfit(given, multiple)}, or give width= and height= to have it scaled"
        )
    return size


def _check_unscaled(given: tuple[int, int], options: ImageOptions, multiple: int) -> None:
    """Refuse what would be scaled: outside the mask not a pixel may change."""
    if given[0] % multiple or given[1] % multiple:
        raise ValidationError(f"{_unfit(given, multiple)}, and the mask with it")
    asked = options.width or given[0], options.height or given[1]
    if asked != given:
        raise ValidationError(
            f"with a mask the image keeps its size, {given[0]}×{given[1]}, and can't become "
            f"{asked[0]}×{asked[1]}: leave width and height out"
        )


def _unfit(given: tuple[int, int], multiple: int) -> str:
    down, up = (
        [max(multiple, side // multiple * multiple) for side in given],
        [-(-side // multiple) * multiple for side in given],
    )
    sizes = [f"{width}×{height}" for width, height in ([up] if up == down else [down, up])]
    return (
        f"an image of {given[0]}×{given[1]} does not fit this model, whose sides are multiples of "
        f"{multiple}: scale or crop it to {' or '.join(sizes)}"
    )


def _multiple(pipeline: Any) -> int:
    scale = getattr(pipeline, "vae_scale_factor", 8)
    scale = scale if isinstance(scale, int) else 8
    # Transformers that pack four latents into one see pairs.
    return max(8, scale * (2 if hasattr(pipeline, "_pack_latents") else 1))


def _check_side(name: str, value: int | None, multiple: int) -> None:
    if value is not None and value % multiple:
        near = max(multiple, round(value / multiple) * multiple)
        raise ValidationError(
            f"{name} must be a multiple of {multiple} for this model, not {value}: such as {near}"
        )


def _check_steps(pipeline: Any, arguments: dict[str, Any]) -> None:
    """Refuse a strength at which no step is left: what comes out would be no image."""
    known = inspect.signature(type(pipeline).__call__).parameters
    steps, strength = (
        arguments.get(name, known[name].default) for name in ("num_inference_steps", "strength")
    )
    if isinstance(steps, int) and isinstance(strength, (int, float)) and steps * strength < 1:
        raise ValidationError(
            f"strength {strength} of {steps} steps leaves none: give more of either"
        )
