"""Triangle meshes, as 3D models give them: checked, saved as GLB, OBJ, PLY or STL, and read."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from blazen.checks import check_choice
from blazen.errors import MissingExtraError, ValidationError
from blazen.extras import need
from blazen.types.image import Image
from blazen.types.image_codec import to_uint8
from blazen.types.route import Route
from blazen.types.source import Source, embed, from_base64, write_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Indices = NDArray[np.int32]
    Colors = NDArray[np.uint8]

_FORMATS = ("glb", "obj", "ply", "stl")
_GLB = "model/gltf-binary"


class Mesh:
    """Triangles with colours at their vertices or a texture; it never changes.

    `vertices` has shape (n, 3), `faces` holds indices into it and has shape (m, 3),
    `vertex_colors` (n, 3 or 4) is uint8 or floats from 0 to 1, and `uv` (n, 2) says where in the
    `texture` each vertex lies, from the lower left corner. Y points up, as in glTF. The arrays are
    copied, and read-only afterwards.
    """

    __slots__ = ("_faces", "_texture", "_uv", "_vertex_colors", "_vertices", "route")
    kind: ClassVar[str] = "mesh"

    def __init__(
        self,
        vertices: Any,
        faces: Any,
        *,
        vertex_colors: Any = None,
        uv: Any = None,
        texture: Any = None,
    ) -> None:
        np = _numpy()
        self.route: Route | None = None
        """Which of a manager's models made it, where there was a choice."""
        self._vertices: Floats = _floats(np, vertices, 3, "vertices")
        self._faces: Indices = _indices(np, faces, len(self._vertices))
        self._vertex_colors: Colors | None = None
        self._uv: Floats | None = None
        self._texture: Image | None = None if texture is None else Image.of(texture)
        if vertex_colors is not None:
            self._vertex_colors = _colors(np, vertex_colors, len(self._vertices))
        if uv is not None:
            self._uv = _texture_places(np, uv)
            if len(self._uv) != len(self._vertices):
                raise ValidationError(
                    f"uv has {len(self._uv):,} rows for {len(self._vertices):,} vertices"
                )
        if self._texture is not None and self._uv is None:
            raise ValidationError("a texture needs uv: where in it each vertex lies")
        if self._uv is not None and self._vertex_colors is not None:
            raise ValidationError("a mesh has vertex_colors, or uv with a texture, but not both")

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Mesh:
        """Read a GLB, OBJ, PLY or STL file, by its suffix."""
        source = Source.from_file(path, what="mesh")
        name = Path(path).suffix.lstrip(".").lower()
        check_choice("the format of a mesh file", name, _FORMATS)
        return _read(cls, source.read(), name, source.name)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, format: str = "glb") -> Mesh:  # noqa: A002 - as in `save`
        """Read the bytes of a GLB, OBJ, PLY or STL file."""
        check_choice("the format of a mesh", format, _FORMATS)
        source = Source.from_bytes(data, what="mesh")
        return _read(cls, source.read(), format, source.name)

    @property
    def vertices(self) -> Floats:
        """The points, float32 of shape (n, 3)."""
        return self._vertices

    @property
    def faces(self) -> Indices:
        """The triangles: for each, the indices of its three vertices, int32 of shape (m, 3)."""
        return self._faces

    @property
    def vertex_colors(self) -> Colors | None:
        """RGBA for each vertex, uint8 of shape (n, 4); without alpha given, opaque."""
        return self._vertex_colors

    @property
    def uv(self) -> Floats | None:
        """Where in the texture each vertex lies, float32 of shape (n, 2)."""
        return self._uv

    @property
    def texture(self) -> Image | None:
        """The picture that lies on the surface."""
        return self._texture

    @property
    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """The corners of the box around it: the least x, y, z and the greatest."""
        low, high = self._vertices.min(axis=0).tolist(), self._vertices.max(axis=0).tolist()
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    @property
    def is_watertight(self) -> bool:
        """Whether the surface is closed; vertices at one place count as one."""
        joined = _plain(self)
        joined.merge_vertices(merge_tex=True, merge_norm=True)
        return bool(joined.is_watertight)

    @property
    def volume(self) -> float:
        """What it encloses, which only means something for a watertight mesh."""
        return float(_plain(self).volume)

    def save(self, path: str | os.PathLike[str], format: str | None = None) -> Path:  # noqa: A002 - as in `Image.save`
        """Write a GLB, OBJ, PLY or STL file, by its suffix.

        Only GLB holds a texture; OBJ and PLY get its colours at the vertices instead, and STL holds
        no colours at all.
        """
        chosen = format or Path(path).suffix.lstrip(".").lower()
        data = self.to_bytes(chosen)
        return write_file(path, lambda file: file.write(data))

    def to_bytes(self, format: str = "glb") -> bytes:  # noqa: A002 - as in `save`
        """Give the bytes of a GLB, OBJ, PLY or STL file."""
        check_choice("the format of a mesh", format, _FORMATS)
        mesh = _trimesh(self)
        if format != "glb" and self._texture is not None:
            mesh.visual = mesh.visual.to_color()
        # Nine digits are what it takes to tell any two float32 apart.
        settings = {"digits": 9} if format == "obj" else {}
        data = mesh.export(file_type=format, **settings)
        return data.encode("utf-8") if isinstance(data, str) else bytes(data)

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form, which holds a GLB."""
        return embed(self.kind, self.to_bytes("glb"), _GLB)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Mesh:
        """Build one from what `to_dict` gave."""
        if "data" not in data or set(data) - {"kind", "data", "media_type"}:
            raise ValidationError(f"a mesh in JSON has 'data', not {sorted(data)}")
        if data.get("media_type", _GLB) != _GLB:
            raise ValidationError(f"a mesh in JSON is {_GLB}, not {data['media_type']!r}")
        return cls.from_bytes(from_base64(data["data"], what="the mesh"), "glb")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mesh):
            return NotImplemented
        np = _numpy()
        mine = (self._vertices, self._faces, self._vertex_colors, self._uv)
        theirs = (other._vertices, other._faces, other._vertex_colors, other._uv)
        return (
            all(
                (a is None) == (b is None) and (a is None or np.array_equal(a, b))
                for a, b in zip(mine, theirs, strict=True)
            )
            and self._texture == other._texture
        )

    __hash__ = None  # type: ignore[assignment]  # equal by content, all of which would be read

    def __repr__(self) -> str:
        looks = ""
        if self._texture is not None:
            looks = ", texture"
        elif self._vertex_colors is not None:
            looks = ", vertex colours"
        return f"Mesh({len(self._vertices):,} vertices, {len(self._faces):,} faces{looks})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from blazen.types.mesh_view import picture_of

        bundle = {"text/plain": repr(self)}
        try:
            picture = picture_of(self).to_bytes("png")
        except MissingExtraError:  # a mesh itself needs no Pillow
            return bundle
        return bundle | {"image/png": base64.b64encode(picture).decode("ascii")}


def _numpy() -> Any:
    return need("numpy", extra="mesh", what="a mesh")


def _array(np: Any, values: Any, name: str) -> Any:
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValidationError(f"{name} make no array: {error}") from error


def _frozen(np: Any, values: Any, dtype: Any) -> Any:
    copy = np.array(values, dtype=dtype, order="C")
    copy.flags.writeable = False
    return copy


def _floats(np: Any, values: Any, columns: int, name: str) -> Any:
    array = _array(np, values, name)
    if array.ndim != 2 or array.shape[1] != columns or not len(array):
        raise ValidationError(f"{name} must have shape (n, {columns}), not {array.shape}")
    if array.dtype.kind not in "fiu":
        raise ValidationError(f"{name} must be numbers, not {array.dtype}")
    with np.errstate(over="ignore"):
        floats = _frozen(np, array, np.float32)
    if not np.isfinite(floats).all():
        raise ValidationError(f"{name} hold NaN or infinity")
    return floats


def _texture_places(np: Any, values: Any) -> Any:
    # glTF counts from the top; flipping twice first makes what comes back equal to what is held.
    places = _floats(np, values, 2, "uv").copy()
    places[:, 1] = 1 - (1 - places[:, 1])
    return _frozen(np, places, np.float32)


def _indices(np: Any, values: Any, count: int) -> Any:
    array = _array(np, values, "faces")
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        raise ValidationError(f"faces must have shape (m, 3), with m over 0, not {array.shape}")
    if array.dtype.kind not in "iu":
        raise ValidationError(f"faces must be whole numbers, not {array.dtype}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= count:
        raise ValidationError(
            f"faces point at vertices 0 to {count - 1}, but these go from {low} to {high}"
        )
    return _frozen(np, array, np.int32)


def _colors(np: Any, values: Any, count: int) -> Any:
    array = _array(np, values, "vertex_colors")
    if array.ndim != 2 or array.shape[1] not in (3, 4) or len(array) != count:
        raise ValidationError(
            f"vertex_colors must have shape ({count}, 3 or 4), one row a vertex, not {array.shape}"
        )
    colors = to_uint8(np, array, what="vertex_colors")
    if colors.shape[1] == 3:
        colors = np.concatenate([colors, np.full((count, 1), 255, np.uint8)], axis=1)
    return _frozen(np, colors, np.uint8)


def _plain(mesh: Mesh) -> Any:
    trimesh = need("trimesh", extra="mesh", what="measuring a mesh")
    return trimesh.Trimesh(mesh.vertices.copy(), mesh.faces.copy(), process=False)


def _trimesh(mesh: Mesh) -> Any:
    trimesh = need("trimesh", extra="mesh", what="writing a mesh")
    visual = None
    if mesh.uv is not None:
        picture = None if mesh.texture is None else mesh.texture.to_pil()
        material = trimesh.visual.material.PBRMaterial(
            baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=1.0
        )
        visual = trimesh.visual.TextureVisuals(uv=mesh.uv.copy(), material=material)
    colors = None if mesh.vertex_colors is None else mesh.vertex_colors.copy()
    return trimesh.Trimesh(
        mesh.vertices.copy(), mesh.faces.copy(), vertex_colors=colors, visual=visual, process=False
    )


def _read(cls: type[Mesh], data: bytes, name: str, where: str) -> Mesh:
    trimesh = need("trimesh", extra="mesh", what="reading a mesh")
    settings: dict[str, Any] = {"maintain_order": True} if name == "obj" else {}
    try:
        # Without a resolver, a file can't make this open the files that it names.
        mesh = trimesh.load(
            io.BytesIO(data), file_type=name, process=False, force="mesh", **settings
        )
        if name == "stl":
            mesh.merge_vertices()  # there each triangle has three of its own
        return cls(mesh.vertices, mesh.faces, **_looks(mesh.visual, name))
    except ValidationError:
        raise
    except Exception as error:
        # A parser of files from anywhere lets anything through.
        raise ValidationError(f"{where} is not a {name.upper()} mesh: {error!r}") from error


def _looks(visual: Any, name: str) -> dict[str, Any]:
    if visual.kind in ("vertex", "face"):
        return {"vertex_colors": visual.vertex_colors}
    if visual.kind != "texture" or visual.uv is None:
        return {}
    # For the other formats, trimesh makes up a material.
    picture = visual.material.baseColorTexture if name == "glb" else None
    if picture is None:
        return {"uv": visual.uv}
    return {"uv": visual.uv, "texture": Image.from_pil(picture)}
