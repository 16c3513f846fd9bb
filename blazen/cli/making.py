"""What the commands share that make something: a model for one call, and the file that it fills."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blazen.checks import check_choice
from blazen.errors import ValidationError

if TYPE_CHECKING:
    from blazen.catalog import Listing
    from blazen.cli.engine import Engine
    from blazen.cli.options import Places

READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)
WRITABLE = click.Path(dir_okay=False, path_type=Path)
force_option = click.option(
    "--force", is_flag=True, help="Replace a file that is there already; else that is an error."
)


@asynccontextmanager
async def opened(
    places: Places, engine: Engine, name: str | None, kind: str
) -> AsyncIterator[tuple[Any, Listing]]:
    """Load the model that the user means, and unload it at the end."""
    from blazen.cli.answering import load

    catalog = places.read(name)
    listing = engine.listing(catalog, name, kind)
    model = catalog.build(listing)
    try:
        await load(model)
        yield model, listing
    finally:
        if hasattr(model, "unload"):
            await model.unload()


def output_file(path: Path, formats: Collection[str], *, what: str, force: bool) -> Path:
    """Check where a result goes, before any work is done for it."""
    if formats:
        check_choice(f"the suffix of {what}", path.suffix.lstrip(".").lower(), formats)
    if path.exists() and not force:
        raise ValidationError(f"there is a file {str(path)!r} already: --force replaces it")
    if not path.absolute().parent.is_dir():
        raise ValidationError(f"cannot write {str(path)!r}: there is no folder {path.parent}")
    return path


def free_name(stem: str, suffix: str, taken: tuple[Path, ...] = ()) -> Path:
    """Give the first of ``stem-1``, ``stem-2`` … in this folder that is no file yet."""
    number = 1
    while (path := Path(f"{stem}-{number}{suffix}")).exists() or path in taken:
        number += 1
    return path
