"""mistral.rs on real weights, and on small random ones."""

from __future__ import annotations

import array
import asyncio
import json
import math
import os
import random
import struct
import sys

import pytest

import blazen
from blazen import ChatMessage, CompletionOptions, FinishReason, Model, Prompt, ResponseFormat
from blazen.errors import (
    ContextLengthError,
    LoadError,
    ModelNotFoundError,
    UnsupportedError,
    ValidationError,
)
from blazen.options import MistralRsOptions
from blazen.testing import ModelSuite
from blazen.weights.starter import starter_path
from tests.backends.briefly import Briefly
from tests.backends.isolated import ApartStreams
from tests.programs import check_footprint, run_python
from tests.weights.servers import Files, serving

pytestmark = pytest.mark.needs("mistralrs", "starter:chat")

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
COLD = CompletionOptions(max_tokens=8, temperature=0)
TOOL = blazen.Tool("look_up", "Look up a word.", {"type": "object", "properties": {}})


def build(target="starter:chat", **settings):
    return Model.mistralrs(target, **{"context_length": 1024, "threads": 1, **settings})


class TestMistralRs(ModelSuite):
    """The shipped suite, whole."""

    prompt = "Tell a story of a boat."
    max_tokens = 6
    long_max_tokens = 24
    concurrency = 6
    too_long_prompt = "word " * 1100
    holds_bytes = 200 << 20

    @pytest.fixture
    def model(self, loaded):
        return loaded

    @pytest.fixture
    def broken_model(self):
        return build


class TestMistralRsApart(Briefly, ApartStreams, TestMistralRs):
    """The same in a process of its own."""

    concurrency = 2
    # Its tokens take ten times as long as the others', which show the rest of this.
    test_two_loops_at_once = None
    test_streams_left_early_do_not_touch_the_others = None
    test_a_required_tool_is_called = None
    test_a_named_tool_is_called = None
    # Here it gives back a part only; there, all of it.
    test_unload_gives_memory_back = TestMistralRs.test_unload_gives_memory_back


@pytest.fixture(scope="module")
def loaded():
    model = build()
    yield model
    blazen.blocking(model).unload()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of random weights: what it says means nothing, but it says it at once."""
    return random_llama(tmp_path_factory.mktemp("tiny"))


def random_llama(folder, *, adds_bos=False, **config):
    """Write a folder as the hub has them; each byte of a text is a token."""
    size, hidden, inner, layers = 258, 64, 128, 2
    _write_tokenizer(folder, size, adds_bos=adds_bos)
    known = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": size,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 256,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
    }
    (folder / "config.json").write_text(json.dumps({**known, **config}))
    shapes = {"model.embed_tokens": (size, hidden), "lm_head": (size, hidden), "model.norm": ()}
    for layer in range(layers):
        name = f"model.layers.{layer}."
        shapes |= {f"{name}{norm}_layernorm": () for norm in ("input", "post_attention")}
        shapes |= {f"{name}self_attn.{part}_proj": (hidden, hidden) for part in "qkvo"}
        shapes |= {f"{name}mlp.{part}_proj": (inner, hidden) for part in ("gate", "up")}
        shapes[f"{name}mlp.down_proj"] = (hidden, inner)
    draw, header, data = random.Random(0), {}, b""
    for name, shape in shapes.items():
        numbers = [draw.gauss(0, 0.05) for _ in range(math.prod(shape))] if shape else [1] * hidden
        start, data = len(data), data + array.array("f", numbers).tobytes()
        place = {"dtype": "F32", "shape": shape or (hidden,), "data_offsets": (start, len(data))}
        header[f"{name}.weight"] = place
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder


def _write_tokenizer(folder, size, *, adds_bos):
    # Bytes that are no printable characters stand for themselves 256 characters further on.
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    odd = [byte for byte in range(256) if byte not in plain]
    letters = [chr(byte) for byte in plain] + [chr(256 + place) for place in range(len(odd))]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    marks = {"<s>": size - 2, "</s>": size - 1}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    first = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    rest = {"Sequence": {"id": "A", "type_id": 0}}
    puts_first = {
        "type": "TemplateProcessing",
        "single": [first, rest],
        "pair": [first, rest],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [size - 2], "tokens": ["<s>"]}},
    }
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {"id": number, "content": text, "special": True, **flags}
            for text, number in marks.items()
        ],
        "pre_tokenizer": {**bytes_, "use_regex": True},
        "post_processor": puts_first if adds_bos else None,
        "decoder": {**bytes_, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {**{letter: place for place, letter in enumerate(letters)}, **marks},
            "merges": [],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}\n{% endfor %}A:"
    texts = {"bos_token": "<s>", "eos_token": {"content": "</s>", **flags}}
    settings = {**texts, "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


async def test_it_answers_sensibly(loaded):
    answer = await loaded.complete("Which animal says meow?", {"max_tokens": 200, "temperature": 0})
    assert "cat" in answer.content
    assert answer.finish_reason is FinishReason.Stop
    assert not answer.usage.estimated
    assert answer.timing.tokens_per_second > 0
    assert 0 < answer.timing.prompt <= answer.timing.first_token


async def test_what_was_said_before_is_heard(loaded):
    dog = [
        ChatMessage.user("I have a dog called Rex."),
        ChatMessage.assistant("Rex is a fine name for a dog."),
        ChatMessage.user("What is my dog called?"),
    ]
    assert "Rex" in (await loaded.complete(dog, COLD)).content


async def test_a_stop_text_never_shows_and_its_usage_is_counted(loaded):
    prompt = "Count: one, two, three"
    whole = (await loaded.complete(prompt, {"max_tokens": 12, "temperature": 0})).content
    stop = whole[8:12]
    options = {"max_tokens": 12, "temperature": 0, "stop": [stop]}
    stream = loaded.complete_stream(prompt, options)
    pieces = [chunk.content or "" async for chunk in stream]
    assert "".join(pieces) == whole[: whole.index(stop)]
    assert stream.response.finish_reason is FinishReason.Stop
    assert stream.response.usage.estimated
    assert 0 < stream.response.usage.completion_tokens <= 12


async def test_characters_are_never_split_between_chunks(loaded):
    prompt = "Repeat exactly: 🌍🦩🎈 čšž 日本語 🌍🦩🎈"
    # So many tokens that the last one is in the midst of a character.
    stream = loaded.complete_stream(prompt, CompletionOptions(max_tokens=13, temperature=0))
    pieces = [chunk.content or "" async for chunk in stream]
    assert "🦩" in "".join(pieces)
    assert "�" not in "".join(pieces)


@pytest.mark.parametrize(
    "narrow",
    [{"top_k": 1}, {"top_p": 0.01}, {"min_p": 0.99}],
    ids=lambda narrow: next(iter(narrow)),
)
async def test_narrow_sampling_is_greedy(loaded, narrow):
    greedy = await loaded.complete("Tell a story of a dog.", COLD)
    hot = CompletionOptions(max_tokens=8, temperature=1.5, **narrow)
    assert (await loaded.complete("Tell a story of a dog.", hot)).content == greedy.content


@pytest.mark.parametrize("penalty", ["repeat_penalty", "frequency_penalty", "presence_penalty"])
async def test_a_penalty_changes_what_is_said(loaded, penalty):
    prompt = Prompt("la la la la la la la la la")
    options = {"max_tokens": 6, "temperature": 0}
    same = await loaded.complete(prompt, options)
    other = await loaded.complete(prompt, {**options, penalty: 2.0})
    assert same.content != other.content


async def test_a_bias_forbids_a_token_and_one_of_no_token_is_refused(loaded):
    answer = await loaded.complete("Tell a story.", {"max_tokens": 1, "temperature": 0})
    tokens = loaded._loading.thread.engine.runner.tokenize_text(answer.content, False, None)
    options = {"max_tokens": 1, "temperature": 0, "logit_bias": {tokens[0]: -100.0}}
    assert (await loaded.complete("Tell a story.", options)).content != answer.content
    with pytest.raises(ValidationError, match="49152"):
        await loaded.complete("Tell a story.", {"logit_bias": {49152: 1.0}})


async def test_tokens_are_taken_as_a_prompt(loaded):
    await loaded.load()
    tokens = loaded._loading.thread.engine.runner.tokenize_text("One, two, three,", True, None)
    told = await loaded.complete(Prompt("One, two, three,"), COLD)
    assert (await loaded.complete(Prompt(tokens), COLD)).content == told.content
    assert told.usage.prompt_tokens == len(tokens)
    with pytest.raises(ValidationError, match="there is no token"):
        await loaded.complete(Prompt([50_000_000]), COLD)
    letter = loaded._loading.thread.engine.runner.tokenize_text("t", False, None)
    with pytest.raises(UnsupportedError, match="as text"):
        await loaded.complete(Prompt([*letter, *letter, *letter]), COLD)


async def test_what_the_engine_can_not_do_is_refused_before_work():
    from blazen_mistralrs.request import REFUSED

    model = build()
    values = {"typical_p": 0.9, "mirostat": 2, "mirostat_tau": 4.0, "mirostat_eta": 0.1, "seed": 7}
    assert set(values) == set(REFUSED)
    for name, value in values.items():
        with pytest.raises(UnsupportedError, match=f"'{name}'"):
            model.complete_stream("x", {name: value})
    with pytest.raises(ValidationError, match="repeat_penalty"):
        model.complete_stream("x", {"repeat_penalty": 0})
    with pytest.raises(UnsupportedError, match="audio"):
        model.complete_stream([ChatMessage.user("Listen", blazen.Audio.from_bytes(b"RIFF"))])
    with pytest.raises(UnsupportedError, match="tools"):
        model.complete_stream(Prompt("x"), {"tools": [TOOL]})
    with pytest.raises(UnsupportedError, match="reasoning"):
        model.complete_stream(Prompt("x"), {"reasoning": False})
    assert not model.is_loaded
    look = [ChatMessage.user("Look", blazen.Image.from_bytes(PNG))]
    with pytest.raises(UnsupportedError, match="images"):
        build("a/folder/model.gguf").complete_stream(look)


async def test_images_are_refused_by_a_model_that_does_not_see(loaded):
    with pytest.raises(UnsupportedError, match="images"):
        await loaded.complete([ChatMessage.user("Look", blazen.Image.from_bytes(PNG))])


def test_a_model_that_sees_gets_images_as_data(tmp_path):
    """No weights of such a model are to be had: this is as far as its request goes here."""
    from blazen_mistralrs.request import write_request
    from blazen_mistralrs.sources import read_folder

    source = read_folder(random_llama(tmp_path, vision_config={}), None)
    assert source.sees
    look = [ChatMessage.user("Look: ", blazen.Image.from_bytes(PNG))]
    request = write_request(source, look, CompletionOptions())
    text, image = request.messages[0]["content"]
    assert text == {"type": "text", "text": "Look: "}
    assert image["type"] == "image_url"
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert write_request(source, [ChatMessage.user("Hi")], CompletionOptions()).messages
    with pytest.raises(UnsupportedError, match="Prompt"):
        write_request(source, Prompt("x"), CompletionOptions())
    with pytest.raises(UnsupportedError, match="tools"):
        write_request(source, look, CompletionOptions(tools=[TOOL]))


def test_calls_whose_mark_the_engine_hides_are_refused(tmp_path):
    from blazen.chat import ChatTemplate
    from blazen_mistralrs.request import write_request
    from blazen_mistralrs.sources import Source

    template = ChatTemplate("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    options = CompletionOptions(tools=[TOOL])
    ask = [ChatMessage.user("x")]
    plan = write_request(Source(tmp_path, template), ask, options).plan
    hides = Source(tmp_path, template, control=frozenset(plan.triggers))
    with pytest.raises(UnsupportedError, match="llamacpp"):
        write_request(hides, ask, options)
    required = CompletionOptions(tools=[TOOL], tool_choice="required")
    assert write_request(hides, ask, required).fields["grammar_type"] == "lark"


async def test_the_engine_answers_several_at_once(loaded):
    long = loaded.complete_stream("Tell a long story.", {"max_tokens": 60, "temperature": 0})
    async with long:
        await anext(long)
        assert (await loaded.complete("Hello!", {"max_tokens": 2})).content
        assert long.response.finish_reason is None
        beside = [chunk async for chunk in long]
    assert beside[-1].finish_reason is FinishReason.Length


async def test_cancelled_while_it_reads_it_lets_the_caller_go_at_once(loaded):
    """The engine reads on to the end of the prompt; the next request waits for that."""
    await loaded.load()
    engine = loaded._loading.thread.engine
    task = asyncio.create_task(loaded.complete("word " * 150, COLD))
    while not engine.prompts.locked():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.reading, "it was waited for until the prompt was read"
    assert (await loaded.complete("Hello", COLD)).content
    assert not engine.prompts.locked()


async def test_cancelled_while_another_prompt_is_read_it_never_begins(loaded):
    await loaded.load()
    engine = loaded._loading.thread.engine
    with engine.prompts:
        task = asyncio.create_task(loaded.complete("Hello", COLD))
        while not engine.reading:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await loaded.complete("Hello", COLD)).content


async def test_a_grammar_ends_the_answer_at_its_own_end(loaded):
    """Without the token of the end in it, the engine goes on unseen."""
    wanted = ResponseFormat.grammar('root ::= "yes" | "no"')
    options = CompletionOptions(max_tokens=40, temperature=0, response_format=wanted)
    answer = await loaded.complete("Is the sky blue?", options)
    assert answer.content in ("yes", "no")
    assert answer.finish_reason is FinishReason.Stop
    assert answer.usage.completion_tokens <= 5


async def test_a_schema_that_can_not_be_kept_is_refused(loaded):
    wanted = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    with pytest.raises(UnsupportedError, match="uniqueItems"):
        await loaded.complete("x", CompletionOptions(response_format=wanted))


@pytest.mark.parametrize("quantization", [None, "Q8_0", "F16"])
async def test_a_folder_of_safetensors_loads(tiny, quantization):
    async with build(tiny, context_length=200, quantization=quantization) as model:
        answer = await model.complete("Hello", COLD)
        assert answer.usage.completion_tokens == 8
        assert answer.usage.prompt_tokens == 1 + len("Hello\nA:")
        wanted = ResponseFormat.regex("[a-c]{4}")
        fitting = await model.complete("Hello", {"max_tokens": 9, "response_format": wanted})
        assert len(fitting.parsed) == 4


async def test_a_folder_can_not_become_every_quantization(tiny):
    with pytest.raises(UnsupportedError, match="IQ4_XS"):
        await build(tiny, context_length=200, quantization="IQ4_XS").load()
    with pytest.raises(UnsupportedError, match="memory_budget"):
        await build(tiny, context_length=200, memory_budget="1GiB").load()


async def test_the_bos_is_there_once(tmp_path):
    """The template writes one, and the tokenizer would put another in front."""
    folder = random_llama(tmp_path, adds_bos=True)
    async with build(folder, context_length=200) as model:
        assert (await model.complete("Hello", COLD)).usage.prompt_tokens == 1 + len("Hello\nA:")
        assert (await model.complete(Prompt("Hello"), COLD)).usage.prompt_tokens == 1 + 5


async def test_another_template_is_taken(tiny):
    template = "{{ messages[0]['content'] }}"
    async with build(tiny, context_length=200, chat_template=template) as model:
        assert (await model.complete("Hello", COLD)).usage.prompt_tokens == 5
        with pytest.raises(ContextLengthError) as caught:
            await model.complete("x" * 200, COLD)
        assert (caught.value.tokens, caught.value.limit) == (200, 200)
        cut = await model.complete("x" * 195, {"temperature": 0})
        assert cut.usage.completion_tokens <= 5


async def test_without_a_template_it_takes_a_prompt_only(tmp_path):
    folder = random_llama(tmp_path)
    (folder / "tokenizer_config.json").unlink()
    async with build(folder, context_length=200) as model:
        assert (await model.complete(Prompt("Hello"), COLD)).usage.prompt_tokens == 5
        with pytest.raises(UnsupportedError, match="Prompt"):
            await model.complete("Hello", COLD)
        with pytest.raises(ValidationError, match="empty"):
            await model.complete(Prompt(""), COLD)


def test_weights_that_the_engine_is_slow_at_become_others():
    from blazen.weights.starter import starter_path
    from blazen_mistralrs.sources import read_gguf_source

    path = starter_path("chat")
    assert read_gguf_source(path, None, quick=True).in_situ == "Q8_0"
    assert read_gguf_source(path, None, quick=False).in_situ is None


async def test_a_grammar_that_the_engine_can_not_follow_is_refused(loaded, monkeypatch):
    from blazen_mistralrs import request

    monkeypatch.setattr(request, "write_lark", lambda gbnf: "start: /(/\n")
    wanted = ResponseFormat.grammar('root ::= "a"')
    with pytest.raises(UnsupportedError, match="can't follow"):
        await loaded.complete("x", CompletionOptions(response_format=wanted))


@pytest.mark.needs("starter:text")
async def test_a_tokenizer_that_the_engine_reads_wrongly_is_refused():
    model = build("starter:text")
    with pytest.raises(UnsupportedError, match="llamacpp"):
        await model.load()
    assert not model.is_loaded


async def test_more_context_than_the_model_knows_is_refused():
    with pytest.raises(ValidationError, match="at most 8192"):
        await build(context_length=20_000).load()


async def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UnsupportedError, match="cuda"):
        await build(device="cuda:7").load()


async def test_a_name_that_leads_nowhere(tmp_path):
    with pytest.raises(ModelNotFoundError):
        await build(tmp_path / "none.gguf").load()


def test_where_no_thread_can_be_started_the_model_can_be_closed(monkeypatch):
    from blazen_mistralrs.engine import Engine, Opening
    from blazen_mistralrs.process import Workers

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Opening, "start", refuse)
    engine = Engine(None, None, 1, Workers())
    with pytest.raises(RuntimeError, match="new thread"):
        Opening(engine, None, None).begin()
    engine.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names a process's threads")
async def test_what_unload_has_ended_is_over(tiny):
    from blazen_mistralrs.process import runtime_threads

    model = build(tiny, context_length=200)
    for _ in range(8):
        before = runtime_threads()
        await model.complete("Hi.", COLD)
        assert runtime_threads() - before
        await model.unload()
        assert not runtime_threads() - before


def test_an_engine_waits_for_its_own_threads_alone_and_not_for_ever(monkeypatch):
    from blazen_mistralrs import process

    running = set()
    monkeypatch.setattr(process, "_PATIENCE", 0.01)
    monkeypatch.setattr(process, "runtime_threads", lambda: frozenset(running))
    running.add(1)
    first = process.Workers()
    running.add(2)
    second = process.Workers()
    running.add(3)
    running.remove(2)
    assert first.wait_for_end()
    assert not second.wait_for_end()
    running.remove(3)
    assert second.wait_for_end()


def test_a_url_is_fetched_into_the_cache_that_was_named(tmp_path, monkeypatch):
    from blazen_mistralrs.sources import find_source

    weights, heard = starter_path("chat").read_bytes(), []
    monkeypatch.setenv("BLAZEN_CACHE", str(tmp_path / "another"))
    monkeypatch.delenv("BLAZEN_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Files({"/model.gguf": weights})) as server:
        options = MistralRsOptions(f"{server.url}/model.gguf", cache_dir=tmp_path / "cache")
        source = find_source(options, heard.append, lambda: False, on_cpu=True)
    assert source.path.is_relative_to(tmp_path / "cache")
    assert {progress.stage for progress in heard} == {"download"}
    assert not (tmp_path / "another").exists()


def test_a_file_of_a_repository_without_gguf_is_refused(monkeypatch):
    from blazen_mistralrs import sources

    monkeypatch.setattr(sources, "list_gguf", lambda *args, **more: [])
    options = MistralRsOptions("org/model", file="weights.safetensors")
    with pytest.raises(UnsupportedError, match=r"file='weights\.safetensors'"):
        sources.find_source(options, lambda progress: None, lambda: False, on_cpu=True)


async def test_what_the_engine_says_of_a_broken_model_is_told(tmp_path):
    from blazen.weights.starter import starter_path

    data = bytearray(starter_path("chat").read_bytes())
    place = data.index(b"blk.3.attn_q.weight")
    data[place : place + 19] = b"blk.3.attn_x.weight"
    path = tmp_path / "odd.gguf"
    path.write_bytes(data)
    model = build(path)
    with pytest.raises(LoadError, match=r"odd\.gguf.*q_proj") as caught:
        await model.load()
    assert "candle_core" not in str(caught.value), "the engine's own trace is no one's concern"
    assert not model.is_loaded


async def test_an_engine_that_panics_is_an_error(tmp_path):
    """It says so on stderr as well, where no one can stop it."""
    folder = random_llama(tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": {}}))
    model = build(folder, context_length=200)
    with pytest.raises(LoadError, match="did not match any variant"):
        await model.load()
    assert not model.is_loaded


async def test_what_the_engine_says_of_a_failure_is_told(loaded, monkeypatch):
    from blazen_mistralrs import request

    monkeypatch.delitem(request._FIELDS, "repeat_penalty")
    monkeypatch.setitem(request._FIELDS, "min_p", "repetition_penalty")
    with pytest.raises(blazen.InferenceError, match="invalid logits"):
        await loaded.complete("Hello", {"max_tokens": 2, "temperature": 0, "min_p": 0.0})
    assert (await loaded.complete("Hello", COLD)).content


@pytest.mark.parametrize("when", ["loaded", "in mid-stream"])
def test_the_interpreter_ends_in_silence(when):
    code = f"""
    import asyncio, os, blazen
    before = dict(os.environ)
    async def main():
        model = blazen.Model.mistralrs("starter:chat", context_length=512, threads=1)
        stream = await model.complete_stream("Tell a long story.", {{"max_tokens": 100}})
        await stream.__anext__()
        if {when == "loaded"}: await stream.aclose()
        return model, stream
    kept = asyncio.run(main())
    assert dict(os.environ) == before, "the environment is left as it was"
    print("end")
    """
    assert run_python(code, "-W", "error") == "end"


def test_settings_of_the_user_stand(monkeypatch):
    from blazen_mistralrs.process import settled

    monkeypatch.setenv("RAYON_NUM_THREADS", "3")
    monkeypatch.delenv("RUST_LOG", raising=False)
    with settled(1):
        assert os.environ["RAYON_NUM_THREADS"] == "3"
        assert os.environ["RUST_LOG"] == "off"
    assert os.environ["RAYON_NUM_THREADS"] == "3"
    assert "RUST_LOG" not in os.environ


LARK = {
    "alternatives": (
        'root ::= "a" | b\nb ::= [0-9]+',
        'start: r1\nr1: "a" | r0\nr0: /[\\x{30}-\\x{39}]/ +\n',
    ),
    "a literal": (r'root ::= "a\"\n\x41"', 'start: r0\nr0: ("a" "\\"" "\\n" "A")\n'),
    "nothing": ('root ::= "" | ', 'start: r0\nr0: "" |\n'),
    "sets": (
        r"root ::= [^a\]-] [-a] .",
        "start: r0\nr0: /[^\\x{61}\\x{5D}\\x{2D}]/ /[\\x{2D}\\x{61}]/ /(?s:.)/\n",
    ),
    "counts": ('root ::= ("a" "b"){2, 3} "c"{4}?', 'start: r0\nr0: ( "a" "b" ) {2,3} "c" {4} ?\n'),
    "comments": ('# all of it\nroot ::= # here\n  "a"', 'start: r0\nr0: "a"\n'),
}


@pytest.mark.parametrize("what", LARK)
def test_gbnf_is_written_as_lark(what):
    from blazen_mistralrs.lark import write_lark

    gbnf, lark = LARK[what]
    assert write_lark(gbnf) == lark


@pytest.mark.parametrize(
    ("gbnf", "said"),
    [
        ("a ::= 'x'", "can't be read"),
        ('a ::= "x"', "'root'"),
        ("root ::= other", "'other'"),
        ('root ::= "a"\nroot ::= "b"', "two rules"),
        ('"a"', "begins with"),
        ('root ::= "a" ::= "b"', "::="),
        ("root ::= []", "without characters"),
    ],
)
def test_gbnf_that_is_none_is_refused(gbnf, said):
    from blazen_mistralrs.lark import write_lark

    with pytest.raises(ValidationError, match=said):
        write_lark(gbnf)


def test_gbnf_of_tokens_is_refused():
    from blazen_mistralrs.lark import write_lark

    with pytest.raises(UnsupportedError, match="<think>"):
        write_lark("root ::= <think> .*")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process had at most")
@pytest.mark.parametrize("more", [1, 4])
def test_it_says_what_it_takes(more):
    check_footprint("Model", "mistralrs:starter:chat", more, context_length=1024)


async def test_a_folder_says_what_it_takes(tiny):
    floats, bytes_ = [
        await build(tiny, quantization=kind, context_length=None).footprint()
        for kind in ("F32", "Q8_0")
    ]
    assert floats.resident["cpu"] > bytes_.resident["cpu"] > 100 << 20
    assert floats.per_request == bytes_.per_request
    assert floats.per_request["cpu"] > 0
