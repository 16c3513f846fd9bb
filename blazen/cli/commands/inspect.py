"""``blazen inspect``: what a model is, before anything of it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from blazen.cli.options import Places, catalog_options, json_option

if TYPE_CHECKING:
    from blazen.catalog.inspection import Inspection
    from blazen.weights.gguf import MemoryEstimate

_LONGEST = 100


@click.command(short_help="Look into a model: metadata, tensors, memory, what can run it.")
@click.argument("name", metavar="MODEL")
@click.option("--tensors", is_flag=True, help="List every tensor.")
@click.option("--metadata", is_flag=True, help="List every key of the metadata, whole.")
@click.option(
    "--context",
    "--ctx",
    "contexts",
    type=click.IntRange(1),
    multiple=True,
    metavar="N",
    help="Estimate the memory for a context of N tokens (repeatable).",
)
@click.option(
    "--gpu-layers",
    type=click.IntRange(-1),
    multiple=True,
    metavar="N",
    help="Estimate with N layers on a GPU, -1 for all (repeatable).",
)
@click.option("--kv-type", default="f16", metavar="TYPE", help="How the context is stored: f16.")
@click.option("--offline", is_flag=True, default=None, help="Leave the network alone.")
@json_option
@catalog_options
def command(
    name: str,
    tensors: bool,
    metadata: bool,
    contexts: tuple[int, ...],
    gpu_layers: tuple[int, ...],
    kv_type: str,
    offline: bool | None,
    as_json: bool,
    places: Places,
) -> None:
    """Look into a model without loading it: a name, a file, a folder, or a hub id.

    Of a hub repository that is not here only the header of its GGUF is fetched.

    \b
    blazen inspect starter:chat
    blazen inspect ./model.gguf --context 4096 --context 32768 --gpu-layers -1
    blazen inspect starter:chat --json | jq .facts
    """
    from blazen.catalog.inspection import inspect_listing
    from blazen.cli.output import emit_json

    catalog = places.read()
    found = inspect_listing(
        catalog.find(name),
        catalog.openers,
        contexts=contexts,
        gpu_layers=gpu_layers or (0,),
        kv_type=kv_type,
        offline=offline,
    )
    if as_json:
        emit_json(_as_json(found, tensors=tensors))
    else:
        _show(found, tensors=tensors, metadata=metadata)


def _as_json(found: Inspection, *, tensors: bool) -> dict[str, Any]:
    out = found.to_dict()
    out["estimates"] = [_estimate(estimate) for estimate in found.estimates]
    out["backends"] = [
        {field: getattr(one, field) for field in ("backend", "kind", "opens", "why_not", "chosen")}
        for one in found.backends
    ]
    if not tensors:
        out.pop("tensors", None)
    return out


def _estimate(estimate: MemoryEstimate) -> dict[str, Any]:
    return {
        "context_length": estimate.context_length,
        "gpu_layers": estimate.gpu_layers,
        "layers": estimate.layers,
        "total": estimate.total,
        **{
            name: {
                "weights": pool.weights,
                "kv_cache": pool.kv_cache,
                "compute": pool.compute,
                "total": pool.total,
            }
            for name, pool in (("ram", estimate.ram), ("vram", estimate.vram))
        },
    }


def _show(found: Inspection, *, tensors: bool, metadata: bool) -> None:
    from blazen.catalog.listing import KINDS
    from blazen.cli.facts import emit_facts
    from blazen.cli.output import amount, emit, emit_table, safe, say

    rows: list[tuple[str, Any]] = [
        ("model", found.name),
        ("kind", KINDS[found.kind]),
        ("spec", found.spec),
        ("path", found.path),
        ("size", amount(found.size)),
        ("about", found.description),
    ]
    rows += [(key.replace("_", " "), value) for key, value in found.facts.items()]
    emit_facts(rows)
    _section("Backends")
    emit_table(
        ("backend", "for", "opens it", "why not"),
        [
            (
                f"{one.backend} *" if one.chosen else one.backend,
                KINDS[one.kind],
                "yes" if one.opens else "no",
                one.why_not,
            )
            for one in found.backends
            if one.opens or one.kind == found.kind
        ],
    )
    if found.estimates:
        _section("Memory")
        emit_table(
            ("context", "gpu layers", "ram", "vram", "of it weights", "context's", "total"),
            [
                (
                    f"{one.context_length:,}",
                    f"{one.gpu_layers} of {one.layers}",
                    amount(one.ram.total),
                    amount(one.vram.total),
                    amount(one.ram.weights + one.vram.weights),
                    amount(one.ram.kv_cache + one.vram.kv_cache),
                    amount(one.total),
                )
                for one in found.estimates
            ],
            right=("context", "ram", "vram", "of it weights", "context's", "total"),
        )
    if found.metadata:
        _section("Metadata")
        for key, value in found.metadata.items():
            text = safe(str(value), line=not metadata)
            shown = text if metadata or len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
            emit(f"{key} = {shown}")
    if tensors:
        _section("Tensors")
        emit_table(
            ("tensor", "type", "shape", "size"),
            [
                (one["name"], one["dtype"], " x ".join(map(str, one["shape"])), one["nbytes"])
                for one in found.tensors
            ],
            right=("size",),
        )
    elif found.tensors:
        say(f"\n{len(found.tensors):,} tensors: --tensors lists them")
    for problem in found.problems:
        say(f"warning: {problem}")


def _section(title: str) -> None:
    from blazen.cli.output import emit

    emit(f"\n{title}")
