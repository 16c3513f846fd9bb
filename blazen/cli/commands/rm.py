"""``blazen rm``: downloaded models deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from blazen.cli.options import Places, catalog_options, json_option

if TYPE_CHECKING:
    from blazen.catalog import Catalog
    from blazen.weights.inventory import CachedModel


@click.command(short_help="Delete downloaded models.")
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
@catalog_options
def command(names: tuple[str, ...], yes: bool, as_json: bool, places: Places) -> None:
    """Delete models from blazen's cache. What other programs brought stays.

    A repository of the hub goes as a whole. Starter models are packages: pip uninstall removes
    them; what was made of them in the cache can be deleted here.

    \b
    blazen rm org/name
    blazen rm --yes org/name other/name
    """
    from blazen.cli.failures import Failure
    from blazen.cli.output import amount, emit, emit_json, is_typed, say
    from blazen.weights.inventory import remove

    catalog = places.read()
    # All of them are looked up before the first goes.
    found = {model.target: model for name in names for model in _cached(catalog, name)}
    if not yes:
        for model in found.values():
            many = f" ({len(model.files)} files)" if len(model.files) > 1 else ""
            say(f"{model.target}{many}, {amount(model.size)}: {model.path}")
        if not is_typed():
            raise Failure("nobody can be asked here: --yes deletes without asking", 2)
        if not click.confirm("Delete?" if len(found) == 1 else "Delete them all?", err=True):
            raise Failure("nothing was deleted")
    removed = []
    for target in found:
        freed = remove(target)
        removed.append({"target": target, "bytes": freed})
        if not as_json:
            emit(f"deleted {target}: {amount(freed)}")
    if as_json:
        emit_json(removed)


def _cached(catalog: Catalog, name: str) -> list[CachedModel]:
    """Give what a name means in the cache."""
    from blazen.errors import ModelNotFoundError, UnsupportedError
    from blazen.weights.inventory import cached

    held = cached()
    same = [model for model in held if name in (model.target, str(model.path))]
    if same:
        return same
    try:
        listing = catalog.find_known(name)
    except ModelNotFoundError as error:
        known = ", ".join(model.target for model in held) or "nothing"
        raise ModelNotFoundError(f"{name!r} is not in the cache, which holds: {known}") from error
    path = listing.path
    whole = {listing.name, listing.spec, *((path.name, path.stem, str(path)) if path else ())}
    if name not in whole:  # a part of a name is enough to ask a model, not to delete it
        raise ModelNotFoundError(f"no model is called {name!r}; did you mean {listing.name!r}?")
    inside = [m for m in held if path is not None and (path == m.path or m.path in path.parents)]
    if inside:
        return inside
    mine = [model for model in held if model.target == listing.target]
    if mine:
        return mine
    if listing.source == "starter":
        raise UnsupportedError(
            f"{listing.name} comes as packages, and pip removes them: pip uninstall "
            f"{' '.join(_packages(listing.target))}"
        )
    where = f"lies in {path}" if path is not None else f"is {listing.spec}"
    raise UnsupportedError(f"{listing.name} {where}, which blazen did not bring: delete it there")


def _packages(target: str) -> list[str]:
    from blazen.weights.starter import TABLE

    requirements = TABLE[target.removeprefix("starter:")].requirements
    return [text.partition("==")[0] for text in requirements]
