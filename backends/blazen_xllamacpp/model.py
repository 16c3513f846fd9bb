"""`Model` on llama.cpp's server engine, which runs in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blazen.bridge import Job, StreamJob
from blazen.errors import ValidationError
from blazen.hardware import Device
from blazen.local import FixedThreads, LocalBackend
from blazen.options import LoraAdapter, XllamaCppOptions
from blazen.protocols.model import Model
from blazen.types.chat import ChatMessage, Messages, Prompt, as_messages
from blazen.types.completion import CompletionOptions, InferenceChunk, InferenceChunkStream
from blazen.types.footprint import Footprint, total
from blazen.types.progress import OnProgress
from blazen.weights.gguf import GgufFile, read_gguf
from blazen.weights.gguf.placement import place_gguf
from blazen.weights.gguf_files import DEFAULT_CONTEXT, locate_gguf
from blazen.weights.gguf_footprint import gguf_footprint
from blazen.weights.locate import locate
from blazen_xllamacpp import server
from blazen_xllamacpp.answering import Answer
from blazen_xllamacpp.planning import Facts, plan_work
from blazen_xllamacpp.settings import (
    CHECKPOINTS,
    check_draft,
    check_options,
    media_of,
    write_settings,
)
from blazen_xllamacpp.slots import Slots
from blazen_xllamacpp.wire import check_request


@dataclass
class ChatEngine:
    """A loaded model."""

    engine: server.Engine
    facts: Facts
    slots: Slots
    piece: int
    """How many tokens of a long prompt are read before others get their turn."""


@dataclass
class _Files:
    model: Path
    gguf: GgufFile
    draft: Path | None = None
    projector: Path | None = None
    adapters: list[tuple[Path, float]] = field(default_factory=list)


class XllamaCppModel(FixedThreads, LocalBackend[ChatEngine], Model):
    """A GGUF model answered by llama.cpp; several requests are batched when ``parallel`` allows."""

    Options = XllamaCppOptions
    engine = "xllamacpp"
    options: XllamaCppOptions

    def __init__(self, options: XllamaCppOptions) -> None:
        super().__init__(options)
        check_options(options)
        self._loaded_adapters = tuple(a for a in options.lora if isinstance(a, LoraAdapter))
        self._adapters = self._loaded_adapters

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> InferenceChunkStream:
        """Answer piece by piece: await the stream, enter it, or read it at once."""
        asked = time.monotonic()
        options = CompletionOptions.of(options)
        given = messages if isinstance(messages, Prompt) else as_messages(messages)
        possible = () if self.options.projector is None else ("image", "audio")
        check_request(given, options, possible, self._title())
        scales = self._scales()
        return InferenceChunkStream(
            lambda: self._source(_generate, given, options, scales, asked),
            options.response_format,
        )

    async def set_adapters(self, adapters: Iterable[LoraAdapter | str | os.PathLike[str]]) -> None:
        """Apply these of the adapters that the model was loaded with, from the next request on.

        Those that are left out are applied no more.
        """
        wanted = tuple(a if isinstance(a, LoraAdapter) else LoraAdapter(a) for a in adapters)
        loaded = [str(adapter.path) for adapter in self._loaded_adapters]
        for adapter in wanted:
            if str(adapter.path) not in loaded:
                known = ", ".join(map(repr, loaded)) or "none"
                raise ValidationError(
                    f"the adapter {str(adapter.path)!r} was not loaded with the model, which has "
                    f"{known}: name it in the option 'lora'"
                )
        self._adapters = wanted

    def _scales(self) -> list[float]:
        scales = {str(adapter.path): adapter.scale for adapter in self._adapters}
        return [scales.get(str(adapter.path), 0.0) for adapter in self._loaded_adapters]

    def _width(self) -> int:
        return self.options.parallel

    def _open(self, job: Job, report: OnProgress) -> ChatEngine:
        options = self.options
        files = self._find(job, report)
        gguf = files.gguf
        context = self._context(gguf)
        if files.draft is not None:
            check_draft(gguf, read_gguf(files.draft))
        facts = Facts.of(
            gguf,
            chat_template=options.chat_template,
            context=context,
            media=() if files.projector is None else media_of(read_gguf(files.projector)),
        )
        placement = place_gguf(
            gguf,
            device=options.device,
            gpu_layers=options.gpu_layers,
            supported=server.engine_devices(),
            kv_types=options.kv_types,
            parallel=options.parallel,
            memory_map=options.memory_map,
            **self._shape(context),
        )
        self._device = placement.device
        settings = write_settings(
            options,
            placement,
            context=context,
            threads=self._take_threads(),
            adapters=files.adapters,
            draft=files.draft,
            projector=files.projector,
        )
        opened = server.open_server(
            files.model,
            settings,
            parts=gguf.parts,
            report=report,
            cancelled=lambda: job.cancelled,
        )
        return ChatEngine(opened, facts, Slots(options.parallel), options.batch_size)

    def _context(self, gguf: GgufFile) -> int:
        """Say how many tokens one request may have."""
        wanted, longest = self.options.context_length, gguf.context_length
        if wanted and longest and wanted > longest:
            raise ValidationError(
                f"context_length is {wanted}, and {gguf.path.name} knows at most {longest}: ask "
                "for that or less"
            )
        return wanted or min(longest or DEFAULT_CONTEXT, DEFAULT_CONTEXT)

    def _shape(self, context: int) -> dict[str, Any]:
        """Give what decides on the memory, in the words that estimate and placement share."""
        return {
            "context_length": context * self.options.parallel,
            "batch": self.options.batch_size,
            "flash_attention": self.options.flash_attention is not False,
        }

    def _footprint(self, job: Job) -> Footprint:
        options = self.options
        files = self._find(job, lambda progress: None)
        extra = [path for path, _ in files.adapters]
        if files.projector is not None:
            extra.append(files.projector)

        def size(gguf: GgufFile, **settings: Any) -> Footprint:
            return gguf_footprint(
                gguf,
                supported=server.engine_devices(),
                memory_map=options.memory_map,
                sequences=options.parallel,
                kv_type=options.kv_types,
                **self._shape(self._context(files.gguf)),
                **settings,
            )

        whole = size(
            files.gguf,
            device=options.device,
            gpu_layers=options.gpu_layers,
            overhead=server.OVERHEAD,
            beside=sum(path.stat().st_size for path in extra),
            checkpoints=CHECKPOINTS * options.parallel,
        )
        if files.draft is None:
            return whole
        on_gpu = len(whole.resident) > 1
        draft = size(
            read_gguf(files.draft),
            device=options.device if on_gpu else Device.Cpu,
            gpu_layers=-1 if on_gpu else 0,
            overhead=0,
        )
        return Footprint(
            resident=total(whole.resident, draft.resident),
            load_peak=total(whole.loading, draft.loading),
        )

    def _find(self, job: Job, report: OnProgress) -> _Files:
        """Find all files on this disk, fetched where they are not here yet."""
        options = self.options

        def find(target: str | os.PathLike[str]) -> Path:
            return locate(
                target,
                cache_dir=options.cache_dir,
                on_progress=report,
                cancelled=lambda: job.cancelled,
            )

        model = locate_gguf(
            options.model_id,
            file=options.file,
            quantization=options.quantization,
            memory_budget=options.memory_budget,
            context_length=options.context_length,
            parallel=options.parallel,
            kv_types=options.kv_types,
            batch=options.batch_size,
            device=options.device,
            cache_dir=options.cache_dir,
            on_progress=report,
            cancelled=lambda: job.cancelled,
        )
        return _Files(
            model,
            read_gguf(model),
            None if options.draft_model is None else find(options.draft_model),
            None if options.projector is None else find(options.projector),
            [(find(adapter.path), adapter.scale) for adapter in self._loaded_adapters],
        )

    @staticmethod
    def _close(engine: ChatEngine) -> None:
        server.close_server(engine.engine)


def _generate(
    engine: ChatEngine,
    job: StreamJob[InferenceChunk],
    given: Prompt | list[ChatMessage],
    options: CompletionOptions,
    scales: list[float],
    asked: float,
) -> None:
    work = plan_work(engine.facts, given, options)
    if scales:
        work.request["lora"] = [{"id": i, "scale": scale} for i, scale in enumerate(scales)]
    Answer(job, work, asked).run(engine.engine.server, engine.slots, engine.piece)
