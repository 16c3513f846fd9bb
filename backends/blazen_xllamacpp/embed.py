"""`EmbeddingModel` on llama.cpp's server engine."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

from blazen.bridge import Job
from blazen.errors import InferenceError, ValidationError
from blazen.local import FixedThreads, LocalBackend
from blazen.options import GgufEmbedOptions
from blazen.protocols.embedding import EmbeddingModel
from blazen.types.embedding import EmbeddingResponse, EmbeddingUsage, Vectors, as_texts
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress
from blazen.weights.gguf import GgufFile
from blazen.weights.gguf.pooling import choose_pooling
from blazen_xllamacpp.encoder import Encoder, Group, check_answer, encoder_footprint, open_encoder


class XllamaCppEmbedding(FixedThreads, LocalBackend[Encoder], EmbeddingModel):
    """Vectors of a GGUF model: an embedding model, or a chat model that is told how to pool."""

    Options = GgufEmbedOptions
    engine = "xllamacpp"
    options: GgufEmbedOptions

    async def embed(self, texts: str | Sequence[str]) -> EmbeddingResponse:
        """Give a vector for each text, in order; one that is too long is refused, never cut."""
        return await self._call(_embed, as_texts(texts), self._title())

    async def embed_ids(self, rows: Sequence[Sequence[int]]) -> EmbeddingResponse:
        """Give a vector for each list of token ids, which are of the model's own vocabulary.

        They are read as they are: the marks that the model wants around a text are for the caller.
        """
        if not rows:
            raise ValidationError("there is nothing to embed: the list of token ids is empty")
        return await self._call(_embed_ids, rows, self._title())

    def _open(self, job: Job, report: OnProgress) -> Encoder:
        encoder = open_encoder(
            self.options,
            job,
            report,
            take_threads=self._take_threads,
            prepare=lambda gguf: choose_pooling(gguf, self.options.pooling),
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
    return _answer(
        encoder, encoder.read(job, texts, "texts", lambda group: _ask(encoder, group)), title
    )


def _embed_ids(
    encoder: Encoder, job: Job, rows: Sequence[Sequence[int]], title: str
) -> EmbeddingResponse:
    return _answer(encoder, encoder.read_ids(job, rows, lambda group: _ask(encoder, group)), title)


def _answer(encoder: Encoder, found: Group[bytes], title: str) -> EmbeddingResponse:
    dimensions = len(found.rows[0]) // 4
    vectors = Vectors(b"".join(found.rows), dimensions)
    for index, vector in enumerate(vectors):
        if not math.isfinite(sum(vector)):  # one that is no number makes the sum none
            raise InferenceError(
                f"{encoder.gguf.path.name} gave no numbers for text {index} of {len(vectors)}: its "
                "weights are broken, or too coarsely quantised"
            )
    return EmbeddingResponse(vectors, title, EmbeddingUsage(found.tokens))


def _ask(encoder: Encoder, texts: Sequence[Any]) -> Group[bytes]:
    entry: Any = list(texts)
    if entry == [""]:
        entry = _empty(encoder.gguf)
    request = {"input": entry, "encoding_format": "base64"}
    answer = check_answer(encoder.server.handle_embeddings(request))
    rows = sorted(answer["data"], key=lambda row: int(row["index"]))
    return Group(
        [base64.b64decode(row["embedding"]) for row in rows], answer["usage"]["prompt_tokens"]
    )


def _empty(gguf: GgufFile) -> Any:
    """Give the empty text as the engine takes it: with one token at least."""
    tokenizer = gguf.tokenizer
    if tokenizer is None or tokenizer.model in ("bert", "t5"):
        return [""]  # it gets its marks
    start = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    return [""] if start is None else [[start]]
