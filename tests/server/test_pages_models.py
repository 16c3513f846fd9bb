"""The manager's page, live: what is loaded and unloaded elsewhere is seen, and can be done here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.server.browsing import Tab, numbers_in
from tests.server.conftest import RunningServer, read_catalog, running

pytestmark = [
    pytest.mark.long,
    pytest.mark.needs(
        "server", "clients", "xllamacpp", "starter:chat", "fastembed", "starter:embed"
    ),
]

SMALL = """
[discover]
starters = false
cache = false
programs = false

[manager.pools]
cpu = "1GB"

[models.chat]
spec = "xllamacpp:starter:chat"
memory = "600MB"

[models.embed]
spec = "fastembed:starter:embed"
kind = "embedding"
memory = "700MB"
"""


def row(name: str, state: str) -> str:
    return f"li[data-name='{name}'][data-state='{state}']"


def post(server: RunningServer, what: str, **body: object) -> None:
    httpx.post(f"{server.url}/api/models/{what}", json=body, timeout=180).raise_for_status()


def test_loading_and_unloading_are_seen_live(
    visit: Callable[..., Tab], server: RunningServer
) -> None:
    tab = visit(server)
    page = tab.open("/models")
    assert page.inner_text("#connection") == "Live"
    page.wait_for_selector(row("chat", "unloaded"))
    page.wait_for_selector(".pool >> text=Nothing is loaded.")
    post(server, "load", model="chat")  # by somebody else
    page.wait_for_selector(row("chat", "ready"))
    page.wait_for_selector("#log [data-kind=loaded]:has-text('chat')")
    held = server.manager.status()
    size = next(model for model in held.models if model.id == "chat").charges[held.pools[0].name]
    page.wait_for_selector(".legend >> text=chat:")
    shown = numbers_in(page.inner_text(".legend li:has-text('chat:')"))[0]
    assert shown == pytest.approx(size / 1e6, abs=0.06)
    bar = page.get_by_role("img", name=f"{held.pools[0].name}:")
    assert "used" in str(bar.get_attribute("aria-label"))
    tab.shot("models")
    post(server, "unload", model="chat")
    page.wait_for_selector(row("chat", "unloaded"))
    page.wait_for_selector("#log [data-kind=unloaded]:has-text('chat')")
    page.wait_for_selector(".pool >> text=Nothing is loaded.")


def test_a_user_loads_pins_keeps_and_unloads(
    visit: Callable[..., Tab], server: RunningServer
) -> None:
    tab = visit(server, color_scheme="dark")
    page = tab.open("/models")
    page.get_by_role("button", name="Load embed").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(row("embed", "ready"))
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Unload embed"
    page.get_by_role("button", name="Pin embed").click()
    page.wait_for_selector("[aria-label='Pin embed'][aria-pressed=true]")
    page.get_by_label("Keep embed after its last request").select_option("300")
    page.wait_for_selector("#log [data-kind=adjusted] >> text=300 s")
    held = next(model for model in server.manager.status().models if model.id == "embed")
    assert (held.pinned, held.keep_alive) == (True, 300)
    tab.shot("models-dark")
    page.get_by_role("button", name="Pin embed").click()
    page.wait_for_selector("[aria-label='Pin embed'][aria-pressed=false]")
    page.get_by_role("button", name="Unload embed").click()
    page.wait_for_selector(row("embed", "unloaded"))
    page.fill("#search", "embedding")
    assert page.locator("#models > li").count() == 1
    page.click("#pause")
    page.click("#clear")
    post(server, "load", model="embed")
    page.wait_for_selector(row("embed", "ready"))
    assert page.locator("#log li").count() == 0
    page.click("#pause")
    page.wait_for_selector("#log [data-kind=loaded]")
    post(server, "unload", model="embed")


def test_it_tells_who_went_for_whom(visit: Callable[..., Tab], tmp_path: Path) -> None:
    with running(read_catalog(tmp_path, SMALL)) as server:
        tab = visit(server)
        page = tab.open("/models")
        post(server, "load", model="embed")
        page.wait_for_selector(row("embed", "ready"))
        page.get_by_role("button", name="Load chat", exact=True).click()
        page.wait_for_selector(row("chat", "ready"))
        page.wait_for_selector(row("embed", "unloaded"))
        told = page.inner_text("#log [data-kind=evicting]")
        assert "embed goes to make room for chat" in told
        tab.shot("models-evicted")
        tab.close()


def test_it_comes_back_to_a_server_that_was_away(
    visit: Callable[..., Tab], echo_catalog: object
) -> None:
    with running(echo_catalog) as server:  # type: ignore[arg-type]
        tab = visit(server)
        page = tab.open("/models")
        port = server.port
    page.wait_for_selector("#connection:text-is('Connecting again…')")
    with running(echo_catalog, port=port):  # type: ignore[arg-type]
        page.wait_for_selector("#connection:text-is('Live')")
        tab.close()
    tab.problems = [problem for problem in tab.problems if "net::ERR" not in problem]
