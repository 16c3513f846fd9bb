"""What the description of the API says of routes that stream."""

from __future__ import annotations

from typing import Any

from blazen.server.streaming import EVENT_STREAM

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; with 'stream': true as server-sent events.",
        "content": EVENT_STREAM,
    }
}
"""For routes that stream where they are asked to."""
