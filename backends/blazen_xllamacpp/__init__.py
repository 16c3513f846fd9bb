"""llama.cpp's server engine, in process."""

from blazen_xllamacpp.model import XllamaCppModel

__all__ = ["XllamaCppModel"]
