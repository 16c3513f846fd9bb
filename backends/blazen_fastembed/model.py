"""`EmbeddingModel` on fastembed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen.bridge import Job
from blazen.errors import InferenceError, LoadError, UnsupportedError
from blazen.hardware import Device, choose_device
from blazen.local import FixedThreads, LocalBackend
from blazen.options import EmbedOptions
from blazen.protocols.embedding import EmbeddingModel
from blazen.types.embedding import EmbeddingResponse, EmbeddingUsage, Vectors, as_texts
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress, Progress
from blazen.weights.locate import locate
from blazen_fastembed.folders import check_folder, describe_folder
from blazen_fastembed.names import known_model
from blazen_fastembed.size import Shape, folder_footprint

if TYPE_CHECKING:
    from fastembed import TextEmbedding


@dataclass
class Engine:
    """A loaded model, and what its sums take."""

    embedding: TextEmbedding
    shape: Shape


class FastEmbedModel(FixedThreads, LocalBackend[Engine], EmbeddingModel):
    """Dense text embeddings: a model that fastembed knows, or any folder with an ONNX file."""

    Options = EmbedOptions
    engine = "fastembed"
    options: EmbedOptions

    async def embed(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give a vector for each text, in order; a text that is too long loses its end."""
        checked = as_texts(texts)
        return await self._call(_embed, checked, self.options.max_batch_size, self._title())

    def _open(self, job: Job, report: OnProgress) -> Engine:
        import fastembed
        import onnxruntime

        self._device = choose_device(
            self.options.device, supported=_supported(onnxruntime.get_available_providers())
        )
        name, folder = self._fetch(job, report)
        report(Progress("load", 0, 1, unit="models", detail=name))
        try:
            embedding = fastembed.TextEmbedding(
                name,
                threads=self._take_threads(),
                providers=_providers(self._device),
                specific_model_path=str(folder),
            )
        except Exception as error:
            raise LoadError(f"ONNX Runtime could not load {folder}: {error}") from error
        self._expect_device(embedding.model.model.get_providers())
        if self.options.max_length is not None:
            embedding.model.tokenizer.enable_truncation(max_length=self.options.max_length)
        report(Progress("load", 1, 1, unit="models", detail=name))
        return Engine(embedding, Shape.of(folder))

    def _footprint(self, job: Job) -> Footprint | None:
        import onnxruntime

        supported = _supported(onnxruntime.get_available_providers())
        if choose_device(self.options.device, supported=supported) != Device.Cpu:
            return None  # cuDNN takes what it likes; nothing was measured there
        _, folder = self._fetch(job, lambda progress: None)
        return folder_footprint(folder, self.options.max_batch_size, self.options.max_length)

    def _fetch(self, job: Job, report: OnProgress) -> tuple[str, Path]:
        """Give the name that fastembed knows the model by, and the folder that holds it."""
        target: str | PathLike[str] = self.options.model_name
        known = known_model(str(target))
        patterns: list[str] | None = None
        if known is not None:
            if self.options.pooling is not None:
                raise UnsupportedError(
                    f"fastembed knows how {known.name} pools: leave pooling= out, or give a folder"
                )
            target = f"hf:{known.repository}"
            patterns = [*known.files, "*.json", "*.txt"]
        folder = locate(
            target,
            patterns=patterns,
            cache_dir=self.options.cache_dir,
            on_progress=report,
            cancelled=lambda: job.cancelled,
        )
        if known is not None:
            return known.name, folder
        check_folder(folder)
        return describe_folder(folder, self.options.pooling), folder

    def _expect_device(self, providers: list[str]) -> None:
        # ONNX Runtime takes the CPU without a word when the GPU that was asked for fails to start.
        if self._device != Device.Cpu and providers[0] == "CPUExecutionProvider":
            raise UnsupportedError(
                f"{self._device} was asked for, but ONNX Runtime started on the CPU: its GPU "
                "package needs CUDA and cuDNN libraries that it finds"
            )


def _embed(
    engine: Engine, job: Job, texts: list[str], batch_size: int, title: str
) -> EmbeddingResponse:
    import numpy

    embedding, rows = engine.embedding, list[Any]()
    tokens = truncated = 0
    for start in range(0, len(texts), batch_size):
        if job.cancelled:
            raise InferenceError("the embedding was stopped")
        batch = texts[start : start + batch_size]
        longest = 0
        for encoding in embedding.model.tokenize(batch):
            longest = max(longest, len(encoding.ids))
            tokens += sum(encoding.attention_mask)
            truncated += bool(encoding.overflowing)
        at_once = min(batch_size, engine.shape.texts_of_a_pass(longest))
        rows.extend(embedding.embed(batch, batch_size=at_once))
    return EmbeddingResponse(
        Vectors.of(numpy.asarray(rows, dtype="float32")),
        model=title,
        usage=EmbeddingUsage(tokens, truncated),
    )


def _supported(providers: list[str]) -> list[str]:
    return ["cpu", "cuda"] if "CUDAExecutionProvider" in providers else ["cpu"]


def _providers(device: Device) -> list[Any]:
    if device == Device.Cpu:
        return ["CPUExecutionProvider"]
    return [("CUDAExecutionProvider", {"device_id": device.index or 0}), "CPUExecutionProvider"]
