"""The chat in a browser, with a real model: answers stream, stop, are edited, and are kept."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server.browsing import Tab, numbers_in
from tests.server.conftest import RunningServer, read_catalog, running

pytestmark = [pytest.mark.long, pytest.mark.needs("server", "clients", "xllamacpp", "starter:chat")]

DONE = ".answered:not(.running) .acts"
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def limit(page: Any, tokens: int) -> None:
    page.click("#settings-open")
    page.fill("[name=max_tokens]", str(tokens))
    page.fill("[name=seed]", "7")
    page.click("#settings-open")


def say(page: Any, text: str) -> None:
    page.fill("#input", text)
    page.keyboard.press("Enter")


def test_an_answer_streams_and_says_how_fast(
    visit: Callable[..., Tab], server: RunningServer
) -> None:
    tab = visit(server)
    page = tab.open("/")
    assert page.url.endswith("/chat")
    tab.shot("chat-welcome")
    limit(page, 48)
    page.evaluate(
        """() => {
          window.lengths = new Set();
          const look = () => lengths.add(document.querySelector(".prose")?.textContent.length);
          const list = document.querySelector("#messages");
          new MutationObserver(look).observe(list, { childList: true, subtree: true });
        }"""
    )
    say(page, "Write two sentences about the sea.")
    page.wait_for_selector(DONE)
    assert len(page.inner_text(".prose")) > 20
    assert page.evaluate("lengths.size") > 3  # it grew before one's eyes
    facts = page.inner_text(".answered .number")
    speed, tokens, *_ = numbers_in(facts)
    assert "tokens/s" in facts
    assert speed > 0
    assert 0 < tokens <= 48
    assert page.inner_text("h1") == "Write two sentences about the sea."
    tab.shot("chat")
    page.emulate_media(color_scheme="dark")
    tab.shot("chat-dark")


def test_what_was_written_before_a_stop_stays(
    visit: Callable[..., Tab], server: RunningServer
) -> None:
    page = visit(server).open("/chat")
    page.click("#settings-open")
    page.fill("[name=temperature]", "0")  # the answer is the long one each time
    page.click("#settings-open")
    say(page, "Write a long story about a river.")
    page.wait_for_selector(".running .prose :text-matches('\\\\w+')")
    page.keyboard.press("Escape")
    page.wait_for_selector(DONE)
    kept = page.inner_text(".prose")
    assert kept.strip()
    assert "stopped" in page.inner_text(".answered .number")
    assert page.is_visible("#send")
    assert page.is_hidden("#stop")
    page.wait_for_selector(".chats .chosen")
    page.reload()
    page.wait_for_selector(DONE)
    assert page.inner_text(".prose") == kept


def test_edit_and_retry(visit: Callable[..., Tab], server: RunningServer) -> None:
    page = visit(server).open("/chat")
    limit(page, 16)
    say(page, "Name a colour.")
    page.wait_for_selector(DONE)
    say(page, "Name another.")
    page.wait_for_selector(".answered:not(.running) .acts >> nth=1")
    sent: list[Any] = []
    page.on(
        "request",
        lambda asked: sent.append(asked.post_data_json) if "completions" in asked.url else None,
    )
    first = page.locator(".answered .prose").first.inner_text()
    page.get_by_role("button", name="Try again").last.click()
    page.wait_for_selector(".answered:not(.running) .acts >> nth=1")
    assert [message["role"] for message in sent[0]["messages"]] == ["user", "assistant", "user"]
    assert sent[0]["messages"][1]["content"].strip() == first.strip()
    assert (sent[0]["max_tokens"], sent[0]["seed"]) == (16, 7)
    page.locator(".asked").first.hover()
    page.get_by_role("button", name="Edit the message").first.click()
    area = page.get_by_role("textbox", name="Edit the message")
    assert area.input_value() == "Name a colour."
    area.fill("Name a fruit.")
    page.keyboard.press("Enter")
    page.wait_for_selector(DONE)
    assert page.locator("#messages > li").count() == 2
    assert page.inner_text(".asked .plain") == "Name a fruit."
    assert sent[1]["messages"] == [{"role": "user", "content": "Name a fruit."}]


def test_conversations_are_kept_renamed_exported_and_deleted(
    visit: Callable[..., Tab], server: RunningServer
) -> None:
    page = visit(server).open("/chat")
    limit(page, 8)
    page.click("#settings-open")
    page.fill("[name=system]", "You answer in one word.")
    say(page, "Say yes.")
    page.wait_for_selector(DONE)
    answer = page.inner_text(".prose")
    page.click("#new")
    say(page, "Say no.")
    page.wait_for_selector(DONE)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    names = page.locator(".chats .name").all_inner_texts()
    assert names == ["Say no.", "Say yes."]
    page.get_by_role("button", name="Say yes.", exact=True).click()
    assert page.inner_text(".prose") == answer
    assert page.input_value("[name=system]") == "You answer in one word."
    page.get_by_role("button", name="Rename “Say yes.”").click()
    page.get_by_role("textbox", name="Name").fill("Agreement")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:text('Agreement')")
    with page.expect_download() as got:
        page.click("#export")
    assert got.value.suggested_filename == "agreement.json"
    kept = json.loads(Path(got.value.path()).read_text("utf-8"))
    assert kept["system"] == "You answer in one word."
    assert next(message["text"] for message in kept["messages"]) == "Say yes."
    page.get_by_role("button", name="Delete “Agreement”").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_selector(".chats .name >> nth=1", state="detached")
    assert page.locator(".chats .name").all_inner_texts() == ["Say no."]
    page.reload()
    page.wait_for_selector(".chats .name")
    assert page.locator(".chats .name").all_inner_texts() == ["Say no."]


def test_the_whole_by_keyboard(visit: Callable[..., Tab], server: RunningServer) -> None:
    page = visit(server).open("/chat")
    limit(page, 8)
    page.focus("#input")
    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    page.wait_for_selector(DONE)
    assert page.inner_text(".asked .plain") == "One\ntwo"
    assert page.evaluate("document.activeElement.id") == "input"
    page.get_by_role("button", name="Try again").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(DONE)
    assert page.locator(".answered").count() == 1
    said = page.locator("p[role=status]").last
    said.filter(has_text=re.compile("Answer")).wait_for(state="attached")


def test_pictures_are_attached_by_button_and_paste_and_sent(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    tab = visit(echo_server)
    page = tab.open("/chat")
    dot = {"name": "dot.png", "mimeType": "image/png", "buffer": DOT}
    page.set_input_files("#files", [dot])
    page.wait_for_selector("#attached img")
    page.evaluate(
        """(data) => {
          const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
          const clipboardData = new DataTransfer();
          clipboardData.items.add(new File([bytes], "p.png", { type: "image/png" }));
          document.querySelector("#input").dispatchEvent(
            new ClipboardEvent("paste", { clipboardData, cancelable: true, bubbles: true }));
        }""",
        base64.b64encode(DOT).decode(),
    )
    page.wait_for_selector("#attached li >> nth=1")
    page.get_by_role("button", name="Remove picture 2").click()
    assert page.locator("#attached li").count() == 1
    with page.expect_request("**/v1/chat/completions") as asked:
        say(page, "What is this?")
    parts = asked.value.post_data_json["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image_url", "text"]
    assert parts[0]["image_url"]["url"].startswith("data:image/png;base64,")
    page.wait_for_selector(".answered .notice")  # this model sees nothing, and says so
    assert "image" in page.inner_text(".answered .notice").lower()
    page.reload()
    page.wait_for_selector(".bubble img")
    tab.problems = [problem for problem in tab.problems if "status of 400" not in problem]


def test_the_first_visit_without_any_model_says_what_to_do(
    visit: Callable[..., Tab], tmp_path: Path
) -> None:
    text = "[discover]\nstarters = false\ncache = false\nprograms = false\n"
    with running(read_catalog(tmp_path, text)) as server:
        tab = visit(server)
        page = tab.open("/chat")
        assert "pip install" in page.inner_text("#welcome")
        assert page.is_disabled("#send")
        for name in ("expert", "explorer", "models", "studio"):
            assert "pip install" in tab.open(f"/{name}").inner_text("main")
        tab.close()


def test_a_key_is_asked_for_and_kept_for_the_tab(
    visit: Callable[..., Tab], echo_catalog: Any
) -> None:
    with running(echo_catalog, api_key="open-sesame") as server:
        tab = visit(server)
        page = tab.page
        page.goto(f"{server.url}/chat")
        page.fill("dialog input", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog input:placeholder-shown, dialog input:not([value])")
        page.fill("dialog[open] input", "open-sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("body[data-ready]")
        say(page, "Hello")
        page.wait_for_selector(DONE)
        tab.open("/models")
        assert page.inner_text("#connection") == "Live"
        refused = [problem for problem in tab.problems if "401" in problem]
        tab.problems = [problem for problem in tab.problems if problem not in refused]
        assert refused
        assert page.evaluate("Object.values({...localStorage}).join()").count("sesame") == 0
        tab.close()


def test_an_error_says_what_to_do(visit: Callable[..., Tab], echo_catalog: Any) -> None:
    with running(echo_catalog) as server:
        tab = visit(server)
        page = tab.open("/chat")
    say(page, "Is there anybody?")
    page.wait_for_selector(".answered .notice")
    assert "does not answer" in page.inner_text(".answered .notice")
    assert "blazen serve" in page.inner_text(".answered .notice")
    assert page.inner_text(".asked .plain") == "Is there anybody?"
    tab.problems = [problem for problem in tab.problems if "ERR_CONNECTION" not in problem]


def test_a_server_that_goes_leaves_what_it_said(
    visit: Callable[..., Tab], echo_catalog: Any
) -> None:
    with running(echo_catalog) as server:
        tab = visit(server)
        page = tab.open("/chat")
        page.select_option("#model", "slow-echo")
        say(page, "One two three four five six seven eight nine ten")
        page.wait_for_selector(".running .prose p:has-text('three')")
    page.wait_for_selector(".answered:not(.running) .notice")
    assert page.inner_text(".answered .notice strong")
    assert "One two three" in page.inner_text(".prose")
    tab.problems = [problem for problem in tab.problems if "net::ERR" not in problem]
