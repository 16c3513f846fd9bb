"""`Model` on mistral.rs, which runs in this process."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from blazen.bridge import Job
from blazen.errors import LoadError, ValidationError
from blazen.hardware import Device, choose_device
from blazen.local import FixedThreads, LocalBackend
from blazen.options import MistralRsOptions
from blazen.protocols.model import Model
from blazen.types.chat import Messages
from blazen.types.completion import CompletionOptions, InferenceChunkStream
from blazen.types.footprint import Footprint
from blazen.types.progress import OnProgress, Progress
from blazen.weights.gguf_files import DEFAULT_CONTEXT
from blazen_mistralrs.answering import generate
from blazen_mistralrs.engine import Engine
from blazen_mistralrs.process import Workers, settled, words_of
from blazen_mistralrs.request import check_request
from blazen_mistralrs.size import source_footprint
from blazen_mistralrs.sources import Source, find_source

_AS_IT_STANDS = "{{ messages[0]['content'] }}"
"""A template that adds nothing: blazen renders the model's own, for all engines alike."""


_NO_KEY = "none"
"""Everything is here when the engine is asked: it needs no one's key to a hub."""


class MistralRsModel(FixedThreads, LocalBackend[Engine], Model):
    """A GGUF file, or safetensors, answered by mistral.rs; several requests decode together."""

    Options = MistralRsOptions
    engine = "mistralrs"
    options: MistralRsOptions

    def complete_stream(
        self, messages: Messages, options: CompletionOptions | Mapping[str, Any] | None = None
    ) -> InferenceChunkStream:
        """Answer piece by piece: await the stream, enter it, or read it at once."""
        asked = time.monotonic()
        options = CompletionOptions.of(options)
        given = check_request(messages, options, str(self.options.model_id))
        return InferenceChunkStream(
            lambda: self._source(generate, given, options, asked), options.response_format
        )

    def _width(self) -> int:
        return self.options.parallel

    def _open(self, job: Job, report: OnProgress) -> Engine:
        self._device = choose_device(self.options.device, supported=_runs_on())
        on_cpu = self._device == Device.Cpu
        source = find_source(self.options, report, lambda: job.cancelled, on_cpu=on_cpu)
        context = self._context(source)
        report(Progress("load", 0, 1, unit="models", detail=source.path.name))
        runner, workers = self._runner(source, context, on_cpu=on_cpu)
        report(Progress("load", 1, 1, unit="models", detail=source.path.name))
        return Engine(runner, source, context, workers)

    def _footprint(self, job: Job) -> Footprint:
        device = choose_device(self.options.device, supported=_runs_on())
        source = find_source(
            self.options,
            lambda progress: None,
            lambda: job.cancelled,
            on_cpu=device == Device.Cpu,
        )
        return source_footprint(source, self._context(source), self.options.parallel, device)

    def _context(self, source: Source) -> int:
        """Say how many tokens one request may have."""
        wanted, longest = self.options.context_length, source.longest
        if wanted and longest and wanted > longest:
            raise ValidationError(
                f"context_length is {wanted}, and {source.path.name} knows at most {longest}: ask "
                "for that or less"
            )
        return wanted or min(longest or DEFAULT_CONTEXT, DEFAULT_CONTEXT)

    def _runner(self, source: Source, context: int, *, on_cpu: bool) -> tuple[Any, Workers]:
        """Give the engine's own object, and the threads that it works on."""
        threads = self._take_threads()
        template = self.options.chat_template if source.sees else _AS_IT_STANDS
        with settled(threads), _as_file(template) as jinja:
            import mistralrs  # here, since it reads the environment when it is imported

            workers = Workers()
            try:
                runner = mistralrs.Runner(
                    which=source.which(),
                    max_seqs=self.options.parallel,
                    token_source=_NO_KEY,
                    jinja_explicit=jinja,
                    in_situ_quant=source.in_situ,
                    # Its own seed is the same in every process, and on a CPU there is no other.
                    seed=None if on_cpu else secrets.randbits(63),
                    # On a CPU it never lets go of a prompt that it has kept.
                    prefix_cache_n=0 if on_cpu else 16,
                    memory_goal=None if on_cpu else f"{context * self.options.parallel}tokens",
                )
            except BaseException as error:
                raise LoadError(
                    f"mistral.rs could not load {source.path}: {words_of(error)}"
                ) from error
            return runner, workers

    @staticmethod
    def _close(engine: Engine) -> None:
        engine.close()


@contextmanager
def _as_file(template: str | None) -> Iterator[str | None]:
    """Lay a template where the engine reads it, while it loads."""
    if template is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="blazen-") as folder:
        path = Path(folder) / "template.jinja"
        path.write_text(template, "utf-8")
        yield str(path)


def _runs_on() -> tuple[str, ...]:
    """Say what the installed build runs on: one for a GPU runs there only."""
    for kind in ("cuda", "metal"):
        try:
            distribution(f"mistralrs-{kind}")
        except PackageNotFoundError:
            continue
        return (kind,)
    return ("cpu",)
