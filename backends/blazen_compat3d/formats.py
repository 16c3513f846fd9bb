"""What kind of mesh bytes are, by what they begin with: the word of a server is not enough."""

from __future__ import annotations

import re

_OBJ = re.compile(rb"(v|vn|vt|f|o|g|s|usemtl|mtllib)[ \t]+\S")
_LOOKED_AT = 64 * 1024


def mesh_format(data: bytes) -> str | None:
    """Give ``glb``, ``obj`` or ``ply``, or ``None`` for bytes that are none of these."""
    if data[:4] == b"glTF":
        return "glb"
    if re.match(rb"ply\r?\n", data[:5]):
        return "ply"
    head = data[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf")
    if b"\0" in head:
        return None
    for line in head.splitlines():
        text = line.strip()
        if text and not text.startswith(b"#"):
            return "obj" if _OBJ.match(text) else None
    return None


def begins_json(data: bytes) -> bool:
    """Say whether bytes begin as an answer in JSON does."""
    return data.lstrip()[:1] in (b"{", b"[")


def begins_whole(start: bytes) -> bool:
    """Say whether the first bytes of a stream of events are those of a mesh, or of JSON."""
    # No event begins with #, and an OBJ often does.
    return start[:1] == b"#" or begins_json(start) or mesh_format(start) is not None


def missing_bytes(data: bytes) -> int:
    """Give how many bytes a GLB says it has beyond those that are here."""
    if data[:4] != b"glTF" or len(data) < 12:
        return 0
    return max(0, int.from_bytes(data[8:12], "little") - len(data))


def described(data: bytes) -> str:
    """Say what bytes look like that are no mesh."""
    for magic, name in (
        (b"PK\x03\x04", "a zip archive"),
        (b"\x89PNG", "a PNG image"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"Kaydara FBX", "an FBX file"),
        (b"\x1f\x8b", "packed data"),
    ):
        if data.startswith(magic):
            return name
    if not data:
        return "nothing"
    start = data[:200].decode("utf-8", "replace").strip().lower()
    if start.startswith(("<!doctype", "<html", "<?xml")):
        return "a web page"
    return f"{len(data):,} bytes of another kind"
