"""A browser that looks at the pages: Chromium, driven by Playwright, that may ask nobody else."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
PATIENCE = 180_000
"""Milliseconds: a model may be slow to answer where many things run at once."""

SWITCHES = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    # WebGL without a graphics card, and a microphone that beeps.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)


class Tab:
    """A page of a server in a context of its own, and what went wrong in it."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.problems: list[str] = []
        size = {"width": 1280, "height": 860}
        self._context = browser.new_context(**{"viewport": size, **options})
        self._context.set_default_timeout(PATIENCE)
        self._context.on("request", self._asked)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(f"uncaught: {error}"))

    def _asked(self, request: Any) -> None:
        parts = urlsplit(request.url)
        own = urlsplit(self.url)
        if parts.scheme not in ("blob", "data") and parts[:2] != own[:2]:
            self.problems.append(f"asked {request.url}")

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning") and "GPU stall" not in message.text:
            self.problems.append(f"{message.type}: {message.text}")

    def open(self, path: str) -> Page:
        """Go to a page, and wait until it has all that it shows first."""
        self.page.goto(self.url + path)
        self.page.wait_for_selector("body[data-ready]")
        return self.page

    def shot(self, name: str, *, full_page: bool = False) -> None:
        """Keep a picture of the page for whoever looks at the results of CI."""
        folder = Path(os.environ.get("BLAZEN_SCREENSHOTS") or ROOT / ".nox" / "screenshots")
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(
            path=folder / f"{name}.png", full_page=full_page, animations="disabled"
        )

    def close(self) -> None:
        self._context.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of one module."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        if os.environ.get("BLAZEN_REQUIRE_ALL") == "1":
            pytest.fail("there is no chromium to look at the pages with", pytrace=False)
        pytest.skip("there is no chromium to look at the pages with")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(SWITCHES))
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Gives ``visit(server, **options)``: a `Tab`, whose page must not complain till the end."""
    tabs: list[Tab] = []

    def opened(server: Any, **options: Any) -> Tab:
        tabs.append(Tab(browser, server.url, **options))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.close()
    assert [problem for tab in tabs for problem in tab.problems] == []


def numbers_in(text: str) -> list[float]:
    """The numbers of a text, thin spaces between their digits left out."""
    return [float(found) for found in re.findall(r"\d+(?:\.\d+)?", text.replace("\u202f", ""))]


DONE = ".answered:not(.running) .acts"
"""An answer that has ended."""


def say(page: Any, text: str) -> None:
    page.fill("#input", text)
    page.keyboard.press("Enter")


def held(page: Any) -> list[dict[str, Any]]:
    """The conversations that the browser keeps."""
    found: list[dict[str, Any]] = page.evaluate(
        "async () => (await import('./static/chats.js')).all()"
    )
    return found
