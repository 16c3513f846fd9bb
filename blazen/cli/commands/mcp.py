"""``blazen mcp``: models as tools of the Model Context Protocol."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from blazen.cli.options import Places, catalog_options
from blazen.cli.output import is_typed, say
from blazen.cli.running import run_async
from blazen.errors import ValidationError

KEEP_ALIVE = 600.0
"""Seconds that a model stays where nobody says: a client's program may run for days."""
PORT = 8643


@click.command("mcp")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--http",
    "address",
    metavar="HOST:PORT",
    help=f"Serve over HTTP at this address, path /mcp (without a port: {PORT}), not over stdio.",
)
@click.option(
    "--allow-dir",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Let the client name sound files below this folder (repeatable; not over HTTP).",
)
@click.option(
    "--api-key",
    envvar="BLAZEN_API_KEY",
    metavar="KEY",
    help="What clients over HTTP must send as 'Authorization: Bearer KEY' (also $BLAZEN_API_KEY).",
)
@click.option(
    "--allow-public",
    is_flag=True,
    help="Serve at an address that others can reach without a key.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A further name that clients call this machine by (repeatable).",
)
@click.option(
    "--keep-alive",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help=f"Unload a model that was not asked for so long (else as configured, or {KEEP_ALIVE:g}).",
)
@click.option("--verbose", "-v", is_flag=True, help="Log each call to stderr.")
@catalog_options
def command(
    places: Places,
    models: tuple[str, ...],
    address: str | None,
    folders: tuple[Path, ...],
    api_key: str | None,
    allow_public: bool,
    hosts: tuple[str, ...],
    keep_alive: float | None,
    verbose: bool,
) -> None:
    """Serve models to a client of the Model Context Protocol.

    Programs such as Claude Desktop or an editor start this themselves and talk to it over stdin
    and stdout; it ends when they go. The tools are generate, chat, embed, transcribe, speak and
    models.

    A MODEL (a name, a path, a hub id) is listed too, and is the default of its kind.
    """
    # Early, so that a missing extra is said before anything is read.
    from blazen import mcp

    if address is None:
        _expect_none("--http", api_key=api_key if _typed("api_key") else None, allow_host=hosts)
        serve_stdio = mcp.serve_stdio
    elif folders:
        raise ValidationError("--allow-dir is for stdio alone: over HTTP no file can be named")
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(name)s: %(message)s")
    catalog = places.read(*models)
    for name in models:
        catalog.find(name)  # what is wrong with it is said now, and not to the client
    alive = keep_alive
    if alive is None:
        alive = catalog.manager.get("keep_alive", KEEP_ALIVE)
    opened = catalog.start(keep_alive=alive)
    if address is None:
        if is_typed():
            say("blazen mcp talks with the program that starts it: see blazen mcp --help")
        run_async(serve_stdio(opened, folders=folders))
        return
    host, port = read_address(address)
    from blazen.mcp.http import is_loopback, serve_http

    if not (is_loopback(host) or api_key or allow_public):
        raise ValidationError(
            f"others can reach {host}: ask clients for a key with --api-key, or say --allow-public"
        )

    def ready(url: str) -> None:
        say(f"blazen's tools are at {url}; Ctrl-C ends")

    run_async(serve_http(opened, host, port, hosts=hosts, key=api_key or None, on_ready=ready))


def read_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, where either may be left out: ``:8000``, ``8000``, ``localhost``."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = ("", text) if text.isdigit() else (text, "")
    elif text.endswith("]"):  # [::1]
        host, port = text, ""
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if port and not (port.isdigit() and int(port) < 65536):
        raise ValidationError(f"{text!r} is no address: write HOST:PORT, as 127.0.0.1:{PORT}")
    return host, int(port) if port else PORT


def _typed(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _expect_none(needs: str, **given: object) -> None:
    for name, value in given.items():
        if value:
            raise ValidationError(f"--{name.replace('_', '-')} is for HTTP: say {needs} too")
