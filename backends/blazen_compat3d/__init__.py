"""Meshes from a hosted 3D service: a form with an image goes there, a mesh comes back."""

from blazen_compat3d.model import Compat3dProvider

__all__ = ["Compat3dProvider"]
