"""One program on a local model and on each provider: what comes out is the same."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

pytest.importorskip("openai")
pytest.importorskip("anthropic")
pytest.importorskip("google.genai")

from blazen import (
    Audio,
    ChatMessage,
    CompletionOptions,
    FinishReason,
    Image,
    Model,
    Prompt,
    ProviderError,
    ResponseFormat,
    UnsupportedError,
)
from blazen.testing import EchoModel
from blazen.testing.answering import ANIMAL, WEATHER
from tests.conftest import ROOT
from tests.wire.every import every_provider

EXAMPLE = ROOT / "examples" / "swap.py"
LOCAL = "xllamacpp:starter:chat"
# What is said on the command line, and whether the model there sees.
PLACES = {
    "openai": (["openai"], True),
    "openai's older models": (["openai:gpt-4.1-mini"], True),
    "anthropic": (["anthropic"], True),
    "gemini": (["gemini"], True),
    "a gateway": (["openai:a-model", "--gateway", "groq"], True),
}


class Willing(EchoModel):
    """An echo that calls the tool which it is shown, as a large model would."""

    def complete_stream(self, messages, options=None):
        chosen = CompletionOptions.of(options)
        if chosen.tools and chosen.tool_choice == "auto":
            chosen = replace(chosen, tool_choice="required")
        return super().complete_stream(messages, chosen)


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("swap", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["swap"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["swap"]


@pytest.fixture(scope="module")
def everyone():
    with every_provider() as (wires, environment):
        for wire in (wires.openai, wires.gateway, wires.anthropic, wires.gemini):
            wire._echo = Willing()
        yield wires, environment


@pytest.fixture
def led(everyone, monkeypatch):
    """Lead the providers' clients to the servers of ours."""
    for name, value in everyone[1].items():
        monkeypatch.setenv(name, value)
    return everyone


def arguments_of(place, environment):
    given, _ = PLACES[place]
    if "--gateway" in given:
        return [*given, "--base-url", environment["OPENAI_BASE_URL"].replace("/v1", "/gateway/v1")]
    return given


def outcome(answers):
    """What must be the same wherever the model runs."""
    return {
        name: [
            (
                answer.finish_reason,
                [(call.name, call.parsed().keys()) for call in answer.tool_calls],
                type(answer.parsed),
                bool(answer.content) or bool(answer.tool_calls),
                answer.usage.prompt_tokens > 0,
                answer.usage.completion_tokens > 0,
            )
            for answer in some
        ]
        for name, some in answers.items()
    }


@pytest.mark.parametrize("place", PLACES)
async def test_the_program_is_the_same_everywhere(example, led, place, monkeypatch, capsys):
    wires, environment = led
    monkeypatch.setenv("GROQ_API_KEY", "gsk-a-key")
    seen_before = len(wires.asked)
    answers = await example.main(arguments_of(place, environment))
    told = capsys.readouterr().out
    assert list(answers) == ["stream", "tool", "form", "picture"]
    assert answers["stream"][0].content == "In one sentence: why is the sky blue?"
    call, after = answers["tool"]
    assert [call.name for call in call.tool_calls] == ["weather"]
    assert call.tool_calls[0].parsed(example.weather).keys() == {"city"}
    assert "17 degrees and light rain" in after.content
    assert isinstance(answers["form"][0].parsed, example.City)
    assert "Which colour" in answers["picture"][0].content
    assert len(wires.asked) - seen_before == 5
    assert re.search(r"5 answers, \d+ tokens", told)
    expected = {
        "stream": [(FinishReason.Stop, [], type(None), True, True, True)],
        "tool": [
            (FinishReason.ToolCalls, [("weather", {"city"})], type(None), True, True, True),
            (FinishReason.Stop, [], type(None), True, True, True),
        ],
        "form": [(FinishReason.Stop, [], example.City, True, True, True)],
        "picture": [(FinishReason.Stop, [], type(None), True, True, True)],
    }
    assert outcome(answers) == expected
    for some in answers.values():
        assert all(answer.model for answer in some)


async def test_what_it_cost_is_told_where_the_price_is_known(example, led, capsys):
    itself = ["--gateway", "openai", "--base-url", led[1]["OPENAI_BASE_URL"]]
    for arguments in (["openai:gpt-5-mini", *itself], ["anthropic:claude-haiku-4-5"]):
        answers = await example.main(arguments)
        costs = [answer.usage.cost for some in answers.values() for answer in some]
        assert all(cost is not None and cost > 0 for cost in costs), arguments
        assert re.search(r"tokens, \$0\.\d+\n", capsys.readouterr().out)
    # Of another server at that address nobody knows the price, and of another model neither.
    for arguments in (["openai:gpt-5-mini"], ["openai:nobody-knows-this-one", *itself]):
        await example.main(arguments)
        assert "$" not in capsys.readouterr().out


@pytest.mark.needs("xllamacpp", "starter:chat")
async def test_the_program_runs_on_a_local_model(example, capsys):
    model = Model.from_spec(LOCAL, context_length=1024, threads=1)
    async with model:
        answers = await example.Program(model, max_tokens=80, tool_choice="weather").run()
    told = capsys.readouterr().out
    # It can't see, and says so by name before it is asked.
    assert list(answers) == ["stream", "tool", "form"]
    assert "not with this model: starter:chat takes no image" in told
    found = outcome(answers)
    assert found["stream"][0][0] in (FinishReason.Stop, FinishReason.Length)
    assert found["tool"][0] == (
        FinishReason.ToolCalls,
        [("weather", {"city"})],
        type(None),
        True,
        True,
        True,
    )
    assert found["form"] == [(FinishReason.Stop, [], example.City, True, True, True)]
    assert "$" not in told


def test_the_program_is_told_by_its_command_line_what_is_wrong(everyone):
    def run(*arguments, **environment):
        clean = {name: value for name, value in os.environ.items() if "_API_KEY" not in name}
        return subprocess.run(
            [sys.executable, str(EXAMPLE), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**clean, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        )

    done = run("gemini", **everyone[1])
    assert done.returncode == 0, done.stderr
    assert "5 answers" in done.stdout
    assert done.stderr == ""
    without = run("anthropic")
    assert without.returncode == 1
    assert "AuthError: " in without.stderr
    assert "ANTHROPIC_API_KEY" in without.stderr
    offline = run("openai", **everyone[1], BLAZEN_OFFLINE="1")
    assert offline.returncode == 1
    assert "BLAZEN_OFFLINE" in offline.stderr
    assert "Traceback" not in without.stderr + offline.stderr


TRIED = {
    "`temperature`": {"temperature": 0.5},
    "`top_p`": {"top_p": 0.9},
    "`top_k`": {"top_k": 20},
    "`min_p`": {"min_p": 0.1},
    "`typical_p`": {"typical_p": 0.9},
    "`repeat_penalty`": {"repeat_penalty": 1.1},
    "`presence_penalty`": {"presence_penalty": 0.5},
    "`frequency_penalty`": {"frequency_penalty": 0.5},
    "`mirostat`": {"mirostat": 2},
    "`seed`": {"seed": 7},
    "`stop`": {"stop": ["END"]},
    "`logit_bias`": {"logit_bias": {5: 1.0}},
    "`logprobs`": {"logprobs": 1},
    "`reasoning=False`": {"reasoning": False},
    "`parallel_tool_calls=False`": {"parallel_tool_calls": False},
    "a class or JSON schema": {"response_format": ANIMAL},
    '`"json"`': {"response_format": "json"},
    "a regex or grammar": {"response_format": ResponseFormat.regex("[ab]+")},
    "an image": Image.of(b"\x89PNG\r\n\x1a\n"),
    "audio": Audio.from_bytes(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0"),
    "a `Prompt`": Prompt("Once upon a time"),
}


def test_the_page_names_what_is_tried():
    assert list(_table()) == list(TRIED)


@pytest.mark.parametrize("what", TRIED)
async def test_the_page_tells_what_each_refuses(led, what):
    """In the table of docs/providers.md: "yes", "no", or only "older" models."""
    itself = {"gateway": "openai", "base_url": led[1]["OPENAI_BASE_URL"]}
    models = {
        "OpenAI": (Model.openai(**itself), Model.openai("gpt-4.1", **itself)),
        "Anthropic": (
            Model.anthropic(),
            Model.anthropic("claude-haiku-4-5", version="2023-06-01"),
        ),
        "Gemini": (Model.gemini(), Model.gemini("gemini-2.5-flash")),
    }
    for name, both in models.items():
        taken = [await _takes(model, TRIED[what]) for model in both]
        found = {(True, True): "yes", (False, False): "no", (False, True): "older"}
        assert found[taken[0], taken[1]] == _table()[what][name], name
        for model in both:
            await model.aclose()


def _table():
    page = (ROOT / "docs" / "providers.md").read_text("utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("| ")
    ]
    heads = rows[0]
    return {row[0]: dict(zip(heads, row, strict=True)) for row in rows[1:]}


async def _takes(model, given):
    question, options = "Hello, in JSON!", {"max_tokens": 500}
    if isinstance(given, dict):
        options |= given
        if "parallel_tool_calls" in given:
            options["tools"] = [WEATHER]
    elif isinstance(given, Prompt):
        question = given
    else:
        question = [ChatMessage.user("What is this?", given)]
    try:
        await model.complete(question, options)
    except UnsupportedError:
        return False
    except ProviderError as error:  # the API's own opinion of half an image
        if error.status != 400:
            raise
    return True


async def test_a_conversation_goes_from_one_provider_to_the_next(led):
    """The answer of each, with what it wants back, is taken by all the others."""
    models = [Model.openai(), Model.anthropic(), Model.gemini(), Model.openai("gpt-4.1")]
    messages = [{"role": "user", "content": "Hello!"}]
    for model in [*models, *models]:
        answer = await model.complete(messages, {"max_tokens": 300})
        messages += [answer.message, {"role": "user", "content": f"So said {answer.model}."}]
        assert answer.content
    for model in models:
        await model.aclose()
