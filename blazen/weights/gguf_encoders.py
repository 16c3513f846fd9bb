"""A GGUF model that is read from and writes nothing, found and checked for any engine."""

from __future__ import annotations

from collections.abc import Callable

from blazen.bridge import Job
from blazen.options import GgufEmbedOptions, GgufRerankOptions
from blazen.types.progress import OnProgress
from blazen.weights.gguf import GgufFile, read_gguf
from blazen.weights.gguf.pooling import longest_text
from blazen.weights.gguf.vocabulary import check_vocabulary
from blazen.weights.gguf_files import locate_gguf


def find_encoder(
    options: GgufEmbedOptions | GgufRerankOptions,
    job: Job,
    report: OnProgress,
    *,
    prepare: Callable[[GgufFile], str],
) -> tuple[GgufFile, str, int]:
    """Give a model's file, how it pools, and how many tokens a text may have.

    It is fetched where it is not here yet; ``prepare`` checks its header and says how it pools.
    """
    path = locate_gguf(
        options.model_id,
        file=options.file,
        quantization=options.quantization,
        device=options.device,
        cache_dir=options.cache_dir,
        on_progress=report,
        cancelled=lambda: job.cancelled,
    )
    gguf = read_gguf(path)
    pooling = prepare(gguf)
    check_vocabulary(gguf)
    return gguf, pooling, longest_text(gguf, options.max_length)
