"""The design of all pages: contrast, names, order, keyboard, small screens, light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import blazen.server.pages as pages
from blazen.server.pages.site import PAGES
from tests.server.browsing import Tab

pytestmark = [pytest.mark.long, pytest.mark.needs("server", "clients")]

STATIC = Path(pages.__file__).parent / "static"
# What stands on what; the rest of the colours are for lines and shadows.
GROUNDS = ("page", "surface", "sunken")
TEXTS = [
    *[(text, ground) for text in ("text", "muted", "accent") for ground in GROUNDS],
    *[("text", f"{name}-soft") for name in ("accent", "good", "bad", "warn", "info")],
    *[(name, f"{name}-soft") for name in ("accent", "good", "bad", "warn", "info")],
    *[(name, "surface") for name in ("good", "bad", "warn", "info")],
    *[("text", f"tint-{number}") for number in range(1, 9)],
    ("on-accent", "accent"),
    ("page", "text"),
]
EDGES = [(edge, ground) for edge in ("edge", "accent") for ground in GROUNDS]


def colours(dark: bool) -> dict[str, str]:
    text = (STATIC / "design.css").read_text("utf-8")
    rows = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", text)
    assert len(rows) > 20
    return {name: night if dark else day for name, day, night in rows}


def brightness(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((brightness(one), brightness(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_texts_and_edges_stand_out(dark: bool) -> None:
    table = colours(dark)
    weak = {
        pair: round(contrast(table[pair[0]], table[pair[1]]), 2)
        for pairs, least in ((TEXTS, 4.5), (EDGES, 3.0))
        for pair in pairs
        if contrast(table[pair[0]], table[pair[1]]) < least
    }
    assert weak == {}


def test_the_measure_of_contrast() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


AUDIT = (Path(__file__).parent / "audit.js").read_text("utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_every_control_has_a_name_and_headings_are_in_order(
    visit: Callable[..., Tab], echo_server: Any, name: str
) -> None:
    page = visit(echo_server).open(f"/{name}")
    assert page.evaluate(AUDIT) == []
    if name == "chat":
        page.fill("#input", "Is there **anybody**?")
        page.keyboard.press("Enter")
        page.wait_for_selector(".answered:not(.running)")
        page.click("#settings-open")
        assert page.evaluate(AUDIT) == []
    for tab in page.locator("[role=tab]").all():
        tab.click()
        assert page.evaluate(AUDIT) == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("size", [(360, 740), (640, 400)], ids=["360-px", "zoom-200"])
def test_nothing_sticks_out_of_a_small_window(
    visit: Callable[..., Tab], echo_server: Any, name: str, size: tuple[int, int]
) -> None:
    tab = visit(echo_server, viewport={"width": size[0], "height": size[1]}, has_touch=True)
    page = tab.open(f"/{name}")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= size[0]
    assert page.evaluate(AUDIT) == []
    out = page.evaluate(
        """() => [...document.querySelectorAll("main :is(button, input, select, textarea)")]
          .filter((element) => element.checkVisibility() && !element.closest(".scroll"))
          .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
          .map((element) => element.outerHTML.slice(0, 100))"""
    )
    assert out == []
    tab.shot(f"{name}-{size[0]}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_the_user_chooses(
    visit: Callable[..., Tab], echo_server: Any, scheme: str
) -> None:
    tab = visit(echo_server, color_scheme=scheme)
    page = tab.open("/studio")
    ground = "getComputedStyle(document.documentElement).backgroundColor"

    def rgb(dark: bool) -> str:
        colour = colours(dark)["page"]
        return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"

    assert page.evaluate(ground) == rgb(scheme == "dark")
    switch = page.locator("#theme")
    for wanted, dark in (("light", False), ("dark", True)):
        switch.click()
        assert switch.get_attribute("aria-label") == f"Colours: {wanted}"
        assert page.evaluate(ground) == rgb(dark)
    tab.open("/models")  # it is kept for all pages
    assert page.evaluate(ground) == rgb(True)
    page.locator("#theme").click()
    assert page.evaluate(ground) == rgb(scheme == "dark")


@pytest.mark.parametrize("name", PAGES)
def test_the_keyboard_reaches_everything_and_the_focus_is_seen(
    visit: Callable[..., Tab], echo_server: Any, name: str
) -> None:
    page = visit(echo_server).open(f"/{name}")
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
    page.evaluate("() => document.querySelector('.skip').focus()")
    assert page.locator(".skip").bounding_box()["y"] >= 0
    reached = []
    for _ in range(80):
        told = page.evaluate(
            """() => {
              const element = document.activeElement;
              if (element === document.body) return null;
              const style = getComputedStyle(element);
              const box = element.closest(".box") && getComputedStyle(element.closest(".box"));
              const seen = style.outlineStyle !== "none" || box?.boxShadow.includes("1px")
                || element.tagName === "rect";
              return [element.outerHTML.slice(0, 80), seen];
            }"""
        )
        if told is None:
            break
        reached.append(told)
        page.keyboard.press("Tab")
    assert [html for html, seen in reached if not seen] == []
    html = "".join(text for text, _ in reached)
    for wanted in ('href="chat"', 'href="studio"', 'id="theme"'):
        assert wanted in html
    page.keyboard.press("Tab")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_who_wants_less_motion_gets_none(visit: Callable[..., Tab], echo_server: Any) -> None:
    page = visit(echo_server, reduced_motion="reduce").open("/models")
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter((element) =>
          parseFloat(getComputedStyle(element).transitionDuration) > 0.001).length"""
    )
    assert moving == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_forced_colours_keep_what_only_a_ground_says(
    visit: Callable[..., Tab], echo_server: Any, scheme: str
) -> None:
    tab = visit(echo_server, forced_colors="active", color_scheme=scheme)
    page = tab.open("/studio")
    lines = page.evaluate(
        """() => [...document.querySelectorAll("[role=tab]")].map((tab) =>
          [tab.ariaSelected, getComputedStyle(tab).borderBottomColor])"""
    )
    chosen = [colour for selected, colour in lines if selected == "true"]
    others = {colour for selected, colour in lines if selected == "false"}
    assert others == {"rgba(0, 0, 0, 0)"}
    assert chosen[0] not in others
    page = tab.open("/expert")
    grounds = page.evaluate(
        """() => [...document.querySelectorAll(".scale i")].map((part) =>
          getComputedStyle(part).boxShadow)"""
    )
    assert len(set(grounds)) == 5
    assert "none" not in grounds
    tab.shot(f"expert-forced-{scheme}")


def test_a_small_window_leaves_names_readable_and_tabs_in_a_row(
    visit: Callable[..., Tab], echo_server: Any
) -> None:
    tab = visit(echo_server, viewport={"width": 360, "height": 740})
    page = tab.open("/studio")
    tops = page.evaluate(
        "() => [...document.querySelectorAll('[role=tab]')].map((tab) => tab.offsetTop)"
    )
    assert len(set(tops)) == 1
    tab.open("/expert")
    tiles = page.locator("#timings > div")
    first, second = tiles.nth(0).bounding_box(), tiles.nth(1).bounding_box()
    assert first is not None
    assert second is not None
    assert first["y"] == second["y"]  # two beside each other
