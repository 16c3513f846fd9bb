"""The tables of the file, checked: what is wrong is named with its file, table and key."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from blazen.catalog.listing import KINDS
from blazen.checks import check_choice, check_range, check_texts, parse_bytes, unknown_name
from blazen.errors import ValidationError
from blazen.options.isolation import isolation_of
from blazen.types.footprint import check_pool
from blazen.types.record import encode

POLICIES = ("least_recently_used", "reload_cost")
_LOCAL = ("./", "../", "~/", ".\\", "..\\")

Check = Callable[[str, Any], Any]


def read_models(place: Path, models: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Check ``[models.NAME]``: each model that the file names."""
    return {name: _model(place, name, table) for name, table in models.items()}


def read_manager(place: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Check ``[manager]``: what the models may take together."""
    checked = _checked(place, "manager", table, _MANAGER)
    if "ram" in checked and "pools" in checked:
        raise ValidationError(f"{place}: [manager] takes ram or pools, not both")
    return checked


def read_defaults(place: Path, table: Mapping[str, Any]) -> dict[str, str]:
    """Check ``[defaults]``: which model is meant where none is named."""
    return _checked(place, "defaults", table, dict.fromkeys(KINDS, _text))


def read_backends(place: Path, table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Check ``[backends]``: which backend opens a file that several can open."""
    return _checked(place, "backends", table, dict.fromkeys(KINDS, _texts))


def read_discover(place: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Check ``[discover]``: where models are looked for that the file does not name."""
    checked = _checked(place, "discover", table, _DISCOVER)
    folders = checked.get("folders", ())
    return {
        **checked,
        "folders": tuple(str(local(place, folder, any_path=True)) for folder in folders),
    }


def local(place: Path, value: Any, *, any_path: bool = False) -> Any:
    """Read a path of the file: one that starts with ``./``, ``../`` or ``~/`` begins there."""
    if not isinstance(value, str) or not (any_path or value.startswith(_LOCAL)):
        return value
    return os.path.abspath(place.parent / Path(value).expanduser())  # noqa: PTH100 - links stay


def _model(place: Path, name: str, table: Any) -> dict[str, Any]:
    where = f"models.{name}"
    if not name.isprintable() or name != name.strip() or not name:
        raise ValidationError(f"{place}: [models] has a name that nobody can type: {name!r:.80}")
    if not isinstance(table, dict):
        raise ValidationError(
            f"{place}: {where} must be a table with a spec, [{where}], not {table!r:.60}"
        )
    checked = _checked(place, where, table, _MODEL)
    if "spec" not in checked:
        raise ValidationError(
            f"{place}: [{where}] needs a spec, such as spec = 'xllamacpp:starter:chat'"
        )
    backend, colon, target = checked["spec"].partition(":")
    checked["spec"] = f"{backend}:{local(place, target)}" if colon else local(place, backend)
    options = checked.get("options", {})
    checked["options"] = {key: local(place, value) for key, value in options.items()}
    return checked


def _checked(
    place: Path, where: str, table: Mapping[str, Any], checks: Mapping[str, Check]
) -> dict[str, Any]:
    out = {}
    for key, value in table.items():
        if key not in checks:
            raise ValidationError(f"{place}: [{where}]: {unknown_name('key', key, checks)}")
        try:
            out[key] = checks[key](key, value)
        except ValidationError as error:
            raise ValidationError(f"{place}: [{where}]: {error}") from error
    return out


def _text(key: str, value: Any) -> str:
    check_texts(**{key: value})
    text: str = value
    if not text.strip():
        raise ValidationError(f"{key} must not be empty")
    return text


def _texts(key: str, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise ValidationError(f"{key} must be a text or a list of texts, not {value!r:.60}")
    return tuple(texts)


def _flag(key: str, value: Any) -> bool:
    check_choice(key, value, (True, False))
    return bool(value)


def _table(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValidationError(f"{key} must be a table, not {value!r:.60}")
    return value


def _options(key: str, value: Any) -> dict[str, Any]:
    table = _table(key, value)
    encode(table)  # TOML has dates, which no option is
    return table


def _number(*, at_least: float | None = 0, integer: bool = False) -> Check:
    def check(key: str, value: Any) -> Any:
        check_range(key, value, at_least=at_least, integer=integer)
        return value

    return check


def _choice(choices: Collection[str]) -> Check:
    def check(key: str, value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValidationError(unknown_name(key, str(value), choices))
        return value

    return check


def _amount(key: str, value: Any) -> int:
    return 0 if value == 0 and value is not False else parse_bytes(key, value)


def _amounts(key: str, value: Any) -> dict[str, int]:
    pools = _table(key, value)
    return {check_pool(pool): _amount(f"{key}[{pool!r}]", size) for pool, size in pools.items()}


def _amount_or_amounts(key: str, value: Any) -> int | dict[str, int]:
    return _amounts(key, value) if isinstance(value, dict) else _amount(key, value)


def _isolation(key: str, value: Any) -> Any:
    # TOML has no null: false is "in this process".
    return isolation_of(None if value is False else value)


_MANAGER: dict[str, Check] = {
    "ram": parse_bytes,
    "pools": _amounts,
    "reserve": _amount_or_amounts,
    "cores": _number(at_least=1, integer=True),
    "keep_alive": _number(),
    "isolation": _isolation,
    "policy": _choice(POLICIES),
    "max_waiting": _number(at_least=1, integer=True),
    "learn": _flag,
    "measure": _flag,
}
_DISCOVER: dict[str, Check] = {
    "folders": _texts,
    "starters": _flag,
    "cache": _flag,
    "programs": _flag,
    "hide": _texts,
}
_MODEL: dict[str, Check] = {
    "spec": _text,
    "kind": _choice(KINDS),
    "options": _options,
    "description": _text,
    "system": _text,
    "memory": _amount_or_amounts,
    "pinned": _flag,
    "keep_alive": _number(),
    "priority": _number(at_least=None, integer=True),
    "preload": _flag,
    "fallback": _texts,
    "deadline": _number(),
    "isolation": _isolation,
}
