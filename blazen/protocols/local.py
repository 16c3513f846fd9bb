"""What a model that runs on this machine can do beside answering."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from blazen.types.progress import OnProgress

if TYPE_CHECKING:
    from typing_extensions import Self

    from blazen.types.footprint import Footprint


@runtime_checkable
class Local(Protocol):
    """A model with weights in this machine's memory.

    Loading and unloading are idempotent, and safe when called at once from several tasks. The first
    request loads by itself; a request after `unload` loads again.
    """

    async def load(self, *, on_progress: OnProgress | None = None) -> None:
        """Bring the weights into memory, fetching them first where they are not here yet."""

    async def unload(self) -> None:
        """Let the requests in flight end, then give the memory back."""

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        ...

    @property
    def memory_bytes(self) -> int | None:
        """How much memory the model holds; ``None`` where that is not known."""
        ...

    @property
    def device(self) -> str:
        """Where it runs: ``cpu``, ``cuda:0``, ``metal``."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class Sized(Protocol):
    """A model that says what it will take before it loads."""

    async def footprint(self) -> Footprint | None:
        """Give what it will take of each pool; ``None`` where that is not known.

        It may fetch the files first. What does not fit is said all the same: whoever asks decides.
        """


@runtime_checkable
class Threaded(Protocol):
    """A model that says how many cores its engine keeps busy while it works."""

    @property
    def threads(self) -> int:
        """How many threads calculate at once."""
        ...


@runtime_checkable
class SharesThreads(Threaded, Protocol):
    """A model whose engine can change its threads while it is loaded."""

    def share_threads(self, threads: int) -> None:
        """Use at most so many from the next token or request on.

        It waits for nothing, and any thread may call it; a larger number than the model was built
        with gives it back all of its own.
        """
