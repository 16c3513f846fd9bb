"""What is to be loaded, and what its files say about it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blazen.chat.template import ChatTemplate
from blazen.errors import UnsupportedError, ValidationError
from blazen.options import MistralRsOptions
from blazen.types.progress import OnProgress
from blazen.weights.gguf import read_gguf
from blazen.weights.gguf_files import list_gguf, locate_gguf
from blazen.weights.locate import locate, split_parts
from blazen.weights.quantization import Quantization
from blazen.weights.target import Target

_log = logging.getLogger("blazen.mistralrs")

_FOLDER_FILES = ("*.json", "*.jinja", "*.safetensors", "*.model")
_CONTROL = 3
_SLOW = ("Q4_1", "Q5_0", "Q5_1")
"""Types for which the engine has no vector code: on a CPU they take five times as long as Q8_0."""
_IN_SITU = {
    "Q8_0": "Q8_0",
    "Q6_K": "Q6K",
    "Q5_1": "Q5_1",
    "Q5_0": "Q5_0",
    "Q4_1": "Q4_1",
    "Q4_0": "Q4_0",
    "Q5_K": "Q5K",
    "Q4_K": "Q4K",
    "Q3_K": "Q3K",
    "Q2_K": "Q2K",
}
_SEES = ("vision_config", "vision_tower", "visual", "image_token_id", "image_token_index")


@dataclass(frozen=True)
class Source:
    """A model's files, and what requests depend on."""

    path: Path
    template: ChatTemplate | None = None
    bos: str = ""
    bos_id: int | None = None
    adds_bos: bool | None = None
    """Whether the model wants a BOS in front of every text; ``None``: the tokenizer decides."""
    eos_id: int | None = None
    control: frozenset[str] = field(default=frozenset(), repr=False)
    """Marks that the engine leaves out of what it hands over."""
    vocabulary: int | None = None
    longest: int | None = None
    """The longest context that the model knows."""
    sees: bool = False
    """Whether it takes images."""
    in_situ: str | None = None
    """As what the weights are stored anew while they load."""
    dtype: str | None = None

    def which(self) -> Any:
        """Name the model for the engine."""
        import mistralrs

        which: Any = mistralrs.Which
        if self.path.is_file():
            parts = split_parts(self.path.name) or [self.path.name]
            return which.GGUF(
                quantized_model_id=str(self.path.parent),
                quantized_filename=parts if len(parts) > 1 else parts[0],
            )
        kind = which.MultimodalPlain if self.sees else which.Plain
        dtype = getattr(mistralrs.ModelDType, self.dtype or "Auto")
        return kind(model_id=str(self.path), dtype=dtype)


def find_source(
    options: MistralRsOptions, report: OnProgress, cancelled: Callable[[], bool], *, on_cpu: bool
) -> Source:
    """Bring a model's files here and read what they say; what the engine gets wrong is refused."""
    target = Target.parse(options.model_id)
    named = options.file or target.file or ""

    def find(patterns: Sequence[str] | None = None) -> Path:
        return locate(
            options.model_id,
            file=options.file,
            patterns=patterns,
            cache_dir=options.cache_dir,
            on_progress=report,
            cancelled=cancelled,
        )

    path = None if target.source == "hub" else find()
    is_file = named.lower().endswith(".gguf") if path is None else path.is_file()
    if is_file or list_gguf(options.model_id, cache_dir=options.cache_dir, cancelled=cancelled):
        path = locate_gguf(
            options.model_id,
            file=options.file,
            quantization=options.quantization,
            memory_budget=options.memory_budget,
            context_length=options.context_length,
            parallel=options.parallel,
            device=options.device,
            cache_dir=options.cache_dir,
            on_progress=report,
            cancelled=cancelled,
        )
        # Other weights are larger: with a budget they stay as they are.
        quick = on_cpu and options.memory_budget is None
        return read_gguf_source(path, options.chat_template, quick=quick)
    if options.memory_budget is not None:
        raise UnsupportedError(
            "memory_budget picks among GGUF files, and there is none: use 'quantization'"
        )
    if path is None:
        if options.file is not None:
            raise UnsupportedError(
                f"file={options.file!r} names a GGUF file, and {target} has none: leave it out"
            )
        path = find(_FOLDER_FILES)
    return read_folder(path, options.chat_template, options.quantization)


def read_gguf_source(path: Path, template: str | None, *, quick: bool) -> Source:
    """Read what a GGUF file says; ``quick`` has weights stored anew that a CPU is slow at."""
    gguf = read_gguf(path)
    tokenizer = gguf.tokenizer
    kind = tokenizer.model if tokenizer else "none"
    if tokenizer is None or kind != "gpt2":
        # It takes SentencePiece's scores for those of a Unigram model, and splits words wrongly.
        raise UnsupportedError(
            f"mistral.rs reads the tokenizer of {path.name} wrongly (its kind is {kind!r}), and "
            "the model would talk nonsense: load it with Model.llamacpp or Model.xllamacpp"
        )
    written = template if template is not None else gguf.chat_template
    types = gguf.metadata.get("tokenizer.ggml.token_type", ())
    tokens = gguf.metadata.get("tokenizer.ggml.tokens", ())
    bos, eos = tokenizer.texts.get("bos", ""), tokenizer.texts.get("eos", "")
    slow = quick and gguf.quantization in _SLOW
    if slow:
        _log.info("%s is %s, which is slow here: it becomes Q8_0", path.name, gguf.quantization)
    return Source(
        path,
        template=_template(written, bos, eos, path.name),
        bos=bos,
        bos_id=tokenizer.bos_id,
        adds_bos=tokenizer.add_bos,
        eos_id=tokenizer.eos_id,
        control=frozenset(
            str(text) for text, what in zip(tokens, types, strict=False) if what == _CONTROL
        ),
        vocabulary=tokenizer.vocab_size,
        longest=gguf.context_length,
        in_situ="Q8_0" if slow else None,
    )


def read_folder(
    path: Path, template: str | None, quantization: Quantization | str | None = None
) -> Source:
    """Read what a folder of safetensors says."""
    config = _read_json(path / "config.json")
    tokenizer = _read_json(path / "tokenizer.json")
    settings = _read_json(path / "tokenizer_config.json") if _has(path, "tokenizer_config") else {}
    text = config.get("text_config") or config
    bos, eos = _token_text(settings.get("bos_token")), _token_text(settings.get("eos_token"))
    added = [token for token in tokenizer.get("added_tokens") or () if isinstance(token, dict)]
    ids = {str(token.get("content")): token.get("id") for token in added}
    if template is None:
        template = _folder_template(path, settings)
    in_situ, dtype = _stored(quantization)
    return Source(
        path,
        template=_template(template, bos, eos, path.name),
        bos=bos,
        bos_id=ids.get(bos),
        eos_id=ids.get(eos),
        control=frozenset(str(token.get("content")) for token in added if token.get("special")),
        vocabulary=text.get("vocab_size"),
        longest=text.get("max_position_embeddings"),
        sees=any(key in config for key in _SEES),
        in_situ=in_situ,
        dtype=dtype,
    )


def _stored(quantization: Quantization | str | None) -> tuple[str | None, str | None]:
    """Give the engine's name for what weights become as they load, or for how they stay."""
    if quantization is None:
        return None, None
    name = Quantization.of(quantization).value
    if name in ("F32", "F16", "BF16"):
        return None, name
    in_situ = _IN_SITU.get(name) or _IN_SITU.get(name.rpartition("_")[0])
    if in_situ is None:
        raise UnsupportedError(
            f"mistral.rs can't store weights as {name} while it loads them: ask for one of "
            f"{', '.join(_IN_SITU)}, F32, F16 or BF16"
        )
    return in_situ, None


def _template(source: str | None, bos: str, eos: str, name: str) -> ChatTemplate | None:
    return None if source is None else ChatTemplate(source, bos=bos, eos=eos, name=name)


def _folder_template(path: Path, settings: dict[str, Any]) -> str | None:
    separate = path / "chat_template.jinja"
    if separate.is_file():
        return separate.read_text("utf-8")
    written = settings.get("chat_template")
    if isinstance(written, list):  # several, each with its name
        named = {entry.get("name"): entry.get("template") for entry in written}
        written = named.get("default")
    return written if isinstance(written, str) else None


def _token_text(value: Any) -> str:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""


def _has(path: Path, name: str) -> bool:
    return (path / f"{name}.json").is_file()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ValidationError(
            f"{path.parent} has no {path.name}: mistral.rs loads a GGUF file, or a folder with "
            "config.json, tokenizer.json and safetensors"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValidationError(f"{path} can't be read: {error}") from error
    if not isinstance(value, dict):
        raise ValidationError(f"{path} holds no JSON object")
    return value
