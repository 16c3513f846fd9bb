"""The most memory that something takes: of RAM in this process, of a GPU as its driver says."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from blazen import hardware

T = TypeVar("T")

MIB = 2**20
_SAMPLE_SECONDS = 0.002


def alone(work: Callable[..., T], *arguments: Any) -> T:
    """Do work in a new process: nothing that was loaded before counts."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def gpu_used() -> int:
    """Say how much of the first GPU is in use, by all; nothing where there is none."""
    return next((gpu.total - gpu.free for gpu in hardware.find_gpus()), 0)


class Peaks:
    """Looks at both every 2 ms, as long as it is open."""

    def __init__(self) -> None:
        self.rss = self.rss_before = hardware.rss_bytes()
        self.gpu = self.gpu_before = gpu_used()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self.rss = max(self.rss, hardware.rss_bytes())
            self.gpu = max(self.gpu, gpu_used())
