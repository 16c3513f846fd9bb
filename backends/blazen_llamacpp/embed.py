"""`EmbeddingModel` on llama.cpp."""

from __future__ import annotations

from collections.abc import Sequence

from blazen.bridge import Job
from blazen.local import LocalBackend
from blazen.options import GgufEmbedOptions
from blazen.protocols.embedding import EmbeddingModel
from blazen.types.embedding import EmbeddingResponse, EmbeddingUsage, Vectors, as_texts
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress
from blazen.weights.gguf.pooling import choose_pooling
from blazen_llamacpp.encoder import Encoder, encoder_footprint, open_encoder
from blazen_llamacpp.library import load_library
from blazen_llamacpp.threads import SharedThreads, Threads


class LlamaCppEmbedding(SharedThreads, LocalBackend[Encoder], EmbeddingModel):
    """Vectors of a GGUF model: an embedding model, or a chat model that is told how to pool."""

    Options = GgufEmbedOptions
    engine = "llama_cpp"
    options: GgufEmbedOptions

    def __init__(self, options: GgufEmbedOptions) -> None:
        super().__init__(options)
        self._threads = Threads(options.threads)

    async def embed(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give a vector for each text, in order; one that is too long is refused, never cut."""
        return await self._call(_embed, as_texts(texts), self._title())

    def _open(self, job: Job, report: OnProgress) -> Encoder:
        encoder = open_encoder(
            self.options,
            self._threads,
            job,
            report,
            prepare=lambda gguf: choose_pooling(gguf, self.options.pooling),
            width=lambda model: int(load_library().llama_model_n_embd_out(model)),
        )
        self._device = encoder.device
        return encoder

    def _footprint(self, job: Job) -> Footprint:
        return encoder_footprint(
            self.options, job, prepare=lambda gguf: choose_pooling(gguf, self.options.pooling)
        )

    @staticmethod
    def _close(engine: Encoder) -> None:
        engine.close()


def _embed(encoder: Encoder, job: Job, texts: list[str], title: str) -> EmbeddingResponse:
    import numpy

    tokens = encoder.tokens(
        job, texts, "texts", lambda text: encoder.vocabulary.tokenize(text, frame=True)
    )
    rows = encoder.read(job, tokens)
    lengths = numpy.linalg.norm(rows, axis=1, keepdims=True)
    rows /= numpy.where(lengths > 0, lengths, 1)
    usage = EmbeddingUsage(sum(map(len, tokens)))
    return EmbeddingResponse(Vectors.of(rows), title, usage)
