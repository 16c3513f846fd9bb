"""llama.cpp compiled for this machine, through llama-cpp-python's low-level functions."""

from blazen_llamacpp.model import LlamaCppModel

__all__ = ["LlamaCppModel"]
