"""Malformed, truncated and hostile GGUF files: a `ValidationError`, quickly, in little memory."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from blazen.errors import ModelNotFoundError, ValidationError
from blazen.weights.gguf import read_gguf
from blazen.weights.gguf.estimate import estimate_memory
from tests.programs import measure_reading
from tests.weights.gguf_files import Maker, Raw, Tensor, small

WHOLE = small().bytes()
HUGE = 2**60


def u64(number: int) -> bytes:
    return struct.pack("<Q", number)


def array(code: int, count: int, data: bytes = b"") -> Raw:
    return Raw(9, struct.pack("<IQ", code, count) + data)


def nested(depth: int) -> Raw:
    return Raw(9, struct.pack("<IQ", 9, 1) * depth + struct.pack("<IQ", 4, 0))


def refused(tmp_path: Path, data: bytes, match: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(ValidationError, match=match) as caught:
        read_gguf(path)
    assert "bad.gguf" in str(caught.value)


@pytest.mark.parametrize(
    ("maker", "match"),
    [
        (Maker(tensor_count=HUGE), r"claims 1,152,921,504,606,846,976 tensors"),
        (Maker(key_count=HUGE), r"claims 1,152,921,504,606,846,976 metadata keys"),
        (Maker(key_count=2**64 - 1), "metadata keys"),
        (Maker(key_count=1), "metadata keys"),
        (Maker({"x": array(4, HUGE)}), "numbers in 'x', more than"),
        (Maker({"x": array(8, HUGE)}), "strings in 'x', more than"),
        (Maker({"x": array(0, 5)}), "numbers in 'x', more than"),
        (Maker({"x": array(8, 1, u64(HUGE))}), "inside"),
        (Maker({"x": array(8, 3, u64(2) + b"ab" + u64(2**64 - 1) + bytes(20))}), "inside"),
        (Maker({"x": nested(1)}), "array of arrays"),
        (Maker({"x": nested(100_000)}), "array of arrays"),
        (Maker({"x": array(99, 1)}), "array of the unknown type 99"),
        (Maker({"x": Raw(13, b"")}), "value of the unknown type 13"),
        (Maker({"x": Raw(8, u64(HUGE))}), "inside"),
        (Maker({"x": Raw(8, u64(2**64 - 1))}), "inside"),
        (Maker({"x": Raw(8, u64(2) + b"\xff\xfe")}), "not UTF-8"),
        (Maker({"x": array(8, 1, u64(1) + b"\xff")}), "not UTF-8"),
        (Maker({"x": Raw(7, b"\2")}), "must be true or false, not 2"),
        (Maker({"x": array(7, 1, b"\2")}), "must be true or false, not 2"),
        (Maker([("a", 1), ("a", 2)]), "'a' is there twice"),
        (Maker({"": 1}), "'' is empty"),
        (Maker({"k" * 2000: 1}), "2,000 bytes long"),
        (Maker({"general.alignment": 0}), "power of two, not 0"),
        (Maker({"general.alignment": 24}), "power of two, not 24"),
        (Maker({"general.alignment": True}), "power of two, not True"),
        (Maker({"general.alignment": "32"}), "power of two, not '32'"),
        (Maker({"general.alignment": Raw(11, b"\xff" * 8)}), "power of two, not -1"),
        (Maker({"general.alignment": Raw(10, u64(2**63))}), "power of two"),
        (Maker({"general.alignment": 2**31}, [Tensor("a", (8,))]), "ends at byte 2,147,483,680"),
    ],
)
def test_hostile_metadata(tmp_path: Path, maker: Maker, match: str) -> None:
    refused(tmp_path, maker.bytes(), match)


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ([Tensor("a", (8,), offset=2**64 - 32, nbytes=0)], "ends at byte"),  # -32, if signed
        ([Tensor("a", (8,), offset=2**40, nbytes=0)], "download may be incomplete"),
        ([Tensor("a", (2**32, 2**32), nbytes=0)], "impossible shape"),
        ([Tensor("a", (2**64 - 1, 2**64 - 1, 2**64 - 1), nbytes=0)], "impossible shape"),
        ([Tensor("a", (2**40,), nbytes=0)], "ends at byte"),
        ([Tensor("a", (1,) * 5)], "5 dimensions"),
        ([Tensor("a", (31,), "Q8_0", nbytes=64)], "rows of 31 elements, but Q8_0 .* blocks of 32"),
        ([Tensor("a", (64,)), Tensor("b", (8,), offset=32)], "'a' overlaps"),
        ([Tensor("a", (64,)), Tensor("b", (8,), offset=0)], "overlaps"),
        ([Tensor("a", (64,)), Tensor("b", (8,), 777, offset=2**20, nbytes=0)], "ends|overlaps"),
        ([Tensor("a", (8,)), Tensor("b", (8,), offset=33)], "lies at 33, no multiple of 32"),
        ([Tensor("a", (8,)), Tensor("a", (8,))], "'a' is there twice"),
        ([Tensor("", (8,))], "'' is empty"),
        ([Tensor("n" * 2000, (8,))], "2,000 bytes long"),
    ],
)
def test_hostile_tensors(tmp_path: Path, tensors: list[Tensor], match: str) -> None:
    data = Maker(tensors=tensors, body=False).header()
    refused(tmp_path, data.ljust(-(-len(data) // 32) * 32 + 512, b"\0"), match)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is empty"),
        (b"G", "starts with b'G'"),
        (b"GGUF", "inside"),
        (b"GGUF\3\0\0", "inside"),
        (b"PK\x03\x04" + bytes(60), "a ZIP archive or a PyTorch checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>" + bytes(60), "a web page"),
        (b"tjgg" + bytes(60), "old GGML file"),
        (bytes(64), "starts with"),
        (Maker(version=1).bytes(), "version 1"),
        (Maker(version=0).bytes(), "version 0; known are 2 and 3"),
        (Maker(version=4).bytes(), "version 4; known are 2 and 3"),
        (Maker(version=1, order=">").bytes(), "version 1"),
        (Maker(version=2**32 - 1).bytes(), "version 4294967295"),
    ],
)
def test_what_is_no_gguf_of_today(tmp_path: Path, data: bytes, match: str) -> None:
    refused(tmp_path, data, match)


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(WHOLE)
    read_gguf(path)
    for length in reversed(range(len(WHOLE))):
        os.truncate(path, length)  # to write each anew would wait for the disk each time
        with pytest.raises(ValidationError):
            read_gguf(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"there is no file .*nothing\.gguf"):
        read_gguf(tmp_path / "nothing.gguf")
    with pytest.raises(ValidationError, match="is a folder"):
        read_gguf(tmp_path)
    file = tmp_path / "file"
    file.write_bytes(b"x")
    with pytest.raises(ModelNotFoundError):
        read_gguf(file / "below.gguf")
    not_paths: list[Any] = ["", "a\0b", None, 3, b"bytes"]
    for wrong in not_paths:
        with pytest.raises(ValidationError, match="by its path"):
            read_gguf(wrong)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes and devices in the file system")
def test_pipes_devices_loops_and_locked_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ValidationError, match="no regular file"):
            read_gguf(path)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(ValidationError, match="can't be read"):
        read_gguf(loop)
    locked = small().write(tmp_path / "locked.gguf")
    locked.chmod(0)
    if not os.access(locked, os.R_OK):  # root may read everything
        with pytest.raises(ValidationError, match="can't be read"):
            read_gguf(locked)


def test_a_long_array_with_broken_text_says_so_when_touched(tmp_path: Path) -> None:
    data = b"".join(u64(2) + (b"\xff\xfe" if i == 1500 else b"ok") for i in range(2000))
    path = Maker({"tokenizer.ggml.tokens": array(8, 2000, data)}).write(tmp_path / "m.gguf")
    tokens = read_gguf(path).metadata["tokenizer.ggml.tokens"]
    assert tokens[0] == "ok"
    with pytest.raises(ValidationError, match="not UTF-8"):
        list(tokens)


@pytest.mark.parametrize(
    "metadata",
    [
        {"llama.block_count": 2**32 - 1},
        {"llama.attention.head_count_kv": [1]},
        {"llama.attention.head_count_kv": Raw(9, struct.pack("<IQii", 5, 2, -1, -1))},
        {"llama.attention.head_count": "many"},
        {"llama.embedding_length": 1.5},
    ],
)
def test_an_estimate_of_nonsense_is_refused(tmp_path: Path, metadata: dict[str, Any]) -> None:
    gguf = read_gguf(small(metadata=metadata).write(tmp_path / "m.gguf"))
    with pytest.raises(ValidationError, match=r"m\.gguf"):
        estimate_memory(gguf)


def use(path: Path) -> None:
    """Touch everything that a file can say."""
    gguf = read_gguf(path)
    repr(gguf)
    gguf.to_json()
    for name in ("quantization", "context_length", "chat_templates", "tokenizer", "head_count_kv"):
        getattr(gguf, name)
    for value in gguf.metadata.values():
        if isinstance(value, tuple):
            list(value)
    estimate_memory(gguf)


FUZZ = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(
    changes=st.lists(
        st.tuples(
            st.integers(0, len(WHOLE) - 1),
            st.sampled_from([b"\0", b"\xff", b"\x7f\xff", u64(HUGE), u64(2**64 - 1), b"\x09"])
            | st.binary(min_size=1, max_size=9),
        ),
        min_size=1,
        max_size=6,
    ),
    end=st.integers(0, len(WHOLE)) | st.none(),
)
@example(changes=[(8, u64(HUGE))], end=None)
def test_mutations_are_read_or_refused(
    tmp_path: Path, changes: list[tuple[int, bytes]], end: int | None
) -> None:
    data = bytearray(WHOLE)
    for at, piece in changes:
        data[at : at + len(piece)] = piece
    path = tmp_path / "mutant.gguf"
    path.unlink(missing_ok=True)  # to write over a file waits for the disk
    path.write_bytes(data[:end])
    with contextlib.suppress(ValidationError, ModelNotFoundError):
        use(path)


@FUZZ
@given(tail=st.binary(max_size=300), counts=st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_noise_after_a_good_start_is_read_or_refused(
    tmp_path: Path, tail: bytes, counts: tuple[int, int]
) -> None:
    path = tmp_path / "noise.gguf"
    path.unlink(missing_ok=True)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, *counts) + tail)
    with contextlib.suppress(ValidationError, ModelNotFoundError):
        use(path)


def _bombs() -> dict[str, tuple[bytes, int]]:
    """Files that are as large as they claim: a header, and how far it goes on as a hole."""
    gib = 2**30
    empty_strings = Maker({"x": array(8, 2**30)}).bytes()
    many_strings = Maker({"x": array(8, 1_999_999)}, key_count=2).bytes()
    numbers = Maker({"x": array(10, 2**31)}).bytes()
    long_text = Maker({"x": Raw(8, u64(20 * gib))}).bytes()
    text = Maker({"x": Raw(8, u64(7 << 20))}, key_count=2).bytes()
    emoji = "\N{GRINNING FACE}".encode()
    wide = Maker({"x": Raw(8, u64((8 << 20) - 100) + emoji)}, key_count=2).bytes()
    in_array = Maker({"x": array(8, 2, u64(gib))}, key_count=2).bytes()
    keys = Maker(key_count=2**31).bytes()
    tensors = Maker(tensor_count=2**31).bytes()
    shorts = b"".join(
        struct.pack("<Q", 4) + f"{i:04x}".encode() + struct.pack("<IIQ", 9, 0, 1024) + bytes(1024)
        for i in range(16_000)
    )
    many_shorts = b"GGUF" + struct.pack("<IQQ", 3, 1, 16_000) + shorts
    names = b"".join(
        struct.pack("<Q", 8) + f"{i:08x}".encode() + struct.pack("<IQIQ", 1, 1, 0, 32 * i)
        for i in range(65_536)
    )
    many_tensors = b"GGUF" + struct.pack("<IQQ", 3, 65_536, 0) + names[:-40] + names[:40]
    return {
        "empty strings": (empty_strings, 40 * gib),
        "as many strings as are read": (many_strings, 40 * gib),
        "numbers": (numbers, 40 * gib),
        "a long text": (long_text, 40 * gib),
        "a long text in an array": (in_array, 40 * gib),
        "a text of zeros": (text, gib),
        "a wide text": (wide, gib),
        "keys": (keys, 40 * gib),
        "tensors": (tensors, 40 * gib),
        "many short arrays": (many_shorts, len(many_shorts) + 8),
        "as many tensors as are read": (many_tensors, gib),
    }


@pytest.mark.parametrize("name", list(_bombs()))
def test_bombs_end_soon_and_take_under_100_mb(tmp_path: Path, name: str) -> None:
    start, size = _bombs()[name]
    path = tmp_path / "bomb.gguf"
    path.write_bytes(start)
    with path.open("r+b") as sparse:
        sparse.truncate(size)
    try:
        measured = measure_reading(read_gguf, path)
    finally:
        path.unlink()
    assert "bomb.gguf is no GGUF file that can be read" in measured["result"]
    assert measured["seconds"] < 10  # a limit for what must end, never a measure
    assert measured["peak"] < 100e6
