"""The table of what each chat engine can do, held against the engines: see docs/chat-engines.md.

Each row is tried on real weights. Where the table says yes, the effect must be seen; where it says
no, an `UnsupportedError` must name what is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path

import pytest

import blazen
from blazen import (
    ChatMessage,
    CompletionOptions,
    Image,
    LoraAdapter,
    Model,
    Prompt,
    ResponseFormat,
    UnsupportedError,
)
from blazen.testing.answering import ANIMAL, CLOCK, WEATHER, check_call
from blazen.weights.gguf import read_gguf
from blazen.weights.starter import starter_path
from blazen_xllamacpp.wire import write_chat
from tests.gguf_lora import write_lora

PAGE = Path(__file__).parents[2] / "docs" / "chat-engines.md"
OPTIONS = {
    "llamacpp": blazen.LlamaCppOptions,
    "xllamacpp": blazen.XllamaCppOptions,
    "mistralrs": blazen.MistralRsOptions,
}
ENGINES = tuple(OPTIONS)
QUESTION = "Write a short story about a lighthouse and a very old boat."
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)


def table():
    """Read the page: for each row, what it says of each engine."""
    rows = {}
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 1 + len(ENGINES) and cells[1].split(":")[0] in ("yes", "no"):
            rows[cells[0].strip("`")] = dict(zip(ENGINES, cells[1:], strict=True))
    return rows


async def said(model, **options):
    settings = {"max_tokens": 12, "temperature": 0, **options}
    return (await model.complete(QUESTION, CompletionOptions(**settings))).content


async def hot(model, **options):
    """Answer twice where chance would show, but for what the option forbids."""
    return [await said(model, temperature=1.5, **options) for _ in range(2)]


async def likeliest_only(model, **options):
    assert await hot(model, **options) == [await said(model)] * 2, "chance still has its say"


async def says_something_else(model, **options):
    plain = await said(model, max_tokens=48)
    assert await said(model, max_tokens=48, **options) != plain, "the option changed nothing"


async def messages(model):
    answer = await model.complete("Which animal says meow?", {"max_tokens": 24, "temperature": 0})
    assert "cat" in answer.content


async def prompt_text(model):
    options = CompletionOptions(max_tokens=12, temperature=0)
    answer = await model.complete(Prompt("One, two, three, four,"), options)
    assert "five" in answer.content


async def prompt_tokens(model):
    gguf = read_gguf(starter_path("chat"))
    tokens = list(gguf.metadata["tokenizer.ggml.tokens"])
    words = ["One", ",", "Ġtwo", ",", "Ġthree", ",", "Ġfour", ","]
    options = CompletionOptions(max_tokens=12, temperature=0)
    answer = await model.complete(Prompt([tokens.index(word) for word in words]), options)
    assert "five" in answer.content
    assert answer.usage.prompt_tokens == len(words)


async def temperature(model):
    assert len({*await hot(model), *await hot(model)}) > 1


async def typical_p(model):
    first, second = await hot(model, typical_p=1e-4)
    assert first == second, "chance still has its say"


async def mirostat(model):
    first, second = await hot(model, mirostat=2, mirostat_tau=0.01)
    assert first == second, "chance still has its say"


async def seed(model):
    answers = [await said(model, temperature=1.5, seed=seed) for seed in (3, 3, 4)]
    assert answers[0] == answers[1] != answers[2]


async def stop(model):
    whole = await said(model)
    word = whole.split()[2]
    assert await said(model, stop=[word]) == whole[: whole.index(word)]


async def logit_bias(model):
    tokens = list(read_gguf(starter_path("chat")).metadata["tokenizer.ggml.tokens"])
    first = (await said(model, max_tokens=1)).strip()
    banned = {tokens.index(first): -100.0}
    assert await said(model, max_tokens=1, logit_bias=banned) != first


async def logprobs(model):
    answer = await model.complete(QUESTION, {"max_tokens": 3, "temperature": 0, "logprobs": 2})
    assert len(answer.logprobs) == 3
    assert all(len(token.top) == 2 for token in answer.logprobs)


async def shaped(model, response_format):
    options = CompletionOptions(max_tokens=120, temperature=0, response_format=response_format)
    return (await model.complete(QUESTION, options)).parsed


async def schema(model):
    assert set(await shaped(model, ANIMAL)) == {"kind", "legs", "tame"}


async def any_json(model):
    options = CompletionOptions(max_tokens=400, temperature=0, response_format="json")
    stream = model.complete_stream(QUESTION, options)
    with contextlib.suppress(blazen.OutputError):  # a model of this size may go on and on
        await stream.collect()
    assert stream.response.content.lstrip().startswith("{")


async def regex(model):
    assert re.fullmatch(
        r"[a-c]{3}-\d\d", await shaped(model, ResponseFormat.regex(r"[a-c]{3}-\d\d"))
    )


async def grammar(model):
    assert await shaped(model, ResponseFormat.grammar('root ::= "tea" | "milk"')) in ("tea", "milk")


async def calls(model, choice, **options):
    answer = await model.complete(
        "What is the weather in Oslo tomorrow?",
        CompletionOptions(
            max_tokens=80, temperature=0, tools=[WEATHER, CLOCK], tool_choice=choice, **options
        ),
    )
    for call in answer.tool_calls:
        check_call(call)
    return [call.name for call in answer.tool_calls]


async def tools_auto(model):
    await calls(model, "auto")  # a model of this size may or may not call


async def tools_required(model):
    assert await calls(model, "required")


async def tools_named(model):
    assert set(await calls(model, "get_time")) == {"get_time"}


async def tools_none(model):
    assert await calls(model, "none") == []


async def one_tool_call(model):
    assert len(await calls(model, "required", parallel_tool_calls=False)) == 1


async def reasoning_on(model):
    await said(model, reasoning=True)


async def images(model):
    message = ChatMessage.user("What is this?", Image.from_bytes(PNG))
    await model.complete([message], {"max_tokens": 4})


async def set_adapters(model, tmp_path):
    if not hasattr(model, "set_adapters"):
        raise UnsupportedError("there is no set_adapters")
    plain = await said(model)
    await model.set_adapters([])
    assert await said(model) == plain


REQUESTS = {
    "messages": messages,
    "Prompt of text": prompt_text,
    "Prompt of tokens": prompt_tokens,
    "max_tokens": lambda model: said(model, max_tokens=1),
    "temperature": temperature,
    "top_p": lambda model: likeliest_only(model, top_p=1e-4),
    "top_k": lambda model: likeliest_only(model, top_k=1),
    "min_p": lambda model: likeliest_only(model, min_p=1.0),
    "typical_p": typical_p,
    "repeat_penalty": lambda model: says_something_else(model, repeat_penalty=1.8),
    "presence_penalty": lambda model: says_something_else(model, presence_penalty=2.0),
    "frequency_penalty": lambda model: says_something_else(model, frequency_penalty=2.0),
    "mirostat": mirostat,
    "seed": seed,
    "stop": stop,
    "logit_bias": logit_bias,
    "logprobs": logprobs,
    "response_format: schema": schema,
    "response_format: json": any_json,
    "response_format: regex": regex,
    "response_format: grammar": grammar,
    "tools: auto": tools_auto,
    "tools: required": tools_required,
    "tools: a name": tools_named,
    "tools: none": tools_none,
    "parallel_tool_calls=False": one_tool_call,
}
REFUSED_BY_THE_STARTER_MODEL = {
    "reasoning=True": reasoning_on,
    "images": images,
}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    model = Model.from_spec(f"{request.param}:starter:chat", context_length=1024, threads=1)
    yield request.param, model
    blazen.blocking(model).unload()


def check(row, engine, outcome):
    """Hold what happened against the table."""
    cell = table()[row][engine]
    if isinstance(outcome, UnsupportedError):
        assert cell.startswith("no"), f"the table says {cell!r}, and the engine: {outcome}"
    else:
        assert cell.startswith("yes"), f"the table says {cell!r}, and it works"


@pytest.mark.needs(*ENGINES, "starter:chat")
@pytest.mark.parametrize("row", REQUESTS)
async def test_a_request_does_what_the_table_says(engine, row):
    name, model = engine
    try:
        outcome = await REQUESTS[row](model)
    except UnsupportedError as refusal:
        outcome = refusal
    check(row, name, outcome)


@pytest.mark.needs(*ENGINES, "starter:chat")
@pytest.mark.parametrize("row", REFUSED_BY_THE_STARTER_MODEL)
async def test_what_the_model_itself_can_not_do_is_refused(engine, row):
    with pytest.raises(UnsupportedError):
        await REFUSED_BY_THE_STARTER_MODEL[row](engine[1])


TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)
LOADING = {
    "kv_type": {"kv_type": "q8_0"},
    "flash_attention": {"flash_attention": True},
    "memory_map=False": {"memory_map": False},
    "batch_size": {"batch_size": 64},
    "parallel": {"parallel": 2},
    "draft_model": {"draft_model": "starter:chat"},
    "prompt_lookup": {"prompt_lookup": True},
    "context_shift": {"context_shift": True},
    "chat_template": {"chat_template": TEMPLATE},
    "lora": {"lora": "here"},
}


@pytest.mark.needs(*ENGINES, "starter:chat")
@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("row", LOADING)
async def test_loading_does_what_the_table_says(name, row, tmp_path):
    settings = dict(LOADING[row])
    if row == "lora":
        settings["lora"] = [LoraAdapter(write_lora(tmp_path / "lora.gguf", starter_path("chat")))]
    known = {field.name for field in dataclasses.fields(OPTIONS[name])}
    if not settings.keys() <= known:
        check(row, name, UnsupportedError("its options have no such field"))
        return
    outcome = None
    try:
        model = Model.from_spec(f"{name}:starter:chat", context_length=512, threads=1, **settings)
        async with model:
            assert await said(model, max_tokens=4)
            if row == "lora":
                strong = await said(model)
                await model.set_adapters([])
                assert await said(model) != strong, "the adapter changed nothing"
    except UnsupportedError as refusal:
        outcome = refusal
    check(row, name, outcome)


@pytest.mark.needs(*ENGINES, "starter:text")
@pytest.mark.parametrize("name", ENGINES)
async def test_base_models_do_what_the_table_says(name):
    outcome = None
    try:
        async with Model.from_spec(f"{name}:starter:text", context_length=512, threads=1) as model:
            options = CompletionOptions(max_tokens=6, temperature=0)
            answer = await model.complete(Prompt("One, two, three, four,"), options)
            assert "five" in answer.content
    except UnsupportedError as refusal:
        outcome = refusal
    check("base models with a Unigram tokenizer", name, outcome)


def test_the_table_has_every_row_and_every_option():
    rows = set(table())
    assert rows == {*REQUESTS, *LOADING, "base models with a Unigram tokenizer"}
    options = {field.name for field in dataclasses.fields(CompletionOptions)}
    tried = {re.split(r"[ :=]", row)[0] for row in REQUESTS}
    within_others = {"mirostat_tau", "mirostat_eta", "tool_choice", "reasoning"}
    assert options - tried == within_others


def test_a_picture_in_a_form_that_the_engine_cannot_read_is_written_anew(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    for suffix, sent in {"png": "png", "jpg": "jpeg", "webp": "png"}.items():
        path = tmp_path / f"picture.{suffix}"
        pil.new("RGB", (6, 4), "red").save(path)
        messages = [ChatMessage.user("What is this?", Image.from_file(path))]
        (message,) = write_chat(messages, CompletionOptions())["messages"]
        (url,) = (part["image_url"]["url"] for part in message["content"] if "image_url" in part)
        assert url.startswith(f"data:image/{sent};base64,")
