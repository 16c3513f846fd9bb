"""The example that goes from a prompt to an image to a mesh, on the small models that it builds."""

from __future__ import annotations

import importlib.util
import sys

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("accelerate")
pytest.importorskip("skimage")

from blazen import Image, ImageGeneration, ImageOptions, Mesh, ThreeD
from blazen.testing.tiny_diffusion import save_tiny_pipeline
from blazen.testing.tiny_triposr import save_tiny_triposr
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location(
        "prompt_to_mesh", ROOT / "examples" / "prompt_to_mesh.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["prompt_to_mesh"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["prompt_to_mesh"]


async def test_a_prompt_becomes_a_mesh_without_a_network(example, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    await example.main(["a red armchair", "--folder", str(tmp_path)])
    told = capsys.readouterr().out
    assert "The image and the mesh model have random weights" in told
    assert "image: step 8 of 8" in told
    assert told.index("mesh: encode") < told.index("mesh: query") < told.index("mesh: surface")
    assert Image.from_file(tmp_path / "picture.png").size == (64, 64)
    mesh = Mesh.from_file(tmp_path / "mesh.glb")
    assert len(mesh.faces) > 100
    assert mesh.vertex_colors is not None
    # Another prompt leads to another picture, and that one to another shape.
    other = tmp_path / "new" / "other"
    await example.main(["a blue boat", "--folder", str(other)])
    assert Mesh.from_file(other / "mesh.glb") != mesh


@pytest.mark.parametrize("which", ["--image-model", "--mesh-model"])
async def test_a_wrong_name_ends_in_one_line(example, tmp_path, which):
    with pytest.raises(SystemExit, match=r"there is no .*nowhere") as end:
        await example.main([which, str(tmp_path / "nowhere"), "--folder", str(tmp_path)])
    assert "\n" not in str(end.value)


async def test_a_folder_that_can_not_be_made_ends_in_one_line(example, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit):
        await example.main(["--folder", str(tmp_path / "file" / "x")])
    assert "--folder can't be made" in capsys.readouterr().err


async def test_one_model_is_gone_before_the_next_comes(example, tmp_path, monkeypatch):
    seen = []

    async def draw(model, prompt, options):
        seen.append(("draw", painter.is_loaded, mesher.is_loaded))
        return Image.from_array([[(1.0, 0.0, 0.0)]])

    async def shape(model, image, options):
        seen.append(("shape", painter.is_loaded, mesher.is_loaded))
        return Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])

    monkeypatch.setattr(example, "draw", draw)
    monkeypatch.setattr(example, "shape", shape)
    painter = ImageGeneration.diffusers(save_tiny_pipeline(tmp_path / "image"))
    mesher = ThreeD.triposr(save_tiny_triposr(tmp_path / "mesh"))
    await example.make(painter, mesher, "a boat", tmp_path, small=True)
    assert seen == [("draw", True, False), ("shape", False, True)]


async def test_what_a_safety_checker_withholds_becomes_no_mesh(example, tmp_path):
    painter = ImageGeneration.diffusers(save_tiny_pipeline(tmp_path / "checked", flags=True))
    async with painter:
        with pytest.raises(SystemExit, match="withheld"):
            await example.draw(painter, "a boat", ImageOptions(width=64, height=64, steps=2))
