"""Conversations that are kept as files."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from blazen import ChatMessage, Image
from blazen.assistant import Conversation, ConversationStore
from blazen.assistant.conversations import data_folder
from blazen.errors import ValidationError
from tests.assistant.test_thinking import PIXEL


@pytest.fixture
def store(tmp_path: Path) -> ConversationStore:
    return ConversationStore(tmp_path / "kept")


def test_a_conversation_comes_back_whole(store: ConversationStore) -> None:
    talk = Conversation(model="starter:chat", system="Be brief.", options={"temperature": 0.5})
    talk = talk.said(ChatMessage.user("What is\n this?", PIXEL), ChatMessage.assistant("A dot."))
    path = store.save(talk)
    loaded = store.load(talk.id)
    assert loaded == talk
    assert loaded.title == "What is this?"
    assert isinstance(loaded.messages[0].parts[1], Image)
    assert json.loads(path.read_text("utf-8"))["messages"][1] == {
        "role": "assistant",
        "content": "A dot.",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_only_the_owner_may_read(store: ConversationStore) -> None:
    old = os.umask(0)
    try:
        path = store.save(Conversation())
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_titles_are_short_and_stay() -> None:
    talk = Conversation().said(ChatMessage.user("word " * 40))
    assert len(talk.title) <= 60
    assert talk.title.endswith("word…")
    assert talk.said(ChatMessage.user("other")).title == talk.title


def test_the_last_changed_comes_first(store: ConversationStore) -> None:
    assert store.list() == []
    for name, changed in (("a1", "2026-01-02"), ("b1", "2026-01-03"), ("b2", "2026-01-01")):
        store.save(Conversation(id=name, changed=changed))
    assert [talk.id for talk in store.list()] == ["b1", "a1", "b2"]
    assert store.load().id == "b1"
    assert store.load("a").id == "a1"
    with pytest.raises(ValidationError, match="begins the ids of 2 conversations: b1, b2"):
        store.load("b")


def test_the_whole_id_wins_over_one_that_it_begins(store: ConversationStore) -> None:
    store.save(Conversation(id="a"))
    store.save(Conversation(id="a1"))
    assert store.load("a").id == "a"


def test_what_is_not_there_is_an_error(store: ConversationStore) -> None:
    with pytest.raises(ValidationError, match="no conversation is kept"):
        store.load()
    with pytest.raises(ValidationError, match="there is no conversation 'x'"):
        store.remove("x")


def test_ids_lead_to_no_other_place(store: ConversationStore, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}", "utf-8")
    with pytest.raises(ValidationError, match="there is no conversation"):
        store.load("../secret")
    with pytest.raises(ValidationError, match="a conversation's id is letters"):
        Conversation(id="../x")


def test_a_removed_one_is_gone(store: ConversationStore) -> None:
    store.save(Conversation(id="a"))
    store.remove("a")
    assert store.list() == []


def test_a_broken_file_hides_no_other(
    store: ConversationStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(Conversation(id="a"))
    (store.folder / "broken.json").write_text("{", "utf-8")
    with caplog.at_level(logging.WARNING, "blazen.assistant"):
        assert [talk.id for talk in store.list()] == ["a"]
    assert "broken.json" in caplog.text


def test_what_can_not_be_written_leaves_what_was(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Conversation(id="a", title="before")
    store.save(talk)

    def full(self: Path, target: Path) -> Path:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="full"):
        store.save(replace(talk, title="after"))
    assert store.load("a").title == "before"
    assert [path.name for path in store.folder.iterdir()] == ["a.json"]


def test_where_they_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BLAZEN_DATA", str(tmp_path))
    assert ConversationStore().folder == tmp_path / "conversations"
    monkeypatch.delenv("BLAZEN_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert data_folder().name == "blazen"
