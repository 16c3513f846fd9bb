"""The file ``blazen.toml``: where it lies, and what its tables say."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blazen.catalog.folders import is_file
from blazen.catalog.tables import (
    read_backends,
    read_defaults,
    read_discover,
    read_manager,
    read_models,
)
from blazen.checks import unknown_name
from blazen.errors import MissingExtraError, ValidationError

FILE = "blazen.toml"
TABLES = ("models", "manager", "server", "defaults", "discover", "backends")
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Config:
    """What a file says; without a file, nothing."""

    path: Path | None = None
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    manager: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    discover: Mapping[str, Any] = field(default_factory=dict)
    backends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_config(path: str | os.PathLike[str] | None) -> Config:
    """Read the file that was named, or the one that is found; none may be there."""
    place = find_config(path)
    if place is None:
        return Config()
    tables = _parse(place)
    for name, table in tables.items():
        if name not in TABLES:
            raise ValidationError(f"{place}: {unknown_name('table', name, TABLES)}")
        if not isinstance(table, dict):
            raise ValidationError(f"{place}: {name} must be a table, [{name}], not {table!r:.60}")
    return Config(
        path=place,
        models=read_models(place, tables.get("models", {})),
        manager=read_manager(place, tables.get("manager", {})),
        server=tables.get("server", {}),
        defaults=read_defaults(place, tables.get("defaults", {})),
        discover=read_discover(place, tables.get("discover", {})),
        backends=read_backends(place, tables.get("backends", {})),
    )


def find_config(path: str | os.PathLike[str] | None) -> Path | None:
    """Give the file to read: the one named, ``$BLAZEN_CONFIG``, here, or in the user's folder."""
    named = path if path is not None else os.environ.get("BLAZEN_CONFIG") or None
    if named is not None:
        place = Path(os.path.abspath(Path(named).expanduser()))  # noqa: PTH100 - links stay
        if not is_file(place):
            by = "" if path is not None else ", which BLAZEN_CONFIG names"
            raise ValidationError(f"there is no configuration file {place}{by}")
        return place
    import platformdirs

    user = Path(platformdirs.user_config_dir("blazen", appauthor=False))
    try:
        here = [Path.cwd()]
    except FileNotFoundError:  # the folder was deleted by another program
        here = []
    return next((p for folder in (*here, user) if is_file(p := folder / FILE)), None)


def _parse(place: Path) -> dict[str, Any]:
    try:
        if place.stat().st_size > _LARGEST:
            raise ValidationError(f"{place} is larger than 1 MiB: it is no configuration")
        text = place.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationError(f"{place} is not UTF-8: {error}") from error
    except OSError as error:
        raise ValidationError(f"{place} can't be read: {error.strerror or error}") from error
    tomllib = _toml()
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValidationError(f"{place} is not TOML: {error}") from error
    return tables


def _toml() -> Any:
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib
    try:
        import tomli
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "a configuration file needs 'tomli' on Python 3.10: pip install tomli"
        ) from error
    return tomli
