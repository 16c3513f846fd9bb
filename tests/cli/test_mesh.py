"""``blazen mesh`` on networks of chance weights: real steps, and a lump."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blazen import Image, Mesh
from tests.cli.making import alone, done, refused

pytestmark = pytest.mark.needs("triposr", "mesh", "images")
np = pytest.importorskip("numpy")
pytest.importorskip("torch")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from blazen.testing.tiny_triposr import save_tiny_triposr

    return save_tiny_triposr(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models = f'[models.tiny]\nspec = "triposr:{weights}"\nkind = "three_d"\n'
    place = alone(tmp_path, monkeypatch, models)
    pixels = np.full((64, 64, 3), 255, np.uint8)
    pixels[16:48, 16:48] = (200, 40, 40)
    Image.from_array(pixels).save(place / "cube.png")
    return place


SMALL = ("--resolution", "16", "-m", "tiny")


def test_a_mesh_of_each_suffix(here: Path) -> None:
    assert done("mesh", "cube.png", *SMALL).stdout == "cube.glb\n"
    mesh = Mesh.from_file(here / "cube.glb")
    assert len(mesh.faces) > 4
    assert (here / "cube.glb").read_bytes()[:4] == b"glTF"
    for suffix in ("obj", "stl", "ply"):
        name = f"out.{suffix}"
        about = json.loads(done("mesh", "cube.png", "-o", name, "--json", *SMALL).stdout)
        assert (about["file"], about["model"]) == (name, "tiny")
        assert about["faces"] == len(mesh.faces) == len(Mesh.from_file(here / name).faces)
        assert about["bounds"][0] == pytest.approx(mesh.bounds[0], abs=1e-3)
    finer = ("mesh", "cube.png", "-o", "fine.ply", "--json", "-r", "32", "-m", "tiny")
    assert json.loads(done(*finer).stdout)["faces"] > 2 * len(mesh.faces)


def test_what_is_wrong_is_said(here: Path) -> None:
    done("mesh", "cube.png", *SMALL)
    assert "'cube.glb' already: --force" in refused("mesh", "cube.png", *SMALL)
    done("mesh", "cube.png", "--force", *SMALL)
    assert "the suffix of a mesh" in refused("mesh", "cube.png", "-o", "a.fbx", *SMALL)
    assert "gone.png" in refused("mesh", "gone.png", *SMALL)
    assert "resolution" in refused("mesh", "cube.png", "-o", "b.glb", "-r", "1", "-m", "tiny")
    assert "texture=True" in refused(
        "mesh", "cube.png", "-o", "b.glb", "--texture-size", "64", *SMALL
    )
    (here / "broken.png").write_bytes(b"this is no picture")
    assert "picture" in refused("mesh", "broken.png", *SMALL) or not (here / "broken.glb").exists()
    assert not (here / "broken.glb").exists()
    assert "not for mesh" in refused(
        "mesh", "cube.png", "-o", "c.glb", "-m", "starter:chat", code=3
    )
