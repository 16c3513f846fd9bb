"""Optional packages: use one when it is installed, say exactly what to install when it is not."""

from __future__ import annotations

import importlib
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
        if error.name is None or error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"{what} needs {module.partition('.')[0]!r}: pip install 'blazen[{extra}]'"
        ) from error
