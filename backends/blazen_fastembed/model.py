"""`EmbeddingModel` on fastembed."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen.bridge import Job
from blazen.errors import InferenceError, LoadError, UnsupportedError
from blazen.hardware import Device, choose_device, thread_budget
from blazen.local import LocalBackend
from blazen.options import EmbedOptions
from blazen.protocols.embedding import EmbeddingModel
from blazen.types.embedding import EmbeddingResponse, EmbeddingUsage, Vectors, as_texts
from blazen.types.progress import OnProgress, Progress
from blazen.weights.locate import locate
from blazen_fastembed.folders import check_folder, describe_folder
from blazen_fastembed.names import known_model

if TYPE_CHECKING:
    from fastembed import TextEmbedding


class FastEmbedModel(LocalBackend["TextEmbedding"], EmbeddingModel):
    """Dense text embeddings: a model that fastembed knows, or any folder with an ONNX file."""

    Options = EmbedOptions
    engine = "fastembed"
    options: EmbedOptions

    async def embed(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give a vector for each text, in order; a text that is too long loses its end."""
        checked = as_texts(texts)
        return await self._call(_embed, checked, self.options.max_batch_size, self._title())

    def _open(self, job: Job, report: OnProgress) -> TextEmbedding:
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
                threads=thread_budget(self.options.threads),
                providers=_providers(self._device),
                specific_model_path=str(folder),
            )
        except Exception as error:
            raise LoadError(f"ONNX Runtime could not load {folder}: {error}") from error
        self._expect_device(embedding.model.model.get_providers())
        if self.options.max_length is not None:
            embedding.model.tokenizer.enable_truncation(max_length=self.options.max_length)
        report(Progress("load", 1, 1, unit="models", detail=name))
        return embedding

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
    embedding: TextEmbedding, job: Job, texts: list[str], batch_size: int, title: str
) -> EmbeddingResponse:
    import numpy

    rows: list[Any] = []
    tokens = truncated = 0
    for start in range(0, len(texts), batch_size):
        if job.cancelled:
            raise InferenceError("the embedding was stopped")
        batch = texts[start : start + batch_size]
        for encoding in embedding.model.tokenize(batch):
            tokens += sum(encoding.attention_mask)
            truncated += bool(encoding.overflowing)
        rows.extend(embedding.embed(batch, batch_size=batch_size))
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
