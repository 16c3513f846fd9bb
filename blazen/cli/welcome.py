"""What ``blazen`` alone says: the first steps, and what they still need."""

from __future__ import annotations

import click

from blazen.cli.output import say

STARTER = "pip install 'blazen[xllamacpp,starter]'"

_STEPS = """\
blazen runs models on your own machine.

  blazen demo                         take the first steps
  blazen run "Why is the sky blue?"   answer one prompt
  blazen chat                         talk with a model
  blazen list                         show which models there are
  blazen serve                        serve them over HTTP, with web pages
  blazen doctor                       say what is installed, and what is chosen

'blazen --help' lists all commands."""


def welcome() -> None:
    """Print the first steps; where nothing can answer yet, what to install."""
    click.echo(_STEPS)
    if not can_chat():
        say("\nNo engine for chat models is installed yet. To begin, with a small model:")
        say(f"  {STARTER}")


def can_chat() -> bool:
    """Tell whether an engine of this machine could answer a prompt; a provider's is none."""
    from blazen.registry import backend_class, backends

    names = [backend.name for backend in backends("model") if backend.installed]
    return any(hasattr(backend_class("model", name), "load") for name in names)
