"""``blazen doctor``: what is here, what would be chosen, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from blazen.cli.options import Places, catalog_options, json_option

if TYPE_CHECKING:
    from blazen.cli.checkup import Report

_FIRST = "This machine"


@click.command(short_help="Say what is installed, which devices there are, and what is chosen.")
@json_option
@catalog_options
@click.pass_context
def command(ctx: click.Context, as_json: bool, places: Places) -> None:
    """Look at this machine: Python, devices, backends, the configuration, and models.

    Ends with 0 unless something is broken; what is only not installed is not broken.
    """
    from blazen.cli.checkup import checkup
    from blazen.cli.output import emit_json

    report = checkup(places)
    if as_json:
        emit_json(report)
    else:
        _show(report)
    if report.broken:
        ctx.exit(1)


def _show(report: Report) -> None:
    from blazen.catalog.listing import KINDS
    from blazen.cli.output import emit, emit_table

    _facts(_FIRST, report.machine)
    _facts("Front ends", report.extras)
    emit("\nBackends")
    emit_table(
        ("kind", "backend", "state", "engine", "what to do"),
        [
            (
                KINDS.get(one["kind"], one["kind"]),
                one["name"],
                one["state"],
                one["engine"],
                one["advice"],
            )
            for one in report.backends
        ],
    )
    _facts("Configuration", report.configuration)
    _facts("Network", report.network)
    emit("\nModels")
    shown = [one for one in report.models if one["chosen"] or one["found"]]
    emit_table(
        ("kind", "found", "taken where none is named", "because"),
        [(KINDS[one["kind"]], one["found"], one["chosen"], one["why"]) for one in shown],
        right=("found",),
    )
    for one in report.models:
        if one not in shown:
            emit(f"- {one['why']}")
    _list("Warnings", report.warnings)
    _list("Broken", report.broken)
    if not report.broken:
        emit("\nNothing is broken.")


def _facts(title: str, facts: dict[str, Any]) -> None:
    from blazen.cli.facts import emit_facts
    from blazen.cli.output import emit

    emit(title if title == _FIRST else f"\n{title}")
    emit_facts((key.replace("_", " "), value) for key, value in facts.items())


def _list(title: str, texts: tuple[str, ...]) -> None:
    from blazen.cli.output import emit, safe

    if texts:
        emit(f"\n{title}")
        for text in texts:
            emit(f"- {safe(text, line=True)}")
