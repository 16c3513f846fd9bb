"""What a model that runs elsewhere can do beside answering."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from typing_extensions import Self


@runtime_checkable
class Hosted(Protocol):
    """A model behind connections. There is nothing to load; the first request opens them."""

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
