"""LM Studio's routes: what they tell beside what OpenAI's do."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from blazen.server.apis.lmstudio.routes import ToldChat, ToldCompletion
from blazen.weights.gguf import read_gguf
from blazen.weights.starter import starter_path

pytestmark = pytest.mark.needs("server", "clients", "xllamacpp", "fastembed", "starter:chat")

MESSAGES = [{"role": "user", "content": "Name a colour of the rainbow."}]


def get(server: Any, path: str) -> Any:
    return httpx.get(f"{server.url}/api/v0{path}", timeout=120)


def post(server: Any, path: str, **body: Any) -> Any:
    asked = {"model": "chat", "temperature": 0, "max_tokens": 8, **body}
    return httpx.post(f"{server.url}{path}", json=asked, timeout=120)


def test_models_and_what_their_files_say(server: Any) -> None:
    header = read_gguf(starter_path("chat"))
    post(server, "/api/v0/chat/completions", messages=MESSAGES)  # it is loaded then
    answer = get(server, "/models").json()
    assert answer["object"] == "list"
    cards = {card["id"]: card for card in answer["data"]}
    assert set(cards) == {"chat", "embed"}
    assert cards["chat"] == {
        "id": "chat",
        "object": "model",
        "type": "llm",
        "publisher": cards["chat"]["publisher"],
        "arch": header.architecture,
        "compatibility_type": "gguf",
        "quantization": header.quantization,
        "state": "loaded",
        "max_context_length": header.context_length,
        "loaded_context_length": 4096,
    }
    assert cards["embed"]["type"] == "embeddings"
    assert cards["embed"]["compatibility_type"] == "fastembed"
    assert get(server, "/models/chat").json() == cards["chat"]
    for name in ("nobody", "speak"):  # of speech, LM Studio knows nothing
        missing = get(server, f"/models/{name}")
        assert missing.status_code == 404
        assert missing.json()["error"]["code"] == "model_not_found"


def test_chat_tells_how_it_went(server: Any) -> None:
    told = post(server, "/api/v0/chat/completions", messages=MESSAGES).json()
    plain = post(server, "/v1/chat/completions", messages=MESSAGES).json()
    ToldChat.model_validate(told)
    assert told["choices"] == plain["choices"]
    stats = told["stats"]
    assert stats["tokens_per_second"] > 0
    assert 0 < stats["time_to_first_token"] < 120
    assert stats["generation_time"] > 0
    assert stats["stop_reason"] == "maxPredictedTokensReached"
    header = read_gguf(starter_path("chat"))
    assert told["model_info"] == {
        "arch": header.architecture,
        "quant": header.quantization,
        "format": "gguf",
        "context_length": 4096,
    }
    assert told["runtime"]["name"] == "xllamacpp"
    assert told["runtime"]["version"]
    assert "stats" not in plain


def test_a_stream_ends_with_it(server: Any) -> None:
    answer = post(
        server, "/api/v0/chat/completions", messages=MESSAGES, stream=True, max_tokens=-1, stop=" "
    )
    lines = answer.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    last = json.loads(lines[-3].removeprefix("data: "))
    assert last["stats"]["stop_reason"] == "eosFound"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["model_info"]["format"] == "gguf"


def test_completions_and_embeddings(server: Any) -> None:
    told = post(server, "/api/v0/completions", prompt="The capital of France is").json()
    plain = post(server, "/v1/completions", prompt="The capital of France is").json()
    ToldCompletion.model_validate(told)
    assert told["choices"] == plain["choices"]
    assert told["stats"]["generation_time"] > 0
    body = {"model": "embed", "input": ["a cat", "a dog"]}
    vectors = httpx.post(f"{server.url}/api/v0/embeddings", json=body, timeout=120).json()
    same = httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=120).json()
    assert [row["embedding"] for row in vectors["data"]] == [
        pytest.approx(row["embedding"], abs=1e-5) for row in same["data"]
    ]
