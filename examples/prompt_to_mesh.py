"""From a prompt to an image to a mesh.

    python examples/prompt_to_mesh.py "a red armchair"
    python examples/prompt_to_mesh.py "a red armchair" --image-model org/name --mesh-model org/name

Without names of models it builds two tiny ones with random weights, and needs no network: what they
make means nothing, and shows that all parts work together.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from blazen import BlazenError, Image, ImageGeneration, ImageOptions, Mesh, MeshOptions, ThreeD
from blazen.protocols.image import LocalImageGeneration
from blazen.protocols.three_d import LocalThreeD

PROMPT = "a red armchair on a plain grey ground"


async def draw(painter: ImageGeneration, prompt: str, options: ImageOptions) -> Image:
    """Make an image, telling each step."""
    stream = painter.generate_stream(prompt, options)
    async for chunk in stream:
        print(f"\rimage: step {chunk.step} of {chunk.steps}", end="", flush=True)
    print()
    answer = stream.response
    for warning in answer.warnings:
        print(f"note: {warning}")
    if any(answer.flagged):
        raise SystemExit("the model's safety checker withheld the image")
    return answer.images[0]


async def shape(mesher: ThreeD, image: Image, options: MeshOptions) -> Mesh:
    """Make a mesh of an image, telling each stage."""
    stream = mesher.image_to_mesh_stream(image, options)
    stage = ""
    async for chunk in stream:
        if chunk.stage != stage:
            stage = chunk.stage
            print(f"mesh: {stage}")
    return stream.response


async def make(
    painter: LocalImageGeneration, mesher: LocalThreeD, prompt: str, folder: Path, *, small: bool
) -> tuple[Path, Path]:
    """Make both, and write them into a folder; one model is unloaded before the next is loaded."""
    size = {"width": 64, "height": 64, "steps": 8} if small else {}
    async with painter:
        image = await draw(painter, prompt, ImageOptions.of({"seed": 7, **size}))
    picture = image.save(folder / "picture.png")
    async with mesher:
        mesh = await shape(mesher, image, MeshOptions(resolution=32 if small else 256))
    return picture, mesh.save(folder / "mesh.glb")


async def main(arguments: list[str] | None = None) -> None:
    """Read what is asked for, and make it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("prompt", nargs="?", default=PROMPT)
    parser.add_argument("--image-model", help="a pipeline of diffusers: a folder or a hub id")
    parser.add_argument("--mesh-model", help="a TripoSR: a folder or a hub id")
    parser.add_argument("--folder", type=Path, default=Path(), help="where to write")
    asked = parser.parse_args(arguments)
    try:
        asked.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--folder can't be made: {error}")
    with tempfile.TemporaryDirectory() as place:
        image_model, mesh_model = asked.image_model, asked.mesh_model
        random = [w for w, m in (("image", image_model), ("mesh", mesh_model)) if m is None]
        if random:
            print(
                f"The {' and the '.join(random)} model have random weights: "
                "what they make means nothing."
            )
        if image_model is None:
            from blazen.testing.tiny_diffusion import save_tiny_pipeline

            image_model = save_tiny_pipeline(Path(place) / "image")
        if mesh_model is None:
            from blazen.testing.tiny_triposr import save_tiny_triposr

            mesh_model = save_tiny_triposr(Path(place) / "mesh")
        painter, mesher = ImageGeneration.diffusers(image_model), ThreeD.triposr(mesh_model)
        small = asked.image_model is None
        try:
            made = await make(painter, mesher, asked.prompt, asked.folder, small=small)
        except BlazenError as error:
            raise SystemExit(str(error)) from error
    print("wrote", *made)


if __name__ == "__main__":
    asyncio.run(main())
