"""`EmbeddingModel` on fastembed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from blazen import bridge
from blazen.bridge import Job
from blazen.errors import LoadError, UnsupportedError
from blazen.hardware import Device, choose_device
from blazen.local import FixedThreads, LocalBackend
from blazen.onnx import expect_device, providers, supported_devices
from blazen.options import EmbedOptions
from blazen.protocols.embedding import WINDOW, EmbeddingModel, stream
from blazen.types.embedding import EmbeddingResponse, EmbeddingStream, as_texts
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress, Progress
from blazen.types.windows import Texts
from blazen_fastembed.encoder import Encoder
from blazen_fastembed.folders import declared_length
from blazen_fastembed.names import Weights, find_weights
from blazen_fastembed.passes import Ask, Line
from blazen_fastembed.pooling import Pooling
from blazen_fastembed.prefixes import Prefixes, prefixes_of
from blazen_fastembed.room import limit_tokens
from blazen_fastembed.size import Limits, Shape, folder_footprint

log = logging.getLogger("blazen")


class FastEmbedModel(FixedThreads, LocalBackend[Encoder], EmbeddingModel):
    """Dense text embeddings: a model that fastembed knows, or any folder with an ONNX file."""

    Options = EmbedOptions
    engine = "fastembed"
    options: EmbedOptions

    def __init__(self, options: EmbedOptions) -> None:
        super().__init__(options)
        self._line = Line()

    async def embed(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give a vector for each text, in order; calls that come together are read together."""
        answer = await self._answer(as_texts(texts), query=False)
        self._warn(answer)
        return answer

    async def embed_query(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give the vector of what is searched with, with the prefix that the model wants there."""
        answer = await self._answer(as_texts(texts), query=True)
        self._warn(answer)
        return answer

    def embed_stream(self, texts: Texts, *, window: int = WINDOW) -> EmbeddingStream:
        """Embed texts from any source, ``window`` of them at a time, in order."""
        warned = False

        async def embed(some: list[str]) -> EmbeddingResponse:
            nonlocal warned
            answer = await self._answer(some, query=False)
            warned = warned or self._warn(answer)
            return answer

        return stream(embed, texts, window)

    async def _answer(self, texts: list[str], *, query: bool) -> EmbeddingResponse:
        ask = Ask(texts, query=query)
        self._line.join(ask)
        try:
            job = await self._submitted(Job, Line.serve, self._line, ask)
            # Another caller's pass may bring the answer long before the job's turn comes.
            job.future.add_done_callback(ask.over)
            try:
                return await bridge.wait(ask.future)
            except asyncio.CancelledError:
                ask.gone = True
                await bridge.stop(job)
                raise
        except BaseException:
            self._line.leave(ask)
            raise

    def _warn(self, answer: EmbeddingResponse) -> bool:
        usage, recipe = answer.usage, answer.recipe
        if usage is None or recipe is None or not usage.truncated:
            return False
        log.warning(
            "%s: %d of %d texts had more than %s tokens and lost their end; long_texts='average' "
            "reads them whole",
            self._title(),
            usage.truncated,
            len(answer.embeddings),
            recipe.max_length,
        )
        return True

    def _open(self, job: Job, report: OnProgress) -> Encoder:
        import fastembed

        self._device = choose_device(self.options.device, supported=supported_devices())
        weights = find_weights(self.options, job, report)
        report(Progress("load", 0, 1, unit="models", detail=weights.name))
        threads = self._take_threads()
        kind: dict[str, Any] = {"threads": threads, "providers": providers(self._device)}
        if weights.is_static:
            if self._device != Device.Cpu:
                raise UnsupportedError(f"{weights.name} runs on the CPU only: it has no network")
            kind = {}
        try:
            model = fastembed.TextEmbedding(
                weights.name,
                # It would make a folder among the temporary files, but for this.
                cache_dir=str(weights.folder),
                specific_model_path=str(weights.folder),
                **kind,
            ).model
        except Exception as error:
            raise LoadError(f"ONNX Runtime could not load {weights.folder}: {error}") from error
        if not weights.is_static:
            expect_device(model.model, self._device)
        encoder = self._encoder(model, weights, threads)
        report(Progress("load", 1, 1, unit="models", detail=weights.name))
        return encoder

    def _encoder(self, model: Any, weights: Weights, threads: int) -> Encoder:
        options, folder, pooling = self.options, weights.folder, None
        if not weights.is_known:
            pooling = Pooling.of(folder, model.model.get_outputs(), options.pooling)
        published = prefixes_of(weights.called, folder)
        query, passage = options.query_prefix, options.passage_prefix
        limit_tokens([model.tokenizer], options.max_length, 0, self._title())
        declared = None if weights.is_known else declared_length(folder)
        truncation = model.tokenizer.truncation
        if options.max_length is None and declared and declared < truncation["max_length"]:
            model.tokenizer.enable_truncation(declared, direction=truncation["direction"])
        return Encoder(
            model,
            title=self._title(),
            file=weights.file,
            shape=Shape.of(folder),
            limits=Limits.of(self._device, threads, options.max_batch_size),
            prefixes=Prefixes(
                published.query if query is None else query,
                published.passage if passage is None else passage,
            ),
            pooling=pooling,
            long_texts=options.long_texts,
            threads=threads,
        )

    def _footprint(self, job: Job) -> Footprint | None:
        if choose_device(self.options.device, supported=supported_devices()) != Device.Cpu:
            return None  # cuDNN takes what it likes; nothing was measured there
        weights = find_weights(self.options, job, lambda progress: None)
        limits = Limits.of(Device.Cpu, self.threads, self.options.max_batch_size)
        longest = self.options.max_length or declared_length(weights.folder)
        return folder_footprint(weights, limits, longest)
