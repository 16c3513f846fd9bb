"""Ollama's routes, through Ollama's own client, on real models."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import httpx
import ollama
import pytest

from tests.server.conftest import RunningServer

pytestmark = pytest.mark.needs(
    "server", "clients", "xllamacpp", "fastembed", "starter:chat", "starter:embed"
)

GREEDY = {"temperature": 0, "num_predict": 12}
PARIS = "Repeat after me: Paris is lovely."
ASKED = [{"role": "user", "content": PARIS}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture
def client(server: RunningServer):
    with ollama.Client(server.url) as opened:
        yield opened


def status(server: RunningServer, name: str):
    return next(model for model in server.manager.status().models if model.id == name)


def test_a_chat_is_answered_with_its_times(client):
    answer = client.chat("chat", ASKED, options=GREEDY)
    assert answer.message.content == "Paris is lovely."
    assert answer.message.role == "assistant"
    assert answer.model == "chat"
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert 3 < answer.eval_count <= 12
    assert answer.prompt_eval_count > 5
    spent = answer.load_duration + answer.prompt_eval_duration + answer.eval_duration
    assert 0 < answer.eval_duration < answer.total_duration
    assert spent <= answer.total_duration


def test_a_streamed_chat_says_the_same_in_pieces(client):
    whole = client.chat("chat", ASKED, options=GREEDY)
    pieces = list(client.chat("chat", ASKED, options=GREEDY, stream=True))
    assert len(pieces) > 3
    assert "".join(piece.message.content for piece in pieces) == whole.message.content
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].done_reason == whole.done_reason
    assert pieces[-1].eval_count == whole.eval_count


async def test_the_asynchronous_client_gets_the_same(server, client):
    whole = client.chat("chat", ASKED, options=GREEDY)
    asked = ollama.AsyncClient(server.url)
    try:
        answer = await asked.chat("chat", ASKED, options=GREEDY)
        pieces = [
            piece.message.content
            async for piece in await asked.chat("chat", ASKED, options=GREEDY, stream=True)
        ]
    finally:
        await asked.close()
    assert answer.message.content == whole.message.content
    assert "".join(pieces) == whole.message.content


def test_latest_is_the_model_itself(client):
    answer = client.chat("chat:latest", ASKED, options=GREEDY)
    assert answer.model == "chat:latest"
    assert "Paris" in answer.message.content


def test_a_prompt_is_answered_and_its_context_goes_on(client):
    first = client.generate("chat", "My name is Ada. Say hello.", options=GREEDY)
    assert first.response
    assert first.context
    second = client.generate("chat", "Go on.", context=first.context, options=GREEDY)
    turns = [
        {"role": "user", "content": "My name is Ada. Say hello."},
        {"role": "assistant", "content": first.response},
        {"role": "user", "content": "Go on."},
    ]
    same = client.chat("chat", turns, options=GREEDY)
    assert second.response == same.message.content
    assert second.prompt_eval_count == same.prompt_eval_count
    assert len(second.context) > len(first.context)


def test_a_prompt_is_streamed_unless_told_otherwise(server, client):
    pieces = list(client.generate("chat", "Count to five.", options=GREEDY, stream=True))
    whole = client.generate("chat", "Count to five.", options=GREEDY)
    assert "".join(piece.response for piece in pieces) == whole.response
    answer = httpx.post(
        f"{server.url}/api/generate",
        json={"model": "chat", "prompt": "Count to five.", "options": GREEDY},
        timeout=120,
    )
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert "".join(line["response"] for line in lines) == whole.response
    assert lines[-1]["done"] is True


def test_a_system_prompt_is_what_a_system_message_is(client):
    told = client.generate("chat", "Hello!", system="You are a pirate.", options=GREEDY)
    messages = [
        {"role": "system", "content": "You are a pirate."},
        {"role": "user", "content": "Hello!"},
    ]
    assert told.response == client.chat("chat", messages, options=GREEDY).message.content


def test_a_raw_prompt_is_gone_on_with_as_it_stands(client):
    raw = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    bare = client.generate("chat", raw, raw=True, options=GREEDY)
    assert "Paris" in bare.response
    assert bare.context is None
    other = client.generate("chat", "Once upon a time", raw=True, options=GREEDY)
    assert other.response != client.generate("chat", "Once upon a time", options=GREEDY).response
    assert other.prompt_eval_count < 10


def test_the_same_seed_gives_the_same_and_stop_stops(client):
    lively = {"temperature": 1.5, "num_predict": 16, "seed": 7}
    first, second = (client.generate("chat", "A story:", options=lively) for _ in range(2))
    assert first.response == second.response
    other = client.generate("chat", "A story:", options={**lively, "seed": 8})
    assert other.response != first.response
    whole = client.generate("chat", PARIS, options=GREEDY).response
    assert whole == "Paris is lovely."
    cut = client.generate("chat", PARIS, options={**GREEDY, "stop": ["lovely"]})
    assert cut.response == "Paris is "
    assert cut.done_reason == "stop"


def test_an_answer_is_held_to_a_schema(client):
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"]}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    answer = client.chat(
        "chat", ASKED, format=schema, options={"temperature": 0, "num_predict": 60}
    )
    read = json.loads(answer.message.content)
    assert set(read) == {"city", "people"}
    assert read["city"] in ("Paris", "Rome")
    assert isinstance(read["people"], int)
    loose = client.generate("chat", "Give JSON.", format="json", options={**GREEDY, "stop": ["}"]})
    assert loose.response.lstrip().startswith("{")


def test_an_answer_that_is_cut_before_its_json_ends_says_so(client):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "minLength": 200}},
        "required": ["a"],
    }
    for stream in (False, True):
        answer = client.chat(
            "chat", ASKED, format=schema, stream=stream, options={"num_predict": 8}
        )
        last = list(answer)[-1] if stream else answer
        assert last.done_reason == "length"


def test_a_tool_is_called_and_its_answer_is_taken(server, client, monkeypatch):
    answered = server.manager.complete_stream

    def must_call(name, given, options):
        return answered(name, given, replace(options, tool_choice="required"))

    asked = [{"role": "user", "content": "What is the weather in Paris? Use get_weather."}]
    with monkeypatch.context() as patch:
        # A model as small as this one does not always call by itself, and this API can't demand it.
        patch.setattr(server.manager, "complete_stream", must_call)
        answer = client.chat("chat", asked, tools=[WEATHER], options={"temperature": 0})
        pieces = list(
            client.chat("chat", asked, tools=[WEATHER], options={"temperature": 0}, stream=True)
        )
    streamed = [call for piece in pieces for call in piece.message.tool_calls or ()]
    assert answer.message.tool_calls
    assert [call.model_dump() for call in streamed] == [
        call.model_dump() for call in answer.message.tool_calls
    ]
    function = answer.message.tool_calls[0].function
    assert function.name == "get_weather"
    assert isinstance(function.arguments["city"], str)
    assert answer.done_reason == pieces[-1].done_reason == "stop"
    told = {"role": "tool", "tool_name": "get_weather", "content": "It rains, 11 degrees."}
    turns = [*asked, answer.message, *[told] * len(answer.message.tool_calls)]
    final = client.chat("chat", turns, options={"temperature": 0, "num_predict": 40})
    assert "11" in final.message.content or "rain" in final.message.content


def test_tools_may_be_shown_without_being_called(client):
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    answer = client.chat("chat", ASKED, tools=[add, WEATHER], options=GREEDY)
    assert answer.done is True
    assert answer.prompt_eval_count > client.chat("chat", ASKED, options=GREEDY).prompt_eval_count


def test_likelihoods_are_told(client):
    answer = client.chat("chat", ASKED, logprobs=True, top_logprobs=3, options=GREEDY)
    assert "".join(one.token for one in answer.logprobs).strip() == answer.message.content.strip()
    for one in answer.logprobs:
        assert one.logprob <= 0
        assert len(one.top_logprobs) == 3
        assert one.top_logprobs[0].logprob == max(top.logprob for top in one.top_logprobs)
    pieces = client.generate("chat", PARIS, logprobs=True, options=GREEDY, stream=True)
    told = [one for piece in pieces for one in piece.logprobs or ()]
    assert [one.token for one in told] == [one.token for one in answer.logprobs]
    assert all(math.exp(one.logprob) > 0 for one in told)


def test_texts_are_embedded_alone_and_together(client):
    both = client.embed("embed", ["A heron waits.", "The stock market fell."])
    one = client.embed("embed", "A heron waits.")
    old = client.embeddings("embed", "A heron waits.")
    assert len(both.embeddings) == 2
    assert len(one.embeddings[0]) == 384
    assert one.embeddings[0] == pytest.approx(both.embeddings[0], abs=1e-3)
    assert old.embedding == pytest.approx(one.embeddings[0], abs=1e-6)
    assert math.hypot(*one.embeddings[0]) == pytest.approx(1, abs=1e-3)
    near = client.embed("embed", "A bird stands in the water.").embeddings[0]
    alike = [sum(a * b for a, b in zip(near, row, strict=True)) for row in both.embeddings]
    assert alike[0] > alike[1] + 0.1
    assert both.prompt_eval_count > one.prompt_eval_count > 0


def test_texts_that_are_too_long_are_cut_or_refused(client):
    long = "water " * 2000
    assert len(client.embed("embed", long).embeddings[0]) == 384
    with pytest.raises(ollama.ResponseError, match="longer than the model reads") as refused:
        client.embed("embed", long, truncate=False)
    assert refused.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="leave 'dimensions' out") as refused:
        client.embed("embed", "short", dimensions=64)
    assert refused.value.status_code == 400
    assert client.embed("embed", []).embeddings == []
    assert status_of_embed(client) == ["embed"]
    assert client.embed("embed", [], keep_alive=0).embeddings == []
    assert status_of_embed(client) == []
    client.embed("embed", "short", keep_alive="10m")
    with pytest.raises(ollama.ResponseError, match="input has 2049 texts"):
        client.embed("embed", ["x"] * 2049)


def status_of_embed(client):
    return [model.model for model in client.ps().models if model.model == "embed"]


def test_models_are_listed_shown_and_seen_at_work(server, client):
    listed = {model.model: model for model in client.list().models}
    assert set(listed) == {"chat", "embed"}
    assert listed["chat"].details.family == "llama"
    assert listed["chat"].details.parameter_size == "134.52M"
    assert listed["chat"].details.quantization_level == "Q4_1"
    assert listed["chat"].size > 90_000_000
    shown = client.show("chat")
    assert shown.details == listed["chat"].details
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] == 8192
    assert shown.modelinfo["general.parameter_count"] == 134_515_008
    assert shown.modelinfo["tokenizer.ggml.tokens"] is None
    assert "<|im_start|>" in shown.template
    assert shown.capabilities == ["completion"]
    assert client.show("embed").capabilities == ["embedding"]
    client.generate("chat", keep_alive="7m")
    running = {model.model: model for model in client.ps().models}
    assert running["chat"].context_length == 4096
    assert running["chat"].size > 90_000_000
    assert running["chat"].size_vram == 0
    assert running["chat"].digest == listed["chat"].digest
    whole = httpx.post(f"{server.url}/api/show", json={"name": "chat", "verbose": True}).json()
    assert len(whole["model_info"]["tokenizer.ggml.tokens"]) == 49_152


def test_how_long_a_model_stays_is_what_requests_say(server, client):
    loaded = client.generate("chat", keep_alive="5m")
    assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")
    assert status(server, "chat").keep_alive == 300
    assert status(server, "chat").state.value == "ready"
    client.generate("chat", "Hello", keep_alive=1.5e3, options=GREEDY)
    assert status(server, "chat").keep_alive == 1500
    client.chat("chat", [], keep_alive=-1)
    assert status(server, "chat").keep_alive is None
    assert client.ps().models[0].expires_at.year == 9999
    client.chat("chat", [], keep_alive=1e300)
    assert status(server, "chat").keep_alive == 1e300
    assert client.ps().models[0].expires_at.year == 9999
    client.chat("chat", [], keep_alive="1h")
    left = client.ps().models[0].expires_at - datetime.now(timezone.utc)
    assert timedelta(minutes=50) < left <= timedelta(hours=1)
    gone = client.generate("chat", keep_alive=0)
    assert gone.done_reason == "unload"
    assert status(server, "chat").state.value == "unloaded"
    assert "chat" not in [model.model for model in client.ps().models]


def test_a_model_that_goes_at_once_does_not_go_after_every_request(server, client):
    client.generate("chat", keep_alive=0)
    answer = client.chat("chat", ASKED, keep_alive=0, options=GREEDY)
    assert "Paris" in answer.message.content
    assert answer.load_duration > 0
    events = httpx.stream("GET", f"{server.url}/api/models/events", timeout=60)
    with events as told:
        for line in told.iter_lines():
            if line.startswith("data: ") and '"pools"' in line:
                models = json.loads(line.removeprefix("data: "))["models"]
                if next(m for m in models if m["name"] == "chat")["state"] == "unloaded":
                    break
    client.chat("chat", ASKED, options=GREEDY)
    assert status(server, "chat").keep_alive is None
    assert status(server, "chat").state.value == "ready"


@pytest.mark.parametrize("route", ["/api/generate", "/api/chat", "/api/embed", "/api/show"])
def test_a_model_that_is_not_there_is_not_found(server, route):
    answer = httpx.post(
        f"{server.url}{route}",
        json={"model": "nobody", "prompt": "x", "input": "x", "stream": True},
    )
    assert answer.status_code == 404
    assert "nobody" in answer.json()["error"]
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"options": {"num_ctx": 100_000}}, "num_ctx 100000 is more than the 4096 tokens"),
        ({"options": {"num_gpu": 3}}, "'num_gpu' can't be changed by a request"),
        ({"options": {"tfs_z": 0.5}}, "'tfs_z' is not supported"),
        ({"options": {"temprature": 0.5}}, "there is no option 'temprature'"),
        ({"options": {"temperature": -1}}, "options.temperature"),
        ({"suffix": "after"}, "'suffix' is not supported"),
        ({"template": "{{ .Prompt }}"}, "'template' is not supported"),
        ({"context": [1, 2, 3]}, "this context is not from this server"),
        ({"think": "high"}, "think: 'high' is not supported"),
        ({"think": True}, "can't reason"),
        ({"keep_alive": "soon"}, "keep_alive: must be seconds or a text such as '5m'"),
        ({"top_logprobs": 2}, "send logprobs: true"),
        ({"images": ["/etc/passwd"]}, "must be an image"),
        ({"width": 64}, "'width' is not supported"),
        ({"raw": True, "system": "You."}, "system does not go with raw: true"),
        ({"format": {"type": "nothing"}}, "nothing"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(server, body, words):
    answer = httpx.post(
        f"{server.url}/api/generate", json={"model": "chat", "prompt": "Hello", **body}, timeout=60
    )
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]


def test_options_that_say_nothing_new_are_taken(client):
    said = {"num_ctx": 1024, "tfs_z": 1.0, "num_keep": 4, "top_k": -1, "seed": -1, "mirostat": 0}
    answer = client.generate("chat", PARIS, options={**GREEDY, **said})
    assert "Paris" in answer.response


def test_an_image_is_refused_by_a_model_without_eyes(client):
    import base64

    dot = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    shown = [{"role": "user", "content": "What is it?", "images": [dot]}]
    with pytest.raises(ollama.ResponseError, match="takes no image") as refused:
        client.chat("chat", shown)
    assert refused.value.status_code == 400


def test_a_tools_answer_without_a_call_is_refused(client):
    turns = [*ASKED, {"role": "tool", "content": "11 degrees"}]
    with pytest.raises(ollama.ResponseError, match="no message before it calls for it"):
        client.chat("chat", turns)


def test_what_is_not_a_servers_to_do_is_refused(server, client):
    for ask in (
        lambda: client.delete("chat"),
        lambda: client.copy("chat", "other"),
        lambda: client.push("chat"),
        lambda: client.create("other", from_="chat"),
        lambda: client.pull("org/name"),
    ):
        with pytest.raises(ollama.ResponseError, match="this server does not") as refused:
            ask()
        assert refused.value.status_code == 403
    assert httpx.head(server.url).status_code == 200
    version = httpx.get(f"{server.url}/api/version").json()
    assert set(version) == {"version", "blazen"}
