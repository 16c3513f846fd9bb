"""The pages that people look at: chat, expert, explorer, models and studio, whole without a net."""

from blazen.server.pages.routes import router

__all__ = ["router"]
