"""Errors in each API's words, and turns that are given up while they are waited for."""

from __future__ import annotations

import asyncio

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message

from blazen import errors
from blazen.server.failures import (
    INTERNAL,
    Refusal,
    Shape,
    answer_of,
    body_of,
    headers_of,
    shape_of,
    status_of,
)
from blazen.server.guard.turns import Turns
from blazen.server.metrics import RequestCounters
from blazen.server.settings import ServerSettings

pytestmark = pytest.mark.needs("server")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ValidationError("a"), 400),
        (errors.UnsupportedError("a"), 400),
        (errors.ContextLengthError("a"), 400),
        (errors.ModelNotFoundError("a"), 404),
        (errors.MissingExtraError("a"), 501),
        (errors.UnknownBackendError("a"), 501),
        (errors.RateLimitError("a", provider="p"), 429),
        (errors.AuthError("a", provider="p"), 502),
        (errors.DownloadError("a"), 502),
        (errors.BudgetError("a"), 503),
        (errors.TimeoutError("a"), 504),
        (errors.LoadError("a"), 500),
        (errors.InferenceError("a"), 500),
        (Refusal(418, "a"), 418),
        (HTTPException(405, "a"), 405),
        (RuntimeError("a"), 500),
        (KeyError("a"), 500),
    ],
)
def test_every_error_has_its_status(error: Exception, status: int) -> None:
    assert status_of(error) == status
    assert answer_of("/v1/x", error).status_code == status
    told = "a" if not isinstance(error, (RuntimeError, KeyError)) else INTERNAL
    assert body_of(Shape.Ollama, error) == {"error": told}


def test_each_api_has_its_own_words() -> None:
    error = errors.ModelNotFoundError("there is no such model")
    assert body_of(Shape.OpenAi, error)["error"] == {
        "message": "there is no such model",
        "type": "not_found_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert body_of(Shape.Native, error)["error"] == {
        "message": "there is no such model",
        "kind": "ModelNotFoundError",
        "status": 404,
    }
    long = body_of(Shape.OpenAi, errors.ContextLengthError("too long"))["error"]
    assert long["code"] == "context_length_exceeded"
    assert body_of(Shape.OpenAi, errors.InferenceError("a"))["error"]["type"] == "server_error"
    refused = body_of(Shape.OpenAi, Refusal(400, "a", param="n", code="c"))["error"]
    assert (refused["param"], refused["code"]) == ("n", "c")
    assert body_of(Shape.Native, RuntimeError("a"))["error"]["kind"] == "Error"


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/models", Shape.OpenAi),
        ("/api/v0/models", Shape.OpenAi),
        ("/api/tags", Shape.Ollama),
        ("/api/models/load", Shape.Native),
        ("/api/explorer/model", Shape.Native),
        ("/api/mesh", Shape.Native),
        ("/generate", Shape.Native),
        ("/", Shape.Native),
    ],
)
def test_paths_tell_the_api(path: str, shape: Shape) -> None:
    assert shape_of(path) is shape


def test_clients_are_told_when_to_come_again() -> None:
    slow = errors.RateLimitError("a", provider="p", retry_after=2.4)
    assert headers_of(slow) == {"Retry-After": "2"}
    assert headers_of(errors.BudgetError("a")) == {"Retry-After": "5"}
    assert headers_of(Refusal(503, "a", headers={"Retry-After": "9"})) == {"Retry-After": "9"}
    assert headers_of(errors.ValidationError("a")) == {}


async def test_a_turn_that_nobody_waits_for_any_more_goes_to_the_next() -> None:
    async def stays() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("its client does not go")

    counters = RequestCounters()
    turns = Turns(ServerSettings(max_requests=1, max_waiting=3), counters)
    await turns.take(stays)
    waiting = [asyncio.create_task(turns.take(stays)) for _ in range(3)]
    await asyncio.sleep(0)
    assert (counters.going, counters.waiting) == (1, 3)
    with pytest.raises(Refusal) as refused:
        await turns.take(stays)
    assert refused.value.status == 503
    waiting[0].cancel()  # while it waits
    await asyncio.wait(waiting[:1])
    assert counters.waiting == 2
    turns.give_back()
    waiting[1].cancel()  # when its turn has just come
    await asyncio.wait(waiting)
    assert waiting[1].cancelled()
    assert waiting[2].done()
    assert not waiting[2].cancelled()
    turns.give_back()
    assert (counters.going, counters.waiting) == (0, 0)


def test_what_is_held_is_given_back() -> None:
    turns = Turns(ServerSettings(max_buffered=100), RequestCounters())
    turns.hold(60)
    with pytest.raises(Refusal, match="hold too much"):
        turns.hold(41)
    turns.let_go(60)
    turns.hold(100)
