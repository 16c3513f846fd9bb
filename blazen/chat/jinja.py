"""Chat templates as Hugging Face renders them: Jinja in a sandbox, with a few names of its own."""

from __future__ import annotations

import datetime
import functools
import json
from typing import TYPE_CHECKING, Any, NoReturn

from blazen.errors import MissingExtraError, UnsupportedError, ValidationError

if TYPE_CHECKING:
    import jinja2

FAILURES = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    SyntaxError,
)
"""What a template's expressions raise in Python when the messages are not what it expects."""


def compile_template(source: str, name: str) -> jinja2.Template:
    """Compile a template; one that is broken is an error that names the model."""
    try:
        import jinja2
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise  # it is there, and broken
        raise MissingExtraError(
            f"the chat template of {name} needs 'jinja2': pip install jinja2"
        ) from error
    try:
        return _environment().from_string(source)
    except (jinja2.TemplateError, *FAILURES) as error:
        raise UnsupportedError(f"the chat template of {name} can't be read: {error}") from error


def render_template(template: jinja2.Template, name: str, values: dict[str, Any]) -> str:
    """Render a template; what it refuses is told in its own words."""
    import jinja2

    try:
        return template.render(values)
    except _Refusal as error:
        raise ValidationError(
            f"the chat template of {name} refuses these messages: {error}"
        ) from error
    except (jinja2.TemplateError, *FAILURES) as error:
        raise UnsupportedError(
            f"the chat template of {name} can't render these messages: {error}"
        ) from error


class _Refusal(Exception):
    """Raised by a template itself, through ``raise_exception``."""


def _raise_exception(message: object) -> NoReturn:
    raise _Refusal(str(message))


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().astimezone().strftime(form)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes what HTML would read, and sorts the keys.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


@functools.cache
def _environment() -> jinja2.Environment:
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}``: it marks what a training run learns from; here it is its body."""

        tags = {"generation"}  # noqa: RUF012 - declared so by jinja2

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment
