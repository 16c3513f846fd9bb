"""The chats that the browser keeps: without storage, with a full one, in two tabs, exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.browsing import DONE, Tab, held, say
from tests.server.conftest import RunningServer, wait_for

pytestmark = [pytest.mark.long, pytest.mark.needs("server", "clients")]

FORBIDDEN = """
  const refuse = { get() { throw new DOMException("no", "SecurityError"); } };
  for (const name of ["localStorage", "sessionStorage", "indexedDB"])
    Object.defineProperty(globalThis, name, refuse);
"""


def test_without_storage_all_works_for_as_long_as_the_tab_is_open(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    tab = visit(echo_server)
    tab.page.add_init_script(FORBIDDEN)
    page = tab.open("/chat")
    assert "go with the tab" in page.inner_text("#chats")
    for text in ("First words", "Second words"):
        page.click("#new")
        say(page, text)
        page.wait_for_selector(DONE)
        page.wait_for_selector(f".chats .chosen:has-text('{text}')")
    page.get_by_role("button", name="First words", exact=True).click()
    assert page.inner_text(".asked .plain") == "First words"
    page.click("#theme")
    assert page.get_attribute("html", "data-theme") == "light"
    for name in ("expert", "explorer", "models", "studio"):
        tab.open(f"/{name}")


def test_a_full_storage_is_told_and_the_answer_stays(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    page = visit(echo_server).open("/chat")
    page.evaluate(
        """() => { IDBObjectStore.prototype.put = () => {
          throw new DOMException("full", "QuotaExceededError"); }; }"""
    )
    say(page, "Is there room?")
    page.wait_for_selector(DONE)
    page.wait_for_selector("#problem .notice")
    assert "does not keep" in page.inner_text("#problem")
    assert "Is there room?" in page.inner_text(".prose")


def test_an_export_comes_back_and_brings_nothing_else(
    visit: Callable[..., Tab], echo_server: RunningServer, tmp_path: Path
) -> None:
    tab = visit(echo_server)
    page = tab.open("/chat")
    say(page, "Keep this.")
    page.wait_for_selector(DONE)
    page.wait_for_selector("#export-all")
    with page.expect_download() as got:
        page.click("#export-all")
    file = tmp_path / "conversations.json"
    got.value.save_as(file)
    (kept,) = json.loads(file.read_text("utf-8"))
    page.get_by_role("button", name="Delete “Keep this.”").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_selector(".chats .name", state="detached")
    page.set_input_files("#import-files", file)
    page.get_by_role("button", name="Keep this.", exact=True).click()
    assert page.locator(".answered .prose").inner_text().strip() == kept["messages"][1]["text"]
    page.set_input_files("#import-files", file)
    page.wait_for_selector(".toasts :text('No new conversations')")
    picture = "data:image/png;base64,aaaa"
    odd = {
        "id": "../x", "title": "<img src=x onerror=alert(1)>", "options": {"seed": 3, "n": "x"},
        "more": 1, "messages": [{"role": "user", "text": "<b>hi</b>", "onclick": "x",
                                 "images": ["https://other.example/a.png", picture]}],
    }  # fmt: skip
    file.write_text(json.dumps(odd), "utf-8")
    page.set_input_files("#import-files", file)
    page.get_by_role("button", name=odd["title"], exact=True).click()
    assert page.inner_text("h1") == odd["title"]
    assert page.inner_text(".asked .plain") == "<b>hi</b>"
    brought = next(chat for chat in held(page) if chat["title"] == odd["title"])
    assert brought["options"] == {"seed": 3}
    assert brought["messages"] == [{"role": "user", "text": "<b>hi</b>", "images": [picture]}]
    assert "more" not in brought
    assert "/" not in brought["id"]
    for text, told in (("{", "no JSON"), ("[1]", "no conversation"), ('{"messages":[1]}', "role")):
        file.write_text(text, "utf-8")
        page.set_input_files("#import-files", file)
        assert told in page.inner_text("dialog .notice")
        page.get_by_role("button", name="Close", exact=True).click()
        page.wait_for_selector("dialog", state="detached")
    assert len(held(page)) == 2


def test_two_tabs_show_the_same(visit: Callable[..., Tab], echo_server: RunningServer) -> None:
    tab = visit(echo_server)
    one = tab.open("/chat")
    say(one, "From the first")
    one.wait_for_selector(DONE)
    other = one.context.new_page()
    other.goto(one.url)
    other.wait_for_selector(DONE)
    say(one, "And again")
    one.wait_for_selector(f"{DONE} >> nth=1")
    other.wait_for_selector(".asked:has-text('And again')")
    other.wait_for_selector(f"{DONE} >> nth=1")
    say(other, "From the second")
    one.wait_for_selector(".asked:has-text('From the second')")
    one.wait_for_selector(f"{DONE} >> nth=2")
    other.wait_for_selector(f"{DONE} >> nth=2")
    assert [len(chat["messages"]) for chat in held(one)] == [6]
    other.get_by_role("button", name="Delete “From the first”").click()
    other.get_by_role("button", name="Delete", exact=True).click()
    one.wait_for_selector(".asked", state="detached")
    assert held(one) == []


def test_a_tab_that_is_closed_amid_an_answer_keeps_what_came(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    page = visit(echo_server).open("/chat")
    page.select_option("#model", "slow-echo")
    say(page, "One two three")
    wait_for(lambda: any("three" in chat["messages"][1]["text"] for chat in held(page)))
    page.reload()
    page.wait_for_selector(DONE)
    assert "One two three" in page.inner_text(".prose")
    assert "stopped" in page.inner_text(".answered .number")
