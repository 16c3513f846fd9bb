"""Errors as each API words them, with a status that clients act on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from blazen import errors

log = logging.getLogger("blazen.server")

INTERNAL = "internal error: the server's log says more"

_NATIVE = ("/api/models", "/api/explorer", "/api/mesh")


# Where it stands in quotes, a folder may have blanks in its name. A URL is no path of this machine.
_FOLDERS = re.compile(
    r"""((?<!\w)['"])(?:[A-Za-z]:[/\\]|/)[^'"\n]*[/\\](?=[^/\\'"\n])"""
    r"""|(?<![\w.:/\\~-])(?:[A-Za-z]:[/\\]|/)(?:[^/\\\s'"]+[/\\]+)+(?=[^/\\\s'"])"""
)


class Shape(Enum):
    """How an API words an error."""

    OpenAi = "openai"
    Ollama = "ollama"
    Native = "native"


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def shape_of(path: str) -> Shape:
    """Tell by its path which API a request is for."""
    if path.startswith(("/v1/", "/api/v0/")):
        return Shape.OpenAi
    if path.startswith("/api/") and not path.startswith(_NATIVE):
        return Shape.Ollama
    return Shape.Native


class Refusal(errors.BlazenError):
    """An error of the server's own, with the status that it is answered with."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.code = code
        """What OpenAI's clients know it by: ``model_not_found``."""
        self.param = param
        """The field of the request that is wrong."""


# The first that fits wins.
_STATUS: tuple[tuple[type[BaseException], int], ...] = (
    (errors.ValidationError, 400),
    (errors.UnsupportedError, 400),
    (errors.ContextLengthError, 400),
    (errors.ModelNotFoundError, 404),
    (errors.UnknownBackendError, 501),
    (errors.MissingExtraError, 501),
    (errors.RateLimitError, 429),
    (errors.ProviderError, 502),
    (errors.DownloadError, 502),
    (errors.BudgetError, 503),
    (errors.TimeoutError, 504),
)

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def status_of(error: BaseException) -> int:
    """Give the status that an error is answered with."""
    if isinstance(error, Refusal):
        return error.status
    if isinstance(error, HTTPException):
        return error.status_code
    if isinstance(error, RequestValidationError):
        return 400
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def body_of(shape: Shape, error: BaseException) -> dict[str, Any]:
    """Word an error as its API does; what was not raised on purpose tells nothing."""
    message, status = message_of(error), status_of(error)
    if shape is Shape.Ollama:
        return {"error": message}
    if shape is Shape.Native:
        kind = type(error).__name__ if isinstance(error, errors.BlazenError) else "Error"
        return {"error": {"message": message, "kind": kind, "status": status}}
    if isinstance(error, errors.ContextLengthError) and error.limit is not None:
        # Programs look for these very words, and shorten the conversation when they find them.
        message = f"this model's maximum context length is {error.limit} tokens: {message}"
    return {
        "error": {
            "message": message,
            "type": _TYPES.get(
                status, "server_error" if status >= 500 else "invalid_request_error"
            ),
            "param": _param_of(error),
            "code": _code_of(error),
        }
    }


def message_of(error: BaseException) -> str:
    """Give what a client may be told."""
    if isinstance(error, RequestValidationError):
        return "; ".join(dict.fromkeys(_problem(item) for item in error.errors()[:3]))
    if isinstance(error, HTTPException):
        return str(error.detail)
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, errors.BlazenError):
        return without_folders(str(error)) or type(error).__name__
    return INTERNAL


def without_folders(text: str) -> str:
    """Leave of each path of this machine its last part: where it lies is nobody's business."""
    return _FOLDERS.sub(r"\1", text)


def _problem(item: Mapping[str, Any]) -> str:
    """Word one thing that pydantic found, without the value, which may be a whole book."""
    place = _place(item.get("loc", ()))
    what = str(item.get("msg", "is wrong")).removeprefix("Value error, ")
    return f"{place}: {what}" if place else what


# How pydantic calls the branches of a union, which no request names: `list[...]`, `TextPart`.
_LABEL = re.compile(r".*[\[(]|(str|int|float|bool|[A-Z][a-z]+([A-Z][a-z]+)*)$", re.DOTALL)


def _place(loc: Sequence[Any]) -> str:
    steps = loc[1:] if loc and loc[0] in ("body", "query", "path", "header") else loc
    return ".".join(f"{step!s:.80}" for step in steps if not _LABEL.match(str(step)))


def _param_of(error: BaseException) -> str | None:
    if isinstance(error, RequestValidationError) and error.errors():
        return _place(error.errors()[0].get("loc", ())) or None
    if isinstance(error, errors.ModelNotFoundError):
        return "model"
    param = getattr(error, "param", None)
    return param if isinstance(param, str) else None


def _code_of(error: BaseException) -> str | None:
    code = getattr(error, "code", None)
    if isinstance(code, str):
        return code
    if isinstance(error, errors.ModelNotFoundError):
        return "model_not_found"
    if isinstance(error, errors.ContextLengthError):
        return "context_length_exceeded"
    return None


def headers_of(error: BaseException) -> dict[str, str]:
    """Give the headers that go with an error."""
    if isinstance(error, (Refusal, HTTPException)):
        return dict(error.headers or {})
    if isinstance(error, errors.RateLimitError) and error.retry_after is not None:
        return {"Retry-After": str(max(1, round(error.retry_after)))}
    if isinstance(error, errors.BudgetError):
        return {"Retry-After": "5"}
    return {}


def answer_of(path: str, error: BaseException) -> Response:
    """Give the whole answer for an error on a path; what nobody foresaw goes to the log."""
    status = status_of(error)
    if not isinstance(error, (errors.BlazenError, HTTPException, RequestValidationError)):
        log.error("%s failed", _one_line(path), exc_info=error)
    elif status >= 500 and not isinstance(error, (Refusal, HTTPException)):
        log.warning("%s: %s: %s", _one_line(path), type(error).__name__, _one_line(str(error)))
    return JSONResponse(body_of(shape_of(path), error), status, headers_of(error))


def _one_line(text: str) -> str:
    """Spell out what would begin another line of the log, or colour it."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


async def _answer(request: Request, error: Exception) -> Response:
    answer = answer_of(request.url.path, error)
    if answer.status_code == 405:
        # The router names the methods of the first route of a path, and there may be several.
        answer.headers["Allow"] = ", ".join(_allowed(request))
    return answer


def _allowed(request: Request) -> Iterator[str]:
    for method in _METHODS:
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            yield method


def install(app: FastAPI) -> None:
    """Have an app answer errors so."""
    for kind in (errors.BlazenError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer)
