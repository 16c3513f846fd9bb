"""Files from any URL: resumed, checked, and in their place only when they are whole."""

from blazen.weights.download.file import download, fetch

__all__ = ["download", "fetch"]
