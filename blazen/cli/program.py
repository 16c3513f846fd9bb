"""The group of commands: a command's module is imported when the command is called."""

from __future__ import annotations

import importlib
import os
from typing import Any, NamedTuple

import click

from blazen.cli.failures import told


class Entry(NamedTuple):
    """A command before it is imported."""

    name: str
    help: str
    section: str

    @property
    def module(self) -> str:
        """Where its ``command`` is."""
        return f"blazen.cli.commands.{self.name}"


TABLE = (
    Entry("run", "Answer one prompt.", "Talk"),
    Entry("chat", "Talk with a model.", "Talk"),
    Entry("embed", "Turn texts into vectors.", "Make"),
    Entry("transcribe", "Turn speech into text or subtitles.", "Make"),
    Entry("speak", "Read a text aloud, or into a file.", "Make"),
    Entry("image", "Make an image from words.", "Make"),
    Entry("mesh", "Make a 3D mesh from an image.", "Make"),
    Entry("pull", "Download a model.", "Models"),
    Entry("list", "Show which models there are.", "Models"),
    Entry("rm", "Delete downloaded models.", "Models"),
    Entry("inspect", "Look into a model: metadata, tensors, memory, what can run it.", "Models"),
    Entry("bench", "Measure how fast a model is here.", "Models"),
    Entry("serve", "Serve models over HTTP, as OpenAI and Ollama do, with web pages.", "Serve"),
    Entry("ps", "Show what a running server has loaded.", "Serve"),
    Entry("mcp", "Serve models as tools of the Model Context Protocol.", "Serve"),
    Entry("doctor", "Say what is installed, which devices there are, and what is chosen.", "Help"),
    Entry("demo", "Take the first steps, on small models.", "Help"),
    Entry("completion", "Print the completion script for a shell.", "Help"),
)
_BY_NAME = {entry.name: entry for entry in TABLE}


class LazyGroup(click.Group):
    """Commands by their names, imported when asked for; errors become lines and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names, in the order of the help."""
        return list(_BY_NAME)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in _BY_NAME:
            return None
        command: click.Command = importlib.import_module(_BY_NAME[cmd_name].module).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or say which are near."""
        if args and args[0] not in _BY_NAME and not ctx.resilient_parsing:
            ctx.fail(_unknown(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table by sections, without an import."""
        for section in dict.fromkeys(entry.section for entry in TABLE):
            with formatter.section(section):
                rows = [(entry.name, entry.help) for entry in TABLE if entry.section == section]
                formatter.write_dl(rows, col_max=12)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete names of commands, without an import."""
        from click.shell_completion import CompletionItem

        items = [
            CompletionItem(e.name, help=e.help) for e in TABLE if e.name.startswith(incomplete)
        ]
        return items or click.Command.shell_complete(self, ctx, incomplete)

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        """Read the program's own options; ``--help`` is answered here."""
        with told():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was typed."""
        with told():
            return super().invoke(ctx)


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    if name.startswith("-"):
        return f"there is no option {name!r}"
    near = get_close_matches(name, _BY_NAME, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"there is no command {name!r}; {hint}'blazen --help' lists them"


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="'blazen COMMAND --help' says more of a command.",
)
@click.version_option(package_name="blazen", message="blazen %(version)s")
@click.pass_context
def program(ctx: click.Context) -> None:
    """Run models on your own machine: chat, vectors, speech, images, meshes."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    if ctx.invoked_subcommand is None:
        from blazen.cli.welcome import welcome

        welcome()
