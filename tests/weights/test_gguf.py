"""What a GGUF file says: read as it was written, whatever its version, byte order and parts."""

from __future__ import annotations

import json
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from blazen.errors import ContextLengthError, ModelNotFoundError, ValidationError
from blazen.weights.gguf import read_gguf
from blazen.weights.gguf.array import GgufArray
from blazen.weights.gguf.model import GgufFile, GgufTensor
from blazen.weights.gguf.vocabulary import check_room, longest_token
from tests.weights.gguf_files import Maker, Raw, Tensor, small

TOKENS = [f"token-{i}-é" for i in range(5000)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [2, 3])
def test_every_version_and_byte_order_reads_alike(tmp_path: Path, version: int, order: str) -> None:
    file = read_gguf(small(version=version, order=order).write(tmp_path / "m.gguf"))
    assert file.version == version
    assert file.byte_order == {"<": "little", ">": "big"}[order]
    assert (file.architecture, file.name, file.quantization) == ("llama", "Tiny", "Q8_0")
    assert (file.block_count, file.context_length, file.embedding_length) == (2, 128, 32)
    assert (file.head_count, file.head_count_kv, file.feed_forward_length) == (4, 2, 64)
    assert file.metadata["general.tags"] == ("a", "ü")
    assert file.metadata["tokenizer.ggml.scores"] == (0.0, -1.0, -2.5, 3.0)
    assert file.chat_template == "{{ messages[0].content }}"
    assert file.vocab_size == 4
    assert file.parameters == 32 * 4 + 32 + 2 * (32 * 32 + 32 * 64)
    assert file.size == (tmp_path / "m.gguf").stat().st_size


def test_tensors_carry_their_place(tmp_path: Path) -> None:
    file = read_gguf(small().write(tmp_path / "m.gguf"))
    first, second, third = file.tensors[:3]
    assert first == GgufTensor("token_embd.weight", (32, 4), "Q8_0", file.data_offset, 136)
    assert file.data_offset % file.alignment == 0
    assert (second.dtype, second.nbytes, second.elements) == ("F32", 128, 32)
    assert second.offset == file.data_offset + 160  # 136, rounded up to 32
    assert third.offset == second.offset + 128
    last = file.tensors[-1]
    assert last.offset + last.nbytes == file.size


def test_the_tokenizer_is_summed_up(tmp_path: Path) -> None:
    tokenizer = read_gguf(small().write(tmp_path / "m.gguf")).tokenizer
    assert tokenizer is not None
    assert (tokenizer.model, tokenizer.pre, tokenizer.vocab_size) == ("gpt2", "tiny", 4)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.eot_id) == (0, 1, None)
    assert tokenizer.texts == {"bos": "<s>", "eos": "</s>"}
    assert (tokenizer.add_bos, tokenizer.add_eos) == (True, None)


def test_what_a_file_leaves_out_is_none(tmp_path: Path) -> None:
    file = read_gguf(Maker().write(tmp_path / "empty.gguf"))
    assert file.architecture is file.name is file.quantization is file.context_length is None
    assert file.chat_template is file.tokenizer is file.head_count_kv is None
    assert file.chat_templates == {}
    assert (file.parameters, file.tensors, file.vocab_size) == (0, (), 0)
    assert "0 parameters" in repr(file)


def test_named_templates_stand_beside_the_main_one(tmp_path: Path) -> None:
    maker = small(metadata={"tokenizer.chat_template.tool_use": "tools"})
    file = read_gguf(maker.write(tmp_path / "m.gguf"))
    assert file.chat_templates == {"default": "{{ messages[0].content }}", "tool_use": "tools"}


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_long_array_is_read_when_touched(tmp_path: Path, order: str) -> None:
    numbers = [i * 7 for i in range(3000)]
    flags = [i % 3 == 0 for i in range(2000)]
    floats = [i / 2 for i in range(2000)]
    maker = small(
        metadata={
            "tokenizer.ggml.tokens": TOKENS,
            "tokenizer.ggml.bos_token_id": 4321,
            "x.numbers": numbers,
            "x.flags": flags,
            "x.floats": floats,
        },
        order=order,
    )
    file = read_gguf(maker.write(tmp_path / "m.gguf"))
    tokens = file.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, GgufArray)
    assert (len(tokens), tokens.element_type) == (5000, "string")
    assert list(tokens) == TOKENS
    assert tokens == TOKENS
    assert (tokens[0], tokens[1023], tokens[1024], tokens[-1]) == tuple(
        TOKENS[i] for i in (0, 1023, 1024, -1)
    )
    assert tokens[2046:2050] == TOKENS[2046:2050]
    assert "token-77-é" in tokens
    with pytest.raises(IndexError):
        tokens[5000]
    assert file.metadata["x.numbers"] == numbers
    assert file.metadata["x.numbers"][2999] == 2999 * 7
    assert file.metadata["x.flags"] == flags
    assert file.metadata["x.flags"][3] is True
    assert file.metadata["x.floats"] == floats
    assert file.tokenizer is not None
    assert file.tokenizer.texts["bos"] == TOKENS[4321]


def test_an_array_of_a_file_that_changed_says_so(tmp_path: Path) -> None:
    path = small(metadata={"tokenizer.ggml.tokens": TOKENS}).write(tmp_path / "m.gguf")
    tokens = read_gguf(path).metadata["tokenizer.ggml.tokens"]
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValidationError, match="changed after it was read"):
        list(tokens)
    path.unlink()
    with pytest.raises(ModelNotFoundError):
        tokens[0]


@pytest.mark.parametrize(
    ("code", "data", "expected"),
    [
        (0, b"\xff", 255),
        (1, b"\xff", -1),
        (2, b"\xfe\xff", 65534),
        (3, b"\xfe\xff", -2),
        (5, b"\xff\xff\xff\xff", -1),
        (10, b"\xff" * 8, 2**64 - 1),
        (11, b"\xff" * 8, -1),
        (12, b"\0\0\0\0\0\0\xf8\x3f", 1.5),
        (7, b"\1", True),
        (9, b"\x0b\0\0\0\2\0\0\0\0\0\0\0" + b"\xff" * 16, (-1, -1)),
        (9, b"\x07\0\0\0\2\0\0\0\0\0\0\0\1\0", (True, False)),
        (9, b"\x08\0\0\0\0\0\0\0\0\0\0\0", ()),
    ],
)
def test_every_type_of_value(tmp_path: Path, code: int, data: bytes, expected: Any) -> None:
    value = read_gguf(Maker({"x": Raw(code, data)}).write(tmp_path / "m.gguf")).metadata["x"]
    assert value == expected
    assert type(value) is type(expected)


def test_quantization_falls_back_on_what_most_bytes_are(tmp_path: Path) -> None:
    def read(code: Any) -> str | None:
        maker = small(metadata={"general.file_type": code})
        return read_gguf(maker.write(tmp_path / "m.gguf")).quantization

    assert read(15) == "Q4_K_M"
    assert read(15 | 1024) == "Q4_K_M"
    assert read(4000) == "F16"
    assert read(0) == "F32"


def test_a_type_unknown_to_us_reaches_to_the_next_tensor(tmp_path: Path) -> None:
    tensors = [
        Tensor("a", (32,)),
        Tensor("new", (10, 10), 999, nbytes=64),
        Tensor("b", (8,)),
        Tensor("newest", (3,), 1000, nbytes=50),
    ]
    file = read_gguf(Maker(tensors=tensors).write(tmp_path / "m.gguf"))
    assert [(t.dtype, t.nbytes) for t in file.tensors] == [
        ("F32", 128),
        ("unknown-999", 64),
        ("F32", 32),
        ("unknown-1000", 50),
    ]


def test_per_layer_numbers_are_tuples(tmp_path: Path) -> None:
    maker = small(metadata={"llama.attention.head_count_kv": [1, 2]})
    assert read_gguf(maker.write(tmp_path / "m.gguf")).head_count_kv == (1, 2)


def test_metadata_of_the_wrong_kind_is_named(tmp_path: Path) -> None:
    maker = small(
        metadata={
            "llama.context_length": "long",
            "tokenizer.ggml.tokens": 4,
            "tokenizer.ggml.add_bos_token": 1,
            "general.file_type": "Q4",
            "tokenizer.chat_template": 9,
        }
    )
    file = read_gguf(maker.write(tmp_path / "m.gguf"))
    with pytest.raises(ValidationError, match=r"llama\.context_length must be a whole .* 'long'"):
        _ = file.context_length
    for name in ("tokenizer", "quantization", "chat_template"):
        with pytest.raises(ValidationError, match="must be"):
            getattr(file, name)
    assert "broken metadata" in repr(file)


def test_it_goes_to_json_and_back(tmp_path: Path) -> None:
    file = read_gguf(small().write(tmp_path / "m.gguf"))
    again = GgufFile.from_json(file.to_json())
    assert again.tensors == file.tensors
    assert again.context_length == 128
    assert again.metadata == json.loads(json.dumps(file.metadata))
    long = small(metadata={"tokenizer.ggml.tokens": TOKENS, "x": float("nan")})
    file = read_gguf(long.write(tmp_path / "long.gguf"))
    brief = json.loads(file.to_json())["metadata"]
    assert brief["tokenizer.ggml.tokens"] == {"array": "string", "count": 5000}
    assert brief["x"] == "nan"
    assert file.to_dict(arrays=True)["metadata"]["tokenizer.ggml.tokens"] == TOKENS


def test_it_pickles_with_its_long_arrays(tmp_path: Path) -> None:
    file = read_gguf(small(metadata={"tokenizer.ggml.tokens": TOKENS}).write(tmp_path / "m.gguf"))
    assert pickle.loads(pickle.dumps(file)) == file


def test_repr_says_what_it_is(tmp_path: Path) -> None:
    text = repr(read_gguf(small().write(tmp_path / "m.gguf")))
    assert re.fullmatch(
        r"<GgufFile 'm.gguf': llama, Q8_0, 6.3k parameters, 6 tensors, [\d.]+kB>", text
    )


def test_a_file_of_forty_gigabytes_is_only_its_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.gguf"
    maker = small(tensors=[Tensor("big", (2**20, 10 * 2**10), "F32")], body=False)
    path.write_bytes(maker.header())
    with path.open("r+b") as sparse:
        sparse.truncate(-(-len(maker.header()) // 32) * 32 + 40 * 2**30)
    try:
        file = read_gguf(path)
        assert file.tensors[0].nbytes == 40 * 2**30
        assert file.size > 40 * 2**30
    finally:
        path.unlink()


class TestSplit:
    def parts(self, folder: Path, count: int = 3, total: int = 3, stem: str = "m") -> list[Path]:
        paths = []
        for number in range(count):
            split = {
                "split.no": Raw(2, number.to_bytes(2, "little")),
                "split.count": Raw(2, count.to_bytes(2, "little")),
                "split.tensors.count": total,
            }
            metadata = {"general.architecture": "llama", **split} if not number else split
            maker = Maker(metadata, [Tensor(f"t{number}", (8,))])
            paths.append(maker.write(folder / f"{stem}-{number + 1:05}-of-{count:05}.gguf"))
        return paths

    @pytest.mark.parametrize("given", [0, 2])
    def test_any_part_leads_to_all(self, tmp_path: Path, given: int) -> None:
        paths = self.parts(tmp_path)
        file = read_gguf(paths[given])
        assert file.path == paths[0]
        assert file.parts == tuple(paths)
        assert [(t.name, t.part) for t in file.tensors] == [("t0", 0), ("t1", 1), ("t2", 2)]
        assert file.size == sum(path.stat().st_size for path in paths)
        assert file.architecture == "llama"
        assert "3 parts" in repr(file)

    def test_a_missing_part_is_named(self, tmp_path: Path) -> None:
        paths = self.parts(tmp_path)
        paths[1].unlink()
        with pytest.raises(ModelNotFoundError, match=r"m-00002-of-00003\.gguf is not in"):
            read_gguf(paths[0])

    def test_a_part_under_a_wrong_name_is_refused(self, tmp_path: Path) -> None:
        paths = self.parts(tmp_path)
        paths[1].write_bytes(paths[2].read_bytes())
        with pytest.raises(ValidationError, match=r"should be part 2 of 3, but says .* part 3"):
            read_gguf(paths[0])
        renamed = paths[0].rename(tmp_path / "model.gguf")
        with pytest.raises(ValidationError, match="must end in -00001-of-00003"):
            read_gguf(renamed)

    def test_the_tensors_must_add_up(self, tmp_path: Path) -> None:
        with pytest.raises(ValidationError, match="promises 4 tensors, but its 3 parts hold 3"):
            read_gguf(self.parts(tmp_path, total=4)[0])

    def test_a_tensor_must_not_be_in_two_parts(self, tmp_path: Path) -> None:
        paths = self.parts(tmp_path, count=2, total=2)
        data = paths[1].read_bytes()
        paths[1].write_bytes(data.replace(b"t1", b"t0"))
        with pytest.raises(ValidationError, match="repeats tensor 't0'"):
            read_gguf(paths[0])

    def test_a_count_of_many_names_the_first_that_lack(self, tmp_path: Path) -> None:
        path = self.parts(tmp_path, count=60)[0]
        for other in tmp_path.glob("m-0000[2-9]*"):
            other.unlink()
        with pytest.raises(ModelNotFoundError, match=r"m-00002.*m-00003.*m-00004.* and 5 more"):
            read_gguf(path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_is_followed(tmp_path: Path) -> None:
    real = small().write(tmp_path / "blob")
    link = tmp_path / "m.gguf"
    link.symlink_to(real)
    assert read_gguf(str(link)).name == "Tiny"


def test_it_agrees_with_the_gguf_package_on_its_own_writing(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "written.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Written")
    writer.add_file_type(15)
    writer.add_token_list(TOKENS)
    writer.add_array("x.short", [1, 2, 3])
    writer.add_tensor("a", numpy.ones((4, 32), dtype=numpy.float32))
    writer.add_tensor("b", numpy.ones((7,), dtype=numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert_agrees(read_gguf(path), gguf.GGUFReader(path))


def test_the_type_tables_agree_with_the_gguf_package() -> None:
    gguf = pytest.importorskip("gguf")
    from blazen.weights.gguf.types import FILE_TYPES, TENSOR_TYPES

    for kind, (block, width) in gguf.GGML_QUANT_SIZES.items():
        assert TENSOR_TYPES[int(kind)] == (kind.name, block, width)
    for kind in gguf.LlamaFileType:
        if kind.name != "GUESSED":
            assert FILE_TYPES[int(kind)] == re.sub("^(MOSTLY|ALL)_", "", kind.name)


@pytest.mark.needs("starter:chat")
def test_a_real_model_reads_as_the_gguf_package_reads_it() -> None:
    gguf = pytest.importorskip("gguf")
    from blazen.weights.starter import starter_path

    path = starter_path("chat")
    file = read_gguf(path)
    assert (file.architecture, file.quantization) == ("llama", "Q4_1")
    assert file.parameters == 134_515_008  # what llama.cpp prints: 134.52 M
    assert (file.context_length, file.block_count) == (8192, 30)
    assert (file.head_count, file.head_count_kv) == (9, 3)
    assert file.chat_template is not None
    assert "<|im_start|>" in file.chat_template
    assert file.tokenizer is not None
    assert file.tokenizer.texts["eos"] == "<|im_end|>"
    assert file.tokenizer.add_bos is False
    assert_agrees(file, gguf.GGUFReader(path))


def assert_agrees(file: GgufFile, reader: Any) -> None:
    """Compare everything with what the ``gguf`` package read."""
    fields = {name: field for name, field in reader.fields.items() if name[:5] != "GGUF."}
    assert list(file.metadata) == list(fields)
    for name, field in fields.items():
        ours = file.metadata[name]
        assert (list(ours) if isinstance(ours, (tuple, GgufArray)) else ours) == field.contents()
    theirs = [
        (t.name, tuple(map(int, t.shape)), t.tensor_type.name, int(t.data_offset), int(t.n_bytes))
        for t in reader.tensors
    ]
    assert [(t.name, t.shape, t.dtype, t.offset, t.nbytes) for t in file.tensors] == theirs
    assert (file.data_offset, file.alignment) == (reader.data_offset, reader.alignment)


@pytest.mark.parametrize(("model", "most"), [("gpt2", 9), ("llama", 9), ("bert", 0), (None, 0)])
def test_how_much_a_token_says_is_known_where_no_text_is_lost(
    tmp_path: Path, model: str | None, most: int
) -> None:
    metadata: dict[str, Any] = {"tokenizer.ggml.tokens": ["a", "ninechars", ""]}
    if model is not None:
        metadata["tokenizer.ggml.model"] = model
    gguf = read_gguf(Maker(metadata).write(tmp_path / "m.gguf"))
    assert longest_token(gguf) == most
    check_room(16, 1, lambda: 9)  # not even looked at
    check_room(17, 1, lambda: 17)
    check_room(10**9, 1, lambda: 0)
    with pytest.raises(ContextLengthError, match="18 characters"):
        check_room(18, 1, lambda: 17)
