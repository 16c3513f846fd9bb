"""Answers of providers that are not what was asked for, though their status says: all is well."""

from __future__ import annotations

import json
from typing import Any

import pytest

from blazen import ProviderError
from tests.backends.test_hosted import KINDS, STREAMED, kinds, speaking
from tests.remote.misbehaving import Request, Wire, answering, serving
from tests.wire import anthropic, gemini, openai_media

CHATS = ["openai", "openai responses", "anthropic", "gemini"]
OURS = [name for name in KINDS if name != "compat3d"]  # which has no SDK, and takes any mesh
EXPLODED = {"error": {"message": "upstream exploded", "code": 502}}
PAGE = b"<!DOCTYPE html>\n<html><body>Sign in to this network</body></html>"


async def _asked(name: str, behave: Any, *, streamed: bool) -> ProviderError:
    kind = KINDS[name]
    async with serving(behave) as server:
        model = kind.at(server.url)
        with pytest.raises(ProviderError) as raised:
            await (kind.stream(model).collect() if streamed else kind.ask(model))
        assert len(server.asked) == 1
        await model.aclose()
    return raised.value


def _wanted(name: str, streamed: bool) -> str:
    if name == "openai speech":
        return "sound"
    # Its usual model streams where a whole transcript is asked for, too.
    streams = streamed or name == "openai transcription"
    return "an event stream" if streams else "a JSON object"


def _ways(names: Any) -> Any:
    return pytest.mark.parametrize(
        ("name", "streamed"),
        [
            pytest.param(name, streamed, marks=pytest.mark.needs(KINDS[name].needs))
            for name in names
            for streamed in (False, True)
            if not streamed or name in STREAMED
        ],
    )


@_ways(OURS)
@pytest.mark.parametrize("kind", ["application/json", "application/problem+json; charset=utf-8"])
async def test_an_error_in_plain_json_is_told(name, streamed, kind):
    behave = answering(json.dumps(EXPLODED).encode(), content_type=kind)
    error = await _asked(name, behave, streamed=streamed)
    assert "upstream exploded" in str(error)
    assert error.status == 502


@_ways(OURS)
async def test_a_page_is_told_of(name, streamed):
    error = await _asked(name, answering(PAGE, content_type="text/html"), streamed=streamed)
    assert f"text/html instead of {_wanted(name, streamed)}: '<!DOCTYPE html>" in str(error)
    assert "Sign in to this network" in str(error)
    assert error.status == 200


@kinds(["openai", "openai responses", "openai transcription", "openai images", "anthropic"])
@pytest.mark.parametrize("body", [b'"overloaded"', b"[]", b"null", b"busy", b"", b" \n"])
async def test_what_is_no_object_is_told_of(name, body):
    for streamed in (False, True):
        behave = answering(body, content_type="application/json")
        error = await _asked(name, behave, streamed=streamed)
        wanted = f"instead of {_wanted(name, streamed)}: "
        assert (wanted if body.strip() else "application/json that holds nothing") in str(error)
        assert "Error:" not in str(error)
        assert body.decode().strip() in str(error)


@pytest.mark.needs("gemini")
@pytest.mark.parametrize("name", ["gemini", "gemini embedding"])
async def test_google_puts_it_in_a_list(name):
    error = await _asked(name, answering([EXPLODED]), streamed=False)
    assert (error.status, "upstream exploded" in str(error)) == (502, True)


@kinds(CHATS)
async def test_a_page_is_kept_short_and_the_key_hidden(name):
    key = {"anthropic": anthropic.KEY, "gemini": gemini.KEY}.get(name, openai_media.KEY)
    page = f"<html>{key} {'x' * 1_000_000}</html>".encode()
    for streamed in (False, True):
        error = await _asked(name, answering(page, content_type="text/html"), streamed=streamed)
        assert key not in str(error)
        assert len(str(error)) < 400
        assert type(error) is ProviderError


@kinds(CHATS)
async def test_events_under_a_wrong_name_are_read(name):
    """As of a server in Flask, whose streams are text/html unless it says otherwise."""

    class Misnamed(Wire):
        async def head(self, status: int = 200, length: int | None = None, **headers: Any) -> None:
            if headers.get("content_type", "").startswith("text/event-stream"):
                headers["content_type"] = "text/html; charset=utf-8"
            await super().head(status, length, **headers)

    speaks = speaking(name)

    async def behave(given: Wire, request: Request) -> None:
        await speaks(Misnamed(given._reader, given._writer), request)

    kind = KINDS[name]
    async with serving(behave) as server:
        model = kind.at(server.url)
        assert (await kind.stream(model).collect()).content
        await model.aclose()


@kinds(CHATS)
async def test_an_answer_may_follow_blanks(name):
    """As OpenRouter sends them, to keep a connection open."""

    class Slow(Wire):
        async def answer(self, body: Any = b"", status: int = 200, **headers: Any) -> None:
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers.setdefault("content_type", "application/json")
            await self.head(status, len(text) + 6, **headers)
            for blank in (b"\n", b" \n", b"\r\n "):
                await self.raw(blank)
            await self.raw(text)

    speaks = speaking(name)

    async def behave(given: Wire, request: Request) -> None:
        await speaks(Slow(given._reader, given._writer), request)

    kind = KINDS[name]
    async with serving(behave) as server:
        model = kind.at(server.url)
        assert (await kind.ask(model)).content
        await model.aclose()
