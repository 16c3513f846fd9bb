"""`Model` on llama.cpp's server engine, which runs in this process."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen.bridge import Job, StreamJob
from blazen.errors import LoadError, UnsupportedError, ValidationError
from blazen.hardware import Device, choose_device, thread_budget
from blazen.local import LocalBackend
from blazen.options import XllamaCppOptions
from blazen.protocols.model import Model
from blazen.types.chat import Messages, as_messages
from blazen.types.completion import (
    CompletionOptions,
    FinishReason,
    InferenceChunk,
    InferenceChunkStream,
)
from blazen.types.progress import OnProgress, Progress
from blazen.weights.gguf import read_gguf
from blazen.weights.locate import locate
from blazen_xllamacpp.wire import read_chunk, write_request

if TYPE_CHECKING:
    import xllamacpp

DEFAULT_CONTEXT = 4096
"""Tokens a conversation may have by default: a model's own length can cost gigabytes."""

BATCH = 256
"""Tokens read between two looks at whether the caller has gone."""


@dataclass
class Engine:
    """A loaded model, and the folder of the socket that its engine insists on."""

    server: xllamacpp.Server
    folder: Path


class XllamaCppModel(LocalBackend[Engine], Model):
    """A GGUF model answered by llama.cpp; several requests are batched when ``parallel`` allows."""

    Options = XllamaCppOptions
    engine = "xllamacpp"
    options: XllamaCppOptions

    def __init__(self, options: XllamaCppOptions) -> None:
        super().__init__(options)
        self._device = Device.parse(options.device)

    @property
    def device(self) -> str:
        """Where it runs; before it is loaded, where it was asked to run."""
        return str(self._device)

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | None = None
    ) -> InferenceChunkStream:
        """Answer piece by piece: await the stream, enter it, or read it at once."""
        request = write_request(as_messages(messages), CompletionOptions.of(options))
        return InferenceChunkStream(lambda: self._source(_generate, request, time.monotonic()))

    def _width(self) -> int:
        return self.options.parallel

    def _open(self, job: Job, report: OnProgress) -> Engine:
        path = locate(
            self.options.model_id,
            cache_dir=self.options.cache_dir,
            on_progress=report,
            cancelled=lambda: job.cancelled,
        )
        if path.is_dir():
            raise ValidationError(
                f"{self.options.model_id} is a folder, and this backend reads one GGUF file: name "
                "the file in it (for an embedding model, see EmbeddingModel)"
            )
        gguf = read_gguf(path)
        longest = gguf.context_length
        if self.options.context_length and longest and self.options.context_length > longest:
            raise ValidationError(
                f"context_length is {self.options.context_length}, and {path.name} knows at most "
                f"{longest}: ask for that or less"
            )
        if gguf.chat_template is None:
            # The engine would take another model's template without a word.
            raise UnsupportedError(
                f"{path.name} has no chat template: it is a base model, which continues texts and "
                "does not answer; use the instruction-tuned version of it"
            )
        import xllamacpp

        self._device = _choose(self.options.device, xllamacpp.get_device_info())
        context = self.options.context_length or min(longest or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
        report(Progress("load", 0, 1, unit="models", detail=path.name))
        folder = Path(tempfile.mkdtemp(prefix="blazen-"))
        try:
            server = xllamacpp.Server(self._params(path, context, folder))
            # Ended before its main loop has begun, the engine waits for that loop for ever. A
            # question that the loop must answer shows that it runs.
            server.handle_metrics()
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise LoadError(f"llama.cpp could not load {path}: {error}") from error
        report(Progress("load", 1, 1, unit="models", detail=path.name))
        return Engine(server, folder)

    def _params(self, path: Path, context: int, folder: Path) -> xllamacpp.CommonParams:
        import xllamacpp

        threads = thread_budget(self.options.threads)
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context * self.options.parallel
        params.n_parallel = self.options.parallel
        params.n_batch = params.n_ubatch = BATCH
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.n_gpu_layers = 0 if self._device == Device.Cpu else 999
        params.fit_params = False
        params.warmup = False
        params.cache_ram_mib = 0  # 8 GiB by default, which no budget would know of
        params.verbosity = -1
        _close_doors(params, folder)
        return params

    @staticmethod
    def _close(engine: Engine) -> None:
        del engine.server  # the engine stops when nothing refers to it any more
        shutil.rmtree(engine.folder, ignore_errors=True)


def _generate(
    engine: Engine, job: StreamJob[InferenceChunk], request: dict[str, Any], asked: float
) -> None:
    answer = _Answer(job, asked)
    engine.server.handle_chat_completions(request, answer.on_event)
    if answer.failure is not None:
        raise answer.failure


class _Answer:
    """What the engine calls back while it answers: ``True`` tells it to stop."""

    def __init__(self, job: StreamJob[InferenceChunk], asked: float) -> None:
        self.failure: Exception | None = None
        self._job = job
        self._asked = asked
        self._first_token: float | None = None
        self._finish_reason: FinishReason | None = None

    def on_event(self, event: dict[str, Any]) -> bool:
        try:
            chunk = read_chunk(event, self._first_token)
        except Exception as error:  # noqa: BLE001 - it can't cross the engine; it is raised after
            self.failure = error
            return True
        if chunk is None:
            return self._job.cancelled
        if self._first_token is None:
            self._first_token = time.monotonic() - self._asked
        if chunk.usage is not None:
            chunk.finish_reason = self._finish_reason
        elif chunk.finish_reason is not None:
            # The engine tells the end and the usage apart; both are for the last chunk.
            self._finish_reason = chunk.finish_reason
            return self._job.cancelled
        return not self._job.emit(chunk)


def _close_doors(params: xllamacpp.CommonParams, folder: Path) -> None:
    """Keep the engine's HTTP server, which can't be left out, from everyone but this user."""
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_metrics = True  # asked once, when it is loaded
    params.n_threads_http = 1
    params.api_keys = [secrets.token_urlsafe(32)]
    if sys.platform != "win32":
        # A socket in a folder that only this user may enter, instead of a port on the network.
        params.hostnames = [str(folder / "engine.sock")]


def _choose(wanted: Device | str, engines_devices: list[dict[str, Any]]) -> Device:
    """Choose a device that this machine has and this build of the engine can use."""
    names = " ".join(str(device["name"]).lower() for device in engines_devices)
    supported = ["cpu", *(kind for kind in ("cuda", "metal") if kind in names)]
    return choose_device(wanted, supported=supported)
