"""Text embeddings with fastembed, on ONNX Runtime."""

from blazen_fastembed.model import FastEmbedModel

__all__ = ["FastEmbedModel"]
