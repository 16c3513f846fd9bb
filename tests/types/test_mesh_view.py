"""How a mesh shows itself in a notebook."""

from __future__ import annotations

import base64

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("PIL")
pytest.importorskip("trimesh")

import trimesh  # noqa: E402

from blazen import Image, Mesh  # noqa: E402
from blazen.errors import MissingExtraError  # noqa: E402
from blazen.types import mesh_view  # noqa: E402


def ball(**looks):
    found = trimesh.creation.icosphere(3)
    return Mesh(found.vertices, found.faces, **looks)


def halves(mesh):
    pixels = mesh_view.picture_of(mesh).to_array().astype(int)
    return pixels[:, :256], pixels[:, 256:]


def shown(pixels):
    """Give the colour, as parts of its sum, of what is not transparent."""
    seen = pixels[pixels[..., 3] == 255][:, :3]
    return (seen / seen.sum(1, keepdims=True)).mean(0)


def test_a_notebook_shows_a_mesh_as_a_picture():
    bundle = ball()._repr_mimebundle_(include=None, exclude=None)
    assert bundle["text/plain"] == "Mesh(642 vertices, 1,280 faces)"
    picture = Image.from_bytes(base64.b64decode(bundle["image/png"]))
    assert picture.size == (512, 256)


def test_a_ball_is_a_disc_without_holes():
    for pixels in halves(ball()):
        opaque = pixels[..., 3] == 255
        y, x = np.nonzero(opaque)
        # A ball fills its cube's diagonal by one part in the square root of three.
        radius = 0.92 * 256 / 3**0.5 / 2
        assert abs(x.mean() - 127.5) < 1
        assert abs(y.mean() - 127.5) < 1
        assert opaque.sum() == pytest.approx(np.pi * radius**2, rel=0.05)
        inside = np.hypot(*(np.indices(opaque.shape) - 127.5)) < radius - 4
        assert opaque[inside].mean() > 0.999
        assert not opaque[0].any()


def test_a_fine_mesh_is_drawn_in_part_and_without_holes(monkeypatch):
    drawn = []
    view = mesh_view._view

    def counted(mesh, faces, corners, fine):
        drawn.append(len(faces))
        return view(mesh, faces, corners, fine)

    monkeypatch.setattr(mesh_view, "_view", counted)
    monkeypatch.setattr(mesh_view, "_MANY", 30_000)
    found = trimesh.creation.icosphere(6)  # 81,920 triangles, and beside them two that are large
    vertices = np.concatenate([found.vertices, [[3, -1, 0], [5, -1, 0], [5, 1, 0], [3, 1, 0]]])
    at = len(found.vertices)
    faces = np.concatenate([found.faces, [[at, at + 1, at + 2], [at, at + 2, at + 3]]])
    colors = np.full((len(vertices), 3), (200, 20, 20), np.uint8)
    pixels = halves(Mesh(vertices, faces, vertex_colors=colors))[0]
    assert drawn[0] == drawn[1] < 30_000
    assert shown(pixels)[0] > 0.8
    monkeypatch.setattr(mesh_view, "_MANY", 1_000_000)
    whole = halves(Mesh(vertices, faces, vertex_colors=colors))[0]
    assert drawn[2] == len(faces)
    inside = whole[..., 3] == 255
    assert (pixels[inside][:, 3] == 255).mean() > 0.98


def test_it_is_lit_and_has_its_colours():
    grey = halves(ball())[0]
    light = grey[grey[..., 3] == 255][:, 0]
    assert light.max() > 170
    assert light.min() < 110
    corners = ball().vertices
    # Red in front, where the viewer of the picture was, and blue behind.
    colors = np.where(corners[:, 2:] > 0, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    front, back = halves(ball(vertex_colors=colors))
    assert shown(front)[0] > 0.6
    assert shown(back)[2] > 0.6


def test_up_is_up():
    corners = ball().vertices
    colors = np.where(corners[:, 1:2] > 0, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    for pixels in halves(ball(vertex_colors=colors)):
        assert shown(pixels[:100])[0] > 0.9
        assert shown(pixels[156:])[2] > 0.9


def test_what_is_nearer_hides_what_is_behind():
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    depth = np.array([0, 0, 0.5])
    both = np.concatenate([square + depth, square - depth])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    colors = np.repeat([(1.0, 0, 0), (0, 0, 1.0)], 4, axis=0)
    mesh = Mesh(both, np.concatenate([faces, faces + 4]), vertex_colors=colors)
    front, back = halves(mesh)
    assert tuple(front[128, 128, :3] > 60) == (True, False, False)
    assert tuple(back[128, 128, :3] > 60) == (False, False, True)


def test_a_texture_lies_where_its_places_are():
    square = [[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]
    texture = Image.from_array(np.array([[(255, 0, 0)] * 2, [(0, 0, 255)] * 2], np.uint8))
    mesh = Mesh(
        square, [[0, 1, 2], [0, 2, 3]], uv=[[0, 0], [1, 0], [1, 1], [0, 1]], texture=texture
    )
    front = halves(mesh)[0]
    assert shown(front[:110])[0] > 0.9  # the picture's upper row is red
    assert shown(front[146:])[2] > 0.9


@pytest.mark.parametrize("corners", [[[0, 0, 0]] * 3, [[1e30, 0, 0], [-1e30, 0, 0], [0, 1e30, 0]]])
def test_odd_meshes_can_be_looked_at(corners):
    assert mesh_view.picture_of(Mesh(corners, [[0, 1, 2]])).size == (512, 256)


def test_without_pillow_its_text_is_shown(monkeypatch):
    def missing(mesh):
        raise MissingExtraError("no Pillow")

    monkeypatch.setattr(mesh_view, "picture_of", missing)
    assert ball()._repr_mimebundle_() == {"text/plain": "Mesh(642 vertices, 1,280 faces)"}
