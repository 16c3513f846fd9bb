"""What the server says of itself: its OpenAPI document, a page that shows it, and its numbers."""

from blazen.server.docs.document import describe
from blazen.server.docs.routes import router

__all__ = ["describe", "router"]
