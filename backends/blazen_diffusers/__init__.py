"""Images with diffusers."""

from blazen_diffusers.model import DiffusersImages

__all__ = ["DiffusersImages"]
