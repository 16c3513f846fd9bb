"""``blazen embed``: vectors of texts, or how alike texts are."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blazen.cli.engine import Engine, engine_options_without
from blazen.cli.making import READABLE, opened
from blazen.cli.options import Places, catalog_options, json_option
from blazen.cli.output import emit, emit_json, emit_table, is_typed
from blazen.cli.progress import progress
from blazen.cli.running import run_async
from blazen.errors import ValidationError

if TYPE_CHECKING:
    from blazen.types.embedding import EmbeddingResponse, Vectors

WINDOW = 64
"""How many texts are embedded at a time: progress is told after each window."""


@click.command(short_help="Turn texts into vectors.")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("-m", "--model", metavar="NAME", help="The model; else the default.")
@click.option(
    "-f", "--file", "files", type=READABLE, multiple=True, help="Take each line of this file."
)
@click.option("--query", is_flag=True, help="The texts are searched with: some models differ.")
@click.option("--compare", is_flag=True, help="Show how alike each pair of texts is, not vectors.")
@click.option("--search", metavar="TEXT", help="Sort the texts by how well they fit this one.")
@json_option
@engine_options_without("--ctx", "--context", "--ubatch")
@catalog_options
def command(
    texts: tuple[str, ...],
    model: str | None,
    files: tuple[Path, ...],
    query: bool,
    compare: bool,
    search: str | None,
    as_json: bool,
    engine: Engine,
    places: Places,
) -> None:
    """Turn texts into vectors: texts that mean alike have vectors that point alike.

    The texts are the arguments and the lines of --file; without either, the lines of standard
    input. Blank lines are left out.

    Each text gives one line of JSON, {"text": ..., "embedding": [...]}, as soon as it is ready;
    with --json it is one document at the end, with the model and the usage.

    \b
    blazen embed "a cat" "a kitten" "tax law" --compare
    blazen embed --file notes.txt --search "when is the rent due?"
    """
    if compare and search is not None:
        raise click.UsageError("--compare and --search show different things: give one")
    if search is not None and not search.strip():
        raise ValidationError("--search takes a text, and this one is empty")
    wanted = _texts(texts, files)
    work = _Work(wanted, query=query, as_json=as_json)
    run_async(work.run(places, engine, model, compare=compare, search=search))


class _Work:
    def __init__(self, texts: Sequence[str], *, query: bool, as_json: bool) -> None:
        self.texts = texts
        self.query = query
        self.as_json = as_json

    async def run(
        self,
        places: Places,
        engine: Engine,
        name: str | None,
        *,
        compare: bool,
        search: str | None,
    ) -> None:
        whole = compare or search is not None or self.as_json
        kept: list[Any] = []
        tokens: int | None = 0
        async with opened(places, engine, name, "embedding") as (model, listing):
            place = 0
            async for piece in self._pieces(model):
                if whole:
                    kept.extend(piece.embeddings.tolist())
                else:
                    for row in piece.embeddings:
                        emit(_line({"text": self.texts[place], "embedding": _short(row)}))
                        place += 1
                used = None if piece.usage is None else piece.usage.tokens
                tokens = None if tokens is None or used is None else tokens + used
            sought = None if search is None else (await model.embed_query([search])).embeddings
        about = {"model": listing.name, "tokens": tokens}
        if sought is not None:
            assert search is not None
            self._show_found(search, _vectors(kept), sought, about)
        elif compare:
            self._show_pairs(_vectors(kept), about)
        elif self.as_json:
            rows = [_short(row) for row in kept]
            emit(_line({**about, "dimensions": len(rows[0]), "embeddings": rows}))

    async def _pieces(self, model: Any) -> AsyncIterator[EmbeddingResponse]:
        from blazen.types.progress import Progress

        embed = model.embed_query if self.query else model.embed
        total = len(self.texts)
        with progress() as report:
            for at in range(0, total, WINDOW):
                piece = await embed(list(self.texts[at : at + WINDOW]))
                report(Progress("embed", min(at + WINDOW, total), total, unit="texts"))
                yield piece

    def _show_pairs(self, vectors: Vectors, about: dict[str, Any]) -> None:
        from blazen.types.similarity import similarities

        table = similarities(vectors)
        if self.as_json:
            rows = [_short(row) for row in table]
            emit_json({**about, "texts": list(self.texts), "similarities": rows})
            return
        numbers = [str(number) for number in range(1, len(table) + 1)]
        emit_table(
            ("", "text", *numbers),
            [
                (number, _brief(text), *(f"{score:.3f}" for score in row))
                for number, text, row in zip(numbers, self.texts, table, strict=True)
            ],
            right=numbers,
        )

    def _show_found(
        self, search: str, vectors: Vectors, sought: Vectors, about: dict[str, Any]
    ) -> None:
        from blazen.types.similarity import similarities

        scores = similarities(sought, vectors)[0]
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        if self.as_json:
            found = [
                {"index": place, "text": self.texts[place], "score": _short([scores[place]])[0]}
                for place in order
            ]
            emit_json({**about, "search": search, "found": found})
            return
        emit_table(
            ("score", "text"),
            [(f"{scores[place]:.3f}", self.texts[place]) for place in order],
            right=("score",),
        )


def _texts(given: Sequence[str], files: Sequence[Path]) -> list[str]:
    from blazen.cli.prompts import as_text, piped, read_text

    texts = list(map(as_text, given))
    for path in files:
        texts.extend(read_text(path).splitlines())
    if not given and not files:
        if is_typed():
            raise click.UsageError('there is no text: write some, as blazen embed "a cat"')
        texts = piped().splitlines()
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise ValidationError("there is no text to embed: all lines are blank")
    return texts


def _vectors(rows: list[list[float]]) -> Vectors:
    from blazen.types.embedding import Vectors

    return Vectors.of(rows)


def _short(row: Sequence[float] | memoryview[float]) -> list[float]:
    # A float of 32 bits has no more digits than these.
    return [float(f"{value:.8g}") for value in row]


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _brief(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
