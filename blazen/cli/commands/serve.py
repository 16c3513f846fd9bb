"""``blazen serve``: models over HTTP, as OpenAI, Ollama and LM Studio serve theirs, and pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blazen.cli.options import Places, catalog_options, json_option
from blazen.cli.output import emit_json, say
from blazen.errors import ValidationError

if TYPE_CHECKING:
    from blazen.catalog import Catalog
    from blazen.server.run import Server

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/:\\]*):(?P<port>[0-9]{1,5})")
_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_PATHS = ("api_key_file", "tls_cert", "tls_key", "skills_dir", "chat_history")
_LONGEST_KEY = 4096
_PAGES = ("chat", "expert", "explorer", "models", "studio")


@click.command("serve", short_help="Serve models over HTTP, with web pages.")
@click.argument("models", nargs=-1, metavar="[HOST:PORT] [MODEL]...")
@catalog_options
@click.option("--host", metavar="ADDRESS", help="Where to listen (127.0.0.1: this machine only).")
@click.option("--port", type=int, metavar="N", help="The port (8642; 0: any that is free).")
@click.option("--api-key-file", type=_FILE, help="A file with the key that clients must send.")
@click.option(
    "--allow-public", is_flag=True, default=None, help="Serve other machines without a key."
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name that browsers may know this server by (repeatable).",
)
@click.option(
    "--cors",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Pages of others that may ask, such as https://app.example.org (repeatable).",
)
@click.option("--tls-cert", type=_FILE, help="The certificate, as PEM, to serve HTTPS.")
@click.option("--tls-key", type=_FILE, help="Its key, as PEM.")
@click.option("--max-connections", type=int, metavar="N", help="Connections at once (1024).")
@click.option("--max-requests", type=int, metavar="N", help="Requests worked on at once (256).")
@click.option("--max-waiting", type=int, metavar="N", help="Requests that may wait (256).")
@click.option("--max-body", metavar="SIZE", help="The largest JSON request (32MiB).")
@click.option("--max-upload", metavar="SIZE", help="The largest upload (256MiB).")
@click.option("--max-image-pixels", type=int, metavar="N", help="The largest picture (50000000).")
@click.option("--max-sound", type=float, metavar="SECONDS", help="The longest sound (14400).")
@click.option("--thinking", is_flag=True, default=None, help="Rewrite prompts before answering.")
@click.option("--skills-dir", type=_FOLDER, help="A folder of SKILL.md files, picked by prompt.")
@click.option("--max-skills", type=int, metavar="N", help="Skills for one prompt (3).")
@click.option("--skill-max-bytes", metavar="SIZE", help="What is read of a SKILL.md (16KiB).")
@click.option("--chat-history", type=_FILE, help="A file to which each turn is added.")
@click.option("--remote-images", is_flag=True, default=None, help="Fetch pictures given as URLs.")
@click.option("--pull", is_flag=True, default=None, help="Let clients download models.")
@click.option("--no-pages", "pages", flag_value=False, default=None, help="Serve no web pages.")
@click.option("--preload", multiple=True, metavar="MODEL", help="Load this first (repeatable).")
@click.option(
    "--keep-alive",
    type=float,
    metavar="SECONDS",
    help="How long a model stays loaded without a request.",
)
@click.option("--access-log", is_flag=True, default=None, help="Log each request to stderr.")
@json_option
def command(models: tuple[str, ...], places: Places, as_json: bool, **flags: Any) -> None:
    """Serve models over HTTP, with the routes of OpenAI, Ollama and LM Studio, and web pages.

    Only this machine reaches it, unless HOST:PORT or --host says otherwise. Models load when they
    are first asked for. The [server] table of the configuration may hold any of these settings;
    a flag goes before it. Ctrl-C lets answers end; a second one stops at once.
    """
    given = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in flags.items()
        if value not in (None, ())
    }
    if models and (address := _ADDRESS.fullmatch(models[0])):
        models = models[1:]
        given.setdefault("port", int(address["port"]))
        if address["host"]:
            given.setdefault("host", address["host"].strip("[]"))
    catalog = places.read(*models)
    # Not before the flags are read: --help needs no server.
    from blazen.server.run import run
    from blazen.server.settings import ServerSettings

    settings = ServerSettings.from_dict(
        _with_key({**_of_file(catalog.config_path, catalog.server), **given})
    )
    if settings.access_log:
        _log_requests()
    for warning in catalog.warnings():
        say(f"blazen: {warning}")

    def tell(server: Server) -> None:
        if as_json:
            emit_json({"url": server.url, "pages": _pages(server)})
        else:
            _tell(server, catalog)

    raise SystemExit(run(catalog, settings, on_listening=tell))


def _of_file(config: Path | None, table: Mapping[str, Any]) -> dict[str, Any]:
    """Read the table of the configuration; its relative paths begin where the file lies."""
    out = {**table}
    for name in _PATHS:
        if config is not None and isinstance(out.get(name), str):
            out[name] = str(config.parent / Path(out[name]).expanduser())
    return out


def _with_key(settings: dict[str, Any]) -> dict[str, Any]:
    """Read the key from the file that is to hold it."""
    if "api_key" in settings:
        raise ValidationError(
            "a key does not stand in the configuration itself: name the file that holds it, with "
            "api_key_file"
        )
    place = settings.pop("api_key_file", None)
    if place is None:
        return settings
    try:
        with Path(place).open(encoding="utf-8") as file:
            key = file.read(_LONGEST_KEY).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ValidationError(f"the key can't be read from {str(place)!r}: {reason}") from None
    if not key:
        raise ValidationError(f"{str(place)!r} is empty: it should hold the key")
    return {**settings, "api_key": key}


def _pages(server: Server) -> list[str]:
    return [f"{server.url}/{page}" for page in _PAGES] if server.settings.pages else []


def _tell(server: Server, catalog: Catalog) -> None:
    settings = server.settings
    say(f"blazen serves at {server.url}  (Ctrl-C stops it)")
    say(f"  OpenAI's clients: base_url {server.url}/v1 · Ollama's: {server.url}")
    if pages := _pages(server):
        say(f"  pages: {'  '.join(pages)}")
    say(f"  routes: {server.url}/docs")
    if settings.api_key is None and not settings.is_local:
        say("  anyone who reaches this address can use it: there is no key")
    if settings.is_local is False and settings.tls_cert is None:
        say("  nothing is encrypted on the way: --tls-cert and --tls-key do that")
    if not catalog.listings():
        say("  there is no model yet: pip install 'blazen[xllamacpp,starter]', or blazen pull")


def _log_requests() -> None:
    import logging

    log = logging.getLogger("blazen.server.access")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
