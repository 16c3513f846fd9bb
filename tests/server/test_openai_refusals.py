"""What OpenAI's routes refuse, and how they say it; and what happens when a client goes."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from blazen.catalog import Catalog
from blazen.server.reading import (
    AllowedChoice,
    AllowedTools,
    FunctionName,
    NamedChoice,
    read_choice,
)
from blazen.types.chat import Tool
from tests.server.conftest import read_catalog, running

TOOL = {"type": "function", "function": {"name": "a", "parameters": {"type": "object"}}}
MANY = {"type": "object", "properties": {f"p{number}": {} for number in range(5001)}}
HELLO = [{"role": "user", "content": "hello there"}]


def ask(url: str, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
    return httpx.post(url + path, json={"model": "echo", "messages": HELLO} | body, timeout=60)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/generate"])
def test_a_conversation_has_an_end(echo_server: Any, path: str) -> None:
    answer = ask(echo_server.url, path, messages=HELLO * 10_001)
    assert (answer.status_code, "10,000" in answer.text or "10000" in answer.text) == (400, True)
    assert ask(echo_server.url, path, messages=HELLO * 10_000).status_code == 200


def test_so_have_the_items_of_a_response(echo_server: Any) -> None:
    answer = ask(echo_server.url, "/v1/responses", input=HELLO * 10_001)
    assert (answer.status_code, "10000" in answer.text) == (400, True)


def test_names_of_allowed_tools_are_looked_up_and_not_searched_for() -> None:
    compared = 0

    class Name(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    count = 500
    tools = tuple(Tool(Name(f"t{number}"), "", None) for number in range(count))
    functions = [FunctionName.model_construct(name=Name(f"t{n}")) for n in range(count)]
    allowed = [NamedChoice.model_construct(function=one) for one in functions]
    choice = AllowedChoice.model_construct(
        allowed_tools=AllowedTools.model_construct(mode="auto", tools=allowed)
    )
    compared = 0
    assert read_choice(choice, tools) == ("auto", tools)
    assert compared < 20 * count


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"functions": [{"name": "a"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
        ({"verbosity": "low"}, "verbosity"),
        ({"chat_template_kwargs": {"x": 1}}, "chat_template_kwargs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "b"}}},
            "tool_choice",
        ),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"schema": {"enum": list(range(1001))}},
                }
            },
            "response_format.json_schema.schema",
        ),
        ({"tools": [{**TOOL, "function": {"name": "a", "parameters": MANY}}]}, "tools"),
        # What is not of its type, with the place of it.
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages.0.content"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages.0.role"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"seed": 1.5}, "seed"),
        ({"n": 0}, "n"),
        ({"n": 10**30}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"logit_bias": {"word": 1}}, "logit_bias.word"),
        ({"stop": ""}, "stop"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0.type"),
    ],
)
def test_it_is_named(echo_server: Any, body: dict[str, Any], param: str) -> None:
    text = json.dumps({"model": "echo", "messages": HELLO} | body)
    answer = httpx.post(
        f"{echo_server.url}/v1/chat/completions",
        content=text,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert (error["param"] or "").startswith(param), error
    assert error["message"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "url",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "../../secret.png",
        "http://127.0.0.1:1/a.png",
        "https://example.org/a.png",
        "ftp://example.org/a.png",
        "data:image/png;base64,AAAA",
        "data:image/png;base64,%%%",
        "data:text/plain,hello",
    ],
)
def test_no_picture_is_fetched_or_opened(echo_server: Any, url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    answer = ask(echo_server.url, messages=[{"role": "user", "content": [part]}])
    assert answer.status_code == 400
    assert "root:" not in answer.text


def test_pictures_of_the_web_never_come_from_this_machine(
    echo_catalog: Catalog, echo_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BLAZEN_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    part = {"type": "image_url", "image_url": {"url": f"{echo_server.url}/health"}}
    with running(echo_catalog, remote_images=True) as server:
        answer = ask(server.url, messages=[{"role": "user", "content": [part]}])
    assert answer.status_code == 400, answer.text
    assert "ok" not in answer.json()["error"]["message"].split()


def test_a_picture_with_too_many_pixels(echo_catalog: Catalog) -> None:
    pytest.importorskip("PIL")
    from blazen import Image

    pixels = Image.from_pil(__import__("PIL.Image").Image.new("RGB", (40, 30)))
    part = {"type": "image_url", "image_url": {"url": pixels.to_data_url()}}
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]}]
    with running(echo_catalog, max_image_pixels=1000) as server:
        answer = ask(server.url, messages=messages)
        assert answer.status_code == 400
        assert "1,000" in answer.json()["error"]["message"]
    with running(echo_catalog) as server:  # it is read, and the model says that it takes none
        assert "reads text only" in ask(server.url, messages=messages).json()["error"]["message"]


def test_a_sound_is_read_within_the_limit(echo_catalog: Catalog) -> None:
    np = pytest.importorskip("numpy")
    import base64

    from blazen import Audio

    wav = Audio.from_samples(np.zeros(16_000, dtype="float32"), 16_000).to_bytes("wav")
    sound = {"data": base64.b64encode(wav).decode(), "format": "wav"}
    messages = [{"role": "user", "content": [{"type": "input_audio", "input_audio": sound}]}]
    url = {"data": f"data:audio/wav;base64,{sound['data']}"}
    as_url = [{"role": "user", "content": [{"type": "input_audio", "input_audio": url}]}]
    with running(echo_catalog, max_sound=0.5) as server:
        assert "0.5 seconds" in ask(server.url, messages=as_url).json()["error"]["message"]
        assert "0.5 seconds" in ask(server.url, messages=messages).json()["error"]["message"]
    with running(echo_catalog) as server:
        assert "reads text only" in ask(server.url, messages=messages).json()["error"]["message"]


def test_unknown_models(echo_server: Any) -> None:
    for path in ("/v1/chat/completions", "/api/v0/chat/completions"):
        answer = ask(echo_server.url, path, model="nobody")
        assert answer.status_code == 404
        error = answer.json()["error"]
        assert error["code"] == "model_not_found"
        assert error["param"] == "model"
    for name in ("/etc/passwd", "xllamacpp:/etc/passwd", "https://example.org/x.gguf"):
        assert ask(echo_server.url, model=name).status_code == 404


def test_what_clients_always_send_is_ignored(echo_server: Any) -> None:
    answer = ask(
        echo_server.url,
        user="me",
        store=True,
        metadata={"a": "b"},
        service_tier="auto",
        parallel_tool_calls=True,
        functions=[],
        audio=None,
        verbosity="medium",
        modalities=["text"],
        prompt_cache_key="k",
        something_new={"of": ["next year"]},
    )
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "hello there"


def test_the_events_of_a_stream_are_as_openai_writes_them(echo_server: Any) -> None:
    answer = ask(echo_server.url, stream=True, stream_options={"include_usage": True}, n=1)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    same = {key: chunks[0][key] for key in ("id", "created", "model", "system_fingerprint")}
    head = {**same, "object": "chat.completion.chunk"}
    assert same["model"] == "echo"
    assert same["id"].startswith("chatcmpl-")

    def piece(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**head, "choices": [choice], "usage": None}

    usage = {
        "prompt_tokens": 2,
        "completion_tokens": 2,
        "total_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    assert [piece({"role": "assistant", "content": ""})] == chunks[:1]
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks[1:-2]] == [
        "hello",
        " there",
    ]
    assert chunks[1] == piece({"content": "hello"})
    assert chunks[-2] == piece({}, "stop")
    assert chunks[-1] == {**head, "choices": [], "usage": usage}


def test_a_streamed_call_of_a_tool(echo_server: Any) -> None:
    settings: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required", "stream": True}
    lines = ask(echo_server.url, **settings).text.split("\n\n")[:-2]
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines]
    (call,) = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert call["index"] == 0
    assert call["id"]
    assert call["type"] == "function"
    assert call["function"]["name"] == "a"
    json.loads(call["function"]["arguments"])
    assert json.loads(lines[-1][6:])["choices"][0]["finish_reason"] == "tool_calls"


def test_an_engine_that_can_not_is_named(echo_server: Any) -> None:
    answer = ask(echo_server.url, logprobs=True)
    assert answer.status_code == 400
    assert "logprobs" in answer.json()["error"]["message"]
    streamed = ask(echo_server.url, logprobs=True, stream=True)
    assert streamed.status_code == 400
    assert "logprobs" in streamed.json()["error"]["message"]
    # The other choices of a request that fails are stopped.
    several = ask(echo_server.url, logprobs=True, n=4, stream=True)
    assert several.status_code == 400
    wait_until_idle(echo_server)


def wait_until_idle(server: Any) -> None:
    end = time.monotonic() + 60
    while any(model.leases or model.waiting for model in server.manager.status().models):
        assert time.monotonic() < end, "a request still holds its model"
        time.sleep(0.02)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_a_client_that_goes_stops_its_generation(
    echo_server: Any, stream: bool, count: int
) -> None:
    body = json.dumps({"model": "slow-echo", "messages": HELLO, "stream": stream, "n": count})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{echo_server.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", echo_server.port)) as client:
        client.sendall((head + body).encode())
        end = time.monotonic() + 60
        # Alone it would go on for more than a minute.
        while not any(m.id == "slow-echo" and m.leases for m in models(echo_server)):
            assert time.monotonic() < end, "it has not begun"
            time.sleep(0.01)
        if stream:
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    wait_until_idle(echo_server)


def models(server: Any) -> tuple[Any, ...]:
    found: tuple[Any, ...] = server.manager.status().models
    return found


def test_turns_are_added_to_the_file(echo_catalog: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "turns.jsonl"
    with running(echo_catalog, chat_history=file) as server:
        ask(server.url)
        ask(server.url, messages=[{"role": "user", "content": "again"}], stream=True)
    first, second = map(json.loads, file.read_text("utf-8").splitlines())
    assert (first["answer"], second["answer"]) == ("hello there", "again")
    assert first["messages"] == [{"role": "user", "content": "hello there"}]
    assert first["model"] == "echo"
    assert first["route"] == "/v1/chat/completions"


def test_thinking_rewrites_the_prompt(echo_catalog: Catalog) -> None:
    # The echo rewrites a prompt to all that it was told about rewriting.
    with running(echo_catalog) as server:
        text = ask(server.url, thinking=True).json()["choices"][0]["message"]["content"]
        assert text.startswith("Rewrite the request below")
        assert text.endswith("hello there")
        streamed = ask(server.url, thinking=True, stream=True).text
        assert "Rewrite" in streamed
    with running(echo_catalog, thinking=True) as server:
        assert ask(server.url).json()["choices"][0]["message"]["content"] == text
        told = ask(server.url, thinking=False).json()["choices"][0]["message"]["content"]
        assert told == "hello there"


def test_a_models_own_system_prompt(tmp_path: Path, echo_catalog: Catalog) -> None:
    text = """
    [discover]
    starters = false
    cache = false
    programs = false

    [models.poet]
    spec = "echo:echo"
    system = "You rhyme all that you say"
    """
    with running(read_catalog(tmp_path, text)) as server:
        assert ask(server.url, model="poet").json()["usage"]["prompt_tokens"] == 8
        own = [{"role": "system", "content": "No rhymes"}, *HELLO]
        answer = ask(server.url, model="poet", messages=own).json()
        assert answer["usage"]["prompt_tokens"] == 4


def test_skills_are_brought_in(echo_catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "poems"
    folder.mkdir()
    skill = "---\nname: poems\ndescription: How to write rhyming poems\n---\nRhyme each line.\n"
    (folder / "SKILL.md").write_text(skill)
    messages = [{"role": "user", "content": "Write rhyming poems about rain"}]
    with running(echo_catalog, skills_dir=tmp_path) as server:
        with_skill = ask(server.url, messages=messages).json()["usage"]["prompt_tokens"]
        assert ask(server.url).json()["usage"]["prompt_tokens"] == 2
    with running(echo_catalog) as server:
        without = ask(server.url, messages=messages).json()["usage"]["prompt_tokens"]
    assert with_skill > without
