"""``/v1/responses``, asked by the real client of OpenAI and bare requests."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from PIL import Image as Pillow
from pydantic import BaseModel, TypeAdapter

from blazen.testing.answering import ANIMAL, WEATHER
from blazen.types.audio import Audio
from blazen.types.image import Image
from tests.server.conftest import leases, read_catalog, running, wait_for

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
TOOL: dict[str, Any] = {
    "type": "function",
    "name": WEATHER.name,
    "description": WEATHER.description,
    "parameters": WEATHER.parameters,
    "strict": True,
}
BREAKING = """
[discover]
starters = false
cache = false
programs = false
[models.breaking]
spec = "echo:echo"
memory = "1MiB"
options = { fail_at = 2 }
"""
real = pytest.mark.needs("server", "clients", "xllamacpp", "starter:chat")


class Animal(BaseModel):
    kind: str
    legs: int


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def echo(echo_server: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{echo_server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def told(url: str, **body: Any) -> list[dict[str, Any]]:
    """Give the events of a stream as they were sent, each checked against the client's types."""
    events = []
    with httpx.stream("POST", f"{url}/v1/responses", json={**body, "stream": True}) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                assert event["type"] == name
                EVENT.validate_python(event)
                events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


class TestLogic:
    """What the route does around a model: on one that says what it hears."""

    def test_a_text_is_answered(self, echo: openai.OpenAI) -> None:
        answer = echo.responses.create(model="echo", input="hello there")
        assert answer.output_text == "hello there"
        assert answer.status == "completed"
        assert answer.model == "echo"
        assert answer.error is None
        assert answer.incomplete_details is None
        [message] = answer.output
        assert message.type == "message"
        assert message.status == "completed"
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, 2)
        assert answer.usage.input_tokens_details.cached_tokens == 0
        assert answer.usage.output_tokens_details.reasoning_tokens == 0

    def test_the_answer_is_of_the_clients_own_types(self, echo_server: Any) -> None:
        body = {"model": "echo", "input": "hello", "tools": [TOOL], "metadata": {"a": "b"}}
        answer = httpx.post(f"{echo_server.url}/v1/responses", json=body)
        found = Response.model_validate(answer.json(), strict=True)
        assert found.metadata == {"a": "b"}
        assert found.tools[0].type == "function"

    def test_a_conversation_of_items(self, echo: openai.OpenAI) -> None:
        answer = echo.responses.create(
            model="echo",
            instructions="be brief",
            input=[
                {"role": "developer", "content": "be kind"},
                {"role": "user", "content": [{"type": "input_text", "text": "what is it?"}]},
                {
                    "type": "message",
                    "role": "assistant",
                    "id": "msg_1",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "let me see", "annotations": []}],
                },
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "2", "name": "g", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "1", "output": "sunny"},
                {"type": "function_call_output", "call_id": "2", "output": "and warm"},
            ],
        )
        assert answer.output_text == "and warm"
        assert answer.instructions == "be brief"
        # Of each message the words are counted.
        assert answer.usage is not None
        assert answer.usage.input_tokens == 2 + 2 + 3 + 3 + 1 + 2

    def test_a_stream_tells_each_step(self, echo_server: Any) -> None:
        events = told(echo_server.url, model="echo", input="one two three")
        assert [event["type"] for event in events] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            *["response.output_text.delta"] * 3,
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
        deltas = [event["delta"] for event in events if "delta" in event]
        assert "".join(deltas) == "one two three" == events[7]["text"]
        first, last = events[0]["response"], events[-1]["response"]
        assert (first["status"], first["output"]) == ("in_progress", [])
        assert (last["status"], last["id"]) == ("completed", first["id"])
        assert last["output"] == [events[-2]["item"]]
        assert last["usage"]["output_tokens"] == 3

    def test_a_call_in_a_stream(self, echo_server: Any) -> None:
        events = told(
            echo_server.url, model="echo", input="Oslo", tools=[TOOL], tool_choice="required"
        )
        assert [event["type"] for event in events] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
        item = events[-2]["item"]
        assert (item["name"], item["status"]) == ("get_weather", "completed")
        assert json.loads(item["arguments"]) == {"city": "Paris", "days": 1}
        assert events[3]["delta"] == events[4]["arguments"] == item["arguments"]

    def test_an_answer_that_is_cut_is_incomplete(self, echo: openai.OpenAI) -> None:
        answer = echo.responses.create(model="echo", input="one two three", max_output_tokens=2)
        assert answer.status == "incomplete"
        assert answer.incomplete_details is not None
        assert answer.incomplete_details.reason == "max_output_tokens"
        assert answer.output_text == "one two"
        with echo.responses.stream(
            model="echo", input="one two three", max_output_tokens=1
        ) as stream:
            kinds = [event.type for event in stream]
        assert kinds[-1] == "response.incomplete"

    @pytest.mark.parametrize(
        ("choice", "name"),
        [
            ("required", "get_weather"),
            ({"type": "function", "name": "second"}, "second"),
            (
                {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "second"}],
                },
                "second",
            ),
        ],
    )
    def test_a_tool_is_chosen(self, echo: openai.OpenAI, choice: Any, name: str) -> None:
        second: Any = {**TOOL, "name": "second"}
        answer = echo.responses.create(
            model="echo", input="x", tools=[TOOL, second], tool_choice=choice
        )
        [call] = answer.output
        assert call.type == "function_call"
        assert call.name == name

    @pytest.mark.parametrize(
        ("more", "param"),
        [
            ({"previous_response_id": "resp_1"}, "previous_response_id"),
            ({"conversation": "conv_1"}, "conversation"),
            ({"background": True}, "background"),
            ({"prompt": {"id": "pmpt_1"}}, "prompt"),
            ({"max_tool_calls": 3}, "max_tool_calls"),
            ({"truncation": "auto"}, "truncation"),
            ({"include": ["web_search_call.results"]}, "include"),
            ({"text": {"verbosity": "low"}}, "text.verbosity"),
            ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format"),
            ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
            ({"tool_choice": "required"}, "tool_choice"),
            ({"tool_choice": {"type": "function", "name": "gone"}, "tools": [TOOL]}, "tool_choice"),
            ({"input": []}, "input"),
            ({"input": [{"role": "system", "content": "alone"}]}, "input"),
            ({"input": [{"role": "user", "content": []}]}, "input[0].content"),
            ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
            ({"input": 7}, "input"),
            ({"max_output_tokens": 0}, "max_output_tokens"),
            ({"temperature": "hot"}, "temperature"),
            ({"top_logprobs": 21}, "top_logprobs"),
        ],
    )
    def test_what_cannot_be_done_is_named(
        self, echo_server: Any, more: dict[str, Any], param: str
    ) -> None:
        body = {"model": "echo", "input": "hello", **more}
        answer = httpx.post(f"{echo_server.url}/v1/responses", json=body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["param"].startswith(param)

    def test_what_clients_always_send_is_passed_over(self, echo_server: Any) -> None:
        body = {
            "model": "echo",
            "input": "hello",
            "store": True,
            "background": False,
            "previous_response_id": None,
            "include": ["reasoning.encrypted_content"],
            "user": "me",
            "service_tier": "auto",
            "prompt_cache_key": "k",
            "stream_options": {"include_obfuscation": False},
            "text": {"format": {"type": "text"}, "verbosity": "medium"},
            "truncation": "disabled",
        }
        answer = httpx.post(f"{echo_server.url}/v1/responses", json=body)
        assert answer.status_code == 200
        assert answer.json()["store"] is False

    def test_a_picture_that_is_no_data_url_is_refused(self, echo_server: Any) -> None:
        for url in ("file:///etc/passwd", "/etc/passwd", "http://127.0.0.1/x.png"):
            part = {"type": "input_image", "image_url": url}
            body = {"model": "echo", "input": [{"role": "user", "content": [part]}]}
            answer = httpx.post(f"{echo_server.url}/v1/responses", json=body)
            assert answer.status_code == 400
            assert "data URL" in answer.json()["error"]["message"]

    def test_no_response_is_kept(self, echo: openai.OpenAI) -> None:
        made = echo.responses.create(model="echo", input="hello", store=True)
        with pytest.raises(openai.NotFoundError, match="keeps none"):
            echo.responses.retrieve(made.id)
        with pytest.raises(openai.NotFoundError, match="keeps none"):
            echo.responses.delete(made.id)

    def test_both_methods_of_a_path_are_named(self, echo_server: Any) -> None:
        answer = httpx.put(f"{echo_server.url}/v1/responses/resp_1")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, DELETE"
        assert answer.json()["error"]["type"] == "invalid_request_error"

    def test_an_error_before_the_stream_has_its_status(self, echo: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            echo.responses.create(model="none-such", input="hello", stream=True)
        with pytest.raises(openai.BadRequestError, match="does not think"):
            echo.responses.create(
                model="echo", input="hello", stream=True, reasoning={"effort": "high"}
            )

    def test_a_picture_and_a_sound_reach_the_model(self, echo_server: Any) -> None:
        pixels = base64.b64encode(Image.from_pil(Pillow.new("RGB", (2, 2))).to_bytes("png"))
        sound = base64.b64encode(Audio.from_samples([0.0] * 160, 16_000).to_bytes("wav"))
        for part in (
            {"type": "input_image", "image_url": f"data:image/png;base64,{pixels.decode()}"},
            {"type": "input_audio", "input_audio": {"data": sound.decode(), "format": "wav"}},
        ):
            body = {"model": "echo", "input": [{"role": "user", "content": [part]}]}
            answer = httpx.post(f"{echo_server.url}/v1/responses", json=body)
            assert answer.status_code == 400
            assert "the echo model reads text only" in answer.json()["error"]["message"]

    def test_what_fails_in_the_middle_is_told(self, echo_catalog: Any, tmp_path: Path) -> None:
        with running(read_catalog(tmp_path, BREAKING)) as server:
            events = told(server.url, model="breaking", input="one two three four")
            assert events[-1]["type"] == "response.failed"
            assert events[-1]["response"]["status"] == "failed"
            assert events[-1]["response"]["error"]["code"] == "server_error"
            assert events[-1]["response"]["output"][0]["content"][0]["text"] == "one two"
            answer = httpx.post(
                f"{server.url}/v1/responses", json={"model": "breaking", "input": "a b c d"}
            )
            assert answer.status_code == 500
            assert answer.json()["error"]["type"] == "server_error"

    def test_a_client_that_goes_stops_the_model(self, echo_server: Any) -> None:
        body = {"model": "slow-echo", "input": "again and", "stream": True}
        with httpx.stream("POST", f"{echo_server.url}/v1/responses", json=body) as answer:
            for line in answer.iter_lines():
                if "delta" in line:
                    break
            assert leases(echo_server, "slow-echo") == 1
        wait_for(lambda: leases(echo_server, "slow-echo") == 0)


@real
class TestRealModel:
    """The starter's chat model, behind the real client."""

    def test_a_text_and_its_stream_are_the_same(self, client: openai.OpenAI) -> None:
        asked: Any = {
            "model": "chat",
            "input": "Name three colours.",
            "temperature": 0,
            "max_output_tokens": 24,
        }
        whole = client.responses.create(**asked)
        with client.responses.stream(**asked) as stream:
            events = list(stream)
        text = "".join(
            event.delta for event in events if event.type == "response.output_text.delta"
        )
        last: Any = events[-1]
        assert last.type in ("response.completed", "response.incomplete")
        final = last.response
        assert whole.output_text == text == final.output_text != ""
        assert whole.usage is not None
        assert whole.usage.input_tokens > 5
        assert final.usage is not None
        assert final.usage.output_tokens == whole.usage.output_tokens <= 24

    def test_a_schema_is_kept_to(self, client: openai.OpenAI) -> None:
        answer = client.responses.create(
            model="chat",
            input="Tell me of an animal.",
            max_output_tokens=80,
            temperature=0,
            text={
                "format": {
                    "type": "json_schema",
                    "name": "animal",
                    "schema": ANIMAL,
                    "strict": True,
                }
            },
        )
        value = json.loads(answer.output_text)
        assert value["kind"] in ("cat", "dog", "heron")
        assert set(value) == {"kind", "legs", "tame"}

    def test_a_class_is_parsed(self, client: openai.OpenAI) -> None:
        answer = client.responses.parse(
            model="chat",
            input="A dog has four legs. Tell me of it.",
            text_format=Animal,
            temperature=0,
            max_output_tokens=80,
        )
        assert isinstance(answer.output_parsed, Animal)

    def test_a_function_is_called_and_answered(self, client: openai.OpenAI) -> None:
        tool: Any = TOOL
        question: Any = {"role": "user", "content": "What is the weather in Oslo?"}
        first = client.responses.create(
            model="chat",
            input=[question],
            tools=[tool],
            tool_choice="required",
            temperature=0,
            max_output_tokens=120,
        )
        call = first.output[0]
        assert call.type == "function_call"
        assert call.name == "get_weather"
        assert json.loads(call.arguments)["city"] in ("Paris", "Oslo")
        told: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "snow"}
        asked: Any = [question, call.model_dump(), told]
        second = client.responses.create(
            model="chat", input=asked, tools=[tool], tool_choice="none", max_output_tokens=16
        )
        assert second.output_text
        assert [item.type for item in second.output] == ["message"]

    def test_likelihoods_of_tokens(self, client: openai.OpenAI) -> None:
        answer = client.responses.create(
            model="chat",
            input="Say yes.",
            max_output_tokens=4,
            temperature=0,
            top_logprobs=3,
            include=["message.output_text.logprobs"],
        )
        [message] = answer.output
        assert message.type == "message"
        [part] = message.content
        assert part.type == "output_text"
        assert part.logprobs
        assert "".join(token.token for token in part.logprobs).strip() == part.text.strip()
        for token in part.logprobs:
            assert len(token.top_logprobs) == 3
            assert token.logprob == pytest.approx(token.top_logprobs[0].logprob)

    def test_an_answer_cut_before_its_schema_is_whole(self, client: openai.OpenAI) -> None:
        answer = client.responses.create(
            model="chat",
            input="Tell me of an animal.",
            max_output_tokens=3,
            text={"format": {"type": "json_schema", "name": "animal", "schema": ANIMAL}},
        )
        assert answer.status == "incomplete"
        assert answer.output_text
