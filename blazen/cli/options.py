"""Options that commands share, as decorators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from blazen.catalog import Catalog

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True)
class Places:
    """Where the user says that models are."""

    config: Path | None = None
    folders: tuple[Path, ...] = ()

    def read(self, *given: str | None) -> Catalog:
        """Read the catalogue; ``given`` are the names that the user typed, ``None`` for no name."""
        from blazen.catalog import Catalog

        names = [name for name in given if name is not None]
        return Catalog.read(self.config, folders=self.folders, given=names)


def catalog_options(command: F) -> F:
    """Add ``--config`` and ``--model-dir``; the command gets them as ``places``, a `Places`."""
    import functools

    @functools.wraps(command)
    def with_places(
        *args: Any, config: Path | None, model_dir: tuple[Path, ...], **settings: Any
    ) -> Any:
        return command(*args, places=Places(config, model_dir), **settings)

    for option in (
        click.option(
            "--model-dir",
            type=_FOLDER,
            multiple=True,
            metavar="DIR",
            help="Look for models in this folder too (repeatable; also $BLAZEN_MODEL_DIR).",
        ),
        click.option(
            "--config",
            type=_FILE,
            metavar="FILE",
            help="The configuration (else $BLAZEN_CONFIG, ./blazen.toml, the user's own).",
        ),
    ):
        with_places = option(with_places)
    return with_places  # type: ignore[return-value]  # the wrapper takes what click gives it


def json_option(command: F) -> F:
    """Add ``--json``; the command gets it as ``as_json``."""
    option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    return option(command)
