"""`SparseEmbeddingModel` on fastembed: BM25, SPLADE and what lies between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blazen.bridge import Job
from blazen.checks import unknown_name
from blazen.errors import InferenceError, UnsupportedError, ValidationError
from blazen.hardware import Device
from blazen.options.retrieval import SparseOptions
from blazen.protocols.sparse import SparseEmbeddingModel
from blazen.types.embedding import EmbeddingUsage, as_texts
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress
from blazen.types.sparse import SparseEmbeddingResponse, SparseVectors
from blazen_fastembed.characters import check_texts
from blazen_fastembed.folders import read_json
from blazen_fastembed.offered import Found, check_files, known_row
from blazen_fastembed.opening import OfferedBackend
from blazen_fastembed.room import groups, limit_tokens, measure
from blazen_fastembed.size import Limits, Shape

BM25 = "Qdrant/bm25"
_MINICOIL = "Qdrant/minicoil-v1"
_BM42 = "Qdrant/bm42-all-minilm-l6-v2-attentions"
_SPLADE = "prithivida/Splade_PP_en_v1"
_IF_SPLADE = "opensearch-project/opensearch-neural-sparse-encoding-doc-v3-gte"

_BM25_BYTES = 80 << 20
"""fastembed, what it imports, and lists of words: 72 MiB were measured."""


@dataclass
class Engine:
    """A loaded model, and what its sums take."""

    model: Any
    needs_rarity: bool
    limits: Limits
    text_bytes: Callable[[int], int] | None
    """What a text of so many tokens takes; ``None`` where no network reads it."""
    expands: bool
    """Whether it is SPLADE, which weighs every word of its vocabulary."""


class FastEmbedSparse(OfferedBackend[Engine], SparseEmbeddingModel):
    """Sparse text embeddings: a model that fastembed knows, or a folder built like one."""

    Options = SparseOptions
    options: SparseOptions

    async def embed_sparse(self, texts: str | Sequence[str]) -> SparseEmbeddingResponse:
        """Give a sparse vector for each text, in order; one that is too long loses its end."""
        return await self._call(_embed, as_texts(texts), False, self._title())

    async def embed_sparse_query(self, texts: str | Sequence[str]) -> SparseEmbeddingResponse:
        """Give a sparse vector for each text that is searched with, in order."""
        return await self._call(_embed, as_texts(texts), True, self._title())

    def _offer(self) -> Any:
        from fastembed import SparseTextEmbedding

        return SparseTextEmbedding

    def _like(self, folder: Path) -> str:
        has_onnx = any(folder.glob("*.onnx")) or any(folder.glob("onnx/*.onnx"))
        if not has_onnx and (folder / f"{self._language}.txt").is_file():
            return BM25
        for file, name in (
            ("minicoil.triplet.model.npy", _MINICOIL),
            ("idf.json", _IF_SPLADE),
            ("stopwords.txt", _BM42),
        ):
            if (folder / file).is_file():
                return name
        return _SPLADE

    @property
    def _language(self) -> str:
        return self.options.language or "english"

    def _find(self, job: Job, report: OnProgress) -> Found:
        rows = self._offer().list_supported_models()
        row = known_row(rows, self.options.model_name)
        if row is not None and row["model"] == BM25 and self.options.stop_words is not None:
            # There is nothing to fetch: all that it reads from files is the list of stop words.
            return Found(BM25, Path(__file__).parent, "", row)
        return super()._find(job, report)

    def _opened(self, found: Found) -> Any:
        settings = {
            "language": self.options.language,
            "avg_len": self.options.average_length,
            "k": self.options.k,
            "b": self.options.b,
        }
        settings = {name: value for name, value in settings.items() if value is not None}
        taken = {BM25: {"language", "avg_len", "k", "b"}, _MINICOIL: {"avg_len", "k", "b"}}
        odd = set(settings) - taken.get(found.name, set())
        if self.options.stop_words is not None and found.name != BM25:
            odd.add("stop_words")
        if self.options.max_length is not None and found.name == BM25:
            odd.add("max_length")
        if odd:
            names = ", ".join(sorted(odd)).replace("avg_len", "average_length")
            raise UnsupportedError(f"{found.name} has no use for {names}: leave it out")
        if found.name == BM25:
            return self._words(found, settings)
        if found.name == _MINICOIL:
            model = super()._opened(found)
            for name, value in settings.items():
                setattr(model, name, value)
            return model
        return super()._opened(found)

    def _words(self, found: Found, settings: dict[str, Any]) -> Any:
        from fastembed.sparse.bm25 import supported_languages

        if self._language not in supported_languages:
            raise ValidationError(unknown_name("language", self._language, supported_languages))
        if self._device != Device.Cpu:
            raise UnsupportedError(f"{found.name} runs on the CPU only: there is no network in it")
        stop_words = self.options.stop_words
        if stop_words is None and self._language != "tamil":  # which has no list
            name = f"{self._language}.txt"
            check_files(found.folder, [name])
            # fastembed reads it in the encoding of the machine, whatever that is.
            stop_words = (found.folder / name).read_text("utf-8").splitlines()
        self._take_threads()
        folder = str(found.folder)
        model = self._offer()(
            found.name, cache_dir=folder, specific_model_path=folder, **settings
        ).model
        model.stopwords = {word.lower() for word in stop_words or ()}
        return model

    def _prepared(self, model: Any, found: Found) -> Engine:
        needs_rarity = bool(found.description.get("requires_idf"))
        limits = self._limits(self._device)
        if found.name == BM25:
            return Engine(model, needs_rarity, limits, None, expands=False)
        limit_tokens([model.tokenizer], self.options.max_length, 0, self._title())
        words = model.tokenizer.get_vocab_size()
        sizes = _text_bytes(found, words)
        return Engine(model, needs_rarity, limits, sizes, expands=found.name == _SPLADE)

    def _footprint(self, job: Job) -> Footprint | None:
        found = self._find(job, lambda progress: None)
        if found.name == BM25:
            return Footprint(resident={"cpu": _BM25_BYTES})
        return super()._footprint(job)

    def _work(self, found: Found) -> int:
        shape = Shape.of(found.folder, self.options.max_length)
        words = read_json(found.folder / "config.json").get("vocab_size")
        if not isinstance(words, int):
            words = found.description.get("vocab_size") or 30522
        return self._text_work(shape.longest, _text_bytes(found, int(words)))


def _text_bytes(found: Found, words: int) -> Callable[[int], int]:
    shape = Shape.of(found.folder)
    # A number for each word of the vocabulary at each token: what comes out outweighs all else.
    # One text's is copied, and memory for it grows in steps; for the last fastembed makes two more.
    outputs = {_SPLADE: 2, _IF_SPLADE: 4}.get(found.name, 0) * words * 4

    def text_bytes(tokens: int) -> int:
        return shape.text_bytes(tokens) + outputs * tokens

    return text_bytes


def _embed(
    engine: Engine, job: Job, texts: list[str], is_query: bool, title: str
) -> SparseEmbeddingResponse:
    if engine.text_bytes is None:
        lengths, truncated = _count_words(engine.model, texts, job), 0
    else:
        lengths, truncated = measure(engine.model.tokenizer, texts, job)
    rows: list[Any] = [None] * len(texts)
    for group in groups(lengths, engine.limits, engine.text_bytes or _no_bytes, job):
        batch = [texts[place] for place in group]
        if engine.expands:
            found = _expanded(engine.model, batch)
        elif is_query:
            found = list(engine.model.query_embed(batch))
        else:
            found = list(engine.model.embed(batch, batch_size=len(batch)))
        for place, row in zip(group, found, strict=True):
            rows[place] = row
    return SparseEmbeddingResponse(
        _vectors(rows),
        model=title,
        usage=EmbeddingUsage(sum(lengths), truncated),
        needs_rarity=engine.needs_rarity,
    )


def _count_words(model: Any, texts: list[str], job: Job) -> list[int]:
    check_texts(texts)
    lengths = []
    for text in texts:
        if job.cancelled:
            raise InferenceError("the request was stopped")
        lengths.append(int(model.token_count(text)))
    return lengths


def _no_bytes(tokens: int) -> int:
    return 0


def _expanded(model: Any, texts: list[str]) -> list[Any]:
    """Weigh the words as SPLADE does: the logarithm of the best of all tokens.

    The logarithm keeps the order, so it is taken once for each word and not for each word of each
    token, as fastembed does: that needs four times the memory.
    """
    import numpy
    from fastembed import SparseEmbedding

    output = model.onnx_embed(texts)
    rows = []
    for logits, mask in zip(output.model_output, output.attention_mask, strict=True):
        best = logits.max(axis=0) if mask.all() else logits[mask == 1].max(axis=0)
        weights = numpy.log1p(numpy.maximum(best, 0))
        indices = weights.nonzero()[0]
        rows.append(SparseEmbedding(values=weights[indices], indices=indices))
    return rows


def _vectors(rows: list[Any]) -> SparseVectors:
    import numpy

    ordered = [_in_order(row) for row in rows]
    offsets = numpy.zeros(len(rows) + 1, dtype="int64")
    numpy.cumsum([len(indices) for indices, _ in ordered], out=offsets[1:])
    weights = numpy.concatenate([values for _, values in ordered])
    if not numpy.isfinite(weights).all():
        raise InferenceError("the model gave numbers that are not finite: its weights are broken")
    return SparseVectors(numpy.concatenate([indices for indices, _ in ordered]), weights, offsets)


def _in_order(row: Any) -> tuple[Any, Any]:
    import numpy

    indices, places = numpy.unique(row.indices, return_inverse=True)
    values = numpy.zeros(len(indices), dtype="float32")
    # In miniCOIL two words may share an index.
    numpy.add.at(values, places, row.values.astype("float32"))
    return indices.astype("uint32"), values
