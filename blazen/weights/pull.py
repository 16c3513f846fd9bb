"""Fetching a model ahead of its first use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from blazen import bridge
from blazen.bridge import EngineThread, Job
from blazen.types.progress import OnProgress
from blazen.weights.locate import locate


async def pull(
    target: str | os.PathLike[str],
    *,
    file: str | None = None,
    patterns: Sequence[str] | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    sha256: str | None = None,
    offline: bool | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Give the path of a model's file or folder, fetched first if it is not here yet.

    What `locate` does, without blocking the loop. When cancelled it stops, and what has arrived
    until then is where the next call goes on.
    """
    report = bridge.on_loop(on_progress) if on_progress is not None else None

    def work(job: Job) -> Path:
        return locate(
            target,
            file=file,
            patterns=patterns,
            revision=revision,
            cache_dir=cache_dir,
            sha256=sha256,
            offline=offline,
            on_progress=report,
            cancelled=lambda: job.cancelled,
        )

    thread: EngineThread[None] = EngineThread(f"pull {target}", close=lambda nothing: None)
    job = Job(work)
    thread.submit(job)
    try:
        path: Path = await bridge.outcome(job)
    finally:
        thread.stop()
    return path
