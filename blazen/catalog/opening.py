"""Which backends open what: by kind and by how a model is stored."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from threading import Lock

from blazen.errors import MissingExtraError, UnknownBackendError
from blazen.registry import PREFIX, backend_class

FORMS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("gguf", "model"): ("xllamacpp", "llamacpp", "mistralrs"),
    ("gguf", "embedding"): ("xllamacpp", "llamacpp"),
    ("gguf", "rerank"): ("xllamacpp", "llamacpp"),
    ("safetensors", "model"): ("mistralrs",),
    ("onnx", "embedding"): ("fastembed",),
    ("onnx", "rerank"): ("fastembed",),
    ("onnx", "sparse"): ("fastembed",),
    ("onnx", "token_embedding"): ("fastembed",),
    ("onnx", "image_embedding"): ("fastembed",),
    ("ggml", "transcription"): ("whispercpp",),
    ("piper", "tts"): ("piper",),
    ("kokoro", "tts"): ("kokoro",),
    ("pipeline", "image"): ("diffusers",),
    ("triposr", "three_d"): ("triposr",),
}
"""The backends that can open a model of a form and a kind, the preferred one first."""

SIGHTED = ("xllamacpp", "llamacpp")
"""The backends that take a projector."""


class Openers:
    """Says which backend is taken for a model, of those that are installed here."""

    def __init__(self, preferred: Mapping[str, Sequence[str]]) -> None:
        self._preferred = preferred
        self._missing: dict[tuple[str, str], str | None] = {}
        self._lock = Lock()

    def choose(self, form: str, kind: str) -> str | None:
        """Give the first installed backend that opens this; ``None`` where there is none."""
        return next((n for n in self.able(form, kind) if self.missing(kind, n) is None), None)

    def able(self, form: str, kind: str) -> tuple[str, ...]:
        """Give all backends that could open it, installed or not, the wanted ones first."""
        known = FORMS.get((form, kind), ())
        wanted = [name for name in self._preferred.get(kind, ()) if name in known]
        return tuple(dict.fromkeys([*wanted, *known]))

    def of_kind(self, kind: str) -> tuple[str, ...]:
        """Give the backends that open anything of a kind on this machine."""
        forms = [form for form, of in FORMS if of == kind]
        return tuple(dict.fromkeys(name for form in forms for name in self.able(form, kind)))

    def missing(self, kind: str, name: str) -> str | None:
        """Say why a backend can't be used here; ``None`` where it can. No engine is imported."""
        key = (kind, name)
        if key not in self._missing:
            try:
                backend_class(kind, name)
                problem = None
            except (MissingExtraError, UnknownBackendError) as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001 - one broken backend must not hide the others
                problem = f"the {name!r} backend is broken: {type(error).__name__}: {error}"
            with self._lock:
                self._missing[key] = problem
        return self._missing[key]


@functools.cache
def backend_kinds() -> Mapping[str, tuple[str, ...]]:
    """Give every backend's name and the kinds that it has; none is imported."""
    kinds: dict[str, list[str]] = {}
    found = entry_points()
    for group in sorted(found.groups):
        if group.startswith(PREFIX):
            for entry in found.select(group=group):
                kinds.setdefault(entry.name, []).append(group.removeprefix(PREFIX))
    return {name: tuple(of) for name, of in kinds.items()}
