"""``blazen ps``: what a running server has loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from blazen.cli.options import json_option

URL = "http://127.0.0.1:8642"


@click.command(short_help="Show what a running server has loaded.")
@click.option("--url", envvar="BLAZEN_URL", default=URL, show_default=True, metavar="URL")
@click.option("--key", envvar="BLAZEN_API_KEY", metavar="KEY", help="Its key ($BLAZEN_API_KEY).")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The certificate to trust, for a server with one of its own.",
)
@click.option("--all", "every", is_flag=True, help="Models that are not loaded too.")
@json_option
def command(url: str, key: str | None, ca: Path | None, every: bool, as_json: bool) -> None:
    """Show the models that a running `blazen serve` holds, and how full its memory is.

    \b
    blazen ps
    blazen ps --url https://box:8642 --key "$KEY"
    """
    from blazen.cli.asking_server import ask_server
    from blazen.cli.output import emit_json, say

    answer = ask_server(url, "/api/models", key=key, ca=ca)
    if as_json:
        emit_json(answer)
        return
    models = [m for m in _rows(answer, "models") if every or m.get("state") != "unloaded"]
    if models:
        _show(models)
    else:
        say("No model is loaded." if not every else "The server has no models.")
    for pool in _rows(answer, "pools"):
        say(_pool(pool))
    if answer.get("waiting"):
        say(f"waiting: {answer['waiting']}")


def _show(models: list[dict[str, Any]]) -> None:
    from blazen.catalog.listing import KINDS
    from blazen.cli.output import amount, emit_table

    emit_table(
        ("name", "kind", "state", "memory", "in use", "waiting", "idle", "leaves after", "note"),
        [
            (
                model.get("name"),
                KINDS.get(str(model.get("kind")), model.get("kind")),
                model.get("state"),
                ", ".join(f"{amount(n)} {p}" for p, n in (model.get("charges") or {}).items()),
                model.get("leases") or None,
                model.get("waiting") or None,
                _seconds(model.get("idle_seconds")),
                "pinned" if model.get("pinned") else _seconds(model.get("keep_alive")),
                model.get("problem"),
            )
            for model in models
        ],
        right=("in use", "waiting", "idle"),
    )


def _rows(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows = answer.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _pool(pool: dict[str, Any]) -> str:
    from blazen.cli.output import amount

    used, budget = int(pool.get("used") or 0), int(pool.get("budget") or 0)
    share = f" ({used / budget:.0%})" if budget else ""
    return f"{pool.get('name')}: {amount(used)} of {amount(budget)}{share}"


def _seconds(value: Any) -> str | None:
    if not isinstance(value, (int, float)):
        return None
    minutes, seconds = divmod(int(value), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
