"""``blazen image``: pictures of what words say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from blazen.cli.engine import Engine, engine_options_without
from blazen.cli.making import (
    READABLE,
    WRITABLE,
    force_option,
    free_name,
    opened,
    output_file,
)
from blazen.cli.options import Places, catalog_options, json_option
from blazen.cli.output import emit, emit_json, say
from blazen.cli.progress import progress
from blazen.cli.running import run_async
from blazen.errors import ValidationError

FORMATS = ("png", "jpg", "jpeg", "webp")


@click.command(short_help="Make an image from words.")
@click.argument("words", nargs=-1, metavar="[PROMPT]...")
@click.option("-m", "--model", metavar="NAME", help="The model; else the default.")
@click.option(
    "-o",
    "--output",
    type=WRITABLE,
    metavar="FILE",
    help="Write .png, .jpg or .webp; of several each gets its number. Else image-1.png and so on.",
)
@click.option("-s", "--size", metavar="WxH", help="Such as 512x512; one number is a square.")
@click.option("--steps", type=int, metavar="N", help="How often the image is refined.")
@click.option("--seed", type=int, metavar="N", help="The same seed makes the same image again.")
@click.option("-n", "--count", type=int, default=1, metavar="N", help="How many images.")
@click.option("--negative", metavar="TEXT", help="What the image is not to show.")
@click.option("--guidance", type=float, metavar="X", help="How closely to follow the prompt.")
@click.option("--scheduler", metavar="NAME", help="How the noise is taken away.")
@click.option("--image", type=READABLE, metavar="FILE", help="Begin with this picture, not noise.")
@click.option("--mask", type=READABLE, metavar="FILE", help="Paint only where this is white.")
@click.option(
    "--strength", type=float, metavar="X", help="How far from --image to go, from 0 to 1."
)
@force_option
@json_option
@engine_options_without("--ctx", "--context", "--ubatch", "-o")
@catalog_options
def command(
    words: tuple[str, ...],
    model: str | None,
    output: Path | None,
    size: str | None,
    steps: int | None,
    seed: int | None,
    count: int,
    negative: str | None,
    guidance: float | None,
    scheduler: str | None,
    image: Path | None,
    mask: Path | None,
    strength: float | None,
    force: bool,
    as_json: bool,
    engine: Engine,
    places: Places,
) -> None:
    """Make images of what a prompt says, and print the names of their files.

    \b
    blazen image "a lighthouse in a storm, oil painting" -o lighthouse.png
    blazen image "the same in winter" --image lighthouse.png --strength 0.6
    """
    from blazen.cli.prompts import whole_prompt
    from blazen.types.generation import ImageOptions, as_prompt

    width, height = (None, None) if size is None else read_size(size)
    options = ImageOptions(
        negative_prompt=negative,
        width=width,
        height=height,
        steps=steps,
        guidance=guidance,
        seed=seed,
        count=count,
        image=None if image is None else str(image),
        mask=None if mask is None else str(mask),
        strength=strength,
        scheduler=scheduler,
    )
    files = _files(output, count, force)
    prompt = as_prompt(whole_prompt(words, ()))

    async def work() -> tuple[Any, str]:
        async with opened(places, engine, model, "image") as (opened_model, listing):
            return await _make(opened_model, prompt, options), listing.name

    made, name = run_async(work())
    for warning in made.warnings:
        say(f"note: {warning}")
    for picture, file in zip(made.images, files, strict=True):
        picture.save(file)
    if as_json:
        flagged = made.flagged or [False] * count
        rows = [
            {"file": str(file), "seed": seed, "width": p.width, "height": p.height, "flagged": bad}
            for file, seed, p, bad in zip(files, made.seeds, made.images, flagged, strict=True)
        ]
        emit_json({"model": name, "images": rows})
        return
    for file in files:
        emit(str(file))


async def _make(model: Any, prompt: str, options: Any) -> Any:
    from blazen.types.progress import Progress

    stream = model.generate_stream(prompt, options)
    with progress() as report:
        async with stream:
            async for piece in stream:
                report(Progress("paint", piece.step, piece.steps, unit="steps"))
    return stream.response


def read_size(text: str) -> tuple[int, int]:
    """Read ``512x384``, or one number for a square."""
    found = re.fullmatch(r"\s*(\d{1,6})(?:\s*[xX×*]\s*(\d{1,6}))?\s*", text)
    if found is None:
        raise ValidationError(f"a size is written as 512x512, not {text!r}")
    width = int(found[1])
    return width, int(found[2] or width)


def _files(output: Path | None, count: int, force: bool) -> list[Path]:
    """Say where each image goes."""
    if output is None:
        free: list[Path] = []
        for _ in range(count):
            free.append(free_name("image", ".png", tuple(free)))
        return free
    names = [output]
    if count > 1:
        stems = (f"{output.stem}-{number}" for number in range(1, count + 1))
        names = [output.with_name(stem + output.suffix) for stem in stems]
    return [output_file(name, FORMATS, what="an image", force=force) for name in names]
