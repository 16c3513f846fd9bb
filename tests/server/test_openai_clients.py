"""Programs that know OpenAI's API, each pointed at our server, as the page "use it with" shows."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import openai
import pytest
from pydantic import BaseModel, SecretStr

pytestmark = [
    pytest.mark.needs("server", "clients", "openai", "xllamacpp", "starter:chat"),
    # What the programs themselves leave open.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

QUESTION = "Name a colour of the rainbow."
SETTINGS: dict[str, Any] = {"temperature": 0, "max_tokens": 16}


class City(BaseModel):
    name: Literal["Paris", "Rome"]
    large: bool


@pytest.fixture(scope="module")
def own(server: Any) -> dict[str, Any]:
    """What the server says by itself: whole, as it came over HTTP."""
    body = {"model": "chat", "messages": [{"role": "user", "content": QUESTION}], **SETTINGS}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=120)
    found: dict[str, Any] = answer.json()
    return found


def text_of(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


@pytest.fixture
def litellm() -> Iterator[Any]:
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # of its own imports
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network
        import litellm
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    yield litellm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clients that it leaves open
        litellm.in_memory_llm_clients_cache.cache_dict.clear()
        gc.collect()


@pytest.mark.filterwarnings("ignore")
def test_litellm(server: Any, own: dict[str, Any], litellm: Any) -> None:
    asked: dict[str, Any] = {
        "model": "openai/chat",
        "api_base": f"{server.url}/v1",
        "api_key": "none",
        "messages": [{"role": "user", "content": QUESTION}],
        **SETTINGS,
    }
    answer = litellm.completion(**asked)
    assert answer.choices[0].message.content == text_of(own)
    assert answer.usage.total_tokens == own["usage"]["total_tokens"]
    chunks = litellm.completion(**asked, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == text_of(own)
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**{**asked, "model": "openai/nobody"}, num_retries=0)
    too_long = [{"role": "user", "content": "word " * 10_000}]
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(**{**asked, "messages": too_long}, num_retries=0)


def test_langchain(server: Any, own: dict[str, Any]) -> None:
    from langchain_openai import ChatOpenAI

    with httpx.Client() as http:
        model = ChatOpenAI(
            model="chat",
            base_url=f"{server.url}/v1",
            api_key=SecretStr("none"),
            max_retries=0,
            http_client=http,
            **SETTINGS,
        )
        answer = model.invoke(QUESTION)
        assert answer.content == text_of(own)
        assert answer.usage_metadata is not None
        assert answer.usage_metadata["output_tokens"] == own["usage"]["completion_tokens"]
        pieces = list(model.stream(QUESTION))
        assert "".join(str(piece.content) for piece in pieces) == text_of(own)
        model = model.model_copy(update={"max_tokens": 200})
        shaped = model.with_structured_output(City, method="json_schema")
        assert isinstance(shaped.invoke("Name a city."), City)
        called = model.bind_tools([City], tool_choice="City").invoke("Name a city.")
        assert called.tool_calls[0]["name"] == "City"
        assert City.model_validate(called.tool_calls[0]["args"])


def test_pydantic_ai(server: Any, own: dict[str, Any]) -> None:
    from pydantic_ai import Agent, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.settings import ModelSettings

    settings = ModelSettings(temperature=0.0, max_tokens=16)

    async def run() -> tuple[str, int, str, City]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
            model = OpenAIChatModel("chat", provider=OpenAIProvider(openai_client=client))
            agent = Agent(model, model_settings=settings)
            answer = await agent.run(QUESTION)
            async with agent.run_stream(QUESTION) as stream:
                streamed = [text async for text in stream.stream_text(delta=True)]
            shaped = Agent(model, output_type=NativeOutput(City))
            city = await shaped.run("Name a city.")
            return answer.output, answer.usage.output_tokens, "".join(streamed), city.output

    text, tokens, streamed, city = asyncio.run(run())
    assert text == streamed == text_of(own)
    assert tokens == own["usage"]["completion_tokens"]
    assert isinstance(city, City)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(server: Any, own: dict[str, Any]) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": QUESTION}], **SETTINGS}
    answer = json.loads(curl(f"{server.url}/v1/chat/completions", body))
    assert answer["choices"] == own["choices"]
    lines = curl(f"{server.url}/v1/chat/completions", {**body, "stream": True}).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    said = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
    assert said == text_of(own)
    assert "chat" in curl(f"{server.url}/v1/models")


def curl(url: str, body: dict[str, Any] | None = None) -> str:
    more = ["-H", "Content-Type: application/json", "-d", json.dumps(body)] if body else []
    done = subprocess.run(
        ["curl", "-sN", "--max-time", "120", url, *more],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout
