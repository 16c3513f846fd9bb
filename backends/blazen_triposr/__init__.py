"""Meshes of images with TripoSR, on torch."""

from blazen_triposr.model import TripoSr

__all__ = ["TripoSr"]
