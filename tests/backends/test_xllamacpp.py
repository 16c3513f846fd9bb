"""llama.cpp's server engine on real weights."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import psutil
import pytest

import blazen
from blazen import ChatMessage, CompletionOptions, FinishReason, Model, Tool
from blazen.errors import (
    ContextLengthError,
    LoadError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.testing import ModelSuite
from tests.programs import run_python

pytestmark = pytest.mark.needs("xllamacpp", "starter:chat")

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
COLD = CompletionOptions(max_tokens=12, temperature=0)


def build(target="starter:chat", **settings):
    return Model.xllamacpp(target, context_length=1024, threads=1, **settings)


class TestXllamaCpp(ModelSuite):
    """The shipped suite, whole."""

    max_tokens = 12
    too_long_prompt = "word " * 3000

    @pytest.fixture
    def model(self, loaded):
        return loaded

    @pytest.fixture
    def broken_model(self):
        return build


@pytest.fixture(scope="module")
def loaded():
    model = build()
    yield model
    blazen.blocking(model).unload()


async def test_it_answers_sensibly(loaded):
    options = CompletionOptions(max_tokens=24, temperature=0)
    answer = await loaded.complete("Which animal says meow?", options)
    assert "cat" in answer.content
    assert answer.finish_reason is FinishReason.Stop
    assert answer.timing.tokens_per_second > 0
    assert answer.timing.first_token > 0
    assert "blue" in (await loaded.complete("What color is the sky?", options)).content


async def test_a_system_message_and_what_was_said_before_are_heard(loaded):
    cook = [
        ChatMessage.system("You are a helpful cooking assistant."),
        ChatMessage.user("What can you do?"),
    ]
    assert "cooking" in (await loaded.complete(cook, CompletionOptions(temperature=0))).content
    dog = [
        ChatMessage.user("I have a dog called Rex."),
        ChatMessage.assistant("Rex is a fine name for a dog."),
        ChatMessage.user("What is my dog called?"),
    ]
    assert "Rex" in (await loaded.complete(dog, COLD)).content


async def test_max_tokens_is_kept(loaded):
    answer = await loaded.complete(
        "Count to one hundred.", CompletionOptions(max_tokens=5, temperature=0)
    )
    assert answer.usage.completion_tokens == 5
    assert answer.finish_reason is FinishReason.Length


async def test_a_stop_text_ends_the_answer_and_never_shows(loaded):
    options = CompletionOptions(max_tokens=40, temperature=0)
    whole = (await loaded.complete("Count: one, two, three", options)).content
    stop = whole[8:12]
    chunks = [
        chunk.content or ""
        async for chunk in loaded.complete_stream(
            "Count: one, two, three", CompletionOptions(max_tokens=40, temperature=0, stop=[stop])
        )
    ]
    assert "".join(chunks) == whole[: whole.index(stop)]


async def test_a_seed_repeats_an_answer_and_another_one_changes_it(loaded):
    async def story(seed):
        options = CompletionOptions(max_tokens=16, temperature=1.5, seed=seed)
        return (await loaded.complete("Tell a story.", options)).content

    assert await story(1) == await story(1)
    assert len({await story(seed) for seed in range(4)}) > 1


async def test_a_prompt_seen_before_is_not_read_again(loaded):
    prompt = "Remember this. " + "The heron stands in the reeds. " * 12
    await loaded.complete(prompt, COLD)
    again = await loaded.complete(prompt, COLD)
    assert again.usage.cached_tokens > 0.8 * again.usage.prompt_tokens


async def test_characters_are_never_split_between_chunks(loaded):
    prompt = "Repeat exactly: 🌍🦩🎈 čšž 日本語 🌍🦩🎈 čšž 日本語"
    stream = loaded.complete_stream(prompt, CompletionOptions(max_tokens=48, temperature=0))
    pieces = [chunk.content or "" async for chunk in stream]
    assert "�" not in "".join(pieces)
    assert all(piece.encode("utf-8", "strict") is not None for piece in pieces)


async def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(loaded):
    with pytest.raises(ContextLengthError, match="1024") as caught:
        await loaded.complete("word " * 3000, COLD)
    assert caught.value.limit == 1024
    assert caught.value.tokens > 3000
    assert (await loaded.complete("Hello", COLD)).content


async def test_what_the_engine_can_not_do_is_refused_before_work():
    model = build()
    with pytest.raises(UnsupportedError, match="audio"):
        model.complete_stream([ChatMessage.user("Listen", blazen.Audio.from_bytes(b"RIFF"))])
    with pytest.raises(UnsupportedError, match="images"):
        model.complete_stream([ChatMessage.user("Look", blazen.Image.from_bytes(PNG))])
    with pytest.raises(UnsupportedError, match="tools"):
        model.complete_stream("x", CompletionOptions(tools=[Tool("a")]))
    assert not model.is_loaded


async def test_cancelling_while_the_prompt_is_read_ends_soon(loaded):
    """The prompt is read in batches: cancelling costs one of them at the most."""
    prompt = "word " * 900
    task = asyncio.create_task(loaded.complete(prompt, CompletionOptions(max_tokens=1)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answer = await loaded.complete(prompt, CompletionOptions(max_tokens=1))
    assert answer.usage.cached_tokens < 600, "the engine read the whole prompt for no one"


async def test_unloading_at_once_after_loading_does_not_hang():
    model = build()
    for _ in range(12):
        await asyncio.wait_for(model.load(), 60)
        await asyncio.wait_for(model.unload(), 60)
    assert not model.is_loaded


async def test_parallel_requests_are_answered_together():
    async with build(parallel=4) as model:
        questions = [f"What is {n} plus {n}?" for n in range(8)]
        answers = await asyncio.gather(*(model.complete(q, COLD) for q in questions))
    assert all(answer.content for answer in answers)


async def test_nothing_listens_on_the_network(loaded):
    await loaded.load()
    listening = [
        connection.laddr
        for connection in psutil.Process().net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such sockets")
async def test_the_engines_socket_is_this_users_alone_and_goes_with_the_model():
    before = _sockets()
    async with build() as model:
        folders = {os.path.dirname(path) for path in _sockets() - before}
        assert len(folders) == 1
        for folder in folders:
            assert os.stat(folder).st_mode & 0o077 == 0
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(os.path.join(folder, "engine.sock"))
                client.sendall(b"GET /props HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert b"401" in client.recv(4096), "a stranger's request needs the key"
        assert model.is_loaded
    assert not any(os.path.exists(folder) for folder in folders)


async def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UnsupportedError, match="cuda"):
        await build(device="cuda:7").load()


@pytest.mark.needs("starter:text")
async def test_a_base_model_is_refused_instead_of_guessing_its_template():
    model = build("starter:text")
    with pytest.raises(UnsupportedError, match="no chat template"):
        await model.load()
    assert not model.is_loaded


async def test_more_context_than_the_model_knows_is_refused():
    with pytest.raises(ValidationError, match="at most 8192"):
        await Model.xllamacpp("starter:chat", context_length=20_000).load()


@pytest.mark.needs("starter:embed")
async def test_a_folder_is_no_gguf_file():
    with pytest.raises(ValidationError, match="starter:embed is a folder"):
        await build("starter:embed").load()


async def test_a_name_that_leads_nowhere(tmp_path):
    with pytest.raises(ModelNotFoundError):
        await build(tmp_path / "none.gguf").load()
    with pytest.raises(ModelNotFoundError):
        await build("starter:nothing").load()


async def test_a_file_that_llama_cpp_can_not_load_leaves_nothing_behind(tmp_path):
    from blazen.weights.starter import starter_path

    path, before = tmp_path / "cut.gguf", _sockets()
    with open(starter_path("chat"), "rb") as source:
        path.write_bytes(source.read(5_000_000))
    with pytest.raises((LoadError, ValidationError)):
        await build(path).load()
    assert _sockets() == before


def _sockets():
    connections = psutil.Process().net_connections("unix")
    return {str(c.laddr) for c in connections if str(c.laddr).endswith("engine.sock")}


@pytest.mark.parametrize("when", ["loaded", "in mid-stream"])
def test_the_interpreter_ends_in_silence(when):
    code = f"""
    import asyncio, blazen
    async def main():
        model = blazen.Model.xllamacpp("starter:chat", context_length=512, threads=1)
        stream = await model.complete_stream("Tell a long story.")
        await stream.__anext__()
        if {when == "loaded"}: await stream.aclose()
        return model, stream
    kept = asyncio.run(main())
    print("end")
    """
    assert run_python(code, "-W", "error") == "end"
