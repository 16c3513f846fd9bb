"""What every route works with: the models, the settings, and what is counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import HTTPConnection

from blazen.assistant import Skills
from blazen.catalog import OpenCatalog
from blazen.manager.manager import ModelManager
from blazen.server.history import History
from blazen.server.metrics import RequestCounters
from blazen.server.settings import ServerSettings


@dataclass
class Service:
    """The models, the settings, and what is counted: ``service_of(request)`` gives it."""

    settings: ServerSettings
    open: OpenCatalog
    counters: RequestCounters
    history: History | None = None
    """Where turns of chats are added; ``None`` where nobody asked for that."""
    skills: Skills | None = None
    """What prompts bring in, where there is a folder of it."""
    endless: set[asyncio.Task[Any]] = field(default_factory=set)
    """Streams that only end with the server, which ends them first."""
    stopping: bool = False

    @property
    def manager(self) -> ModelManager:
        """The manager of the models."""
        return self.open.manager

    def stop(self) -> None:
        """End the streams that would go on for ever, and begin no others."""
        self.stopping = True
        for task in tuple(self.endless):
            task.cancel()


def service_of(request: HTTPConnection) -> Service:
    """Give what a request's server works with."""
    service: Service = request.app.state.service
    return service
