"""``blazen chat``: a talk with a model."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blazen.cli.assistance import Assistance, assistance_options
from blazen.cli.engine import Engine, engine_options
from blazen.cli.options import Places, catalog_options, json_option
from blazen.cli.output import is_terminal, is_typed
from blazen.cli.sampling import sampling_options

if TYPE_CHECKING:
    from blazen.assistant import Conversation, ConversationStore
    from blazen.cli.answering import Shown
    from blazen.cli.talk.reader import Reader
    from blazen.cli.talk.session import Session


@click.command(short_help="Talk with a model.")
@click.argument("name", metavar="[MODEL]", required=False)
@click.option("-m", "--model", metavar="NAME", help="The model; else the default.")
@click.option("-s", "--system", metavar="TEXT", help="How the model should behave.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[ID]",
    help="Go on with a conversation that was kept; without ID, the last.",
)
@click.option("--list", "listed", is_flag=True, help="Show the conversations that are kept.")
@click.option("--no-save", is_flag=True, help="Keep neither the conversation nor what was typed.")
@click.option("--plain", is_flag=True, help="Show answers as they are, without Markdown.")
@sampling_options
@engine_options
@assistance_options
@click.option(
    "--chat-history",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Add each turn to this file, as a line of JSON.",
)
@json_option
@catalog_options
def command(
    name: str | None,
    model: str | None,
    system: str | None,
    resume: str | None,
    listed: bool,
    no_save: bool,
    plain: bool,
    sampling: dict[str, Any],
    engine: Engine,
    assistance: Assistance,
    chat_history: Path | None,
    as_json: bool,
    places: Places,
) -> None:
    """Talk with a model: it remembers what was said.

    /help shows the commands inside. Ctrl-C stops an answer and keeps what came; Ctrl-D leaves.
    Conversations are kept, and --resume goes on with one. Where nobody types, each line that is
    piped in is a prompt.
    """
    from blazen.assistant.conversations import Conversation, ConversationStore
    from blazen.cli.prompts import as_text

    store = ConversationStore()
    if listed:
        _show_list(store, as_json=as_json)
        return
    wanted = model if model is not None else name
    conversation = Conversation() if resume is None else store.load(resume or None)
    wanted = wanted if wanted is not None else conversation.model
    said = conversation.system if system is None else as_text(system)
    conversation = dataclasses.replace(conversation, model=wanted, system=said)

    from blazen.cli.talk.session import Session

    session = Session(
        places.read(wanted),
        engine,
        assistance,
        None if no_save else store,
        conversation,
        sampling,
        chat_history,
    )
    _talk(session, plain=plain, as_json=as_json, history=not no_save)


def _talk(session: Session, *, plain: bool, as_json: bool, history: bool) -> None:
    from blazen.cli.talk.repl import Repl

    interactive = is_typed()

    async def talk() -> None:
        try:
            if interactive:
                await session.load()
            repl = Repl(
                session,
                _reader(interactive=interactive, history=history),
                _shown(plain=plain, as_json=as_json),
                interactive=interactive,
                as_json=as_json,
            )
            await repl.run()
        finally:
            await session.close()

    # Ctrl-C means something else while an answer comes, while one is typed, and in between.
    asyncio.run(talk())


def _reader(*, interactive: bool, history: bool) -> Reader:
    from blazen.cli.talk.reader import Editor, Lines
    from blazen.cli.talk.slash import SLASHES

    if not interactive or not is_terminal():
        return Lines()
    from blazen.assistant.conversations import data_folder

    commands = [(name, slash.help) for name, slash in SLASHES.items()]
    return Editor(commands, data_folder() / "history" if history else None)


def _shown(*, plain: bool, as_json: bool) -> Callable[[], Shown]:
    from blazen.cli.pieces import Pieces, Silent

    if as_json:
        return Silent
    if plain or not is_terminal():
        return Pieces
    from blazen.cli.talk.markdown import MarkdownPieces

    return MarkdownPieces


def _show_list(store: ConversationStore, *, as_json: bool) -> None:
    from blazen.cli.output import emit_json, emit_table, say

    kept = store.list()
    if as_json:
        emit_json([_about(talk) for talk in kept])
    elif kept:
        rows = [(t.id, t.changed, len(t.messages), t.model, t.title) for t in kept]
        emit_table(("id", "changed", "messages", "model", "title"), rows, right=("messages",))
    else:
        say("no conversation is kept yet")


def _about(talk: Conversation) -> dict[str, Any]:
    return {
        "id": talk.id,
        "title": talk.title,
        "model": talk.model,
        "messages": len(talk.messages),
        "created": talk.created,
        "changed": talk.changed,
    }
