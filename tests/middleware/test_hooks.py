"""Functions hear of each request once, and a log tells of it without its content."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from blazen.errors import InferenceError, OutputError, ValidationError
from blazen.middleware import with_hooks
from blazen.types.completion import FinishReason
from tests.middleware.scripted import USAGE, Scripted, in_virtual_time, texts


class Heard:
    def __init__(self):
        self.events = []
        self.calls = []

    def around(self, model):
        def note(name):
            def hear(call, *what):
                self.calls.append(call)
                self.events.append((name, *what))

            return hear

        names = ("on_request", "on_chunk", "on_response", "on_error")
        return with_hooks(model, **{name: note(name) for name in names})

    @property
    def names(self):
        return [event[0] for event in self.events]


@in_virtual_time
async def test_a_whole_answer_is_heard_of():
    heard = Heard()
    answer = await heard.around(Scripted([1, "a"])).complete("hi", {"max_tokens": 5})
    assert heard.events == [("on_request",), ("on_response", answer)]
    call = heard.calls[0]
    assert call is heard.calls[1]
    assert (call.model, call.messages, call.streamed) == ("Scripted", "hi", False)
    assert call.options.max_tokens == 5
    assert call.seconds >= 0
    assert "hi" not in repr(call)


@in_virtual_time
async def test_a_stream_is_heard_of():
    heard = Heard()
    stream = heard.around(Scripted(["a", "b"])).complete_stream("hi")
    assert heard.events == []
    pieces = [piece async for piece in stream]
    assert heard.names == ["on_request", *["on_chunk"] * 3, "on_response"]
    assert [event[1] for event in heard.events[1:4]] == pieces
    assert heard.events[-1][1] == stream.response
    assert heard.calls[0].streamed


@pytest.mark.parametrize("script", [[InferenceError("no")], [InferenceError("no"), ...]])
@in_virtual_time
async def test_an_error_is_heard_of(script):
    for streamed in (True, False):
        heard = Heard()
        model = heard.around(Scripted(script))
        with pytest.raises(InferenceError):
            await (texts(model.complete_stream("hi")) if streamed else model.complete("hi"))
        assert heard.names == ["on_request", "on_error"]


@pytest.mark.parametrize("way", ["aclose", "break", "drop", "cancel"])
@in_virtual_time
async def test_a_stream_that_is_left_is_heard_of_once(way):
    heard = Heard()
    stream = heard.around(Scripted(["a", 5, "b"])).complete_stream("hi")
    if way == "aclose":
        await anext(stream)
        await stream.aclose()
        await stream.aclose()
    elif way == "break":
        async for _ in stream:
            break
    elif way == "drop":
        await anext(stream)
        del stream
        gc.collect()
    else:
        task = asyncio.create_task(texts(stream))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait((task,))
    await asyncio.sleep(1)
    last = "on_error" if way == "cancel" else "on_response"
    assert heard.names == ["on_request", "on_chunk", last]
    if way != "cancel":
        assert heard.events[-1][1].content == "a"
        assert heard.events[-1][1].finish_reason is FinishReason.Cancelled


@in_virtual_time
async def test_an_answer_without_its_shape_is_an_error():
    heard = Heard()
    stream = heard.around(Scripted(["no"])).complete_stream("hi", {"response_format": "json"})
    with pytest.raises(OutputError):
        await texts(stream)
    assert heard.names == ["on_request", "on_chunk", "on_chunk", "on_error"]


@in_virtual_time
async def test_what_a_function_raises_ends_the_request():
    def refuse(*_):
        raise ValidationError("not that")

    model = Scripted(["a", 5, "b"])
    with pytest.raises(ValidationError, match="not that"):
        await with_hooks(model, on_request=refuse).complete("hi")
    assert model.requests == []
    stream = with_hooks(model, on_chunk=refuse).complete_stream("hi")
    with pytest.raises(ValidationError, match="not that"):
        await texts(stream)
    assert (model.running, model.stopped) == (0, 1)


@in_virtual_time
async def test_the_log_has_no_content_unless_it_is_asked_for(caplog):
    caplog.set_level(logging.INFO, "blazen.requests")
    model = with_hooks(Scripted(["my answer"]))
    await model.complete("my question")
    await texts(model.complete_stream("my question"))
    failing = with_hooks(Scripted([InferenceError("my text")]))
    with pytest.raises(InferenceError):
        await failing.complete("my question")
    lines = caplog.messages
    assert len(lines) == 3
    tokens = f"{USAGE.prompt_tokens} + {USAGE.completion_tokens} tokens"
    assert all("answered in" in line and tokens in line for line in lines[:2])
    assert "InferenceError" in lines[2]
    assert "my" not in caplog.text
    caplog.clear()
    await with_hooks(Scripted(["my answer"]), log=True, content=True).complete("my question")
    assert "my question" in caplog.text
    assert "my answer" in caplog.text


@in_virtual_time
async def test_a_logger_of_ones_own_and_none(caplog):
    caplog.set_level(logging.INFO)
    await with_hooks(Scripted(["a"]), log=logging.getLogger("mine")).complete("hi")
    assert [record.name for record in caplog.records] == ["mine"]
    caplog.clear()
    await with_hooks(Scripted(["a"]), on_request=lambda call: None).complete("hi")
    assert caplog.records == []


def test_functions_are_checked():
    async def later(call):
        pass

    for given in (later, "print"):
        with pytest.raises(ValidationError, match="on_request"):
            with_hooks(Scripted(["a"]), on_request=given)
