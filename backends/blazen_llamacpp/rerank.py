"""`Reranker` on llama.cpp."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence

from blazen.bridge import Job
from blazen.errors import ValidationError
from blazen.local import LocalBackend
from blazen.options import GgufRerankOptions
from blazen.protocols.rerank import Reranker
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress
from blazen.types.rerank import RerankResponse, RerankUsage, as_documents
from blazen.weights.gguf import GgufFile
from blazen.weights.gguf.pooling import check_reranker, relevance
from blazen_llamacpp.encoder import Encoder, encoder_footprint, open_encoder
from blazen_llamacpp.library import load_library
from blazen_llamacpp.threads import SharedThreads, Threads


class LlamaCppReranker(SharedThreads, LocalBackend[Encoder], Reranker):
    """Scores of a GGUF reranker, which reads the query and a document together."""

    Options = GgufRerankOptions
    engine = "llama_cpp"
    options: GgufRerankOptions

    def __init__(self, options: GgufRerankOptions) -> None:
        super().__init__(options)
        self._threads = Threads(options.threads)

    async def rerank(
        self, query: str, documents: Sequence[str], *, top: int | None = None
    ) -> RerankResponse:
        """Give the documents, the most relevant first; of these the first ``top``."""
        checked = as_documents(query, documents, top)
        return await self._call(_rerank, query, checked, top, self._title())

    def _open(self, job: Job, report: OnProgress) -> Encoder:
        encoder = open_encoder(
            self.options,
            self._threads,
            job,
            report,
            prepare=_check,
            width=lambda model: max(1, int(load_library().llama_model_n_cls_out(model))),
        )
        self._device = encoder.device
        return encoder

    def _footprint(self, job: Job) -> Footprint:
        return encoder_footprint(self.options, job, prepare=_check)

    @staticmethod
    def _close(engine: Encoder) -> None:
        engine.close()


def _check(gguf: GgufFile) -> str:
    check_reranker(gguf)
    return "rank"


def _rerank(
    encoder: Encoder, job: Job, query: str, documents: list[str], top: int | None, title: str
) -> RerankResponse:
    pairs = _Pairs(encoder, query)
    tokens = encoder.tokens(job, documents, "the query with documents", pairs.tokenize)
    scores = [relevance(encoder.gguf, float(row[0])) for row in encoder.read(job, tokens)]
    usage = RerankUsage(sum(map(len, tokens)))
    return RerankResponse.of(documents, scores, top=top, model=title, usage=usage)


class _Pairs:
    """How a query and a document become one text, in the way of llama.cpp's own server."""

    def __init__(self, encoder: Encoder, query: str) -> None:
        self._vocabulary = encoder.vocabulary
        self._library = library = load_library()
        pointer = self._vocabulary.pointer
        template = encoder.gguf.chat_templates.get("rerank")
        self._query = query
        self._template = template
        if template is not None:
            return
        eos, sep = library.llama_vocab_eos(pointer), library.llama_vocab_sep(pointer)
        end = [eos if eos >= 0 else sep] if library.llama_vocab_get_add_eos(pointer) else []
        between = [sep] if library.llama_vocab_get_add_sep(pointer) else []
        start = [self._vocabulary.bos] if self._vocabulary.adds_bos else []
        self._start = [*start, *self._plain(query), *end, *between]
        self._end = end

    def tokenize(self, document: str) -> list[int]:
        if self._template is None:
            return [*self._start, *self._plain(document), *self._end]
        texts = {"query": self._query, "document": document}
        # In one go: braces in the texts themselves are no places to fill in.
        text = re.sub(r"\{(query|document)\}", lambda place: texts[place[1]], self._template)
        return self._vocabulary.tokenize(text)

    def _plain(self, text: str) -> list[int]:
        """Give the tokens of a text in which marks such as ``[SEP]`` are letters like any other."""
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise ValidationError(f"the text holds half a character: {error}") from error
        room = len(data) + 8
        tokens = (ctypes.c_int32 * room)()
        count = self._library.llama_tokenize(
            self._vocabulary.pointer, data, len(data), tokens, room, False, False
        )
        return tokens[:count]
