"""What requests to both of OpenAI's chat APIs have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blazen.types.chat import ChatMessage
from blazen.types.completion import CompletionOptions
from blazen_openai.families import Capabilities
from blazen_openai.gateway import Gateway
from blazen_openai.shapes import told_of_json


class Request:
    """A request that was checked, and is written when it is sent."""

    path: str

    def __init__(
        self,
        gateway: Gateway,
        model: str,
        messages: list[ChatMessage],
        options: CompletionOptions,
        body: Mapping[str, Any],
    ) -> None:
        self._gateway = gateway
        self._model = model
        self._capabilities = Capabilities(gateway, model)
        self._messages = told_of_json(gateway, messages, options.response_format)
        self._options = self._settled(options)
        self._body = body
        self._check()
        self._asked = self._written()

    @property
    def reads_files(self) -> bool:
        """Whether to write it takes a while: images and audio are read."""
        return any(not isinstance(message.content, str) for message in self._messages)

    def write(self, *, stream: bool) -> dict[str, Any]:
        """Give the body."""
        raise NotImplementedError

    def _settled(self, options: CompletionOptions) -> CompletionOptions:
        """Give the options as this API is asked for them."""
        return options

    def _check(self) -> None:
        """Refuse what the API or the model can't do."""
        raise NotImplementedError

    def _written(self) -> dict[str, Any]:
        """Give what the options come to in the body."""
        raise NotImplementedError
