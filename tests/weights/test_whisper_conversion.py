"""Whisper from CTranslate2 to ggml: a small made-up model, the real one, and hostile files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blazen.errors import (
    BlazenError,
    DownloadError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.types.progress import Progress
from blazen.weights.cache import hash_file
from blazen.weights.starter import starter_path, starters
from blazen.weights.starter.whisper import convert_whisper

np = pytest.importorskip("numpy")

INSTALLED = {row.name: row.installed for row in starters()}
WIDTH, MELS, AUDIO, TEXT, VOCABULARY = 64, 80, 6, 4, 51864
TYPES = {"float32": 0, "float16": 4}

Array = "np.ndarray"


def needs(name: str) -> None:
    if not INSTALLED[name]:
        pytest.skip(f"the package of starter:{name} is not installed")


def arrays(dtype: str = "float16", layers: tuple[int, int] = (1, 2)) -> dict[str, Array]:
    """Make the variables of a Whisper model that is small but for its vocabulary."""
    rng = np.random.default_rng(7)
    made: dict[str, Array] = {}

    def put(name: str, *shape: int) -> None:
        made[name] = rng.standard_normal(shape).astype(dtype)

    def linear(name: str, rows: int, columns: int = WIDTH) -> None:
        put(f"{name}/weight", rows, columns)
        put(f"{name}/bias", rows)

    def norm(name: str) -> None:
        put(f"{name}/gamma", WIDTH)
        put(f"{name}/beta", WIDTH)

    put("decoder/embeddings/weight", VOCABULARY, WIDTH)
    put("decoder/position_encodings/encodings", TEXT, WIDTH)
    put("encoder/position_encodings/encodings", AUDIO, WIDTH)
    for conv, channels in (("conv1", MELS), ("conv2", WIDTH)):
        put(f"encoder/{conv}/weight", WIDTH, channels, 3)
        put(f"encoder/{conv}/bias", WIDTH)
    for part, count in zip(("encoder", "decoder"), layers, strict=True):
        norm(f"{part}/layer_norm")
        for i in range(count):
            layer = f"{part}/layer_{i}"
            norm(f"{layer}/self_attention/layer_norm")
            linear(f"{layer}/self_attention/linear_0", 3 * WIDTH)
            linear(f"{layer}/self_attention/linear_1", WIDTH)
            if part == "decoder":
                norm(f"{layer}/attention/layer_norm")
                linear(f"{layer}/attention/linear_0", WIDTH)
                linear(f"{layer}/attention/linear_1", 2 * WIDTH)
                linear(f"{layer}/attention/linear_2", WIDTH)
            norm(f"{layer}/ffn/layer_norm")
            linear(f"{layer}/ffn/linear_0", 4 * WIDTH)
            linear(f"{layer}/ffn/linear_1", WIDTH, 4 * WIDTH)
    made["encoder/num_heads"] = np.array(1, "int16")
    return made


def string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def variable(name: str, shape: tuple[int, ...], kind: int, data: bytes) -> bytes:
    dims = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    return string(name) + dims + struct.pack("<BI", kind, len(data)) + data


def pack(variables: dict[str, Array], *, version: int = 6, spec: str = "WhisperSpec") -> bytes:
    head = struct.pack("<I", version) + string(spec) + struct.pack("<II", 3, len(variables))
    body = [
        variable(name, array.shape, TYPES.get(array.dtype.name, 2), array.tobytes())
        for name, array in variables.items()
    ]
    alias = string("decoder/projection/weight") + string("decoder/embeddings/weight")
    return head + b"".join(body) + struct.pack("<I", 1) + alias


def letters() -> list[str]:
    """Tokens in GPT-2's alphabet: space is Ġ, newline is Ċ."""
    return ["!", "Ġthe", "Ċ", "Ã©", ""] + [f"t{i}" for i in range(VOCABULARY - 5)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a model that converts; tests that spoil it work on copies."""
    folder = tmp_path_factory.mktemp("whisper")
    (folder / "model.bin").write_bytes(pack(arrays()))
    (folder / "vocabulary.txt").write_text("\n".join(letters()), encoding="utf-8")
    return folder


def spoiled(tmp_path: Path, model: bytes, vocabulary: str | None = None) -> Path:
    (tmp_path / "model.bin").write_bytes(model)
    text = "\n".join(letters()) if vocabulary is None else vocabulary
    (tmp_path / "vocabulary.txt").write_text(text, encoding="utf-8")
    return tmp_path


class Ggml:
    """Reads a ggml file to its last byte, as whisper.cpp does."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.at = 0
        self.header = self.take("12i")
        mels, bins = self.take("2i")
        self.filters = np.array(self.take(f"{mels * bins}f")).reshape(mels, bins)
        self.tokens = [self.bytes(self.take("i")[0]) for _ in range(self.take("i")[0])]
        self.tensors: dict[str, Array] = {}
        while self.at < len(self.data):
            rank, length, kind = self.take("3i")
            shape = self.take(f"{rank}i")[::-1]
            name = self.bytes(length).decode()
            assert name not in self.tensors
            dtype = np.dtype({0: "<f4", 1: "<f2"}[kind])
            raw = self.bytes(int(np.prod(shape)) * dtype.itemsize)
            self.tensors[name] = np.frombuffer(raw, dtype).reshape(shape)

    def take(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.bytes(struct.calcsize(f"<{form}")))

    def bytes(self, size: int) -> bytes:
        self.at += size
        assert self.at <= len(self.data)
        return self.data[self.at - size : self.at]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_tensor_is_where_whisper_cpp_looks_for_it(tmp_path: Path, dtype: str) -> None:
    source = arrays(dtype)
    out = tmp_path / "out.bin"
    convert_whisper(spoiled(tmp_path, pack(source)), out)
    made = Ggml(out)
    assert made.header == (0x67676D6C, VOCABULARY, AUDIO, 64, 1, 1, TEXT, 64, 1, 2, MELS, 1)
    # 15 tensors in an encoder's layer, 24 in a decoder's; 7 around the encoder, 4 the decoder.
    assert len(made.tensors) == 1 * 15 + 2 * 24 + 7 + 4
    fused = source["decoder/layer_1/self_attention/linear_0/weight"]
    cross = source["decoder/layer_1/attention/linear_1/weight"]
    expected = {
        "encoder.conv1.weight": source["encoder/conv1/weight"],
        "encoder.conv1.bias": source["encoder/conv1/bias"][:, None],
        "encoder.positional_embedding": source["encoder/position_encodings/encodings"],
        "encoder.ln_post.weight": source["encoder/layer_norm/gamma"],
        "encoder.blocks.0.mlp.2.weight": source["encoder/layer_0/ffn/linear_1/weight"],
        "decoder.token_embedding.weight": source["decoder/embeddings/weight"],
        "decoder.ln.bias": source["decoder/layer_norm/beta"],
        "decoder.blocks.1.attn.query.weight": fused[:64],
        "decoder.blocks.1.attn.key.weight": fused[64:128],
        "decoder.blocks.1.attn.value.weight": fused[128:],
        "decoder.blocks.1.attn.value.bias": source["decoder/layer_1/self_attention/linear_0/bias"][
            128:
        ],
        "decoder.blocks.1.attn.out.weight": source[
            "decoder/layer_1/self_attention/linear_1/weight"
        ],
        "decoder.blocks.1.cross_attn.query.bias": source["decoder/layer_1/attention/linear_0/bias"],
        "decoder.blocks.1.cross_attn.key.weight": cross[:64],
        "decoder.blocks.1.cross_attn.value.weight": cross[64:],
        "decoder.blocks.1.cross_attn.out.weight": source[
            "decoder/layer_1/attention/linear_2/weight"
        ],
        "decoder.blocks.1.cross_attn_ln.weight": source[
            "decoder/layer_1/attention/layer_norm/gamma"
        ],
        "decoder.blocks.1.mlp_ln.bias": source["decoder/layer_1/ffn/layer_norm/beta"],
    }
    for name, array in expected.items():
        found = made.tensors[name]
        assert found.shape == array.shape, name
        assert np.array_equal(found, array.astype(found.dtype)), name
    for name, tensor in made.tensors.items():
        full = tensor.ndim == 1 or name.endswith((".bias", "positional_embedding"))
        assert tensor.dtype == ("<f4" if full else "<f2"), name
    assert not any(name.endswith("key.bias") for name in made.tensors)


def test_tokens_become_the_bytes_they_stand_for(whole: Path, tmp_path: Path) -> None:
    convert_whisper(whole, tmp_path / "out.bin")
    tokens = Ggml(tmp_path / "out.bin").tokens
    assert tokens[:6] == [b"!", b" the", b"\n", "é".encode(), b"", b"t0"]
    assert len(tokens) == 50257


def test_a_vocabulary_in_json_gives_the_same(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.bin").symlink_to(whole / "model.bin")
    (folder / "vocabulary.json").write_text(json.dumps(letters()), encoding="utf-8")
    convert_whisper(whole, tmp_path / "a.bin")
    convert_whisper(folder, tmp_path / "b.bin")
    assert hash_file(tmp_path / "a.bin") == hash_file(tmp_path / "b.bin")


def test_the_mel_filters_are_triangles_of_equal_area(whole: Path, tmp_path: Path) -> None:
    convert_whisper(whole, tmp_path / "out.bin")
    filters = Ggml(tmp_path / "out.bin").filters
    assert filters.shape == (80, 201)
    assert (filters >= 0).all()
    peaks = filters.argmax(axis=1) * 40
    assert (np.diff(peaks) >= 0).all()
    assert 0 < peaks[0] < 100
    assert 7500 < peaks[-1] < 8000
    # Slaney's norm: each band has area 1 over the frequencies; wide bands show it best.
    assert filters[60:].sum(axis=1) * 40 == pytest.approx(np.ones(20), rel=0.02)
    # Slaney's scale: even below 1,000 Hz, growing above.
    assert peaks[20] - peaks[10] == pytest.approx(10 * 37.2, abs=40)
    assert peaks[79] - peaks[69] > 3 * (peaks[20] - peaks[10])


def test_progress_rises_to_its_end(whole: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    convert_whisper(whole, tmp_path / "out.bin", on_progress=told.append)
    done = [progress.done for progress in told]
    assert done == sorted(done)
    assert {progress.total for progress in told} == {done[-1]}
    assert {progress.stage for progress in told} == {"convert"}


def test_cancelling_leaves_no_file(whole: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    with pytest.raises(DownloadError, match="was cancelled"):
        convert_whisper(
            whole,
            tmp_path / "out.bin",
            on_progress=told.append,
            cancelled=lambda: len(told) == 3,
        )
    assert len(told) == 3
    assert list(tmp_path.iterdir()) == []


# What is no such model


@pytest.mark.parametrize("gone", ["model.bin", "vocabulary.txt"])
def test_a_missing_file_is_named(tmp_path: Path, whole: Path, gone: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in {"model.bin", "vocabulary.txt"} - {gone}:
        (folder / name).symlink_to(whole / name)
    with pytest.raises(ModelNotFoundError, match=f"{gone} is not there"):
        convert_whisper(folder, tmp_path / "out.bin")
    assert not (tmp_path / "out.bin").exists()


def test_a_place_that_can_not_be_written_says_so(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="can't convert"):
        convert_whisper(whole, tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x06", id="one byte"),
        pytest.param(b"GGUF" + bytes(200), id="another format"),
        pytest.param(struct.pack("<IH", 6, 65535) + b"Whisper", id="a name past the end"),
        pytest.param(
            struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, 2**32 - 1),
            id="too many variables",
        ),
        pytest.param(
            struct.pack("<I", 6)
            + string("WhisperSpec")
            + struct.pack("<II", 3, 1)
            + string("a")
            + struct.pack("<BI", 255, 9),
            id="a rank past the end",
        ),
        pytest.param(
            struct.pack("<I", 6)
            + string("WhisperSpec")
            + struct.pack("<II", 3, 1)
            + string("a")
            + struct.pack("<BIIBI", 2, 2**32 - 1, 2**32 - 1, 4, 2**32 - 1),
            id="data past the end",
        ),
        pytest.param(
            struct.pack("<I", 6) + struct.pack("<H", 3) + b"\xff\xfe\0" + bytes(64),
            id="a name that is no text",
        ),
        pytest.param(pack({}), id="nothing inside"),
        pytest.param(
            struct.pack("<I", 6)
            + string("WhisperSpec")
            + struct.pack("<III", 3, 0, 2**32 - 1)
            + bytes(1 << 20),
            id="too many aliases",
        ),
        pytest.param(pack({}, spec="TransformerSpec"), id="another kind of model"),
        pytest.param(pack({}, version=3), id="an old version"),
        pytest.param(pack({}, version=2**31), id="a version to come"),
    ],
)
def test_a_hostile_file_is_refused(tmp_path: Path, model: bytes) -> None:
    folder = spoiled(tmp_path, model)
    with pytest.raises(ValidationError, match=r"model\.bin"):
        convert_whisper(folder, tmp_path / "out.bin")
    assert not (tmp_path / "out.bin").exists()


def test_every_truncation_is_refused(whole: Path, tmp_path: Path) -> None:
    model = (whole / "model.bin").read_bytes()
    end = len(model)
    cuts = [*range(end - 120, end, 7), end - 1, *range(200, end, end // 50), *range(0, 120, 7)]
    folder = spoiled(tmp_path, model)
    for cut in sorted(cuts, reverse=True):
        with (folder / "model.bin").open("rb+") as file:
            file.truncate(cut)
        with pytest.raises(ValidationError):
            convert_whisper(folder, tmp_path / "out.bin")
    assert not (tmp_path / "out.bin").exists()


def with_change(name: str, array: Array | None) -> bytes:
    source = arrays()
    if array is None:
        del source[name]
    else:
        source[name] = array
    return pack(source)


@pytest.mark.parametrize(
    ("name", "array", "error", "message"),
    [
        ("encoder/layer_norm/beta", None, ValidationError, "is not there"),
        ("decoder/embeddings/weight", None, ValidationError, "has the shape None"),
        (
            "decoder/layer_0/ffn/linear_0/weight",
            np.zeros((64, 256), "f2"),
            ValidationError,
            r"\(64, 256\), and \(256, 64\) is needed",
        ),
        (
            "encoder/layer_0/self_attention/linear_0/bias",
            np.zeros(191, "f2"),
            ValidationError,
            r"\(191,\), and \(192,\)",
        ),
        (
            "decoder/embeddings/weight",
            np.zeros((1000, 64), "f2"),
            UnsupportedError,
            "has 1000 tokens",
        ),
        ("decoder/embeddings/weight", np.zeros((51864, 1), "f2"), ValidationError, "no Whisper"),
        ("encoder/conv1/weight", np.zeros((64, 7, 3), "f2"), ValidationError, "mels=7"),
        ("encoder/conv1/weight", np.zeros((64, 80), "f2"), ValidationError, r"shape \(64, 80\)"),
        ("encoder/conv1/bias", np.zeros(64, "i2"), UnsupportedError, "kept as int16"),
    ],
)
def test_a_model_of_another_shape_is_refused(
    tmp_path: Path, name: str, array: Array | None, error: type[Exception], message: str
) -> None:
    folder = spoiled(tmp_path, with_change(name, array))
    with pytest.raises(error, match=message):
        convert_whisper(folder, tmp_path / "out.bin")
    assert not (tmp_path / "out.bin").exists()


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    one = variable("a", (1,), 4, b"\0\0")
    head = struct.pack("<I", 6) + string("WhisperSpec") + struct.pack("<II", 3, 2)
    with pytest.raises(ValidationError, match="'a' is there twice"):
        convert_whisper(spoiled(tmp_path, head + one + one), tmp_path / "out.bin")


def test_a_size_that_does_not_fit_the_shape_is_refused(whole: Path, tmp_path: Path) -> None:
    model = (whole / "model.bin").read_bytes()
    name = string("encoder/conv2/bias")
    right = variable("encoder/conv2/bias", (64,), 4, b"")[: -len(struct.pack("<I", 0))]
    at = model.index(right) + len(right)
    size = struct.unpack_from("<I", model, at)[0]
    assert size == 128
    assert name in right
    wrong = model[:at] + struct.pack("<I", 126) + model[at + 4 : at + 4 + 126] + model[at + 132 :]
    with pytest.raises(ValidationError, match="126 bytes"):
        convert_whisper(spoiled(tmp_path, wrong), tmp_path / "out.bin")


@pytest.mark.parametrize(
    "vocabulary",
    [
        pytest.param("", id="empty"),
        pytest.param("\n".join(letters()[:50256]), id="one token short"),
        pytest.param("\n".join(["日", *letters()]), id="a letter that stands for no byte"),
    ],
)
def test_a_broken_vocabulary_is_refused(tmp_path: Path, whole: Path, vocabulary: str) -> None:
    folder = spoiled(tmp_path, (whole / "model.bin").read_bytes(), vocabulary)
    with pytest.raises(ValidationError, match=r"vocabulary\.txt is no vocabulary"):
        convert_whisper(folder, tmp_path / "out.bin")
    assert not (tmp_path / "out.bin").exists()


@pytest.mark.parametrize("content", ["{", "{}", "3", "[1, 2]", json.dumps([1] * 51864)])
def test_a_broken_json_vocabulary_is_refused(tmp_path: Path, whole: Path, content: str) -> None:
    (tmp_path / "model.bin").symlink_to(whole / "model.bin")
    (tmp_path / "vocabulary.json").write_text(content)
    with pytest.raises(ValidationError, match=r"vocabulary\.json is no vocabulary"):
        convert_whisper(tmp_path, tmp_path / "out.bin")


def test_a_vocabulary_that_is_no_text_or_too_large_is_refused(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "model.bin").symlink_to(whole / "model.bin")
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(b"\xff\xfe" * 60000)
    with pytest.raises(ValidationError, match="is no vocabulary"):
        convert_whisper(tmp_path, tmp_path / "out.bin")
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValidationError, match="too large"):
        convert_whisper(tmp_path, tmp_path / "out.bin")


@pytest.fixture(scope="module")
def marks(whole: Path) -> list[int]:
    """Where lengths are kept: at the beginning, and at the name before each array."""
    model = (whole / "model.bin").read_bytes()
    return [0, *(model.index(string(name)) for name in arrays())]


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_change_of_a_byte_gets_past_our_errors(
    whole: Path, marks: list[int], tmp_path: Path, data: st.DataObject
) -> None:
    path = tmp_path / "model.bin"
    if not path.exists():
        spoiled(tmp_path, (whole / "model.bin").read_bytes(), "too short")
    at = data.draw(st.sampled_from(marks)) + data.draw(st.integers(0, 60))
    with path.open("rb+", buffering=0) as file:
        file.seek(at)
        before = file.read(4)
        file.seek(at)
        file.write(data.draw(st.binary(min_size=4, max_size=4)))
        try:
            with pytest.raises(BlazenError):
                convert_whisper(tmp_path, tmp_path / "out.bin")
        finally:
            file.seek(at)
            file.write(before)


# The real one


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("transcribe")
    return starter_path("transcribe", cache_dir=tmp_path_factory.mktemp("cache"))


def test_the_real_model_converts_to_the_same_bytes_everywhere(tiny: Path) -> None:
    assert hash_file(tiny) == "6cc52ac538c7a75040509534e1be7aba9dba4d160611cabc8bfc40071b549b93"


def test_the_real_model_has_all_parts(tiny: Path) -> None:
    made = Ggml(tiny)
    assert made.header == (0x67676D6C, 51864, 1500, 384, 6, 4, 448, 384, 6, 4, 80, 1)
    assert len(made.tensors) == 4 * 15 + 4 * 24 + 11
    assert made.tokens[262] == b" the"
    assert made.tokens[50256] == b"<|endoftext|>"


# "The quick brown fox jumps over the lazy dog.", as the phonemes that the voice was trained on.
PHONEMES = (
    "41 59 3 23 35 120 74 23 3 15 88 120 14 100 26 3 19 120 51 122 23 31 3 17 108 120 102 25 28 "
    "31 3 121 27 100 34 60 3 41 59 3 24 120 18 74 38 21 3 17 120 51 122 66 10"
)


def test_whisper_cpp_hears_speech_with_it(tiny: Path, tmp_path: Path) -> None:
    whisper = pytest.importorskip("pywhispercpp.model")
    onnxruntime = pytest.importorskip("onnxruntime")
    needs("speak")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    voice = onnxruntime.InferenceSession(
        str(starter_path("speak", cache_dir=tmp_path)), options, providers=["CPUExecutionProvider"]
    )
    ids = [1, 0, *(n for p in PHONEMES.split() for n in (int(p), 0)), 2]
    (spoken,) = voice.run(
        None,
        {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([0.0, 1.0, 0.0], np.float32),  # no noise: the same each time
        },
    )
    samples = spoken.reshape(-1)
    times = np.arange(int(len(samples) * 16000 / 22050)) * 22050 / 16000
    audio = np.interp(times, np.arange(len(samples)), samples).astype(np.float32)
    model = whisper.Model(
        str(tiny), n_threads=1, redirect_whispercpp_logs_to=None, print_progress=False
    )
    heard = " ".join(segment.text for segment in model.transcribe(audio))
    assert heard.strip() == "The quick brown fox jumps over the lazy dog."
