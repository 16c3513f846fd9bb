"""What Ollama's routes make of requests and answers, whatever the model."""

from __future__ import annotations

import contextlib
import json
import time

import httpx
import pytest

from blazen.errors import DownloadError
from blazen.server.apis.ollama import changes, keeping
from blazen.server.apis.ollama.asked import Message
from blazen.server.apis.ollama.chat import read_messages
from blazen.server.apis.ollama.context import packed, unpacked
from blazen.server.refusals import RefusedError
from blazen.server.settings import ServerSettings
from blazen.types.chat import ToolCall
from blazen.types.completion import (
    FinishReason,
    InferenceChunk,
    InferenceChunkStream,
    ToolCallDelta,
)
from blazen.types.progress import Progress
from tests.server.conftest import RunningServer, running

pytestmark = pytest.mark.needs("server", "clients")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (5, 5.0),
        (0.5, 0.5),
        (0, 0.0),
        ("0", 0.0),
        ("300", 300.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        (".5h", 1800.0),
        ("250ms", 0.25),
        ("+2s", 2.0),
        (-1, keeping.FOR_EVER),
        ("-1", keeping.FOR_EVER),
        ("-5m", keeping.FOR_EVER),
        (10**400, keeping.FOR_EVER),
    ],
)
def test_a_duration_is_read(given, seconds):
    assert keeping.read_duration(given) == pytest.approx(seconds)


@pytest.mark.parametrize("given", ["", "m", "5 m", "5x", True, None, [], "1h-2m", "1e3", "inf"])
def test_what_is_no_duration_is_refused(given):
    with pytest.raises(ValueError, match="must be seconds or a text such as '5m'"):
        keeping.read_duration(given)


def test_a_context_comes_back_as_it_went():
    turns = [("system", "Be brief."), ("user", "Grüße, 東京 😀"), ("assistant", "")]
    numbers = packed(turns)
    assert unpacked(numbers) == turns
    assert all(0 <= number < 2**31 for number in numbers)


@pytest.mark.parametrize(
    "numbers",
    [
        [1],
        [0x626C7A],
        [0x626C7A, 3, 2**30],
        packed([("tool", "x")]),  # a role that a prompt can't have
        packed([("user", "x")])[:-1],
        [0x626C7A, 10**9, *packed([])[2:], 7],
    ],
)
def test_a_context_from_elsewhere_is_refused(numbers):
    with pytest.raises(RefusedError, match="not from this server"):
        unpacked(numbers)


async def test_answers_of_tools_find_their_calls():
    said = [
        {"role": "user", "content": "Both?"},
        {
            "role": "assistant",
            "tool_calls": [
                {"function": {"name": "a", "arguments": {"x": 1}}},
                {"function": {"name": "b", "arguments": {}}},
                {"id": "mine", "function": {"name": "a", "arguments": {"x": 2}}},
            ],
        },
        {"role": "tool", "tool_name": "b", "content": "of b"},
        {"role": "tool", "tool_call_id": "mine", "content": "of mine"},
        {"role": "tool", "content": "of the first"},
    ]
    messages = await read_messages([Message(**one) for one in said], ServerSettings())
    assert messages[1].tool_calls == (
        ToolCall("call_1_0", "a", '{"x": 1}'),
        ToolCall("call_1_1", "b", "{}"),
        ToolCall("mine", "a", '{"x": 2}'),
    )
    assert [m.tool_call_id for m in messages[2:]] == ["call_1_1", "mine", "call_1_0"]
    more = [*said, {"role": "tool", "content": "of nobody"}]
    with pytest.raises(RefusedError, match=r"messages\.5 is a tool's answer"):
        await read_messages([Message(**one) for one in more], ServerSettings())


async def test_thousands_of_calls_are_matched_in_one_go(monkeypatch):
    looks = 0

    class Counted(ToolCall):
        def __getattribute__(self, name):
            nonlocal looks
            looks += name in ("id", "name")
            return super().__getattribute__(name)

    monkeypatch.setattr("blazen.server.apis.ollama.chat.ToolCall", Counted)
    count = 1000
    call = [{"id": f"c{n}", "function": {"name": f"t{n % 7}"}} for n in range(count)]
    for key, told in (
        ("tool_call_id", lambda n: f"c{count - 1 - n}"),
        ("tool_name", lambda n: f"t{(count - 1 - n) % 7}"),
        ("content", lambda n: "x"),
    ):
        answers = [{"role": "tool", "content": "x", key: told(n)} for n in range(count)]
        said = [Message(role="assistant", tool_calls=call), *[Message(**one) for one in answers]]
        looks = 0
        messages = await read_messages(said, ServerSettings())
        assert {message.tool_call_id for message in messages[1:]} == {f"c{n}" for n in range(count)}
        assert looks < 20 * count


def test_a_huge_schema_of_a_tool_is_refused(echo_server):
    many = {"type": "object", "properties": {"a": {"enum": list(range(1001))}}}
    body = {
        "model": "echo",
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": many}}],
    }
    answer = httpx.post(f"{echo_server.url}/api/chat", json=body)
    assert (answer.status_code, "at most 1,000" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("stop", [["x"] * 257, "x" * 1001, ["x" * 1001]])
@pytest.mark.parametrize(
    "route", ["/v1/chat/completions", "/v1/completions", "/api/chat", "/generate"]
)
def test_stop_texts_are_few_and_short(echo_server, route, stop):
    body = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}
    if route == "/v1/completions":
        body = {"model": "echo", "prompt": "x"}
    body |= {"options": {"stop": stop}} if route == "/api/chat" else {"stop": stop}
    answer = httpx.post(f"{echo_server.url}{route}", json=body)
    assert (answer.status_code, "stop" in answer.text) == (400, True)


def lines_of(answer: httpx.Response):
    return [json.loads(line) for line in answer.text.splitlines()]


def test_thoughts_and_calls_have_places_of_their_own(echo_server, monkeypatch):
    asked = []

    def thinks(name, given, options):
        asked.append((name, given, options))

        async def pieces():
            yield InferenceChunk(reasoning="Hm, ")
            yield InferenceChunk(reasoning="yes.")
            yield InferenceChunk(content="So.")
            yield InferenceChunk(tool_calls=(ToolCallDelta(0, "c1", "add", '{"a": 1'),))
            yield InferenceChunk(tool_calls=(ToolCallDelta(0, None, None, ', "b": 2}'),))
            yield InferenceChunk(tool_calls=(ToolCallDelta(1, "c2", "cut", '{"a'),))
            yield InferenceChunk(finish_reason=FinishReason.ToolCalls)

        return InferenceChunkStream.of(pieces())

    monkeypatch.setattr(echo_server.manager, "complete_stream", thinks)
    body = {"model": "echo", "messages": [{"role": "user", "content": "?"}], "think": True}
    lines = lines_of(httpx.post(f"{echo_server.url}/api/chat", json=body))
    assert [line["message"].get("thinking") for line in lines] == ["Hm, ", "yes.", *[None] * 3]
    assert "".join(line["message"]["content"] for line in lines) == "So."
    calls = [
        {"id": "c1", "function": {"index": 0, "name": "add", "arguments": {"a": 1, "b": 2}}},
        {"id": "c2", "function": {"index": 1, "name": "cut", "arguments": {}}},
    ]
    assert lines[3]["message"]["tool_calls"] == calls
    whole = httpx.post(f"{echo_server.url}/api/chat", json={**body, "stream": False}).json()
    assert whole["message"] == {
        "role": "assistant", "content": "So.", "thinking": "Hm, yes.", "tool_calls": calls
    }  # fmt: skip
    assert asked[0][2].reasoning is True
    body = {"model": "echo", "prompt": "?", "think": False}
    lines = lines_of(httpx.post(f"{echo_server.url}/api/generate", json=body))
    assert [line.get("thinking") for line in lines] == ["Hm, ", "yes.", None, None]
    whole = httpx.post(f"{echo_server.url}/api/generate", json={**body, "stream": False}).json()
    assert (whole["response"], whole["thinking"]) == ("So.", "Hm, yes.")
    assert asked[-1][2].reasoning is False


def test_an_error_in_mid_stream_is_a_line_of_its_own(echo_server, monkeypatch):
    def breaks(name, given, options):
        async def pieces():
            yield InferenceChunk(content="So")
            raise DownloadError("the wire is cut")

        return InferenceChunkStream.of(pieces())

    monkeypatch.setattr(echo_server.manager, "complete_stream", breaks)
    answer = httpx.post(f"{echo_server.url}/api/generate", json={"model": "echo", "prompt": "?"})
    assert answer.status_code == 200
    assert lines_of(answer)[-1] == {"error": "the wire is cut"}


def test_a_client_that_goes_gives_the_model_back(echo_server: RunningServer):
    def leases():
        models = echo_server.manager.status().models
        return sum(model.leases for model in models if model.id == "slow-echo")

    for route, more in (
        ("/api/generate", {"prompt": "one two"}),
        ("/api/chat", {"messages": [{"role": "user", "content": "one two"}]}),
        ("/generate", {"prompt": "one two", "stream": True}),
    ):
        with httpx.stream(
            "POST", f"{echo_server.url}{route}", json={"model": "slow-echo", **more}, timeout=60
        ) as answer:
            next(answer.iter_lines())
            assert leases() == 1
        until(lambda: leases() == 0)
    for route, more in (
        ("/api/generate", {"prompt": "one two", "stream": False}),
        ("/generate", {"prompt": "one two"}),
    ):
        with contextlib.suppress(httpx.ReadTimeout):
            httpx.post(
                f"{echo_server.url}{route}",
                json={"model": "slow-echo", **more},
                timeout=httpx.Timeout(60, read=0.5),
            )
        until(lambda: leases() == 0)


def until(holds):
    limit = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < limit, "it did not come to that"
        time.sleep(0.01)


def test_the_root_greets_where_there_are_no_pages(echo_catalog):
    with running(echo_catalog, pages=False) as server:
        assert httpx.get(server.url).text == "blazen is running"
        assert httpx.head(server.url).status_code == 200


def test_the_root_leads_to_the_pages(echo_server):
    answer = httpx.get(echo_server.url)
    assert (answer.status_code, answer.headers["location"]) == (307, "chat")
    assert httpx.head(echo_server.url).status_code == 200


@pytest.mark.parametrize("model", ["", ":latest", "  "])
def test_a_model_must_be_named(echo_server, model):
    for route in ("/api/generate", "/api/show"):
        answer = httpx.post(f"{echo_server.url}{route}", json={"model": model})
        assert answer.status_code == 400
        assert "model" in answer.json()["error"]


def test_turns_are_added_to_the_file_of_turns(echo_catalog, tmp_path):
    file = tmp_path / "turns.jsonl"
    with running(echo_catalog, chat_history=str(file)) as server:
        for stream in (True, False):
            for route, more in (
                ("/api/generate", {"prompt": "Hello there"}),
                ("/api/chat", {"messages": [{"role": "user", "content": "Hello there"}]}),
                ("/generate", {"prompt": "Hello there"}),
            ):
                body = {"model": "echo", "stream": stream, **more}
                assert httpx.post(f"{server.url}{route}", json=body).status_code == 200
    turns = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [turn["route"] for turn in turns] == ["/api/generate", "/api/chat", "/generate"] * 2
    assert {turn["answer"] for turn in turns} == {"Hello there"}
    assert {turn["model"] for turn in turns} == {"echo"}


def test_models_are_fetched_where_the_server_allows_it(echo_catalog, monkeypatch, tmp_path):
    asked = []
    file = tmp_path / "fetched.gguf"

    def locate(repo, *, quantization, on_progress, cancelled):
        asked.append((repo, quantization, cancelled()))
        for done in (0, 50, 100):
            on_progress(Progress("download", done, 100, detail="m.gguf"))
        return file

    found = []
    monkeypatch.setattr(changes, "locate_gguf", locate)
    monkeypatch.setattr(echo_catalog, "find", lambda text, kind=None: found.append(text))
    with running(echo_catalog, pull=True) as server:
        url = f"{server.url}/api/pull"
        lines = lines_of(httpx.post(url, json={"model": "hf.co/org/name-GGUF:Q4_K_M"}))
        assert lines[0] == {"status": "pulling manifest"}
        assert {"status": "pulling m.gguf", "total": 100, "completed": 50} in lines
        assert lines[-1] == {"status": "success"}
        one = httpx.post(url, json={"name": "org/name", "stream": False})
        assert one.json() == {"status": "success"}
        assert asked == [
            ("hf:org/name-GGUF", "Q4_K_M", False),
            ("hf:org/name", None, False),
        ]
        assert found == [str(file)] * 2
        for name in ("llama3", "/etc/passwd", "http://x/y.gguf", "../x/y", "org/na..me", ""):
            refused = httpx.post(url, json={"model": name})
            assert refused.status_code == 400, name
            assert "can't be fetched" in refused.json()["error"]
        insecure = httpx.post(url, json={"model": "org/name", "insecure": True})
        assert insecure.status_code == 400

        def fails(repo, **_):
            raise DownloadError(f"there is no {repo}")

        monkeypatch.setattr(changes, "locate_gguf", fails)
        broken = httpx.post(url, json={"model": "org/name"})
        assert lines_of(broken)[-1] == {"error": "there is no hf:org/name"}
        whole = httpx.post(url, json={"model": "org/name", "stream": False})
        assert (whole.status_code, whole.json()) == (502, {"error": "there is no hf:org/name"})
