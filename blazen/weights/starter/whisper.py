"""Whisper models as whisper.cpp reads them (ggml), made from the files of CTranslate2.

A CTranslate2 ``model.bin`` is a list of named arrays: version (u32), the model's class (string),
revision (u32), the number of variables (u32), then for each its name, rank (u8), shape (u32 each),
type (u8), size in bytes (u32) and data. Aliases follow: their number (u32), two names for each.
A string is its length (u16) and its bytes, ended by a zero. Everything is little-endian.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from blazen.errors import DownloadError, ModelNotFoundError, UnsupportedError, ValidationError
from blazen.extras import need
from blazen.types.progress import OnProgress, Progress
from blazen.types.record import parse_json

_MAGIC = 0x67676D6C
_VERSIONS = (4, 5, 6)  # before 4 there was no type of its own for each variable
_TYPES = {0: "<f4", 4: "<f2"}
_QUANTISED = {1: "int8", 2: "int16", 3: "int32", 5: "bfloat16"}
_MOST_VARIABLES = 1 << 14
_LARGEST_VOCABULARY = 16 << 20
_VOCABULARIES = (51864, 51865, 51866)  # English, many languages, large-v3
_TEXT_TOKENS = 50257  # the rest have a meaning and no text: whisper.cpp names them by itself
_SAMPLE_RATE, _WINDOW = 16000, 400


@dataclass(frozen=True)
class _Variable:
    shape: tuple[int, ...]
    type: int
    offset: int
    size: int


@dataclass(frozen=True)
class _Piece:
    """One tensor of the result: where it comes from, and how it is kept."""

    name: str
    source: str
    shape: tuple[int, ...]
    part: int = 0
    parts: int = 1  # as many tensors of this shape lie in the source, one below the other
    full: bool = False  # float32; else float16
    column: bool = False  # whisper.cpp wants a convolution's bias as a matrix of one column


@dataclass(frozen=True)
class _Sizes:
    vocabulary: int
    audio: int
    text: int
    width: int
    encoder: int
    decoder: int
    mels: int


def convert_whisper(
    model_dir: Path,
    destination: Path,
    *,
    on_progress: OnProgress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Write a Whisper model of CTranslate2 (a folder) as one ggml file for whisper.cpp.

    The folder holds ``model.bin`` with float16 or float32 weights, and ``vocabulary.txt`` or
    ``vocabulary.json``. A conversion that fails or is cancelled (`DownloadError`) leaves no file.
    """
    numpy = need("numpy", extra="starter", what="converting a Whisper model")
    source = model_dir / "model.bin"
    try:
        with source.open("rb") as model:
            variables = _read_index(model, source)
            sizes = _sizes(variables, source)
            pieces = list(_pieces(sizes))
            for piece in pieces:
                _check(piece, variables, source)
            tokens = _read_vocabulary(model_dir)
            with _fresh(destination) as out:
                out.write(_header(sizes))
                out.write(_mel_filters(sizes.mels))
                out.write(_vocabulary(tokens))
                total = sum(_size(piece) for piece in pieces)
                done = 0
                for piece in pieces:
                    if cancelled():
                        raise DownloadError(f"the conversion of {source} was cancelled")
                    _write_piece(numpy, out, piece, model, variables[piece.source])
                    done += _size(piece)
                    if on_progress is not None:
                        on_progress(Progress("convert", done, total, detail=destination.name))
    except FileNotFoundError as error:
        raise ModelNotFoundError(
            f"{model_dir} is no Whisper model of CTranslate2: {error.filename} is not there"
        ) from error
    except OSError as error:
        raise DownloadError(f"can't convert {source} to {destination}: {error}") from error


@contextlib.contextmanager
def _fresh(destination: Path) -> Iterator[BinaryIO]:
    try:
        with destination.open("wb") as out:
            yield out
    except BaseException:
        destination.unlink(missing_ok=True)
        raise


class _Reader:
    """Reads numbers and strings, and never past the end."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self.stream = stream
        self.path = path
        self.end = os.fstat(stream.fileno()).st_size
        self.at = 0

    def number(self, form: str) -> int:
        size = struct.calcsize(f"<{form}")
        value: int = struct.unpack(f"<{form}", self.take(size, "a number"))[0]
        return value

    def string(self) -> str:
        raw = self.take(self.number("H"), "a name")
        try:
            return raw.removesuffix(b"\0").decode("ascii")
        except UnicodeDecodeError as error:
            raise self.broken(f"{raw!r:.80} is no name") from error

    def count(self, what: str) -> int:
        count = self.number("I")
        if count > _MOST_VARIABLES:
            raise self.broken(f"it claims {count} {what}")
        return count

    def take(self, size: int, what: str) -> bytes:
        start = self.at
        self.skip(size, what)
        self.stream.seek(start)
        return self.stream.read(size)

    def skip(self, size: int, what: str) -> None:
        if size > self.end - self.at:
            raise self.broken(
                f"{what} of {size} bytes at byte {self.at} reaches past its end ({self.end} bytes)"
            )
        self.at += size

    def broken(self, why: str) -> ValidationError:
        return ValidationError(f"{self.path} is no whole CTranslate2 model: {why}")


def _read_index(stream: BinaryIO, path: Path) -> dict[str, _Variable]:
    reader = _Reader(stream, path)
    version = reader.number("I")
    if version not in _VERSIONS:
        raise reader.broken(f"its version is {version}, and {_VERSIONS[0]} to {_VERSIONS[-1]} are")
    kind = reader.string()
    if kind != "WhisperSpec":
        raise ValidationError(f"{path} holds a {kind!r:.80}, not a Whisper model")
    reader.number("I")  # the revision of the class, which changed nothing in the arrays
    variables: dict[str, _Variable] = {}
    for _ in range(reader.count("variables")):
        name = reader.string()
        shape = tuple(reader.number("I") for _ in range(reader.number("B")))
        kind_of, size = reader.number("B"), reader.number("I")
        if name in variables:
            raise reader.broken(f"{name!r:.80} is there twice")
        variables[name] = _Variable(shape, kind_of, reader.at, size)
        reader.skip(size, f"{name!r:.80}")
    for _ in range(2 * reader.count("aliases")):
        reader.string()
    return variables


def _sizes(variables: dict[str, _Variable], path: Path) -> _Sizes:
    def shape(name: str, rank: int) -> tuple[int, ...]:
        found = variables[name].shape if name in variables else None
        if found is None or len(found) != rank:
            raise ValidationError(f"{path} is no Whisper model: its {name!r} has the shape {found}")
        return found

    vocabulary, width = shape("decoder/embeddings/weight", 2)
    sizes = _Sizes(
        vocabulary=vocabulary,
        width=width,
        audio=shape("encoder/position_encodings/encodings", 2)[0],
        text=shape("decoder/position_encodings/encodings", 2)[0],
        mels=shape("encoder/conv1/weight", 3)[1],
        encoder=_layers(variables, "encoder"),
        decoder=_layers(variables, "decoder"),
    )
    if vocabulary not in _VOCABULARIES:
        raise UnsupportedError(
            f"{path} has {vocabulary} tokens; whisper.cpp knows models of {_VOCABULARIES}"
        )
    if sizes.mels not in (80, 128) or not width or width % 64 or not sizes.encoder * sizes.decoder:
        raise ValidationError(f"{path} is no Whisper model: {sizes}")
    return sizes


def _layers(variables: dict[str, _Variable], part: str) -> int:
    form = re.compile(rf"{part}/layer_(\d{{1,3}})/")
    return len({match[1] for name in variables if (match := form.match(name))})


def _pieces(sizes: _Sizes) -> Iterator[_Piece]:
    width = sizes.width
    vector, square = (width,), (width, width)

    def norm(name: str, source: str) -> Iterator[_Piece]:
        yield _Piece(f"{name}.weight", f"{source}/gamma", vector, full=True)
        yield _Piece(f"{name}.bias", f"{source}/beta", vector, full=True)

    def linear(name: str, source: str, part: int = 0, parts: int = 1) -> Iterator[_Piece]:
        yield _Piece(f"{name}.weight", f"{source}/weight", square, part, parts)
        if not name.endswith(".key"):  # Whisper's keys have no bias: CTranslate2 keeps zeros
            yield _Piece(f"{name}.bias", f"{source}/bias", vector, part, parts, full=True)

    def layer(name: str, source: str, *, cross: bool) -> Iterator[_Piece]:
        attention = f"{source}/self_attention"
        yield from norm(f"{name}.attn_ln", f"{attention}/layer_norm")
        for part, role in enumerate(("query", "key", "value")):
            yield from linear(f"{name}.attn.{role}", f"{attention}/linear_0", part, 3)
        yield from linear(f"{name}.attn.out", f"{attention}/linear_1")
        if cross:
            attention = f"{source}/attention"
            yield from norm(f"{name}.cross_attn_ln", f"{attention}/layer_norm")
            yield from linear(f"{name}.cross_attn.query", f"{attention}/linear_0")
            yield from linear(f"{name}.cross_attn.key", f"{attention}/linear_1", 0, 2)
            yield from linear(f"{name}.cross_attn.value", f"{attention}/linear_1", 1, 2)
            yield from linear(f"{name}.cross_attn.out", f"{attention}/linear_2")
        inner = 4 * width
        yield from norm(f"{name}.mlp_ln", f"{source}/ffn/layer_norm")
        yield _Piece(f"{name}.mlp.0.weight", f"{source}/ffn/linear_0/weight", (inner, width))
        yield _Piece(f"{name}.mlp.0.bias", f"{source}/ffn/linear_0/bias", (inner,), full=True)
        yield _Piece(f"{name}.mlp.2.weight", f"{source}/ffn/linear_1/weight", (width, inner))
        yield _Piece(f"{name}.mlp.2.bias", f"{source}/ffn/linear_1/bias", vector, full=True)

    positions = "position_encodings/encodings"
    shape = (sizes.audio, width)
    yield _Piece("encoder.positional_embedding", f"encoder/{positions}", shape, full=True)
    for conv, channels in (("conv1", sizes.mels), ("conv2", width)):
        yield _Piece(f"encoder.{conv}.weight", f"encoder/{conv}/weight", (width, channels, 3))
        bias = f"encoder.{conv}.bias"
        yield _Piece(bias, f"encoder/{conv}/bias", vector, full=True, column=True)
    for i in range(sizes.encoder):
        yield from layer(f"encoder.blocks.{i}", f"encoder/layer_{i}", cross=False)
    yield from norm("encoder.ln_post", "encoder/layer_norm")
    shape = (sizes.text, width)
    yield _Piece("decoder.positional_embedding", f"decoder/{positions}", shape, full=True)
    shape = (sizes.vocabulary, width)
    yield _Piece("decoder.token_embedding.weight", "decoder/embeddings/weight", shape)
    for i in range(sizes.decoder):
        yield from layer(f"decoder.blocks.{i}", f"decoder/layer_{i}", cross=True)
    yield from norm("decoder.ln", "decoder/layer_norm")


def _check(piece: _Piece, variables: dict[str, _Variable], path: Path) -> None:
    variable = variables.get(piece.source)
    if variable is None:
        raise ValidationError(f"{path} is no Whisper model: {piece.source!r} is not there")
    if variable.type in _QUANTISED:
        raise UnsupportedError(
            f"{path} is kept as {_QUANTISED[variable.type]}: only float16 and float32 convert"
        )
    if variable.type not in _TYPES:
        raise ValidationError(f"{path}: {piece.source!r} has the unknown type {variable.type}")
    shape, item = variable.shape, int(_TYPES[variable.type][-1])
    needed = (piece.parts * piece.shape[0], *piece.shape[1:])
    if shape != needed:
        raise ValidationError(
            f"{path}: {piece.source!r} has the shape {shape}, and {needed} is needed"
        )
    if math.prod(shape) * item != variable.size:
        raise ValidationError(f"{path}: {piece.source!r} has {variable.size} bytes for {shape}")


def _write_piece(
    numpy: Any, out: BinaryIO, piece: _Piece, model: BinaryIO, variable: _Variable
) -> None:
    kind = numpy.dtype(_TYPES[variable.type])
    size = variable.size // piece.parts
    model.seek(variable.offset + piece.part * size)
    data = numpy.frombuffer(model.read(size), kind)
    shape = (*piece.shape, 1) if piece.column else piece.shape
    name = piece.name.encode("ascii")
    out.write(struct.pack("<3i", len(shape), len(name), 0 if piece.full else 1))
    out.write(struct.pack(f"<{len(shape)}i", *reversed(shape)))
    out.write(name)
    out.write(data.astype("<f4" if piece.full else "<f2", copy=False).data)


def _size(piece: _Piece) -> int:
    return math.prod(piece.shape) * (4 if piece.full else 2)


def _header(sizes: _Sizes) -> bytes:
    heads = sizes.width // 64
    audio = (sizes.audio, sizes.width, heads, sizes.encoder)
    text = (sizes.text, sizes.width, heads, sizes.decoder)
    return struct.pack("<12i", _MAGIC, sizes.vocabulary, *audio, *text, sizes.mels, 1)


def _mel_filters(count: int) -> bytes:
    """Weigh each frequency for each mel band: Slaney's scale and norm, as Whisper was trained."""
    bins = _WINDOW // 2 + 1
    top = _mel(_SAMPLE_RATE / 2)
    edges = [_hertz(top * i / (count + 1)) for i in range(count + 2)]
    weights = []
    for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
        for k in range(bins):
            hertz = k * _SAMPLE_RATE / _WINDOW
            slope = min((hertz - low) / (middle - low), (high - hertz) / (high - middle))
            weights.append(max(0.0, slope) * 2 / (high - low))
    return struct.pack(f"<2i{len(weights)}f", count, bins, *weights)


def _mel(hertz: float) -> float:
    # Slaney's scale is even up to 1,000 Hz, mel 15; from there 27 mels make each factor of 6.4.
    return hertz * 3 / 200 if hertz < 1000 else 15 + math.log(hertz / 1000) * 27 / math.log(6.4)


def _hertz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


def _read_vocabulary(model_dir: Path) -> list[bytes]:
    path = model_dir / "vocabulary.json"
    if not path.exists():
        path = model_dir / "vocabulary.txt"
    if path.stat().st_size > _LARGEST_VOCABULARY:
        raise ValidationError(f"{path} is too large for the vocabulary of a Whisper model")
    raw = path.read_bytes()
    try:
        tokens = parse_json(raw) if path.suffix == ".json" else raw.decode("utf-8").split("\n")
    except ValueError as error:
        raise ValidationError(f"{path} is no vocabulary: {error}") from error
    if not isinstance(tokens, list) or len(tokens) < _TEXT_TOKENS:
        raise ValidationError(f"{path} is no vocabulary of {_TEXT_TOKENS} tokens or more")
    known = _byte_of()
    try:
        return [bytes(known[letter] for letter in token) for token in tokens[:_TEXT_TOKENS]]
    except (KeyError, TypeError) as error:
        raise ValidationError(f"{path} is no vocabulary of byte-level tokens: {error}") from error


def _byte_of() -> dict[str, int]:
    """Undo GPT-2's alphabet, in which every byte is a letter that prints."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(256 + i): b for i, b in enumerate(hidden)}


def _vocabulary(tokens: list[bytes]) -> bytes:
    parts = [struct.pack("<i", len(tokens))]
    parts += [struct.pack("<i", len(token)) + token for token in tokens]
    return b"".join(parts)
