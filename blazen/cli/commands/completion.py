"""``blazen completion``: what has a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script that has SHELL complete commands, options and files.

    \b
    bash: eval "$(blazen completion bash)"           in ~/.bashrc
    zsh:  eval "$(blazen completion zsh)"            in ~/.zshrc
    fish: blazen completion fish > ~/.config/fish/completions/blazen.fish
    """
    from blazen.cli.program import program

    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(program, {}, "blazen", "_BLAZEN_COMPLETE").source())
