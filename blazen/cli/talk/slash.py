"""The commands inside a chat, each with a slash before its name."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from blazen.cli.output import say
from blazen.cli.talk.session import transcript
from blazen.errors import ValidationError

if TYPE_CHECKING:
    from blazen.cli.talk.repl import Repl

_SHORT = {"temp": "temperature", "n": "max_tokens", "t": "temperature"}
_SETTABLE = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "reasoning",
)


class Slash(NamedTuple):
    """A command: what it takes, what it is for, and what it does."""

    takes: str
    help: str
    act: Callable[[Repl, str], Awaitable[None]]


async def run_slash(repl: Repl, line: str) -> None:
    """Do what a line that begins with a slash says."""
    name, _, rest = line.partition(" ")
    name = _ALIASES.get(name, name)
    if name not in SLASHES:
        near = difflib.get_close_matches(name, SLASHES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValidationError(f"there is no command {name!r}; {hint}/help lists them")
    await SLASHES[name].act(repl, rest.strip())


async def _help(repl: Repl, rest: str) -> None:
    width = max(len(f"{name} {slash.takes}") for name, slash in SLASHES.items())
    for name, slash in SLASHES.items():
        say(f"  {f'{name} {slash.takes}':{width}}  {slash.help}")
    say('\nSeveral lines: Alt-Enter, a backslash at the end of a line, or """ around them.')
    say("A prompt that begins with a slash: write two. Ctrl-C stops an answer and keeps it.")


async def _model(repl: Repl, rest: str) -> None:
    if rest:
        await repl.session.switch(rest)
    listing = repl.session.listing
    say(f"{listing.name} ({listing.spec})")


async def _models(repl: Repl, rest: str) -> None:
    current = repl.session.listing.name
    for listing in repl.session.catalog.listings("model"):
        mark = "*" if listing.name == current else " "
        say(f"{mark} {listing.name}  {listing.description}".rstrip())


async def _system(repl: Repl, rest: str) -> None:
    if rest:
        repl.session.change(system="" if rest == "none" else rest)
    say(repl.session.system or "no system prompt; /system TEXT sets one")


async def _set(repl: Repl, rest: str) -> None:
    name, _, value = rest.replace("=", " ", 1).partition(" ")
    options = repl.session.conversation.options
    if not name:
        for key, held in options.items():
            say(f"  {key} = {json.dumps(held)}")
        say(f"/set NAME VALUE sets one, /set NAME default leaves it to the model: {_names()}")
        return
    name = _SHORT.get(name, name).replace("-", "_")
    if name not in _SETTABLE:
        raise ValidationError(f"there is no setting {name!r}; there is: {_names()}")
    value = value.strip()
    if value in ("", "default", "none"):
        if name in options:
            repl.session.set_option(name, None)
        say(f"{name} is as the model has it")
        return
    repl.session.set_option(name, _value(value))
    say(f"{name} = {value}")


def _names() -> str:
    return ", ".join(_SETTABLE)


def _value(text: str) -> Any:
    named = {"on": True, "yes": True, "off": False, "no": False}
    if text in named:
        return named[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


async def _image(repl: Repl, rest: str) -> None:
    from blazen.types.image import Image

    repl.session.attached.append(Image.of(_named(rest, "/image PATH")))
    say(_attached(repl))


async def _audio(repl: Repl, rest: str) -> None:
    from blazen.types.audio import Audio

    repl.session.attached.append(Audio.of(_named(rest, "/audio PATH")))
    say(_attached(repl))


async def _file(repl: Repl, rest: str) -> None:
    from blazen.cli.prompts import read_text

    path = Path(_named(rest, "/file PATH"))
    repl.session.attached.append(f"{path.name}:\n{read_text(path)}\n\n")
    say(_attached(repl))


def _named(rest: str, usage: str) -> str:
    if not rest:
        raise ValidationError(f"it needs the path of a file: {usage}")
    return rest if "://" in rest else os.path.expanduser(rest.strip("\"'"))  # noqa: PTH111 - a URL too


def _attached(repl: Repl) -> str:
    count = len(repl.session.attached)
    return f"attached to the next prompt: {count} {'file' if count == 1 else 'files'}"


async def _save(repl: Repl, rest: str) -> None:
    if not rest:
        say(f"saved as {repl.session.keep()}; blazen chat --resume goes on with it")
        return
    say(f"written to {_written(repl, rest)}")


def _written(repl: Repl, name: str) -> Path:
    path = Path(name).expanduser()
    talk = repl.session.conversation
    as_json = path.suffix == ".json"
    path.write_text(talk.to_json(indent=1) if as_json else transcript(talk), "utf-8")
    return path


async def _sessions(repl: Repl, rest: str) -> None:
    kept = repl.kept.list()
    for talk in kept[:20]:
        mark = "*" if talk.id == repl.session.conversation.id else " "
        say(f"{mark} {talk.id}  {talk.title}")
    if not kept:
        say("no conversation is kept yet")


async def _resume(repl: Repl, rest: str) -> None:
    await repl.session.resume(repl.kept.load(rest or None))
    repl.show_past()


async def _retry(repl: Repl, rest: str) -> None:
    prompt = repl.failed if repl.failed is not None else repl.session.undo()
    if prompt is None:
        raise ValidationError("there is no prompt to try again yet")
    await repl.answer(prompt)


async def _edit(repl: Repl, rest: str) -> None:
    prompt = repl.failed if repl.failed is not None else repl.session.undo()
    if prompt is None:
        raise ValidationError("there is no prompt to edit yet")
    if rest:
        await repl.answer(rest)
    else:
        repl.default = prompt


async def _undo(repl: Repl, rest: str) -> None:
    prompt = repl.session.undo()
    repl.session.attached = []
    say("there is nothing to take back" if prompt is None else f"taken back: {prompt}")


async def _clear(repl: Repl, rest: str) -> None:
    repl.session.clear()
    say("a new conversation")


async def _tokens(repl: Repl, rest: str) -> None:
    from blazen.cli.answering import timings

    totals = repl.session.totals
    if repl.session.last is not None:
        say(f"last answer: {', '.join(timings(repl.session.last))}")
    say(
        f"this session: {totals.answers} answers, {totals.prompt} tokens read, "
        f"{totals.completion} written"
    )


async def _exit(repl: Repl, rest: str) -> None:
    raise EOFError


SLASHES = {
    "/help": Slash("", "show these commands", _help),
    "/model": Slash("[NAME]", "say which model answers, or take another", _model),
    "/models": Slash("", "show which models there are", _models),
    "/system": Slash("[TEXT]", "say how the model should behave; 'none' takes it away", _system),
    "/set": Slash("[NAME VALUE]", "change how it answers, as /set temp 0.2", _set),
    "/image": Slash("PATH", "attach an image to the next prompt", _image),
    "/audio": Slash("PATH", "attach a sound to the next prompt", _audio),
    "/file": Slash("PATH", "attach a text file to the next prompt", _file),
    "/retry": Slash("", "ask the last prompt again", _retry),
    "/edit": Slash("[TEXT]", "change the last prompt and ask it again", _edit),
    "/undo": Slash("", "take the last prompt and its answer back", _undo),
    "/clear": Slash("", "begin a new conversation", _clear),
    "/save": Slash("[FILE]", "keep the conversation; FILE.md or FILE.json writes it there", _save),
    "/sessions": Slash("", "show the conversations that are kept", _sessions),
    "/resume": Slash("[ID]", "go on with one of them; without ID, the last", _resume),
    "/tokens": Slash("", "show how many tokens were used, and how fast", _tokens),
    "/exit": Slash("", "leave; Ctrl-D does too", _exit),
}
_ALIASES = {"/quit": "/exit", "/bye": "/exit", "/q": "/exit", "/new": "/clear", "/?": "/help"}
