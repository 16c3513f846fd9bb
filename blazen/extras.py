"""Optional packages: use one when it is installed, say exactly what to install when it is not."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Any

from blazen.errors import MissingExtraError


def need(module: str, *, extra: str, what: str) -> Any:
    """Import an optional module, or raise `MissingExtraError` that names the extra which brings it.

    Only the absence of that very package counts as missing: a package that is there but broken
    raises its own error.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent = missing_package(module)
        if error.name is None or error.name != absent:
            raise
        raise MissingExtraError(
            f"{what} needs {absent!r}: pip install 'blazen[{extra}]'"
        ) from error


def missing_package(module: str) -> str | None:
    """Name the package that a module needs and that is not installed; it is not imported for that.

    Several distributions share a namespace such as ``google``, which says nothing: there it is the
    package within that counts.
    """
    package, _, rest = module.partition(".")
    spec = find_spec(package)
    while spec is not None:
        is_namespace = spec.origin is None and spec.submodule_search_locations is not None
        if not is_namespace or not rest:
            return None
        part, _, rest = rest.partition(".")
        package = f"{package}.{part}"
        if package in sys.modules:
            spec = find_spec(package)
        else:  # where `find_spec` would import the namespace
            spec = PathFinder.find_spec(package, spec.submodule_search_locations)
    return package
