"""``blazen bench``: how fast a model is on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blazen.cli.engine import Engine, engine_options_without
from blazen.cli.making import READABLE
from blazen.cli.options import Places, catalog_options, json_option
from blazen.cli.output import emit_json, emit_table, say
from blazen.cli.progress import progress
from blazen.cli.running import run_async
from blazen.errors import UnsupportedError, ValidationError

if TYPE_CHECKING:
    from blazen.catalog import Catalog, Listing
    from blazen.cli.benchmark import Row

PROMPT = (
    "Explain to a friend who does not program why the same question may take a computer longer on "
    "one day than on another, what else it may be busy with, and how one would find out. "
)


@click.command(short_help="Measure how fast a model is here.")
@click.argument("name", required=False, metavar="[MODEL]")
@click.option("-m", "--model", metavar="NAME", help="The model; else the default.")
@click.option("--runs", type=click.IntRange(1, 1000), default=5, help="How often (5).")
@click.option("-n", "--max-tokens", type=click.IntRange(2), default=64, help="Of an answer (64).")
@click.option("-p", "--prompt", metavar="TEXT", help="What is asked, or embedded.")
@click.option(
    "--threads",
    "sweep",
    metavar="LIST",
    help="Measure with each of these: 1,2,4. The model is loaded anew for each.",
)
@click.option(
    "--compare",
    nargs=2,
    type=READABLE,
    metavar="OLD NEW",
    help="Measure nothing: compare two files that --json wrote.",
)
@json_option
@engine_options_without("--threads")
@catalog_options
def command(
    name: str | None,
    model: str | None,
    runs: int,
    max_tokens: int,
    prompt: str | None,
    sweep: str | None,
    compare: tuple[Path, Path] | None,
    as_json: bool,
    engine: Engine,
    places: Places,
) -> None:
    """Measure how fast a chat model reads and writes here, or how fast texts are embedded.

    Each figure is the median of the runs, with the lowest and the highest; a first run is not
    counted. Close other programs, and compare on the same machine.

    \b
    blazen bench starter:chat --threads 1,2,4
    blazen bench starter:chat --json > before.json
    blazen bench --compare before.json after.json
    """
    if compare:
        _compare(*compare, as_json)
        return
    if name is not None and model is not None:
        raise click.UsageError("the model is given twice")
    name = name or model
    counts: list[int | None] = [None]
    if sweep is not None:
        counts = [*read_threads(sweep)]
    catalog = places.read(name)
    kind = "model" if name is None else catalog.find(name).kind
    if kind not in ("model", "embedding"):
        raise UnsupportedError(f"{name!r} is neither for chat nor for embedding: no bench for it")
    listing = engine.listing(catalog, name, kind)
    rows = run_async(_measure(catalog, listing, counts, prompt or PROMPT, max_tokens, runs))
    report = _report(listing, runs, rows)
    if as_json:
        emit_json(report)
        return
    if kind == "model" and rows[-1].completion_tokens < max_tokens:
        say(f"note: the longest answer had {rows[-1].completion_tokens} tokens; ask for more words")
    _show(listing, rows)


async def _measure(
    catalog: Catalog,
    listing: Listing,
    counts: list[int | None],
    prompt: str,
    max_tokens: int,
    runs: int,
) -> list[Row]:
    import dataclasses

    from blazen.cli.benchmark import measure_chat, measure_embedding
    from blazen.types.progress import Progress

    rows = []
    with progress() as report:
        for count in counts:
            about = listing.name if count is None else f"{listing.name}, {count} threads"

            def told(run: int, about: str = about) -> None:
                report(Progress("measure", run, runs, "runs", about))

            threads = {} if count is None else {"threads": count}
            wanted = dataclasses.replace(listing, options={**listing.options, **threads})
            model = catalog.build(wanted)
            try:
                if listing.kind == "embedding":
                    row = await measure_embedding(model, prompt, runs, told)
                else:
                    row = await measure_chat(model, prompt, max_tokens, runs, told)
            finally:
                if hasattr(model, "unload"):
                    await model.unload()
            rows.append(row if count is None else dataclasses.replace(row, threads=count))
    return rows


def _report(listing: Listing, runs: int, rows: list[Row]) -> dict[str, Any]:
    import platform
    from importlib.metadata import version

    from blazen.cli.benchmark import VERSION
    from blazen.hardware import thread_budget

    return {
        "version": VERSION,
        "blazen": version("blazen"),
        "model": listing.name,
        "kind": listing.kind,
        "spec": listing.spec,
        "machine": {"system": platform.platform(), "cores": thread_budget()},
        "runs": runs,
        "rows": rows,
    }


def _show(listing: Listing, rows: list[Row]) -> None:
    from blazen.cli.benchmark import FIGURES

    names = list(rows[0].figures)
    columns = ("threads", *(FIGURES[name] for name in names))
    cells = []
    for row in rows:
        spreads = [row.figures[name] for name in names]
        words = [f"{s.median:.4g} ({s.low:.4g}–{s.high:.4g})" for s in spreads]
        cells.append(("default" if row.threads is None else row.threads, *words))
    say(f"{listing.name} ({listing.backend}), median (lowest–highest):")
    emit_table(columns, cells, right=columns)


def _compare(old: Path, new: Path, as_json: bool) -> None:
    from blazen.cli.benchmark import FIGURES, LESS_IS_BETTER, ratios

    found = ratios(_read(old), _read(new))
    if as_json:
        emit_json({"old": str(old), "new": str(new), "ratios": found})
        return
    cells = []
    for one in found:
        ratio, less = one["ratio"], one["figure"] in LESS_IS_BETTER
        better = ratio is not None and ((ratio < 1) if less else (ratio > 1))
        word = "" if ratio in (None, 1) else "better" if better else "worse"
        threads = "default" if one["threads"] is None else one["threads"]
        values = (f"{one['old']:.4g}", f"{one['new']:.4g}")
        times = None if ratio is None else f"{ratio:.3f}"
        cells.append((threads, FIGURES.get(one["figure"], one["figure"]), *values, times, word))
    numbers = ("threads", "old", "new", "ratio")
    emit_table(("threads", "figure", "old", "new", "ratio", ""), cells, right=numbers)


def _read(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"{path} is no JSON: {error}") from error
    if not isinstance(report, dict):
        raise ValidationError(f"{path} is none that blazen bench --json wrote")
    return report


def read_threads(text: str) -> list[int]:
    """Read ``1,2,4``."""
    counts = []
    for part in text.split(","):
        if not part.strip().isdigit() or int(part) < 1:
            raise ValidationError(f"--threads is a list such as 1,2,4, not {text!r}")
        counts.append(int(part))
    return list(dict.fromkeys(counts))
