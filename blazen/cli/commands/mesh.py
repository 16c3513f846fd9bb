"""``blazen mesh``: the object that a picture shows, as triangles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from blazen.cli.engine import Engine, engine_options_without
from blazen.cli.making import READABLE, WRITABLE, force_option, opened, output_file
from blazen.cli.options import Places, catalog_options, json_option
from blazen.cli.output import emit, emit_json
from blazen.cli.progress import progress
from blazen.cli.running import run_async

FORMATS = ("glb", "obj", "stl", "ply")


@click.command(short_help="Make a 3D mesh from an image.")
@click.argument("picture", type=READABLE, metavar="PICTURE")
@click.option("-m", "--model", metavar="NAME", help="The model; else the default.")
@click.option(
    "-o",
    "--output",
    type=WRITABLE,
    metavar="FILE",
    help="Write .glb, .obj, .stl or .ply; else a .glb beside you, of the picture's name.",
)
@click.option("-r", "--resolution", type=int, metavar="N", help="How fine: cells along each side.")
@click.option("--remove-background", is_flag=True, help="Cut the object out of the picture first.")
@click.option(
    "--foreground", type=float, metavar="X", help="How much of it the object should fill."
)
@click.option("--threshold", type=float, metavar="X", help="How dense it is at the surface.")
@click.option("--texture", is_flag=True, help="Bake colours into a texture, not the vertices.")
@click.option("--texture-size", type=int, metavar="N", help="Pixels along each side of it.")
@click.option("--chunk-size", type=int, metavar="N", help="Points at once: fewer take less memory.")
@force_option
@json_option
@engine_options_without("--ctx", "--context", "--ubatch", "-o")
@catalog_options
def command(
    picture: Path,
    model: str | None,
    output: Path | None,
    resolution: int | None,
    remove_background: bool,
    foreground: float | None,
    threshold: float | None,
    texture: bool,
    texture_size: int | None,
    chunk_size: int | None,
    force: bool,
    as_json: bool,
    engine: Engine,
    places: Places,
) -> None:
    """Make a 3D mesh of the object that a picture shows, and print the name of its file.

    \b
    blazen mesh chair.png
    blazen mesh chair.png -o chair.stl --resolution 256 --remove-background
    """
    from blazen.types.generation import MeshOptions
    from blazen.types.image import Image

    options = MeshOptions(
        resolution=resolution,
        remove_background=remove_background,
        foreground_ratio=foreground,
        threshold=threshold,
        texture=texture,
        texture_size=texture_size,
        chunk_size=chunk_size,
    )
    file = output_file(
        Path(f"{picture.stem}.glb") if output is None else output,
        FORMATS,
        what="a mesh",
        force=force,
    )
    image = Image.from_file(picture)

    async def work() -> tuple[Any, str]:
        async with opened(places, engine, model, "three_d") as (opened_model, listing):
            return await _make(opened_model, image, options), listing.name

    mesh, name = run_async(work())
    mesh.save(file)
    if as_json:
        counts = {"vertices": len(mesh.vertices), "faces": len(mesh.faces)}
        emit_json({"file": str(file), "model": name, **counts, "bounds": mesh.bounds})
        return
    emit(str(file))


async def _make(model: Any, image: Any, options: Any) -> Any:
    from blazen.types.progress import Progress

    stream = model.image_to_mesh_stream(image, options)
    with progress() as report:
        async with stream:
            async for piece in stream:
                report(Progress(piece.stage, piece.done, piece.total, unit="steps"))
    return stream.response
