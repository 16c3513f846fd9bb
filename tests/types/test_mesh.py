"""Meshes: checked when made, and the same after every file format."""

from __future__ import annotations

import json
import pickle
import sys

import pytest

from blazen.errors import MissingExtraError, ValidationError
from blazen.types.image import Image
from blazen.types.mesh import Mesh
from blazen.types.record import decode, encode

np = pytest.importorskip("numpy")
trimesh = pytest.importorskip("trimesh")

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
SIDES = [
    *[[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]],
    *[[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]],
]
FORMATS = ["glb", "obj", "ply"]


def random(*shape):
    return np.random.default_rng(7).random(shape)


def colors(columns=4):
    return np.random.default_rng(3).integers(0, 256, (8, columns)).astype(np.uint8)


def cube(**looks):
    return Mesh(CORNERS * 2 + random(8, 3) * 0.1, SIDES, **looks)


def textured():
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:8, :8], picture[:8, 8:], picture[8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    return cube(uv=random(8, 2), texture=picture)


@pytest.fixture
def sample():
    return {
        "plain": cube(),
        "colours": cube(vertex_colors=colors()),
        "uv": cube(uv=random(8, 2)),
        "texture": textured(),
    }


class TestFormats:
    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize("looks", ["plain", "colours", "uv"])
    def test_round_trip(self, tmp_path, sample, form, looks):
        mesh = sample[looks]
        path = mesh.save(tmp_path / f"a.{form}")
        assert [p.name for p in tmp_path.iterdir()] == [f"a.{form}"]
        for back in (Mesh.from_file(path), Mesh.from_bytes(path.read_bytes(), form)):
            assert np.array_equal(back.faces, mesh.faces)
            assert np.abs(back.vertices - mesh.vertices).max() < 1e-8
            assert (back.vertex_colors is None) == (mesh.vertex_colors is None)
            if mesh.vertex_colors is not None:
                kept = 3 if form == "obj" else 4  # OBJ has no alpha
                assert np.array_equal(back.vertex_colors[:, :kept], mesh.vertex_colors[:, :kept])
            if mesh.uv is not None:
                assert np.abs(back.uv - mesh.uv).max() < 1e-6
            assert back.texture is None
            if form == "glb":
                assert back == mesh

    def test_texture_in_glb(self, sample):
        mesh = sample["texture"]
        back = Mesh.from_bytes(mesh.to_bytes())
        assert back == mesh
        assert back.texture == mesh.texture
        assert np.array_equal(back.uv, mesh.uv)
        assert repr(back) == "Mesh(8 vertices, 12 faces, texture)"

    def test_a_jpeg_texture_keeps_its_pixels(self):
        noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        photo = Image.from_bytes(Image.from_array(noise).to_bytes("jpeg"))
        back = Mesh.from_bytes(cube(uv=random(8, 2), texture=photo).to_bytes())
        assert np.array_equal(back.texture.to_array(), photo.to_array())

    def test_uv_outside_the_picture_comes_back_exactly(self):
        mesh = cube(uv=random(8, 2) * 20 - 10)
        assert Mesh.from_bytes(mesh.to_bytes()) == mesh

    @pytest.mark.parametrize("form", ["obj", "ply"])
    def test_a_texture_becomes_colours_elsewhere(self, form):
        picture = np.zeros((16, 16, 3), np.uint8)
        picture[:8], picture[8:] = (255, 0, 0), (0, 0, 255)
        upper, lower = [0.5, 0.9], [0.5, 0.1]
        mesh = cube(uv=[upper] * 4 + [lower] * 4, texture=picture)
        back = Mesh.from_bytes(mesh.to_bytes(form), form)
        assert back.vertex_colors[:4, :3].tolist() == [[255, 0, 0]] * 4
        assert back.vertex_colors[4:, :3].tolist() == [[0, 0, 255]] * 4

    def test_the_file_is_what_its_name_says(self, sample):
        mesh = sample["plain"]
        assert mesh.to_bytes("glb").startswith(b"glTF")
        assert mesh.to_bytes("ply").startswith(b"ply\n")
        assert b"\nv " in b"\n" + mesh.to_bytes("obj")

    def test_stl_holds_the_shape_alone(self, tmp_path, sample):
        mesh = sample["colours"]
        path = mesh.save(tmp_path / "a.stl")
        # A head of 80 bytes, how many triangles, and 50 bytes for each.
        assert path.stat().st_size == 84 + 50 * len(mesh.faces)
        back = Mesh.from_file(path)
        assert back.vertex_colors is None
        assert np.allclose(
            back.vertices[back.faces].reshape(-1, 9), mesh.vertices[mesh.faces].reshape(-1, 9)
        )
        assert len(back.vertices) == len(mesh.vertices)
        assert back.is_watertight == mesh.is_watertight
        with pytest.raises(ValidationError):
            Mesh.from_bytes(b"solid nothing", "stl")

    def test_other_programs_see_the_same(self, tmp_path, sample):
        path = sample["colours"].save(tmp_path / "a.glb")
        seen = trimesh.load(path, process=False, force="mesh")
        assert np.array_equal(seen.vertices.astype(np.float32), sample["colours"].vertices)
        assert np.array_equal(seen.visual.vertex_colors, sample["colours"].vertex_colors)

    def test_a_scene_of_several_moved_parts_is_one_mesh(self):
        scene = trimesh.Scene()
        for x in (0.0, 10.0):
            move = trimesh.transformations.translation_matrix([x, 0, 0])
            scene.add_geometry(trimesh.creation.box((1, 1, 1)), transform=move)
        mesh = Mesh.from_bytes(scene.export(file_type="glb"))
        assert len(mesh.faces) == 24
        assert mesh.bounds == ((-0.5, -0.5, -0.5), (10.5, 0.5, 0.5))

    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize(
        "content",
        [
            b"this is a text",
            b"\0" * 200,
            b"glTF\x02\0\0\0\xff\xff\xff\x7f\xff\xff\xff\x7fJSON",
            (
                b"ply\nformat binary_little_endian 1.0\nelement vertex 999999999999\n"
                b"property float x\nproperty float y\nproperty float z\nend_header\n"
            ),
            b"v 0 0 0\nf 1 2 9\n",
        ],
    )
    def test_what_is_no_mesh_names_the_file(self, tmp_path, form, content):
        path = tmp_path / f"wrong.{form}"
        path.write_bytes(content)
        with pytest.raises(ValidationError):
            Mesh.from_file(path)

    def test_an_obj_opens_no_other_file(self, tmp_path):
        secret = tmp_path / "secret.mtl"
        secret.write_text("newmtl a\nmap_Kd secret.png\n")
        Image.from_array(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "secret.png")
        path = tmp_path / "a.obj"
        path.write_text(
            "mtllib secret.mtl\nusemtl a\nv 0 0 0\nv 1 0 0\nv 0 1 0\n"
            "vt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n"
        )
        mesh = Mesh.from_file(path)
        assert len(mesh.faces) == 1
        assert mesh.texture is None

    def test_unknown_formats_and_missing_files(self, tmp_path, sample):
        with pytest.raises(ValidationError, match="'glb', 'obj', 'ply'"):
            sample["plain"].save(tmp_path / "a.fbx")
        with pytest.raises(ValidationError, match="'glb', 'obj', 'ply'"):
            Mesh.from_bytes(b"x", "fbx")
        with pytest.raises(ValidationError, match="no such mesh file"):
            Mesh.from_file(tmp_path / "a.glb")


class TestChecks:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"vertices": [[0, 0]]}, r"vertices must have shape \(n, 3\)"),
            ({"vertices": []}, "vertices"),
            ({"vertices": CORNERS * np.nan}, "NaN"),
            ({"vertices": CORNERS.astype(float) * 1e300}, "infinity"),
            ({"vertices": [["a", "b", "c"]]}, "numbers"),
            ({"vertices": [[0, 0, 0], [1]]}, "no array"),
            ({"faces": []}, "faces"),
            ({"faces": [[0, 1]]}, "faces"),
            ({"faces": [[0, 1, 8]]}, "0 to 7, but these go from 0 to 8"),
            ({"faces": [[-1, 1, 2]]}, "from -1"),
            ({"faces": [[0, 1, 2**40]]}, "from 0 to 1099511627776"),
            ({"faces": [[0.0, 1.0, 2.0]]}, "whole numbers"),
            ({"vertex_colors": colors()[:5]}, "one row a vertex"),
            ({"vertex_colors": colors(2)}, "vertex_colors"),
            ({"vertex_colors": colors().astype(int)}, "uint8"),
            ({"vertex_colors": random(8, 3) * 255}, "between 0 and 1"),
            ({"uv": random(5, 2)}, "5 rows for 8 vertices"),
            ({"uv": random(8, 3)}, "uv"),
            ({"texture": np.zeros((4, 4, 3), np.uint8)}, "needs uv"),
            ({"uv": random(8, 2), "vertex_colors": colors()}, "not both"),
            ({"uv": random(8, 2), "texture": 5}, "image"),
        ],
    )
    def test_what_can_not_be_right(self, arguments, words):
        with pytest.raises(ValidationError, match=words):
            Mesh(**{"vertices": CORNERS, "faces": SIDES, **arguments})

    def test_types_and_copies(self):
        mine = CORNERS.astype(np.float64)
        mesh = Mesh(mine, np.array(SIDES, np.uint64), vertex_colors=random(8, 3))
        mine[:] = 0
        assert mesh.vertices.dtype == np.float32
        assert mesh.faces.dtype == np.int32
        assert mesh.vertex_colors.dtype == np.uint8
        assert mesh.vertex_colors.shape == (8, 4)
        assert set(mesh.vertex_colors[:, 3]) == {255}
        assert mesh.vertices.max() == 1
        for array in (mesh.vertices, mesh.faces, mesh.vertex_colors):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
        with pytest.raises(AttributeError):
            mesh.vertices = mine


class TestValue:
    def test_measures(self):
        mesh = Mesh(CORNERS * 2, SIDES)
        assert mesh.bounds == ((0, 0, 0), (2, 2, 2))
        assert mesh.is_watertight
        assert mesh.volume == pytest.approx(8)
        assert not Mesh(CORNERS, SIDES[:-1]).is_watertight

    def test_watertight_across_seams(self):
        apart = Mesh(CORNERS[np.array(SIDES).ravel()], np.arange(36).reshape(-1, 3))
        assert apart.is_watertight
        assert len(apart.vertices) == 36

    def test_repr(self, sample):
        assert repr(sample["plain"]) == "Mesh(8 vertices, 12 faces)"
        assert repr(sample["colours"]) == "Mesh(8 vertices, 12 faces, vertex colours)"
        many = Mesh(random(1024, 3), np.arange(1023).reshape(-1, 3))
        assert repr(many) == "Mesh(1,024 vertices, 341 faces)"

    def test_equal_by_content(self, sample):
        assert cube() == cube()
        for name, mesh in sample.items():
            assert (mesh == cube()) == (name == "plain")
        assert textured() == textured()
        assert cube() != Mesh(CORNERS, SIDES)
        assert cube() != Mesh(cube().vertices, SIDES[:-1])
        assert cube() != "cube"

    @pytest.mark.parametrize("looks", ["plain", "colours", "uv", "texture"])
    def test_json_and_pickle(self, sample, looks):
        mesh = sample[looks]
        text = json.dumps(encode({"mesh": mesh}))
        back = decode(dict[str, str | Mesh | Image], json.loads(text))["mesh"]
        assert type(back) is Mesh
        assert back == mesh
        assert pickle.loads(pickle.dumps(mesh)) == mesh

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"data": "*"},
            {"data": "aGVsbG8="},
            {"data": "", "media_type": "model/gltf-binary"},
            {"data": "aGVsbG8=", "media_type": "model/obj"},
            {"data": "aGVsbG8=", "path": "a"},
        ],
    )
    def test_wrong_json(self, data):
        with pytest.raises(ValidationError):
            Mesh.from_dict(data)

    def test_no_extra(self, monkeypatch):
        mesh = cube()
        monkeypatch.setitem(sys.modules, "trimesh", None)
        with pytest.raises(MissingExtraError, match=r"blazen\[mesh\]"):
            mesh.to_bytes()
