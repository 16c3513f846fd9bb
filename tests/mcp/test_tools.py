"""The tools as a client of the official SDK sees them, on real small models."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import re
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from blazen.catalog import Catalog, OpenCatalog
from blazen.errors import ValidationError
from blazen.mcp import tool_server
from blazen.mcp.sounds import allowed
from blazen.types.completion import FinishReason
from tests.mcp.conftest import ask, until

pytestmark = [
    pytest.mark.needs("xllamacpp", "starter:chat"),
    pytest.mark.parametrize("mode", ["auto", "legacy"]),
]

PARIS = [{"role": "user", "content": "What is the capital of France? One word."}]


@asynccontextmanager
async def connected(
    catalog: Catalog, mode: Any, folders: tuple[Path, ...] = ()
) -> AsyncIterator[tuple[Client, OpenCatalog]]:
    async with (
        catalog.start() as models,
        Client(tool_server(lambda: models, folders=folders), mode=mode) as client,
    ):
        yield client, models


class Steps(list[tuple[float, float | None, str]]):
    """What a client is told of a call's progress."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        assert message is not None
        self.append((progress, total, message))
        if "token" in message and progress > 4:
            self.begun.set()


async def test_each_tool_says_what_it_takes_and_gives(catalog: Catalog, mode: str) -> None:
    async with connected(catalog, mode) as (client, _):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["generate", "chat", "embed", "transcribe", "speak", "models"]
    for tool in tools.values():
        assert tool.description
        assert tool.title
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        assert tool.input_schema["additionalProperties"] is False
        for name, field in tool.input_schema["properties"].items():
            assert field.get("description"), f"{tool.name}: {name}"
        assert tool.output_schema is not None
        assert tool.output_schema["type"] == "object"
    assert tools["chat"].input_schema["required"] == ["messages"]
    assert "path" not in tools["transcribe"].input_schema["properties"]


async def test_a_chat_is_answered_and_its_progress_told(catalog: Catalog, mode: str) -> None:
    steps = Steps()
    asked = {"messages": PARIS, "temperature": 0, "max_tokens": 24}
    async with connected(catalog, mode) as (client, models):
        result = await ask(client, "chat", asked, progress_callback=steps)
        assert not result.is_error
        again = await ask(client, "chat", asked)
        assert models.manager.status().models[0].loads == 1
    values = result.structured_content
    assert "Paris" in values["text"]
    assert values["model"] == "starter:chat"
    assert result.content[0].type == "text"
    assert result.content[0].text == values["text"]
    assert again.structured_content["text"] == values["text"]
    assert values["finish_reason"] == "stop"
    assert 0 < values["completion_tokens"] < 24
    assert values["tokens_per_second"] > 0
    assert values["prompt_tokens"] > 5
    assert steps[0] == (0.0, None, "loading starter:chat")
    assert any(total == 25 and re.fullmatch(r"\d+ tokens", said) for _, total, said in steps)
    assert [step[0] for step in steps] == sorted({step[0] for step in steps})


async def test_generate_heeds_a_system_message_a_stop_and_a_schema(
    catalog: Catalog, mode: str
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    async with connected(catalog, mode) as (client, _models):
        said = await ask(
            client, "generate", {"prompt": "Say: one two three", "stop": ["two"], "temperature": 0}
        )
        assert "two" not in said.structured_content["text"]
        held = await ask(
            client,
            "generate",
            {"prompt": "How many legs has a dog?", "json_schema": schema, "seed": 1},
        )
        assert isinstance(held.structured_content["parsed"]["n"], int)
        assert json.loads(held.structured_content["text"]) == held.structured_content["parsed"]
        plain = {"prompt": "1, 2, 3, 4,", "raw": True, "temperature": 0, "max_tokens": 6}
        raw = await ask(client, "generate", plain)
        assert raw.structured_content["text"].strip().startswith("5")
        assert raw.structured_content["finish_reason"] == "length"
        both = await ask(client, "generate", {**plain, "system": "Be brief."})
        assert both.is_error
        assert "system" in both.content[0].text

        async def prompt_tokens(**more: str) -> int:
            asked = {"prompt": "Hi", "max_tokens": 1, **more}
            result = await ask(client, "generate", asked)
            return int(result.structured_content["prompt_tokens"])

        long = "You are a very careful assistant who answers in whole sentences. " * 3
        assert await prompt_tokens(system=long) > await prompt_tokens() + 20


async def test_the_system_message_of_the_file_is_the_beginning(config: Path, mode: str) -> None:
    with config.open("a") as file:
        file.write('[models.pirate]\nspec = "xllamacpp:starter:chat"\n')
        file.write('system = "You are a pirate. Every answer of yours begins with Arr."\n')
    async with connected(Catalog.read(config), mode) as (client, _):
        counts = []
        for messages in ([], [{"role": "system", "content": "Hi"}]):
            asked = {"model": "pirate", "messages": [*messages, *PARIS], "max_tokens": 1}
            result = await ask(client, "chat", asked)
            counts.append(result.structured_content["prompt_tokens"])
    assert counts[0] > counts[1] + 5


@pytest.mark.needs("fastembed", "starter:embed")
async def test_vectors_and_how_alike_they_are(catalog: Catalog, mode: str) -> None:
    texts = ["a cat", "a kitten", "income tax law"]
    async with connected(catalog, mode) as (client, models):
        vectors = (await ask(client, "embed", {"texts": texts})).structured_content
        alike = await ask(client, "embed", {"texts": texts, "compare": True})
        expected = (await models.manager.embed("starter:embed", texts)).embeddings
    assert vectors["dimensions"] == 384
    assert vectors["model"] == "starter:embed"
    assert vectors["similarities"] is None
    assert vectors["tokens"] > 3
    for got, want in zip(vectors["embeddings"], expected, strict=True):
        assert got == pytest.approx(list(want), abs=1e-6)
    table = alike.structured_content["similarities"]
    assert alike.structured_content["embeddings"] is None
    assert table[0][0] == pytest.approx(1)
    assert table[0][1] == pytest.approx(table[1][0])
    assert table[0][1] > 0.6 > 0.4 > table[0][2]
    assert json.loads(alike.content[0].text)["similarities"] == table


@pytest.mark.needs("piper", "whispercpp", "audio", "starter:speak", "starter:transcribe")
async def test_what_is_spoken_is_heard_again(catalog: Catalog, mode: str, tmp_path: Path) -> None:
    text = "The quick brown fox jumps over the lazy dog."
    folder = tmp_path / "sounds"
    folder.mkdir()
    async with connected(catalog, mode, (folder,)) as (client, _):
        spoken = await ask(client, "speak", {"text": text, "speed": 1})
        sound, said = spoken.content
        assert sound.type == "audio"
        assert sound.mime_type == "audio/wav"
        data = base64.b64decode(sound.data)
        with wave.open(io.BytesIO(data)) as file:
            seconds = file.getnframes() / file.getframerate()
            assert file.getframerate() == spoken.structured_content["sample_rate"]
        assert spoken.structured_content["seconds"] == pytest.approx(seconds, abs=0.01)
        assert spoken.structured_content["size"] == len(data)
        assert said.text.endswith("by starter:speak")
        fast = await ask(client, "speak", {"text": text, "speed": 2, "format": "flac"})
        assert base64.b64decode(fast.content[0].data)[:4] == b"fLaC"
        assert fast.structured_content["seconds"] < 0.7 * seconds

        steps: list[float] = []

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            steps.append(progress)

        heard = await ask(client, "transcribe", {"audio": sound.data}, progress_callback=hear)
        # The voice has its chance each time: a word may be heard as another.
        words = heard.structured_content["text"].lower().strip(" .").split()
        assert len(set(words) & set(text.lower().strip(".").split())) >= 6
        assert heard.structured_content["duration"] == pytest.approx(seconds, abs=1.5)
        assert heard.structured_content["segments"][0]["end"] > 1
        assert steps
        assert steps == sorted(steps)

        (folder / "fox.wav").write_bytes(data)
        asked = {"path": str(folder / "fox.wav"), "format": "srt"}
        titles = await ask(client, "transcribe", asked)
        assert re.match(r"1\n00:00:00,\d+ --> 00:00:0\d,\d+\n\w+", titles.content[0].text)
        for wrong in ({}, {"audio": sound.data, **asked}):
            result = await ask(client, "transcribe", wrong)
            assert result.is_error
            assert "either as audio or as path" in result.content[0].text
        outside = tmp_path / "fox.wav"
        outside.write_bytes(data)
        refused = await ask(client, "transcribe", {"path": str(outside)})
        assert refused.is_error
        assert "no file below the folders" in refused.content[0].text


async def test_a_sound_is_never_a_path_or_a_url(catalog: Catalog, mode: str) -> None:
    async with connected(catalog, mode) as (client, _):
        for audio in ("/etc/hostname", "file:///etc/hostname", "http://127.0.0.1:9/a.wav", "%%"):
            result = await ask(client, "transcribe", {"audio": audio})
            assert result.is_error
            assert re.search(r"base64|sound|audio", result.content[0].text), result.content
        result = await ask(client, "transcribe", {"path": "/etc/hostname"})
        assert result.is_error
        assert "path" in result.content[0].text


def test_only_what_lies_below_an_allowed_folder_is_read(mode: str, tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "in-not"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.wav").write_bytes(b"x")
    (inside / "out").symlink_to(outside / "a.wav")
    (inside / "loop").symlink_to(inside / "loop")
    assert allowed(str(inside / "a.wav"), [inside]) == (inside / "a.wav").resolve()
    assert allowed(str(inside / ".." / "in" / "a.wav"), [inside]).name == "a.wav"
    for path in ("out", "loop", "../in-not/a.wav", "gone", ".", "a\0b", "../../../etc/passwd"):
        with pytest.raises(ValidationError, match="no file below"):
            allowed(str(inside / path), [inside])
    with pytest.raises(ValidationError, match="none"):
        allowed(str(inside / "a.wav"), [])


async def test_models_lists_kinds_and_what_is_loaded(catalog: Catalog, mode: str) -> None:
    async with connected(catalog, mode) as (client, models):
        before = (await ask(client, "models", {})).structured_content
        assert {m["name"]: m["kind"] for m in before["models"]}["starter:chat"] == "model"
        assert not any(m["loaded"] for m in before["models"])
        await ask(client, "chat", {"messages": PARIS, "max_tokens": 1})
        after = await ask(client, "models", {"kind": "model"})
        known = {m["name"]: m for m in after.structured_content["models"]}
        assert set(known) == {one.name for one in models.listings("model")}
        chat = known["starter:chat"]
        assert chat["loaded"]
        assert chat["state"] == "ready"
        assert chat["in_use"] == 0
        assert chat["memory"] > 90_000_000
        assert chat["size"] == 98_362_432
        pools = {pool["name"]: pool for pool in after.structured_content["pools"]}
        assert pools["cpu"]["used"] >= chat["memory"]
        assert pools["cpu"]["budget"] > 0
        assert json.loads(after.content[0].text) == after.structured_content
        wrong = await ask(client, "models", {"kind": "fish"})
        assert wrong.is_error
        assert "'fish'; there are:" in wrong.content[0].text


@pytest.mark.parametrize(
    ("tool", "asked", "said"),
    [
        ("chat", {"messages": []}, "messages: "),
        ("chat", {"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: "),
        ("chat", {"messages": PARIS, "max_tokens": 0}, "max_tokens: "),
        ("chat", {"messages": PARIS, "max_tokens": "7"}, "max_tokens: "),
        ("chat", {"messages": PARIS, "colour": "red"}, "colour: "),
        ("chat", {"messages": PARIS, "model": "no-such"}, "'no-such'"),
        ("chat", {"messages": PARIS, "model": "/etc/passwd"}, "'/etc/passwd'"),
        ("chat", {"messages": PARIS, "model": "http://127.0.0.1:9/x.gguf"}, "127.0.0.1:9"),
        ("chat", {"messages": PARIS, "model": "starter:embed"}, "not for chat"),
        ("generate", {"prompt": ""}, "prompt: "),
        ("generate", {"prompt": "x", "json_schema": {"type": "fish"}}, "fish"),
        ("generate", {"prompt": "word " * 100_000}, "context"),
        ("embed", {"texts": []}, "texts: "),
        ("speak", {"text": "x", "speed": 99}, "speed: "),
        ("speak", {"text": "  "}, "empty"),
        ("fly", {}, "there is no tool 'fly'"),
    ],
)
async def test_what_is_wrong_is_said(
    catalog: Catalog, mode: str, tool: str, asked: dict[str, Any], said: str
) -> None:
    async with connected(catalog, mode) as (client, _):
        result = await ask(client, tool, asked)
        assert result.is_error
        assert said in result.content[0].text
        assert "Traceback" not in result.content[0].text


async def test_a_mistake_of_ours_stays_in_the_log(
    catalog: Catalog, mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(catalog, mode) as (client, models):
        monkeypatch.setattr(models, "listings", lambda: 1 / 0)
        result = await ask(client, "models", {})
    assert result.is_error
    assert result.content[0].text == "models failed inside blazen; its log says more"
    assert "ZeroDivisionError" in caplog.text


async def test_cancelling_stops_the_engine(
    catalog: Catalog, mode: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "blazen.mcp")
    streams: list[Any] = []
    async with connected(catalog, mode) as (client, models):
        start = models.manager.complete_stream

        def kept(*args: Any) -> Any:
            streams.append(start(*args))
            return streams[-1]

        monkeypatch.setattr(models.manager, "complete_stream", kept)
        steps = Steps()
        # No token ends it before its very long end.
        asked = {"prompt": "1, 2, 3,", "raw": True, "max_tokens": 100_000, "temperature": 0}
        call = asyncio.ensure_future(ask(client, "generate", asked, progress_callback=steps))
        await asyncio.wait_for(steps.begun.wait(), 60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: "generate was cancelled after" in caplog.text)
        status = models.manager.status().models[0]
        assert status.leases == 0
        assert status.state == "ready"
        assert streams[0].response.finish_reason is FinishReason.Cancelled
        assert "4" in streams[0].response.content
        asked = {"messages": PARIS, "max_tokens": 16, "temperature": 0}
        assert "Paris" in (await ask(client, "chat", asked)).content[0].text


async def test_cancelling_a_load_ends_it(
    catalog: Catalog, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "blazen.mcp")
    loading = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        loading.set()

    async with connected(catalog, mode) as (client, models):
        asked = {"messages": PARIS, "max_tokens": 1}
        call = asyncio.ensure_future(ask(client, "chat", asked, progress_callback=hear))
        await asyncio.wait_for(loading.wait(), 60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: "chat was cancelled after 0 pieces" in caplog.text)
        await until(lambda: models.manager.status().models[0].state in ("unloaded", "ready"))
        assert models.manager.status().models[0].leases == 0
