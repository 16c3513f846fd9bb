"""``blazen run``: where the prompt comes from, what the model is told, and what comes out."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from blazen import Audio, ChatMessage, Image
from blazen.catalog import Catalog
from blazen.cli import prompts
from blazen.cli.engine import Engine
from tests.assistant.test_skills import write
from tests.cli.conftest import Cli, Echo

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def said(cli: Cli, echo: Echo) -> Any:
    """Gives what the echo model was asked, by what it answers."""
    echo(echo={})

    def run(*args: str, **settings: Any) -> str:
        result = cli("run", *args, **settings)
        assert result.exit_code == 0, result.stderr
        return str(result.stdout)

    return run


def test_the_prompt_is_what_is_typed(said: Any) -> None:
    assert said("Hello", "there") == "Hello there\n"


def test_the_prompt_is_what_is_piped_in(said: Any) -> None:
    assert said(input="Hello\nyou\n") == "Hello\nyou\n"
    assert said("-", input="Hello") == "Hello\n"


def test_files_and_what_is_piped_in_follow_what_is_typed(said: Any, place: Path) -> None:
    (place / "a.txt").write_text("\ufeffA\n", "utf-8")
    (place / "b.txt").write_text("B", "utf-8")
    given = said("Sum up", "-f", "a.txt", "--file", "b.txt", input="C\n")
    assert given == "Sum up\n\nA\n\nB\n\nC\n"


def test_no_prompt_is_an_error(cli: Cli, echo: Echo) -> None:
    echo(echo={})
    result = cli("run")
    assert result.exit_code == 2
    assert "there is no prompt" in result.stderr


def test_a_file_that_is_no_text_is_an_error(cli: Cli, place: Path) -> None:
    (place / "cat.jpg").write_bytes(b"\xff\xd8\xff")
    result = cli("run", "-f", "cat.jpg", "what?")
    assert result.exit_code == 2
    assert "is no text in UTF-8; attach it with --image" in result.stderr


def test_too_much_is_an_error(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "_LARGEST", 3)
    (place / "a.txt").write_text("long")
    assert "a.txt is larger than" in cli("run", "-f", "a.txt").stderr
    assert "standard input is longer than" in cli("run", input="long").stderr


def test_the_model_by_option_or_by_a_first_word_that_can_be_nothing_else(said: Any) -> None:
    assert said("-m", "echo", "echo:echo", "x") == "echo:echo x\n"
    assert said("echo:echo", "x") == "x\n"
    assert said("echo:echo") == "echo:echo\n"  # a single word is a prompt
    assert said("Note: this", "is one") == "Note: this is one\n"


def test_an_unknown_model_says_what_there_is(cli: Cli, echo: Echo) -> None:
    echo(parrot={})
    result = cli("run", "-m", "parott", "x")
    assert result.exit_code == 3
    assert "did you mean 'parrot'?" in result.stderr


def test_sampling_reaches_the_model(said: Any) -> None:
    assert said("-n", "2", "one two three") == "one two\n"
    assert said("--stop", "two", "--stop", "x", "one two three") == "one \n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["-t", "-1"], "temperature must be at least 0"),
        (["-t", "99"], "temperature must be at most 5, not 99.0"),
        (["--repeat-penalty", "11"], "repeat_penalty must be at most 10"),
        (["--chat-history", "gone/turns.jsonl"], "no turns can be written to 'gone/turns.jsonl'"),
        (["--top-p", "2"], "top_p must be at most 1"),
        (["-n", "0"], "max_tokens must be at least 1"),
        (["--json-schema", "{"], "--json-schema is no JSON schema"),
        (["--json-schema", "[1]"], "it must be an object"),
        (["--json-schema", "{}", "--schema", "schema.json"], "give one"),
        (["--schema", "broken.json"], "broken.json is no JSON schema"),
        (["-o", "repeat"], "--option takes NAME=VALUE"),
        (["-o", "repaet=2"], "did you mean 'repeat'"),
        (["--thinking-max-tokens", "0"], "max_tokens of thinking must be at least 1"),
        (["--skills-dir", ".", "--max-skills", "-1"], "most skills must be at least 0"),
        (["--isolation", "moon"], "'moon' is not one of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_values_are_told(
    cli: Cli, echo: Echo, place: Path, args: list[str], words: str
) -> None:
    echo(echo={})
    (place / "schema.json").write_text("{}")
    (place / "broken.json").write_text("{")
    result = cli("run", *args, "x")
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


def test_what_a_model_can_not_do_is_told(cli: Cli, echo: Echo) -> None:
    echo(echo={})
    result = cli("run", "--json-schema", "{}", "x")
    assert result.exit_code == 1
    assert "takes no 'response_format'" in result.stderr
    result = cli("run", "--image", PIXEL, "x")
    assert "reads text only" in result.stderr


def test_any_option_of_the_backend(said: Any) -> None:
    assert said("-o", "repeat=3", "x") == "x x x\n"
    assert said("-o", "piece-delay=0", "-o", "load_delay=0.001", "x") == "x\n"


def test_options_of_the_engine_reach_it(echo: Echo) -> None:
    catalog = Catalog.read(echo(parrot={"options": {"repeat": 2}}))
    assert Engine().listing(catalog, "parrot").options == {"repeat": 2}
    wanted = Engine(options={"threads": 3}).listing(catalog, None)
    assert (wanted.name, wanted.options) == ("parrot", {"repeat": 2, "threads": 3})
    other = Engine("llamacpp", {"threads": 3}).listing(catalog, "parrot")
    assert (other.spec, other.options) == ("llamacpp:echo", {"threads": 3})


def test_flags_of_the_engine_are_its_options(place: Path) -> None:
    from click.testing import CliRunner

    from blazen.cli.engine import engine_options

    seen: list[Engine] = []

    @click.command()
    @engine_options
    def command(engine: Engine) -> None:
        seen.append(engine)

    assert CliRunner().invoke(command, ["--context", "128"]).exit_code == 0
    args = "--backend b --ctx 64 --threads 2 --ubatch 32 --isolation process -o kv_type=q8_0"
    assert CliRunner().invoke(command, args.split()).exit_code == 0
    assert CliRunner().invoke(command, ["--isolation", "none"]).exit_code == 0
    options = {"context_length": 64, "threads": 2, "batch_size": 32}
    assert seen == [
        Engine(None, {"context_length": 128}),
        Engine("b", {**options, "isolation": "process", "kv_type": "q8_0"}),
        Engine(None, {"isolation": None}),
    ]


def test_images_and_audio_go_before_the_words(tmp_path: Path) -> None:
    sound_file = tmp_path / "a.wav"
    sound_file.write_bytes(b"RIFF\x24\x00\x00\x00WAVE")
    message = prompts.message_of("what?", [PIXEL], [str(sound_file)])
    image, sound, text = message.parts
    assert isinstance(image, Image)
    assert isinstance(sound, Audio)
    assert text == "what?"
    assert image.media_type == "image/png"
    assert prompts.message_of("x", [], []) == ChatMessage.user("x")
    assert len(prompts.message_of("", [PIXEL], []).parts) == 1


def test_the_whole_answer_as_json(said: Any) -> None:
    answer = json.loads(said("--json", "-n", "1", "Hello you"))
    assert answer["content"] == "Hello"
    assert answer["model"] == "echo"
    assert answer["finish_reason"] == "length"
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 1}
    assert "prompt" not in answer


def test_how_long_it_took_goes_to_stderr(cli: Cli, echo: Echo) -> None:
    echo(echo={})
    result = cli("run", "-v", "Hello you")
    assert result.stdout == "Hello you\n"
    assert "echo: load 0." in result.stderr
    assert "prompt 2 tokens" in result.stderr
    assert "answer 2 tokens" in result.stderr
    assert "ended by stop" in result.stderr


def test_the_prompt_is_rewritten_first(cli: Cli, echo: Echo) -> None:
    # Its rewriting is what it was asked for it: the last word of that is the prompt's.
    echo(echo={})
    result = cli("run", "--thinking-prompt", "Better:", "-v", "--json", "Hello")
    answer = json.loads(result.stdout)
    assert answer["content"] == answer["prompt"] == "Better:\n\nThe request:\nHello"
    assert "rewritten: Better:" in result.stderr
    # One that is cut is not used.
    result = cli("run", "--thinking", "--thinking-max-tokens", "1", "Hello")
    assert result.stdout == "Hello\n"


def test_turns_are_added_to_a_file(cli: Cli, echo: Echo, place: Path) -> None:
    echo(echo={"system": "Be brief."})
    write(place / "skills", "greeting", "Greets people", "Wave.")
    history = place / "turns.jsonl"
    given = ("run", "--chat-history", str(history))
    assert cli(*given, "One").exit_code == 0
    assert cli(*given, "--skills-dir", "skills", "-s", "Be long.", "Greetings").exit_code == 0
    first, second = map(json.loads, history.read_text("utf-8").splitlines())
    assert (first["model"], first["answer"]) == ("echo", "One")
    assert first["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
    ]
    assert first["usage"] == {"prompt_tokens": 3, "completion_tokens": 1}
    assert second["messages"][0]["content"] == (
        "Be long.\n\nFollow these skills where they fit the request.\n\n## Skill: greeting\n\nWave."
    )
    if sys.platform != "win32":
        assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_an_engine_that_fails_is_a_line(cli: Cli, echo: Echo, place: Path) -> None:
    echo(echo={"options": {"fail_at": 1}})
    result = cli("run", "--chat-history", "turns.jsonl", "one two three")
    assert result.exit_code == 1
    assert result.stdout == "one\n"
    assert "asked to fail at piece 1" in result.stderr
    assert json.loads((place / "turns.jsonl").read_text())["answer"] == "one"


def begin(*args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "blazen.cli", "run", *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another Ctrl-C")
def test_an_interrupt_keeps_what_came(echo: Echo, place: Path) -> None:
    echo(slow={"options": {"piece_delay": 0.01, "repeat": 100_000}})
    with begin("--chat-history", "turns.jsonl", "again") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.read(12)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        errors = process.stderr.read()
        assert process.wait(60) == 130
    text = (first + rest).decode()
    assert text.startswith("again again")
    assert text.endswith("again\n")
    assert errors.strip() == b""
    turn = json.loads((place / "turns.jsonl").read_text("utf-8"))
    assert (turn["answer"] + "\n", turn["finish_reason"]) == (text, "cancelled")


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes break in another way")
def test_a_reader_that_goes_ends_it_silently(echo: Echo) -> None:
    echo(slow={"options": {"piece_delay": 0.001, "repeat": 100_000}})
    with begin("again") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(12)
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


@pytest.mark.needs("xllamacpp", "starter:chat")
class TestRealModel:
    """On the small chat model."""

    def test_it_answers_the_same_way_with_a_seed(self, cli: Cli) -> None:
        args = ("run", "-m", "starter:chat", "-n", "8", "-t", "0.9", "--seed", "7", "Hello!")
        first, second = cli(*args), cli(*args)
        assert first.exit_code == 0, first.stderr
        assert len(first.stdout) > 3
        assert first.stdout == second.stdout

    def test_the_answer_keeps_to_a_schema(self, cli: Cli, place: Path) -> None:
        schema = {
            "type": "object",
            "properties": {"colour": {"enum": ["red", "blue"]}, "size": {"type": "integer"}},
            "required": ["colour", "size"],
            "additionalProperties": False,
        }
        (place / "schema.json").write_text(json.dumps(schema))
        result = cli("run", "--schema", "schema.json", "-n", "60", "-t", "0", "A big red ball.")
        assert result.exit_code == 0, result.stderr
        given = json.loads(result.stdout)
        assert given["colour"] in ("red", "blue")
        assert isinstance(given["size"], int)
        result = cli("run", "--json-schema", json.dumps(schema), "--json", "-n", "60", "A ball.")
        answer = json.loads(result.stdout)
        assert answer["parsed"].keys() == {"colour", "size"}
        assert answer["timing"]["first_token"] > 0

    def test_one_that_is_cut_is_an_error(self, cli: Cli) -> None:
        schema = '{"type": "array", "items": {"type": "string", "minLength": 5}, "minItems": 9}'
        result = cli("run", "--json-schema", schema, "-n", "4", "Words.")
        assert result.exit_code == 1
        assert "the answer was cut at its last token" in result.stderr

    def test_a_prompt_longer_than_the_context_has_a_code(self, cli: Cli) -> None:
        result = cli("run", "--ctx", "64", "word " * 300)
        assert result.exit_code == 4
        assert "tokens and the context holds" in result.stderr

    def test_it_runs_in_a_process_of_its_own(self, place: Path) -> None:
        words = ("--isolation", "process", "--threads", "1", "-t", "0", "-n", "4", "-v", "Count.")
        with begin(*words) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.strip()
        assert b"answer 4 tokens" in err


def test_reading_a_catalogue_for_a_starter_searches_nothing(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BLAZEN_CONFIG")
    monkeypatch.setattr(os, "scandir", lambda *_: pytest.fail("a folder was searched"))
    catalog = Catalog.read(given=["xllamacpp:starter:chat"])
    assert Engine().listing(catalog, "xllamacpp:starter:chat").target == "starter:chat"


def test_a_name_that_only_the_wanted_backend_knows(cli: Cli, echo: Echo) -> None:
    echo(parrot={})
    result = cli("run", "--backend", "echo", "-m", "anything", "hello")
    assert (result.exit_code, result.stdout) == (0, "hello\n")
    result = cli("run", "--backend", "nope", "-m", "anything", "hello")
    assert result.exit_code == 3
    assert "there is no model 'anything'" in result.stderr


def test_bytes_that_are_no_text_reach_the_model_as_marks(cli: Cli, echo: Echo) -> None:
    echo(parrot={})
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")  # as Python reads such an argument
    result = cli("run", "-s", odd, odd)
    assert (result.exit_code, result.stdout) == (0, "caf\ufffd\n")
    result = cli("chat", "--no-save", "-s", odd, input=b"caf\xe9\nnext\n")
    assert (result.exit_code, result.stdout) == (0, "caf\ufffd\nnext\n")
    result = cli("run", "--json", odd)
    assert json.loads(result.stdout)["content"] == "caf\ufffd"
