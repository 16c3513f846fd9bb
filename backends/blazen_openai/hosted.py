"""What OpenAI's kinds of models have in common."""

from __future__ import annotations

from typing import Any

from blazen.errors import ValidationError
from blazen.options.openai import OpenAiSharedOptions
from blazen.options.provider import ProviderOptions
from blazen.remote.hosted import HostedBackend
from blazen.remote.prices import Price, price_of
from blazen_openai.service import OpenAiService

_OPENAI = ("openai", "azure", "compatible")


class OpenAiModel(HostedBackend):
    """A model that runs at OpenAI, or at a gateway that speaks its API."""

    Options: type[OpenAiSharedOptions]
    engine = "openai"
    options: Any
    _kind: str
    """What it does, in the word of the registry: a gateway may not offer that."""
    _usual: str
    """OpenAI's own model, where none is named."""

    def __init__(self, options: ProviderOptions | None = None) -> None:
        self.options = self.Options.widened(options or self.Options())
        self._service = OpenAiService(self.options, kind=self._kind)
        self._gateway, self._sdk = self._service.gateway, self._service.sdk
        if self.options.model is None and self._gateway.name not in _OPENAI:
            raise ValidationError(f"which model of {self._gateway.title}? Give model")
        self._model = str(self.options.model or self._usual)

    @property
    def model(self) -> str:
        """The model's name at its provider."""
        return self._model

    @property
    def _price(self) -> Price | None:
        return self.options.price or price_of(self._gateway.name, self._model)

    @property
    def _name(self) -> str:
        """The model's name without whose it is, as some gateways put it."""
        return self._model.rpartition("/")[2].lower()

    def _extra(self) -> dict[str, Any] | None:
        """Give the further fields of a request, which is made next."""
        self._service.check_key()
        return dict(self.options.body) or None
