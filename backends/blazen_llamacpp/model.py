"""`Model` on llama.cpp, which reads and writes for several requests in each step."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from blazen.bridge import Job, StreamJob
from blazen.errors import UnsupportedError
from blazen.local import LocalBackend
from blazen.options import LlamaCppOptions, LoraAdapter
from blazen.protocols.model import Model
from blazen.types.chat import Messages
from blazen.types.completion import CompletionOptions, InferenceChunk, InferenceChunkStream
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress
from blazen_llamacpp.line import Change
from blazen_llamacpp.loading import apply_adapters, close_adapters
from blazen_llamacpp.opening import Loaded, open_adapters, open_loaded
from blazen_llamacpp.prompts import check_length, check_request, plan_request
from blazen_llamacpp.request import Request
from blazen_llamacpp.sampling import Sampler
from blazen_llamacpp.size import loaded_footprint
from blazen_llamacpp.threads import SharedThreads, Threads


class LlamaCppModel(SharedThreads, LocalBackend[Loaded], Model):
    """A GGUF model answered by llama.cpp; requests that come at once are answered at once.

    What a request leaves unset is llama.cpp's own default: temperature 0.8, top_k 40, top_p 0.95,
    min_p 0.05, no penalties.
    """

    Options = LlamaCppOptions
    engine = "llama_cpp"
    options: LlamaCppOptions

    def __init__(self, options: LlamaCppOptions) -> None:
        super().__init__(options)
        self._threads = Threads(options.threads)
        if options.projector is not None:
            raise UnsupportedError(
                "the 'llamacpp' backend sees no images: leave projector out, or use 'xllamacpp'"
            )

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> InferenceChunkStream:
        """Answer piece by piece: await the stream, enter it, or read it at once."""
        asked, wanted = time.monotonic(), CompletionOptions.of(options)
        given = check_request(messages, wanted)
        return InferenceChunkStream(
            lambda: self._source(_answer, given, wanted, asked), wanted.response_format
        )

    async def set_adapters(self, adapters: Sequence[LoraAdapter | str | PathLike[str]]) -> None:
        """Use these LoRA adapters and no others, once the requests in flight have ended."""
        wanted = [a if isinstance(a, LoraAdapter) else LoraAdapter(a) for a in adapters]
        await self._call(_set_adapters, wanted, self.options.cache_dir)

    def _width(self) -> int:
        return self.options.parallel

    def _open(self, job: Job, report: OnProgress) -> Loaded:
        loaded = open_loaded(
            self.options, self._title(), self._threads, report, lambda: job.cancelled
        )
        self._device = loaded.device
        return loaded

    def _footprint(self, job: Job) -> Footprint:
        return loaded_footprint(self.options, lambda: job.cancelled)

    @staticmethod
    def _close(engine: Loaded) -> None:
        engine.close()


def _answer(
    loaded: Loaded,
    job: StreamJob[InferenceChunk],
    messages: Messages,
    options: CompletionOptions,
    asked: float,
) -> None:
    engine = loaded.engine
    vocabulary = engine.vocabulary
    limit = engine.context_length
    plan, tokens = plan_request(messages, options, loaded.template, vocabulary, loaded.name, limit)
    check_length(tokens, limit)
    sampler = Sampler(
        vocabulary,
        options,
        grammar=plan.grammar,
        lazy_grammar=plan.lazy_grammar,
        triggers=plan.triggers,
    )
    request = Request(
        tokens,
        sampler,
        plan.reader(),
        job,
        asked=asked,
        max_tokens=options.max_tokens,
        logprobs=options.logprobs,
    )
    try:
        engine.answer(request)
    finally:
        sampler.close()


def _set_adapters(
    loaded: Loaded, job: Job, wanted: list[LoraAdapter], cache_dir: str | PathLike[str] | None
) -> None:
    unused = open_adapters(loaded.model, wanted, cache_dir)

    def swap() -> None:
        nonlocal unused
        new, unused = unused, []
        apply_adapters(loaded.context, new)
        unused, loaded.adapters = loaded.adapters, new

    try:
        loaded.engine.change(Change(swap, job))
    finally:
        close_adapters(unused)
