"""A model that is read from and writes nothing: many texts in one pass, a few numbers for each."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from blazen.bridge import Job
from blazen.errors import InferenceError, LoadError
from blazen.hardware import Device
from blazen.options import GgufEmbedOptions, GgufRerankOptions
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress
from blazen.weights.gguf import GgufFile
from blazen.weights.gguf.placement import place_gguf
from blazen.weights.gguf.pooling import POOLINGS, too_long
from blazen.weights.gguf_encoders import find_encoder
from blazen.weights.gguf_footprint import gguf_footprint
from blazen_llamacpp.library import captured_errors, load_library, words
from blazen_llamacpp.loading import explained_build, open_context, open_model, supported_devices
from blazen_llamacpp.size import OVERHEAD
from blazen_llamacpp.stopping import Stopper
from blazen_llamacpp.threads import Threads
from blazen_llamacpp.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy

BATCH = 512
"""Tokens that are read in one pass, texts together; a longer text has a pass of its own."""

SEQUENCES = 32
"""Texts that are read in one pass, at the most."""

_ABORTED = 2


class Encoder:
    """A loaded model with the context that its texts are read in."""

    def __init__(
        self,
        model: Any,
        gguf: GgufFile,
        *,
        device: Device,
        pooling: str,
        limit: int,
        width: int,
        threads: Threads,
    ) -> None:
        self.gguf = gguf
        self.device = device
        self.limit = limit
        """How many tokens a text may have."""
        self.vocabulary = Vocabulary(model)
        self._model = model
        self._width = width
        self._pooling = POOLINGS.index(pooling)
        self._threads = threads
        self._stopper = Stopper()
        self._context: Any = None
        self._room = 0
        self._memory: Any = None
        self._open(BATCH)
        library = load_library()
        self._pass = (
            library.llama_encode if library.llama_model_has_encoder(model) else library.llama_decode
        )

    def close(self) -> None:
        """Give all memory back."""
        library = load_library()
        if self._context is not None:
            library.llama_free(self._context)
        library.llama_model_free(self._model)
        self._context = self._model = None

    def tokens(
        self, job: Job, texts: Sequence[str], name: str, tokenize: Callable[[str], Sequence[int]]
    ) -> list[array[int]]:
        """Give the tokens of each text; one that is too long is refused before any work."""
        found = []
        for index, text in enumerate(texts):
            check_going_on(job)
            # Lists of Python's numbers would take nine times the memory.
            row = array("i", tokenize(text))
            if not row:  # the empty text, of a model that puts no marks around one
                vocabulary = self.vocabulary
                row.append(vocabulary.bos if vocabulary.bos >= 0 else vocabulary.eos)
            if len(row) > self.limit:
                raise too_long(f"{name}[{index}]", len(row), self.limit)
            found.append(row)
        return found

    def read(self, job: Job, texts: Sequence[array[int]]) -> numpy.ndarray[Any, Any]:
        """Give the model's numbers for each text, a row each, in order."""
        import numpy

        rows = numpy.empty((len(texts), self._width), "float32")
        if self._context is None:  # there was no memory for it, after a text that was too long
            self._open(BATCH)
        # Short ones first: the longest need a larger context, which is made once and then freed.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        try:
            self._stopper.watch(self._context, job)
            for batch in _batches(order, texts):
                check_going_on(job)
                rows[batch] = self._run(job, [texts[index] for index in batch])
        finally:
            if self._room != BATCH:
                self._open(BATCH)
        wrong = numpy.flatnonzero(~numpy.isfinite(rows).all(axis=1))
        if wrong.size:
            raise InferenceError(
                f"{self.gguf.path.name} gave no numbers for text {wrong[0]} of {len(texts)}: its "
                "weights are broken, or too coarsely quantised"
            )
        return rows

    def _run(self, job: Job, texts: Sequence[array[int]]) -> numpy.ndarray[Any, Any]:
        import numpy

        library = load_library()
        self._make_room(sum(map(len, texts)))
        if self._memory:
            library.llama_memory_clear(self._memory, False)
        batch = _Batch(texts)
        self._threads.apply(self._context)
        with captured_errors() as errors:
            result = self._pass(self._context, batch.struct)
        if result == _ABORTED or job.cancelled:
            raise _stopped()
        if result != 0:
            raise InferenceError(
                f"llama.cpp could not read {len(texts)} texts of {batch.struct.n_tokens} tokens "
                f"together (code {result}): {words(errors)}"
            )
        rows = numpy.empty((len(texts), self._width), "float32")
        for index in range(len(texts)):
            found = library.llama_get_embeddings_seq(self._context, index)
            if not found:
                raise InferenceError(f"llama.cpp gave no vector for text {index} of its batch")
            rows[index] = numpy.ctypeslib.as_array(found, (self._width,))
        return rows

    def _make_room(self, tokens: int) -> None:
        """Have a context for so many tokens in one pass: a text can't be read in pieces."""
        if tokens <= self._room:
            return
        room = BATCH
        while room < tokens:
            room *= 2
        try:
            self._open(room)
        except LoadError as error:
            raise InferenceError(
                f"there is no memory to read {tokens} tokens in one pass: split the text"
            ) from error

    def _open(self, room: int) -> None:
        library = load_library()
        if self._context is not None:
            library.llama_free(self._context)
        self._context, self._room = None, 0
        self._context = open_context(
            self._model,
            self.gguf.path,
            n_ctx=room,
            n_batch=room,
            n_ubatch=room,
            n_seq_max=SEQUENCES,
            n_threads=self._threads.now,
            n_threads_batch=self._threads.now,
            embeddings=True,
            pooling_type=self._pooling,
            kv_unified=True,
            offload_kqv=self.device != Device.Cpu,
            op_offload=self.device != Device.Cpu,
            no_perf=True,
        )
        self._room = room
        self._memory = library.llama_get_memory(self._context)
        self._stopper.ask(self._context)


class _Batch:
    """Texts side by side, as llama.cpp takes them; the arrays live as long as this object."""

    def __init__(self, texts: Sequence[array[int]]) -> None:
        import numpy

        lengths = [len(text) for text in texts]
        total = sum(lengths)
        tokens = numpy.concatenate([numpy.frombuffer(text, "int32") for text in texts])
        places = numpy.concatenate([numpy.arange(n, dtype="int32") for n in lengths])
        sequences = numpy.arange(len(texts), dtype="int32")
        addresses = sequences.ctypes.data + 4 * numpy.repeat(sequences, lengths).astype("uintp")
        ones = numpy.ones(total, "int32")
        outputs = numpy.ones(total, "int8")
        self._kept = (tokens, places, sequences, addresses, ones, outputs)
        self.struct = load_library().llama_batch(total)
        for name, values in (
            ("token", tokens),
            ("pos", places),
            ("n_seq_id", ones),
            ("seq_id", addresses),
            ("logits", outputs),
        ):
            kind = dict(self.struct._fields_)[name]
            setattr(self.struct, name, ctypes.cast(values.ctypes.data, kind))


def open_encoder(
    options: GgufEmbedOptions | GgufRerankOptions,
    threads: Threads,
    job: Job,
    report: OnProgress,
    *,
    prepare: Callable[[GgufFile], str],
    width: Callable[[Any], int],
) -> Encoder:
    """Fetch and load a model; ``prepare`` checks its header and says how it pools."""
    gguf, pooling, limit = find_encoder(options, job, report, prepare=prepare)
    threads.settle()
    with explained_build():
        placement = place_gguf(
            gguf,
            device=options.device,
            gpu_layers=options.gpu_layers,
            supported=supported_devices(),
            context_length=BATCH,
            batch=BATCH,
        )
    model = open_model(
        gguf.path,
        device=placement.device,
        gpu_layers=placement.gpu_layers,
        report=report,
        cancelled=lambda: job.cancelled,
    )
    try:
        return Encoder(
            model,
            gguf,
            device=placement.device,
            pooling=pooling,
            limit=limit,
            width=width(model),
            threads=threads,
        )
    except BaseException:
        load_library().llama_model_free(model)
        raise


def encoder_footprint(
    options: GgufEmbedOptions | GgufRerankOptions, job: Job, *, prepare: Callable[[GgufFile], str]
) -> Footprint:
    """Say what a model takes for texts that are read in one pass together.

    A longer one has a pass of its own, and more memory while that lasts.
    """
    gguf, _, _ = find_encoder(options, job, lambda progress: None, prepare=prepare)
    with explained_build():
        return gguf_footprint(
            gguf,
            device=options.device,
            gpu_layers=options.gpu_layers,
            supported=supported_devices(),
            overhead=OVERHEAD,
            reads=BATCH,
            context_length=BATCH,
            batch=BATCH,
        )


def check_going_on(job: Job) -> None:
    """Stop where the caller has gone."""
    if job.cancelled:
        raise _stopped()


def _stopped() -> InferenceError:
    return InferenceError("the request was stopped")


def _batches(order: Sequence[int], texts: Sequence[array[int]]) -> Iterator[list[int]]:
    batch: list[int] = []
    tokens = 0
    for index in order:
        size = len(texts[index])
        if batch and (tokens + size > BATCH or len(batch) == SEQUENCES):
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += size
    if batch:
        yield batch
