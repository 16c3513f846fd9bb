"""llama.cpp's server engine on real weights."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import struct
import sys
import threading
from pathlib import Path
from zlib import compress, crc32

import psutil
import pytest

import blazen
from blazen import (
    ChatMessage,
    CompletionOptions,
    FinishReason,
    Model,
    Prompt,
    ResponseFormat,
    Tool,
    ToolCall,
)
from blazen.errors import (
    BudgetError,
    ContextLengthError,
    LoadError,
    ModelNotFoundError,
    OutputError,
    UnsupportedError,
    ValidationError,
)
from blazen.hardware import rss_bytes
from blazen.options import LoraAdapter
from blazen.testing import ModelSuite
from blazen.testing.answering import WEATHER, check_call
from blazen.testing.model import TextModelSuite
from blazen.weights.gguf import read_gguf
from blazen.weights.starter import starter_path
from blazen_xllamacpp import diagnosis
from blazen_xllamacpp.reading import ParsedReader
from tests.backends.briefly import Briefly, OneByOne, OneWay
from tests.backends.isolated import ApartStreams
from tests.backends.quick import write_quick
from tests.gguf_floats import write_gguf
from tests.gguf_lora import write_lora
from tests.programs import check_footprint, run_python

pytestmark = pytest.mark.needs("xllamacpp", "starter:chat")

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
COLD = CompletionOptions(max_tokens=12, temperature=0)
HERMES = """
{%- if tools %}
{{- '<|im_start|>system\\nYou may call tools:\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\nFor each call, return JSON within <tool_call></tool_call>:\\n<tool_call>\\n' }}
{{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content }}
{{- '\\n</tool_response><|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


def build(target="starter:chat", **settings):
    options = {"context_length": 1024, "threads": 1, "device": "cpu", **settings}
    return Model.xllamacpp(target, **options)


class TestXllamaCpp(ModelSuite):
    """The shipped suite, whole."""

    concurrency = 8
    max_tokens = 12
    long_max_tokens = 32
    too_long_prompt = "word " * 3000

    @pytest.fixture
    def model(self, loaded):
        return loaded

    @pytest.fixture
    def broken_model(self):
        return build


class TestXllamaCppApart(ApartStreams, TestXllamaCpp):
    """The same in a process of its own."""

    concurrency = 6


@pytest.fixture(scope="module")
def loaded():
    model = build()
    yield model
    blazen.blocking(model).unload()


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return write_quick(tmp_path_factory.mktemp("quick") / "quick.gguf")


@pytest.fixture(scope="module")
def loaded_with_tools():
    model = build(chat_template=HERMES)
    yield model
    blazen.blocking(model).unload()


@pytest.fixture(scope="module")
def loaded_base():
    model = build("starter:text")
    yield model
    blazen.blocking(model).unload()


async def test_it_answers_sensibly(loaded):
    options = CompletionOptions(max_tokens=200, temperature=0)
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
    options = CompletionOptions(max_tokens=48, temperature=0)
    assert "cooking" in (await loaded.complete(cook, options)).content
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


@pytest.mark.parametrize("given", ["word " * 2**20, Prompt("ab " * 2**20)], ids=["chat", "prompt"])
async def test_a_text_that_can_not_fit_is_refused_unread(loaded, given):
    with pytest.raises(ContextLengthError, match="characters and the context holds 1024") as caught:
        await loaded.complete(given, COLD)
    assert (caught.value.limit, caught.value.tokens) == (1024, None)  # nobody counted


async def test_what_the_engine_can_not_do_is_refused_before_work():
    model = build()
    with pytest.raises(UnsupportedError, match="audio"):
        model.complete_stream([ChatMessage.user("Listen", blazen.Audio.from_bytes(b"RIFF"))])
    with pytest.raises(UnsupportedError, match="image"):
        model.complete_stream([ChatMessage.user("Look", blazen.Image.from_bytes(PNG))])
    with pytest.raises(UnsupportedError, match="tools"):
        model.complete_stream(Prompt("x"), CompletionOptions(tools=[Tool("a")]))
    with pytest.raises(UnsupportedError, match="reasoning"):
        model.complete_stream(Prompt("x"), CompletionOptions(reasoning=True))
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


async def test_parallel_requests_are_answered_together(quick):
    async with build(quick, parallel=4) as model:
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
async def test_nobody_finds_the_engines_socket():
    before = _sockets()
    async with build() as model:
        (path,) = _sockets() - before
        assert not os.path.exists(os.path.dirname(path))
        assert (await model.complete("Hi", COLD)).content


async def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UnsupportedError, match="cuda"):
        await build(device="cuda:7").load()
    with pytest.raises(UnsupportedError, match="gpu_layers=3"):
        await build(gpu_layers=3).load()


async def test_a_stop_text_that_never_comes_whole_is_not_swallowed(loaded):
    """The engine alone drops what it held back when ``max_tokens`` comes first."""
    cold = CompletionOptions(max_tokens=8, temperature=0)
    whole = (await loaded.complete("Count: one, two, three", cold)).content
    held = CompletionOptions(max_tokens=8, temperature=0, stop=[whole[-5:] + "never"])
    assert (await loaded.complete("Count: one, two, three", held)).content == whole
    prompt = Prompt("Count: one, two, three,")
    whole = (await loaded.complete(prompt, cold)).content
    held = CompletionOptions(max_tokens=8, temperature=0, stop=[whole[-5:] + "never"])
    assert (await loaded.complete(prompt, held)).content == whole


async def test_an_answer_that_a_stop_text_ended_tells_what_it_took(loaded):
    options = CompletionOptions(max_tokens=40, temperature=0, stop=["two"])
    answer = await loaded.complete(Prompt("zero, one, two, three, zero, one,"), options)
    assert answer.finish_reason is FinishReason.Stop
    assert 0 < answer.usage.completion_tokens < 40
    assert answer.usage.prompt_tokens > 8


async def test_without_a_seed_answers_differ(loaded):
    options = CompletionOptions(max_tokens=12, temperature=1.5)
    stories = {(await loaded.complete("Tell a story.", options)).content for _ in range(4)}
    assert len(stories) > 1


async def test_the_largest_seed_is_a_seed(loaded):
    """The engine takes this number for "draw one"."""
    options = CompletionOptions(max_tokens=12, temperature=1.5, seed=2**32 - 1)
    one = await loaded.complete("Tell a story.", options)
    assert (await loaded.complete("Tell a story.", options)).content == one.content


async def test_tokens_beyond_the_vocabulary_are_refused(loaded):
    """The engine would leave them out without a word."""
    with pytest.raises(ValidationError, match="no token 49152"):
        await loaded.complete("Hi", CompletionOptions(logit_bias={49152: 1.0}))
    with pytest.raises(ValidationError, match="no token 49152"):
        await loaded.complete(Prompt([1, 49152]))


async def test_logprobs_come_with_each_token(loaded):
    options = CompletionOptions(max_tokens=5, temperature=0, logprobs=3)
    answer = await loaded.complete("Which animal says meow?", options)
    assert len(answer.logprobs) == answer.usage.completion_tokens == 5
    assert "".join(token.text for token in answer.logprobs) == answer.content
    for token in answer.logprobs:
        assert token.logprob <= 0
        assert [one.logprob for one in token.top] == sorted(
            (one.logprob for one in token.top), reverse=True
        )
        assert len(token.top) == 3
        assert token.text == token.top[0].text, "the coldest choice is the likeliest"
    bare = await loaded.complete("Hi", CompletionOptions(max_tokens=2, logprobs=0))
    assert [token.top for token in bare.logprobs] == [(), ()]


async def test_a_number_too_large_for_the_engine_is_no_small_one(loaded):
    options = CompletionOptions(max_tokens=2**32 + 1, temperature=0, stop=[" animal"])
    answer = await loaded.complete("Which animal says meow?", options)
    assert answer.finish_reason is FinishReason.Stop


async def test_a_conversation_is_not_read_again_for_another_kind_of_answer():
    told = CompletionOptions(max_tokens=12, temperature=0, logprobs=1)
    async with build(parallel=2) as model:
        await model.complete("Which animal says meow?", COLD)
        answer = await model.complete("Which animal says meow?", told)
    assert answer.usage.cached_tokens > answer.usage.prompt_tokens // 2


async def test_an_empty_prompt_is_refused_where_it_has_no_token(loaded, loaded_base):
    with pytest.raises(ValidationError, match="the prompt is empty"):
        await loaded.complete(Prompt(""), COLD)
    answer = await loaded_base.complete(Prompt(""), COLD)
    assert answer.usage.prompt_tokens == 1  # the mark of the beginning


async def test_a_grammar_that_is_none_is_refused_and_nothing_is_generated(loaded, capfd):
    for rule in ("root ::= unknown-rule", "root ::= [a", 'leaf ::= "a"'):
        options = CompletionOptions(response_format=ResponseFormat.grammar(rule))
        with pytest.raises(ValidationError):
            await loaded.complete(Prompt("x"), options)
    capfd.readouterr()  # the engine's grammar reader writes to the terminal by itself


async def test_no_call_is_made_where_the_model_may_not(loaded):
    options = CompletionOptions(max_tokens=8, temperature=0, tools=[WEATHER], tool_choice="none")
    answer = await loaded.complete("What is the weather?", options)
    assert answer.tool_calls == ()
    plain = await loaded.complete(
        "What is the weather?", CompletionOptions(max_tokens=8, temperature=0)
    )
    assert answer.usage.prompt_tokens == plain.usage.prompt_tokens, "the tools are not shown"


async def test_a_model_that_can_not_reason_is_not_asked_to(loaded):
    with pytest.raises(UnsupportedError, match="can't reason"):
        await loaded.complete("Hi", CompletionOptions(reasoning=True))
    assert (await loaded.complete("Hi", CompletionOptions(reasoning=False, max_tokens=2))).content


class TestTools:
    """The engine's own tool parser, on real weights with a template that takes tools."""

    @pytest.fixture
    def model(self, loaded_with_tools):
        return loaded_with_tools

    def said(self):
        call = ToolCall("call-1", "get_weather", '{"city": "Paris", "days": 1}')
        turn = [
            ChatMessage.user("Weather in Paris?"),
            ChatMessage.assistant(tool_calls=[call]),
            ChatMessage.tool("sunny", tool_call_id="call-1"),
        ]
        return [*turn, *turn, ChatMessage.user("Weather in Oslo?")]

    def options(self, **more):
        # Without this word, the model would invent a tool's answer instead of a call.
        banned = {i: -100.0 for i, token in enumerate(_tokens()) if token.strip("Ġ") == "response"}
        settings = {"max_tokens": 60, "temperature": 0, "logit_bias": banned, "tools": [WEATHER]}
        return CompletionOptions(**{**settings, **more})

    async def test_a_call_comes_in_pieces(self, model):
        deltas = []
        stream = model.complete_stream(self.said(), self.options())
        async for chunk in stream:
            deltas += chunk.tool_calls
        answer = stream.response
        assert answer.finish_reason is FinishReason.ToolCalls
        assert [call.name for call in answer.tool_calls] == ["get_weather"]
        assert answer.tool_calls[0].parsed()["city"] == "Oslo"
        assert len(deltas) > 3
        assert deltas[0].id
        assert deltas[0].name == "get_weather"
        assert "".join(delta.arguments for delta in deltas) == answer.tool_calls[0].arguments
        assert answer.content == ""
        assert answer.usage.completion_tokens > 10

    async def test_a_cut_call_is_no_whole_one(self, model):
        """What was cut must never look like a call without arguments."""
        answer = await model.complete(self.said(), self.options(max_tokens=24))
        assert answer.finish_reason is FinishReason.Length
        for call in answer.tool_calls:
            with pytest.raises(ValidationError):
                call.parsed()

    @pytest.mark.parametrize("choice", ["required", "get_weather"])
    async def test_a_call_that_is_asked_for_comes(self, model, choice):
        """The engine's own "required" lets the model answer in words."""
        options = self.options(tool_choice=choice, parallel_tool_calls=False)
        answer = await model.complete("Tell me a joke.", options)
        assert [call.name for call in answer.tool_calls] == ["get_weather"]
        check_call(answer.tool_calls[0])
        assert answer.usage.completion_tokens > 5

    async def test_what_a_template_refuses_is_told_in_its_words(self):
        template = "{% if messages[0].content == 'no' %}{{ raise_exception('said no') }}{% endif %}"
        async with build(chat_template=template + HERMES) as model:
            with pytest.raises(ValidationError, match="said no"):
                await model.complete("no")
            assert (await model.complete("yes", COLD)).content


def test_calls_beyond_the_first_are_cut_where_one_is_wanted():
    reader = ParsedReader((), parallel=False, must_call=True)
    first = {"index": 0, "id": "a", "function": {"name": "one", "arguments": "{}"}}
    second = {"index": 1, "id": "b", "function": {"name": "two", "arguments": "{"}}
    chunks = reader.feed({"delta": {"tool_calls": [first]}})
    assert reader.ended is None
    assert reader.feed({"delta": {"tool_calls": [second]}}) == []
    assert reader.ended is FinishReason.ToolCalls
    assert [delta.name for chunk in chunks for delta in chunk.tool_calls] == ["one"]
    assert reader.finish(reader.ended)[-1].finish_reason is FinishReason.ToolCalls


def test_a_required_call_that_did_not_come_is_an_error():
    reader = ParsedReader((), parallel=True, must_call=True)
    reader.feed({"delta": {"content": "words"}})
    with pytest.raises(OutputError, match="called none"):
        reader.finish(FinishReason.Stop)


@pytest.mark.needs("starter:text")
class TestBaseModel(Briefly, OneByOne, OneWay, TextModelSuite):
    """The shipped suite for models that only continue."""

    max_tokens = 12
    long_max_tokens = 32
    too_long_prompt = "word " * 3000

    @pytest.fixture
    def model(self, loaded_base):
        return loaded_base

    async def test_it_continues(self, model):
        answer = await model.complete(Prompt("Monday, Tuesday, Wednesday,"), COLD)
        assert answer.content.startswith(" Thursday")

    async def test_the_first_token_is_neither_doubled_nor_missing(self, model):
        """Gemma wants BOS, which is token 2, once."""
        bare = await model.complete(Prompt("Monday, Tuesday,"), COLD)
        marked = await model.complete(Prompt("<bos>Monday, Tuesday,"), COLD)
        assert bare.usage.prompt_tokens == marked.usage.prompt_tokens
        assert bare.content == marked.content
        ids = [2, _tokens("text").index("Monday"), _tokens("text").index(",")]
        exact = await model.complete(Prompt(ids), COLD)
        assert exact.usage.prompt_tokens == 3
        assert (await model.complete(Prompt("Monday,"), COLD)).content == exact.content


async def test_an_adapter_changes_answers_and_is_swapped_while_loaded(tmp_path):
    adapter = write_lora(tmp_path / "noise.gguf", starter_path("chat"))
    question = "What color is the sky?"
    async with build() as model:
        plain = (await model.complete(question, COLD)).content
    async with build(lora=[adapter]) as model:
        changed = (await model.complete(question, COLD)).content
        assert changed != plain
        await model.set_adapters([])
        assert (await model.complete(question, COLD)).content == plain
        await model.set_adapters([LoraAdapter(adapter, scale=1.0)])
        assert (await model.complete(question, COLD)).content == changed
        with pytest.raises(ValidationError, match="not loaded with the model"):
            await model.set_adapters([tmp_path / "other.gguf"])
    with pytest.raises(LoadError, match="adapter"):
        await build(lora=[starter_path("chat")]).load()


@pytest.mark.parametrize("way", [{"prompt_lookup": True}, {"draft_model": "starter:chat"}])
async def test_proposed_tokens_are_taken_and_change_nothing(loaded, way):
    text = Prompt("red, green, blue, red, green, blue, red, green, blue, red, green,")
    options = CompletionOptions(max_tokens=24, temperature=0)
    plain = await loaded.complete(text, options)
    async with build(**way) as model:
        assert (await model.complete(text, options)).content == plain.content
        events = []
        engine = model._loading.thread.engine.engine
        request = {"prompt": text.text, "max_tokens": 24, "temperature": 0, "stream": True}
        await asyncio.to_thread(engine.server.handle_completions, request, events.append)
    assert events[-1]["timings"]["draft_n_accepted"] > 0


@pytest.mark.needs("starter:text")
async def test_a_draft_model_of_another_vocabulary_is_refused():
    with pytest.raises(UnsupportedError, match="another vocabulary"):
        await build(draft_model="starter:text").load()


@pytest.mark.parametrize(
    "settings",
    [
        {"kv_type": "q8_0"},
        {"kv_type": ("f16", "q8_0"), "flash_attention": True},
        {"flash_attention": False},
        {"memory_map": False},
        {"batch_size": 32},
    ],
)
async def test_settings_of_memory_and_speed_leave_answers_sensible(settings):
    async with build(**settings) as model:
        answer = await model.complete(
            "Which animal says meow?", CompletionOptions(max_tokens=24, temperature=0)
        )
    assert "cat" in answer.content


def test_values_in_few_bits_need_flash_attention():
    with pytest.raises(UnsupportedError, match="flash attention"):
        build(kv_type="q8_0", flash_attention=False)


async def test_a_full_context_ends_an_answer_unless_it_may_shift(quick):
    endless = CompletionOptions(max_tokens=300, logit_bias={0: -100.0, 2: -100.0}, seed=1)
    settings = {"context_length": 256, "threads": 1}
    async with Model.xllamacpp(quick, **settings) as model:
        answer = await model.complete("Tell a long story.", endless)
        assert answer.finish_reason is FinishReason.Length
        assert answer.usage.total_tokens <= 256
    async with Model.xllamacpp(quick, context_shift=True, **settings) as model:
        assert (await model.complete("Tell a story.", endless)).usage.completion_tokens == 300


async def test_images_go_through_a_projector(tmp_path):
    """No projector's weights are to be had: one of noise, which the engine loads and runs."""
    projector = write_projector(tmp_path / "mmproj.gguf", width=576)
    async with build(projector=projector) as model:
        bare = await model.complete("What is this?", COLD)
        for image in (write_png(60, 40), write_bitmap(60, 40)):
            picture = ChatMessage.user("What is this?", blazen.Image.from_bytes(image))
            seen = await model.complete([picture], COLD)
            assert seen.usage.prompt_tokens > bare.usage.prompt_tokens + 3
        broken = blazen.Image.from_bytes(PNG[:20])
        with pytest.raises(ValidationError, match="image"):
            await model.complete([ChatMessage.user("Look", broken)], COLD)
        with pytest.raises(UnsupportedError, match="audio"):
            await model.complete([ChatMessage.user("Hear", blazen.Audio.from_bytes(b"RIFF"))])
        with pytest.raises(UnsupportedError, match="plain answers"):
            await model.complete([picture], CompletionOptions(logprobs=1))
        shaped = CompletionOptions(response_format=ResponseFormat.regex("(red|blue)"))
        assert (await model.complete([picture], shaped)).parsed in ("red", "blue")
    with pytest.raises(LoadError, match="CLIP"):
        await build(projector=starter_path("chat")).load()


async def test_loading_tells_how_far_it_is():
    reports = []
    model = build()
    await model.load(on_progress=reports.append)
    await model.unload()
    loads = [report for report in reports if report.stage == "load"]
    done = [report.done for report in loads]
    assert done == sorted(done)
    assert len(done) > 5
    assert loads[0].fraction == 0
    assert loads[-1].fraction == 1


async def test_what_the_memory_does_not_hold_is_refused_before_loading():
    """The system would not refuse it but kill the process."""
    with pytest.raises(BudgetError, match="shorter context_length"):
        await Model.xllamacpp("starter:chat", context_length=8192, parallel=256).load()


async def test_the_engines_own_words_are_in_the_error(tmp_path, caplog, capfd):
    path, before = tmp_path / "odd.gguf", _sockets()
    data = starter_path("chat").read_bytes()
    name = b"general.architecture" + (8).to_bytes(4, "little") + (5).to_bytes(8, "little")
    assert name + b"llama" in data
    path.write_bytes(data.replace(b"llama.", b"lxama.").replace(name + b"llama", name + b"lxama"))
    threads = set(threading.enumerate())
    with (
        caplog.at_level("ERROR", "blazen.xllamacpp"),
        pytest.raises(LoadError, match="unknown model architecture: 'lxama'"),
    ):
        await build(path).load()
    assert any("unknown model architecture" in record.message for record in caplog.records)
    assert capfd.readouterr().err == ""
    assert _sockets() == before
    begun = set(threading.enumerate()) - threads
    for thread in begun:
        thread.join(20)
    assert not any(thread.is_alive() for thread in begun)


@pytest.mark.parametrize("at", [4, 8, 30, 200, 1_785_000])
async def test_a_damaged_file_is_an_error_and_nothing_else(tmp_path, at):
    path = tmp_path / "damaged.gguf"
    data = bytearray(starter_path("chat").read_bytes())
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises((LoadError, ValidationError)):
        await build(path).load()


async def test_a_long_prompt_does_not_hold_up_the_others():
    """The engine alone reads a prompt to its end before it looks at the next."""
    order = []
    async with Model.xllamacpp(
        "starter:chat", context_length=2048, threads=1, parallel=2, batch_size=128
    ) as model:
        long = Prompt("word " * 600)
        started = asyncio.Event()

        async def read():
            task = asyncio.ensure_future(model.complete(long, COLD))
            await asyncio.sleep(0)
            started.set()
            answer = await task
            order.append("long")
            return answer

        reading = asyncio.create_task(read())
        await started.wait()
        short = await model.complete("Hello", CompletionOptions(max_tokens=2))
        order.append("short")
        answer = await reading
    assert order == ["short", "long"]
    assert short.content
    assert answer.usage.prompt_tokens == 601
    assert answer.usage.cached_tokens == 0, "what we read in pieces ourselves was not known before"
    assert answer.timing.prompt > short.timing.prompt


async def test_requests_left_at_random_leave_nothing_behind(quick):
    chance = random.Random(1)
    shape = {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["a"],
    }
    kinds = [{}, {"logprobs": 2}, {"response_format": shape}, {"tools": [WEATHER]}, {"stop": "e"}]
    async with build(quick, parallel=4) as model:
        await asyncio.gather(*(model.complete("Hi", COLD) for _ in range(8)))
        threads, tasks = len(psutil.Process().threads()), len(asyncio.all_tasks())

        async def ask(number):
            options = CompletionOptions(max_tokens=40, **chance.choice(kinds))
            text = f"Question {number}: " + "why " * chance.choice([1, 5, 40])
            task = asyncio.create_task(model.complete(text, options))
            if number % 3 == 0:
                await asyncio.sleep(chance.random() / 20)
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OutputError):
                await task

        for first in range(0, 120, 8):
            await asyncio.gather(*map(ask, range(first, first + 8)))
        answers = await asyncio.gather(*(model.complete("Hi", COLD) for _ in range(4)))
        assert all(answer.content for answer in answers)
        assert len(psutil.Process().threads()) <= threads
        assert len(asyncio.all_tasks()) == tasks
        assert sorted(model._loading.thread.engine.slots._free) == [0, 1, 2, 3]


async def test_memory_comes_back():
    model = build()
    await model.complete("Hi", COLD)
    await model.unload()
    after = []
    for _ in range(6):
        before = rss_bytes()
        await model.complete("Hi", COLD)
        took = rss_bytes() - before
        await model.unload()
        after.append(rss_bytes())
        assert before + took - after[-1] >= 0.95 * took
    assert after[-1] - after[0] < 5 << 20


async def test_more_context_than_the_model_knows_is_refused():
    with pytest.raises(ValidationError, match="at most 8192"):
        await Model.xllamacpp("starter:chat", context_length=20_000).load()


@pytest.mark.needs("starter:embed")
async def test_a_folder_is_no_gguf_file():
    with pytest.raises(ModelNotFoundError, match="no GGUF model"):
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


def test_asking_why_runs_nothing_of_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "tempfile.py").write_text("open('ran', 'w').close()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert "failed to open" in diagnosis.ask_why({"model.path": str(tmp_path / "none.gguf")})
    assert not (tmp_path / "ran").exists()


def test_a_program_in_one_file_is_not_started_again_to_ask_why(monkeypatch):
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(diagnosis.subprocess, "Popen", None)
    assert diagnosis.ask_why({}) == ""


@pytest.mark.parametrize("why", ["it is ended by a signal", "the caller goes", "it takes too long"])
def test_asking_why_leaves_nothing_behind(tmp_path, monkeypatch, why):
    monkeypatch.setattr(diagnosis.tempfile, "tempdir", str(tmp_path))
    end = why == "it is ended by a signal"
    monkeypatch.setattr(
        diagnosis, "_TRY", "import os; os.abort()" if end else "import time; time.sleep(600)"
    )
    if why == "it takes too long":
        monkeypatch.setattr(diagnosis, "SECONDS", 0.2)
    before = {child.pid for child in psutil.Process().children()}
    assert diagnosis.ask_why({}, lambda: why == "the caller goes") == ""
    assert list(tmp_path.iterdir()) == []
    assert {child.pid for child in psutil.Process().children()} <= before


@functools.cache
def _tokens(starter="chat"):
    return list(read_gguf(starter_path(starter)).metadata["tokenizer.ggml.tokens"])


def write_png(width: int, height: int) -> bytes:
    """A red picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc32(kind + body))

    rows = (b"\0" + b"\xff\0\0" * width) * height  # each begins with its filter: none
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def write_bitmap(width: int, height: int) -> bytes:
    """A red picture."""
    rows = b"\0\0\xff" * width * height  # blue, green, red; widths of a multiple of four
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 14 + len(head) + len(rows), 0, 0, 54) + head + rows


def write_projector(path: Path, width: int) -> Path:
    """Write a projector of noise for images of 28 by 28: four tokens each."""
    import numpy as np

    side, patch, hidden, inner = 28, 14, 32, 64
    noise = np.random.default_rng(0)
    metadata = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.has_vision_encoder": True,
        "clip.use_gelu": True,
        "clip.projector_type": "mlp",
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }
    numbers = {
        "image_size": side,
        "patch_size": patch,
        "embedding_length": hidden,
        "feed_forward_length": inner,
        "projection_dim": width,
        "attention.head_count": 2,
        "block_count": 1,
    }
    metadata |= {f"clip.vision.{name}": number for name, number in numbers.items()}
    shapes = {
        "v.class_embd": (hidden,),
        "v.patch_embd.weight": (hidden, 3, patch, patch),
        "v.position_embd.weight": ((side // patch) ** 2 + 1, hidden),
        "mm.0.weight": (width, hidden),
        "mm.0.bias": (width,),
        "mm.2.weight": (width, width),
        "mm.2.bias": (width,),
        "v.blk.0.ffn_up.weight": (inner, hidden),
        "v.blk.0.ffn_up.bias": (inner,),
        "v.blk.0.ffn_down.weight": (hidden, inner),
        "v.blk.0.ffn_down.bias": (hidden,),
    }
    for name in ("v.pre_ln", "v.post_ln", "v.blk.0.ln1", "v.blk.0.ln2"):
        shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        shapes |= {f"v.blk.0.{name}.weight": (hidden, hidden), f"v.blk.0.{name}.bias": (hidden,)}
    tensors = {name: noise.normal(0, 0.05, shape) for name, shape in shapes.items()}
    return write_gguf(path, metadata, {name: t.astype(np.float32) for name, t in tensors.items()})


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
@pytest.mark.needs("starter:text")
@pytest.mark.parametrize("target", ["starter:chat", "starter:text"])
def test_it_says_what_it_takes(target):
    check_footprint("Model", f"xllamacpp:{target}")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
def test_it_says_what_several_conversations_take():
    check_footprint("Model", "xllamacpp:starter:chat", more=4, parallel=4)


async def test_copies_of_windows_are_counted_for_each_conversation():
    one, four = [await build("starter:text", parallel=n).footprint() for n in (1, 4)]
    plain, plain_four = [await build(parallel=n).footprint() for n in (1, 4)]
    # Beside its cache of some 20 MB, which either model has.
    assert four.resident["cpu"] - one.resident["cpu"] > 3 * (100 << 20)
    assert plain_four.resident["cpu"] - plain.resident["cpu"] < 3 * (50 << 20)
