"""The local server: OpenAI's, Ollama's and LM Studio's routes over one `ModelManager`.

Needs the extra ``server``. ``blazen serve`` starts it; `create_app` gives the ASGI application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blazen.server.app import create_app as create_app
    from blazen.server.run import run as run
    from blazen.server.settings import ServerSettings as ServerSettings

_PLACES = {"create_app": "app", "run": "run", "ServerSettings": "settings"}

__all__ = ["ServerSettings", "create_app", "run"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
