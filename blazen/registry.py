"""From a name to its backend, through entry points.

Each kind of model has a group of entry points, ``blazen.<kind>``; an entry's name is the backend's,
and it leads to a class::

    class MyModel(LocalBackend[Engine], Model):
        Options = MyOptions      # a dataclass; its first field is what a spec names
        engine = "my_engine"     # the module that must be there, or None

The class is imported when it is asked for, its engine only when a model loads.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    ParamSpec,
    TypeVar,
    _ProtocolMeta,
    overload,
)

from blazen.checks import unknown_name
from blazen.errors import MissingExtraError, UnknownBackendError, ValidationError
from blazen.extras import missing_package
from blazen.types.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

P = ParamSpec("P")
O = TypeVar("O")  # noqa: E741 - options
M = TypeVar("M")

PREFIX = "blazen."


@dataclasses.dataclass(frozen=True)
class Backend(Record):
    """A backend that can be asked for by name."""

    kind: str
    name: str
    distribution: str
    """The package that brings it."""
    version: str
    installed: bool
    """Whether its engine is there."""
    missing: str | None = None
    """The module that is not there."""
    install: str | None = None
    """The command that brings it."""
    problem: str | None = None
    """Why it can't even be looked at, where that is so."""


class Kind(_ProtocolMeta):
    """The type of a protocol whose backends are built by name.

    Factories belong to the protocol itself: they stand here, on its type, so that an instance does
    not carry them and a class need not have them to fulfil the protocol.
    """

    kind = ""

    def from_spec(cls: type[M], spec: str, **settings: Any) -> M:
        """Build any backend from a text: ``backend:target``, and its other options as keywords.

        The target is a path, a hub id, a URL or a starter name.
        """
        model: M = build_from_spec(cls.kind, spec, settings)  # type: ignore[attr-defined]  # Kind's
        return model

    def backends(cls) -> list[Backend]:
        """List the backends of this kind, those too whose engine is not installed."""
        return backends(cls.kind)


class Factory(Generic[P, O, M]):
    """Builds one backend: from its options, or from their fields as keywords."""

    kind: ClassVar[str]

    def __init__(self, name: str, options: Callable[P, O]) -> None:
        self._name = name
        self.__doc__ = options.__doc__

    @overload
    def __call__(self, *, options: O) -> M: ...
    @overload
    def __call__(self, *args: P.args, **settings: P.kwargs) -> M: ...
    def __call__(self, *args: Any, options: Any = None, **settings: Any) -> Any:
        """Build the model; nothing is loaded yet."""
        return build(self.kind, self._name, options, settings, *args)

    def __repr__(self) -> str:
        return f"<factory of the {self._name!r} backend>"


def backends(kind: str | None = None) -> list[Backend]:
    """List the backends of one kind or of all, without importing an engine."""
    return [_look(entry) for entry in _entries(kind)]


def backend_class(kind: str, name: str) -> type:
    """Give a backend's class, or say what is missing for it."""
    entries = {entry.name: entry for entry in _entries(kind)}
    if name not in entries:
        elsewhere = [entry.group for entry in _entries(None) if entry.name == name]
        hint = f"; {name!r} is one for {elsewhere[0].removeprefix(PREFIX)}" if elsewhere else ""
        raise UnknownBackendError(unknown_name(f"backend for {kind}", name, entries) + hint)
    cls: type = entries[name].load()
    missing = _missing(cls)
    if missing:
        install = _install_command(entries[name])
        raise MissingExtraError(f"the {name!r} backend needs {missing!r}: {install}")
    return cls


def build(kind: str, name: str, options: Any, settings: Mapping[str, Any], *args: Any) -> Any:
    """Build a model: from options, or from their fields."""
    cls = backend_class(kind, name)
    options_class = getattr(cls, "Options", None)
    settings, isolation = _apart(options_class, settings)
    if options_class is None and (args or settings):
        raise ValidationError(f"the {name!r} backend takes no options, and no target in a spec")
    if options is None:
        made = _options(name, options_class, args, settings) if options_class else None
        return _placed(cls, made, isolation)
    if args or settings:
        raise ValidationError(f"give {name!r} either options or their fields, not both")
    if options_class is not None and not isinstance(options, options_class):
        raise ValidationError(
            f"the {name!r} backend takes {options_class.__name__}, not {options!r:.80}"
        )
    return _placed(cls, options, isolation)


def _apart(
    options_class: type | None, settings: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Any]:
    """Take out where the model is to run, for options that have no such field of their own."""
    fields = dataclasses.fields(options_class) if options_class is not None else ()
    if "isolation" not in settings or any(field.name == "isolation" for field in fields):
        return settings, None
    rest = {name: value for name, value in settings.items() if name != "isolation"}
    return rest, settings["isolation"]


def _placed(cls: type, options: Any, isolation: Any) -> Any:
    """Build a model where it is to run: in this process, or in one of its own."""
    wanted = getattr(options, "isolation", None) if isolation is None else isolation
    if wanted is None:
        return cls(options)
    from blazen.isolation.model import isolated_class
    from blazen.options.isolation import isolation_of

    where = isolation_of(wanted)
    return cls(options) if where is None else isolated_class(cls)(options, where)


def build_from_spec(kind: str, spec: str, settings: Mapping[str, Any]) -> Any:
    """Build a model from ``backend:target``, and the further options as keywords."""
    name, colon, target = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    if not name:
        raise ValidationError(
            f"a spec reads 'backend:target', such as 'xllamacpp:starter:chat', not {spec!r}"
        )
    return build(kind, name, None, settings, *([target] if colon and target else []))


def _options(name: str, cls: type, args: tuple[Any, ...], settings: Mapping[str, Any]) -> Any:
    fields = [field.name for field in dataclasses.fields(cls) if field.init]
    for setting in settings:
        if setting not in fields:
            raise ValidationError(unknown_name(f"option of the {name!r} backend", setting, fields))
    if len(args) > 1:
        raise ValidationError(f"the {name!r} backend's options are keywords, all but {fields[0]!r}")
    if not args and fields and _is_needed(cls, fields[0]) and fields[0] not in settings:
        forms = "a path, a hub id, a URL or a starter name"
        if fields[0].endswith("url"):
            forms = "a URL, such as 'https://host/v1'"
        raise ValidationError(f"the {name!r} backend needs {fields[0]!r}: {forms}")
    try:
        return cls(*args, **settings)
    except TypeError as error:
        raise ValidationError(f"the {name!r} backend's options: {error}") from error


def _is_needed(cls: type, name: str) -> bool:
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    return field.default is field.default_factory is dataclasses.MISSING


def _entries(kind: str | None) -> list[EntryPoint]:
    from importlib.metadata import entry_points

    found = entry_points()
    groups = [PREFIX + kind] if kind else sorted(g for g in found.groups if g.startswith(PREFIX))
    return [entry for group in groups for entry in sorted(found.select(group=group), key=_by_name)]


def _by_name(entry: EntryPoint) -> str:
    return entry.name


def _look(entry: EntryPoint) -> Backend:
    distribution = entry.dist
    facts = {
        "kind": entry.group.removeprefix(PREFIX),
        "name": entry.name,
        "distribution": distribution.name if distribution else "",
        "version": distribution.version if distribution else "",
    }
    try:
        missing = _missing(entry.load())
    except Exception as error:  # noqa: BLE001 - one broken backend must not hide the others
        return Backend(**facts, installed=False, problem=f"{type(error).__name__}: {error}")
    install = _install_command(entry) if missing else None
    return Backend(**facts, installed=missing is None, missing=missing, install=install)


def _missing(cls: type) -> str | None:
    engine: str | None = getattr(cls, "engine", None)
    if engine is None:
        return None
    importlib.invalidate_caches()  # it may have been installed a moment ago, from a notebook
    return missing_package(engine)


def _install_command(entry: EntryPoint) -> str:
    name = entry.dist.name if entry.dist else entry.module
    extras = entry.dist.metadata.get_all("Provides-Extra") or [] if entry.dist else []
    return f"pip install '{name}[{entry.name}]'" if entry.name in extras else f"pip install {name}"
