"""The vocabulary of a GGUF file, without the model's weights: for a look at how it reads a text."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from blazen.errors import LoadError
from blazen_llamacpp.library import captured_errors, load_library, words
from blazen_llamacpp.vocabulary import Vocabulary


@contextlib.contextmanager
def open_vocabulary(path: Path) -> Iterator[Vocabulary]:
    """Open the vocabulary of a file; it takes a fraction of a second, and a few MiB meanwhile."""
    library = load_library()
    params = library.llama_model_default_params()
    params.vocab_only = True
    params.n_gpu_layers = 0
    with captured_errors() as errors:
        model = library.llama_model_load_from_file(str(path).encode(), params)
    if model is None:
        raise LoadError(f"llama.cpp could not read the vocabulary of {path.name}: {words(errors)}")
    try:
        yield Vocabulary(model)
    finally:
        library.llama_model_free(model)
