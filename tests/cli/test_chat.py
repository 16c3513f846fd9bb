"""``blazen chat`` where nobody types: its commands, what it keeps, and how it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blazen import ChatMessage
from blazen.assistant import Conversation, ConversationStore
from tests.assistant.test_skills import write
from tests.cli.conftest import Cli, Echo
from tests.cli.test_run import PIXEL


@pytest.fixture
def store(place: Path) -> ConversationStore:
    return ConversationStore()


@pytest.fixture
def talk(cli: Cli, echo: Echo) -> Any:
    """Gives ``talk("Hello", "/exit", args=[...])``, which gives what came on stdout and stderr."""
    echo(parrot={}, other={"options": {"repeat": 2}}, broken={"options": {"fail_at": 1}})

    def run(*lines: str, args: tuple[str, ...] = (), code: int = 0) -> tuple[str, str]:
        model = () if "--resume" in args or "-m" in args else ("-m", "parrot")
        result = cli("chat", *model, *args, input="".join(f"{line}\n" for line in lines))
        assert result.exit_code == code, result.stderr
        return result.stdout, result.stderr

    return run


def texts(conversation: Conversation) -> list[str]:
    return [message.text for message in conversation.messages]


def test_each_line_is_a_prompt(talk: Any) -> None:
    assert talk("Hello", "", "you") == ("Hello\nyou\n", "")


def test_what_was_said_is_kept_and_gone_on_with(talk: Any, store: ConversationStore) -> None:
    talk("Hello", args=("-s", "Be brief.", "-t", "0.5"))
    (kept,) = store.list()
    assert texts(kept) == ["Hello", "Hello"]
    assert (kept.model, kept.system, kept.title) == ("parrot", "Be brief.", "Hello")
    assert kept.options == {"temperature": 0.5}
    talk("more", args=("--resume", "-n", "9"))
    (longer,) = store.list()
    assert longer.id == kept.id
    assert texts(longer) == ["Hello", "Hello", "more", "more"]
    assert longer.options == {"temperature": 0.5, "max_tokens": 9}
    out, _ = talk("x", args=("--resume", kept.id[:12], "-m", "other"))
    assert out == "x x\n"
    assert store.load().model == "other"


def test_what_is_not_to_be_kept_is_not(talk: Any, store: ConversationStore) -> None:
    talk("Hello", args=("--no-save",))
    assert store.list() == []
    _, err = talk("Hello", "/save", args=("--no-save",))
    assert f"saved as {store.load().id}" in err


def test_conversations_are_listed(cli: Cli, talk: Any, store: ConversationStore) -> None:
    assert "no conversation is kept yet" in cli("chat", "--list").stderr
    talk("Hello there")
    kept = store.load()
    row = cli("chat", "--list").stdout
    assert row == f"{kept.id}\t{kept.changed}\t2\tparrot\tHello there\n"
    (about,) = json.loads(cli("chat", "--list", "--json").stdout)
    assert about["id"] == kept.id
    assert about["messages"] == 2
    _, err = talk("/sessions")
    assert f"{kept.id}  Hello there" in err


def test_nothing_to_resume_is_an_error(talk: Any) -> None:
    _, err = talk(args=("--resume",), code=2)
    assert "no conversation is kept" in err
    _, err = talk("/sessions")
    assert "no conversation is kept yet" in err


def test_lines_that_belong_together(talk: Any) -> None:
    out, _ = talk("one\\", "two", '"""three', "four", 'five"""', '"""six"""', '"""', "", "x", '"""')
    assert out == "one\ntwo\nthree\nfour\nfive\nsix\n\nx\n"


@pytest.mark.parametrize("lines", [('"""', "one", "two"), ("one\\", "two\\")])
def test_what_ends_too_early_is_still_asked(talk: Any, lines: tuple[str, ...]) -> None:
    assert talk(*lines, args=("--no-save",))[0] == "one\ntwo\n"


def test_a_place_that_can_not_be_written_does_not_end_a_talk(talk: Any, place: Path) -> None:
    (place.parent / "data").write_text("a file is where the folder should be")
    out, err = talk("one", "two")
    assert out == "one\ntwo\n"
    assert err.count("this is not kept in ") == 1


def test_two_slashes_are_a_prompt_with_one(talk: Any) -> None:
    assert talk("//etc/hosts")[0] == "/etc/hosts\n"


def test_help_names_every_command(talk: Any) -> None:
    from blazen.cli.talk.slash import SLASHES

    out, err = talk("/help", "/?")
    assert out == ""
    for name, slash in SLASHES.items():
        assert err.count(f"  {name} {slash.takes}".rstrip()) >= 2
        assert slash.help in err


def test_an_unknown_command_ends_what_nobody_watches(talk: Any) -> None:
    out, err = talk("Hello", "/modle", "never", code=2)
    assert out == "Hello\n"
    assert "there is no command '/modle'; did you mean /model" in err


def test_another_model_answers(talk: Any, store: ConversationStore) -> None:
    out, err = talk("/model", "a", "/model other", "b", "/models")
    assert out == "a\nb b\n"
    assert err.splitlines()[:2] == ["parrot (echo:echo)", "other (echo:echo)"]
    assert "* other" in err
    assert "  parrot" in err
    assert store.load().model == "other"
    _, err = talk("/model nothing", code=3)
    assert "'nothing'; did you mean 'other'?" in err


def test_the_system_prompt_may_change(talk: Any, place: Path) -> None:
    history = place / "turns.jsonl"
    lines = ("/system", "/system Be brief.", "a", "/system none", "b")
    _, err = talk(*lines, args=("--chat-history", str(history)))
    assert err.splitlines()[:2] == ["no system prompt; /system TEXT sets one", "Be brief."]
    first, second = map(json.loads, history.read_text("utf-8").splitlines())
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]


def test_settings(talk: Any, store: ConversationStore) -> None:
    lines = (
        "/set n 1",
        "one two",
        "/set",
        "/set n default",
        "one two",
        "/set temp=0.5",
        "/set stop x",
    )
    out, err = talk(*lines, "/set reasoning", "a")
    assert out == "one\none two\na\n"
    assert "max_tokens = 1" in err
    assert "max_tokens is as the model has it" in err
    assert store.load().options == {"temperature": 0.5, "stop": "x"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/set colour red", "there is no setting 'colour'; there is: max_tokens"),
        ("/set temp -1", "temperature must be at least 0"),
        ("/set temp warm", "temperature must be a number"),
        ("/image", "it needs the path of a file: /image PATH"),
        ("/image nothing.png", "no such image file"),
        ("/audio nothing.wav", "no such audio file"),
        ("/retry", "there is no prompt to try again"),
        ("/edit", "there is no prompt to edit"),
        ("/save", "nothing was said yet"),
        ("/resume x", "there is no conversation 'x'"),
    ],
)
def test_wrong_commands_are_told(talk: Any, line: str, words: str) -> None:
    _, err = talk(line, code=2)
    assert words in err


def test_reasoning_is_on_or_off(talk: Any) -> None:
    _, err = talk("/set reasoning on", "x", code=1)
    assert "takes no 'reasoning'" in err


def test_turns_are_taken_back_and_asked_again(talk: Any, store: ConversationStore) -> None:
    out, err = talk("a", "b", "/undo", "/retry", "/edit c", "/undo", "/undo", "d")
    assert out == "a\nb\na\nc\nd\n"
    assert "taken back: b" in err
    assert "taken back: c" in err
    assert "there is nothing to take back" in err
    assert texts(store.load()) == ["d", "d"]


def test_a_new_conversation(talk: Any, store: ConversationStore) -> None:
    talk(
        "a",
        "/clear",
        "b",
        args=(
            "-s",
            "Be brief.",
        ),
    )
    assert sorted(map(texts, store.list())) == [["a", "a"], ["b", "b"]]
    assert {kept.system for kept in store.list()} == {"Be brief."}


def test_another_conversation_inside(talk: Any, store: ConversationStore) -> None:
    old = Conversation(id="old", model="other").said(
        ChatMessage.user("hi"), ChatMessage.assistant("hi hi")
    )
    store.save(old)
    out, err = talk("a", "/resume old", "b")
    assert out == "a\nb b\n"
    assert "2 messages so far: hi\n› hi\nhi hi" in err
    assert texts(store.load("old")) == ["hi", "hi hi", "b", "b b"]


def test_conversations_are_written_to_files(talk: Any, place: Path) -> None:
    talk("Hello", "/save talk.md", "/save talk.json", args=("-s", "Be brief."))
    assert (place / "talk.md").read_text("utf-8") == (
        "# Hello\n\n> Be brief.\n\n**You**\n\nHello\n\n**parrot**\n\nHello\n"
    )
    kept = Conversation.from_json((place / "talk.json").read_text("utf-8"))
    assert texts(kept) == ["Hello", "Hello"]


def test_files_go_with_the_next_prompt(talk: Any, place: Path, store: ConversationStore) -> None:
    (place / "notes.txt").write_text("Buy bread.", "utf-8")
    out, err = talk("/file notes.txt", "What to buy?", "thanks")
    assert out == "notes.txt:\nBuy bread.\n\nWhat to buy?\nthanks\n"
    assert "attached to the next prompt: 1 file" in err
    (place / "a.wav").write_bytes(b"RIFF\x24\x00\x00\x00WAVE")
    _, err = talk(f"/image {PIXEL}", "/audio a.wav", "what?", code=1)
    assert "attached to the next prompt: 2 files" in err
    assert "reads text only" in err


def test_tokens_are_counted(talk: Any) -> None:
    _, err = talk("/tokens", "one two", "/tokens")
    assert "this session: 0 answers, 0 tokens read, 0 written" in err
    assert "last answer: prompt 2 tokens, answer 2 tokens" in err
    assert "this session: 1 answers, 2 tokens read, 2 written" in err


@pytest.mark.parametrize("line", ["/exit", "/quit", "/bye"])
def test_leaving(talk: Any, line: str) -> None:
    assert talk("a", line, "b")[0] == "a\n"


def test_a_failure_keeps_what_came(talk: Any, store: ConversationStore) -> None:
    out, err = talk("one two", args=("-m", "broken"), code=1)
    assert out == "one\n"
    assert "asked to fail" in err
    assert texts(store.load()) == ["one two", "one"]


def test_answers_as_json(talk: Any) -> None:
    out, _ = talk("Hello", "you", args=("--json",))
    first, second = map(json.loads, out.splitlines())
    assert (first["content"], second["content"]) == ("Hello", "you")
    assert first["model"] == "parrot"
    assert second["usage"]["prompt_tokens"] == 3


def test_a_model_by_position(cli: Cli, talk: Any) -> None:
    assert cli("chat", "other", input="x\n").stdout == "x x\n"


def test_skills_come_once_a_conversation(talk: Any, place: Path) -> None:
    write(place / "skills", "greeting", "Greets people", "Wave.")
    history = place / "turns.jsonl"
    args = ("--skills-dir", "skills", "--chat-history", str(history))
    talk("a greeting", "more", "/clear", "other things", args=args)
    turns = [json.loads(line)["messages"] for line in history.read_text("utf-8").splitlines()]
    assert [sum("Wave." in m["content"] for m in messages) for messages in turns] == [1, 1, 0]


@pytest.mark.needs("xllamacpp", "starter:chat")
def test_a_real_model_remembers_what_was_said(cli: Cli, store: ConversationStore) -> None:
    result = cli("chat", "-m", "starter:chat", "-t", "0", "-n", "5", input="Hello!\nAgain\n")
    assert result.exit_code == 0, result.stderr
    (kept,) = store.list()
    assert [message.role.value for message in kept.messages] == ["user", "assistant"] * 2
    assert kept.messages[1].text in result.stdout
    assert kept.messages[3].text in result.stdout
