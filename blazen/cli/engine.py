"""Options of commands that open a model: which backend, with how many threads, in which process."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from blazen.cli.gathering import gathered
from blazen.errors import ModelNotFoundError, ValidationError

if TYPE_CHECKING:
    from blazen.catalog import Catalog, Listing

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Engine:
    """What the user wants of the engine, beside what the configuration says."""

    backend: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def listing(self, catalog: Catalog, name: str | None, kind: str = "model") -> Listing:
        """Find a model, or the default one of its kind, as it is to be opened."""
        found = catalog.choose(kind) if name is None else self._found(catalog, name, kind)
        if self.backend is not None and self.backend != found.backend:
            # Options of one backend are not those of another.
            spec = f"{self.backend}:{found.target}"
            found = dataclasses.replace(found, spec=spec, options={})
        if self.options:
            found = dataclasses.replace(found, options={**found.options, **self.options})
        return found

    def _found(self, catalog: Catalog, name: str, kind: str) -> Listing:
        """Find a model by its name; else as what the backend that the user wants calls so."""
        from blazen.catalog.opening import backend_kinds

        try:
            return catalog.find(name, kind)
        except ModelNotFoundError:
            if self.backend is None or kind not in backend_kinds().get(self.backend, ()):
                raise
            return catalog.find(f"{self.backend}:{name}", kind)


def _engine(
    backend: str | None, isolation: str | None, option: tuple[str, ...], **plain: Any
) -> Engine:
    options = {name: value for name, value in plain.items() if value is not None}
    if isolation is not None:
        options["isolation"] = None if isolation == "none" else isolation
    for given in option:
        name, equals, value = given.partition("=")
        if not equals or not name.strip():
            raise ValidationError(f"--option takes NAME=VALUE, not {given!r}")
        options[name.strip().replace("-", "_")] = _value(value)
    return Engine(backend, options)


def _value(text: str) -> Any:
    """Read a value as JSON, where it is such: 4, true, null; else it is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("--backend",),
        {"metavar": "NAME", "help": "The engine that answers, such as llamacpp."},
    ),
    (
        ("--ctx", "--context", "context_length"),
        {"type": int, "metavar": "N", "help": "How many tokens a conversation may have."},
    ),
    (("--threads",), {"type": int, "metavar": "N", "help": "How many threads calculate."}),
    (
        ("--ubatch", "batch_size"),
        {"type": int, "metavar": "N", "help": "How many tokens of a prompt are read at once."},
    ),
    (
        ("--isolation",),
        {
            "type": click.Choice(["none", "process"]),
            "help": "Run the engine in a process of its own.",
        },
    ),
    (
        ("-o", "--option"),
        {
            "multiple": True,
            "metavar": "NAME=VALUE",
            "help": "Any other option of the backend, such as kv_type=q8_0 (repeatable).",
        },
    ),
)

engine_options = gathered("engine", _OPTIONS, _engine)
"""The command gets ``engine``, an `Engine`."""


def engine_options_without(*flags: str) -> Callable[[F], F]:
    """Give those options for a command that has no use for some of their flags, or its own."""
    kept = [
        (tuple(name for name in names if name not in flags), about) for names, about in _OPTIONS
    ]
    return gathered("engine", [one for one in kept if one[0] and one[0][0][0] == "-"], _engine)
