"""The OpenAPI document, with the errors as each API has them."""

from __future__ import annotations

import copy
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from blazen.server.failures import Shape, shape_of
from blazen.server.guard.keys import is_open

_ERRORS: dict[Shape, dict[str, Any]] = {
    Shape.OpenAi: {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    },
    Shape.Ollama: {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    Shape.Native: {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "kind", "status"],
                "properties": {
                    "message": {"type": "string"},
                    "kind": {"type": "string"},
                    "status": {"type": "integer"},
                },
            }
        },
    },
}
_WORDS = {"4XX": "The request can't be served; the message says why.", "5XX": "The server failed."}
_OPERATIONS = ("get", "put", "post", "delete", "patch", "head", "options")
_UNUSED = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI, *, keyed: bool) -> None:
    """Have an app give the document of its routes, made when it is first asked for."""
    kept: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not kept:
            kept.update(_document(app, keyed=keyed))
        return kept

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's own guide has it


def _document(app: FastAPI, *, keyed: bool) -> dict[str, Any]:
    out = copy.deepcopy(
        get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            routes=app.routes,
            tags=app.openapi_tags,
        )
    )
    schemas: dict[str, Any] = out.setdefault("components", {}).setdefault("schemas", {})
    for path, operations in out.get("paths", {}).items():
        shape = shape_of(path)
        for name, operation in operations.items():
            if name in _OPERATIONS:
                _correct(operation, shape, schemas)
                if keyed and is_open(path):
                    operation["security"] = []
    for name in _UNUSED:  # FastAPI's own wording of errors, which never goes out
        schemas.pop(name, None)
    if keyed:
        out["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"},
            "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
        out["security"] = [{"key": []}, {"x-api-key": []}]
    return out


def _correct(operation: dict[str, Any], shape: Shape, schemas: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    responses.pop("422", None)
    name = f"{shape.name}Error"
    schemas[name] = _ERRORS[shape]
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
    for status, words in _WORDS.items():
        responses.setdefault(status, {"description": words, "content": content})
