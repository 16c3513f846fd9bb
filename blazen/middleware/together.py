"""The lifecycle of several models that are used as one."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any

from blazen.middleware.wrapping import Inner, title_of
from blazen.types.footprint import Footprint, largest, total
from blazen.types.progress import OnProgress

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger("blazen")


class Together:
    """The lifecycle of several models, of which some run on this machine."""

    _inners: list[Inner]
    _on: tuple[type[Exception], ...]

    @property
    def _locals(self) -> list[Any]:
        found: list[Any] = []
        for inner in self._inners:
            if inner.is_local and not any(inner.model is other for other in found):
                found.append(inner.model)
        return found

    async def load(self, *, on_progress: OnProgress | None = None) -> None:
        """Load all that run on this machine, so that each is there when it is needed.

        One that can't be loaded is passed over, as in a request, unless none can.
        """
        problem: Exception | None = None
        told = {} if on_progress is None else {"on_progress": on_progress}
        for model in self._locals:
            try:
                await model.load(**told)
                continue
            except self._on as error:
                problem = error
            log.warning("%s can't be loaded: %s", title_of(model), type(problem).__name__)
        if problem is not None and not self.is_loaded:
            raise problem

    async def unload(self) -> None:
        """Let the requests in flight end, then give the memory of all back."""
        results = await asyncio.gather(
            *(model.unload() for model in self._locals), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def footprint(self) -> Footprint | None:
        """Give what all of them take together; ``None`` where that is not known of one."""
        resident: dict[str, int] = {}
        peak: dict[str, int] = {}
        each: dict[str, int] = {}
        for model in self._locals:
            found = await model.footprint() if hasattr(model, "footprint") else None
            if found is None:
                return None
            # They load one after another: each one's peak is on top of what those before it hold.
            peak = largest(peak, total(resident, found.loading))
            resident = total(resident, found.resident)
            each = largest(each, found.per_request)  # one answers at a time
        return Footprint(resident, load_peak=peak, per_request=each)

    @property
    def is_loaded(self) -> bool:
        """Whether the weights of one of them are in memory."""
        return any(model.is_loaded for model in self._locals)

    @property
    def memory_bytes(self) -> int | None:
        """How much memory the loaded ones hold; ``None`` where that is not known of one."""
        held = [getattr(model, "memory_bytes", None) for model in self._locals if model.is_loaded]
        known = [size for size in held if size is not None]
        return sum(known) if held and len(known) == len(held) else None

    @property
    def device(self) -> str:
        """Where the first of them runs."""
        return str(getattr(self._locals[0], "device", "cpu"))

    @property
    def threads(self) -> int:
        """How many cores the busiest of them keeps; one works at a time."""
        counts = [getattr(model, "threads", 0) for model in self._locals]
        return max(count if isinstance(count, int) else 0 for count in counts)

    @property
    def loads_alone(self) -> str | None:
        """The engine that must be the only one of its kind to load at a time."""
        names = [getattr(model, "loads_alone", None) for model in self._locals]
        return next(filter(None, names), None)

    async def __aenter__(self) -> Self:
        await self.load()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.unload()
        finally:
            for inner in self._inners:
                if not inner.is_local and hasattr(inner.model, "aclose"):
                    await inner.model.aclose()
