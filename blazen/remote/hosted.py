"""What models have in common that a provider runs: where they are, and how they close."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from blazen.remote import url as urls
from blazen.remote.sdk import Sdk

if TYPE_CHECKING:
    from typing_extensions import Self


class HostedBackend:
    """A model that a provider runs. A subclass sets ``options`` and ``_sdk``, and gives `model`.

    Nothing is imported or sent before the first request. `aclose`, or leaving ``async with``,
    closes the connections, and otherwise the end of the event loop does.
    """

    options: Any
    _sdk: Sdk[Any]

    @property
    def model(self) -> str:
        """The model's name at its provider."""
        return str(self.options.model)

    @property
    def base_url(self) -> str:
        """Where its requests go."""
        return self._sdk.base_url

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        await self._sdk.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model!r} at {urls.shown(self.base_url)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.options,)
