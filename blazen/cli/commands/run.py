"""``blazen run``: one prompt, one answer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blazen.cli.assistance import Assistance, assistance_options
from blazen.cli.engine import Engine, engine_options
from blazen.cli.options import Places, catalog_options, json_option
from blazen.cli.sampling import sampled, sampling_options

if TYPE_CHECKING:
    from blazen.types.chat import ChatMessage
    from blazen.types.completion import ModelResponse

_NAMES_A_MODEL = re.compile(r"[\w.+-]+:\S+|\S+\.gguf", re.IGNORECASE)


@click.command(short_help="Answer one prompt.")
@click.argument("words", metavar="[MODEL] [PROMPT]...", nargs=-1)
@click.option("-m", "--model", metavar="NAME", help="The model; else the default.")
@click.option(
    "-f",
    "--file",
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Add a text file to the prompt (repeatable).",
)
@click.option("--image", "images", multiple=True, metavar="FILE", help="Show this (repeatable).")
@click.option("--audio", "sounds", multiple=True, metavar="FILE", help="Play this (repeatable).")
@click.option("-s", "--system", metavar="TEXT", help="How the model should behave.")
@sampling_options
@engine_options
@assistance_options
@click.option(
    "--chat-history",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Add the turn to this file, as a line of JSON.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr how long it took.")
@json_option
@catalog_options
def command(
    words: tuple[str, ...],
    model: str | None,
    files: tuple[Path, ...],
    images: tuple[str, ...],
    sounds: tuple[str, ...],
    system: str | None,
    sampling: dict[str, Any],
    engine: Engine,
    assistance: Assistance,
    chat_history: Path | None,
    verbose: bool,
    as_json: bool,
    places: Places,
) -> None:
    """Answer one prompt, piece by piece as the answer comes.

    The prompt is what you type, what --file names and what is piped in, joined in this order; '-'
    reads standard input from a terminal too. A first word that can only be a model, as
    starter:chat or some.gguf, is taken for --model.

    Ctrl-C keeps what came and ends with 130.

    \b
    blazen run "Why is the sky blue?"
    git diff | blazen run "Write a commit message for this"
    blazen run --image cat.jpg "What is this?"
    blazen run --json-schema '{"type": "array", "items": {"type": "string"}}' "Name three fruits"
    """
    from blazen.cli.prompts import as_text, message_of, whole_prompt
    from blazen.cli.running import run_async

    if model is None and len(words) > 1 and _NAMES_A_MODEL.fullmatch(words[0]):
        model, *rest = words
        words = tuple(rest)
    text = whole_prompt(words, files)
    if not text and not images and not sounds:
        raise click.UsageError(
            'there is no prompt: write one, as blazen run "Why is the sky blue?", or pipe one in'
        )
    message = message_of(text, images, sounds)
    system = None if system is None else as_text(system)
    one = _One(places, model, engine, assistance, system, sampling, chat_history)
    run_async(one.answer(message, verbose=verbose, as_json=as_json))


class _One:
    def __init__(
        self,
        places: Places,
        model: str | None,
        engine: Engine,
        assistance: Assistance,
        system: str | None,
        sampling: dict[str, Any],
        history: Path | None,
    ) -> None:
        # A wrong value is told before a model is looked for.
        self._options = sampled(sampling)
        if history is not None:
            from blazen.assistant.history import check_place

            check_place(history)
        catalog = places.read(model)
        self._listing = engine.listing(catalog, model)
        self._model = catalog.build(self._listing)
        self._assistance = assistance
        self._system = system if system is not None else self._listing.system
        self._history = history

    async def answer(self, message: ChatMessage, *, verbose: bool, as_json: bool) -> None:
        from blazen.cli.answering import load, stream_answer, timings
        from blazen.cli.output import emit_json, say
        from blazen.cli.pieces import Pieces, Silent
        from blazen.types.chat import ChatMessage

        beginning = [ChatMessage.system(self._system)] if self._system else []
        messages = [*beginning, message]
        try:
            seconds = await load(self._model)
            asked = await self._assistance.prepared(self._model.complete, messages)
            if verbose and asked[-1] != message:
                say(f"rewritten: {asked[-1].text}")
            shown = Silent() if as_json else Pieces()
            answer = await stream_answer(
                self._model, asked, self._options, shown, self._keeper(asked)
            )
        finally:
            if hasattr(self._model, "unload"):
                await self._model.unload()
        if as_json:
            emit_json(_whole(answer, self._listing.name, asked[-1], message))
        if verbose:
            say(f"{self._listing.name}: {', '.join(timings(answer, seconds))}")

    def _keeper(self, asked: list[ChatMessage]) -> Any:
        def keep(answer: ModelResponse) -> None:
            if self._history is not None and answer.content:
                from blazen.assistant.history import append_turn

                append_turn(self._history, asked, answer, model=self._listing.name)

        return keep


def _whole(
    answer: ModelResponse, name: str, asked: ChatMessage, message: ChatMessage
) -> dict[str, Any]:
    from blazen.types.record import encode

    whole = answer.to_dict()
    whole.pop("raw", None)
    whole.pop("state", None)
    rewritten = {"prompt": asked.text} if asked != message else {}
    result: dict[str, Any] = encode(
        {**whole, "content": answer.content, "model": name, **rewritten}
    )
    return result
