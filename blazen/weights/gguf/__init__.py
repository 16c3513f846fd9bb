"""GGUF files without an engine: what they hold, and the memory that they will take."""

from blazen.weights.gguf.estimate import MemoryEstimate, estimate_memory, layers_that_fit
from blazen.weights.gguf.model import GgufFile, GgufTensor, GgufTokenizer
from blazen.weights.gguf.reading import read_gguf

__all__ = [
    "GgufFile",
    "GgufTensor",
    "GgufTokenizer",
    "MemoryEstimate",
    "estimate_memory",
    "layers_that_fit",
    "read_gguf",
]
