"""The chat where things go badly: lost servers, odd files, long answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.server.browsing import DONE, Tab, say
from tests.server.conftest import RunningServer, wait_for

pytestmark = [pytest.mark.long, pytest.mark.needs("server", "clients")]


def answering(page: Any, text: str, *, end: str = "data: [DONE]\n\n") -> None:
    """Have the server say this, whatever it is asked."""
    piece = {"choices": [{"delta": {"content": text}}]}
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(
            content_type="text/event-stream", body=f"data: {json.dumps(piece)}\n\n{end}"
        ),
    )


def test_back_leads_to_the_conversation_before(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    page = visit(echo_server).open("/chat")
    say(page, "The first")
    page.wait_for_selector(DONE)
    page.click("#new")
    say(page, "The second")
    page.wait_for_selector(DONE)
    page.go_back()
    page.wait_for_selector("h1:text-is('The first')")
    page.go_forward()
    page.wait_for_selector("h1:text-is('The second')")
    assert page.inner_text(".asked .plain") == "The second"


def test_a_setting_that_can_not_be_sent_takes_no_message_away(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    page = visit(echo_server).open("/chat")
    say(page, "Stay here")
    page.wait_for_selector(DONE)
    page.click("#settings-open")
    page.fill("[name=temperature]", "99")
    page.click("#settings-open")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("#settings", state="visible")
    page.locator(".asked").hover()
    page.get_by_role("button", name="Edit the message").click()
    page.get_by_role("textbox", name="Edit the message").fill("Gone")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Cancel").click()
    page.fill("[name=temperature]", "1")
    with page.expect_request("**/v1/chat/completions") as asked:
        page.get_by_role("button", name="Try again").click()
    assert asked.value.post_data_json["messages"] == [{"role": "user", "content": "Stay here"}]
    page.wait_for_selector(DONE)


def test_escape_closes_the_list_and_leaves_the_answer_alone(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    page = visit(echo_server, viewport={"width": 360, "height": 740}).open("/chat")
    page.select_option("#model", "slow-echo")
    say(page, "One two three")
    page.wait_for_selector(".running .prose p")
    page.click("#drawer-open")
    page.wait_for_selector("#drawer.open")
    page.keyboard.press("Escape")
    page.wait_for_selector("#drawer:not(.open)", state="attached")
    assert page.evaluate("document.activeElement.id") == "drawer-open"
    assert page.locator(".answered.running").count() == 1
    page.keyboard.press("Escape")
    page.wait_for_selector(DONE)
    page.click("#drawer-open")
    page.wait_for_selector("#drawer.open")
    page.mouse.click(350, 300)  # beside it
    page.wait_for_selector("#drawer:not(.open)", state="attached")


def test_another_model_amid_an_answer_is_for_the_next(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    page = visit(echo_server).open("/chat")
    page.select_option("#model", "slow-echo")
    say(page, "One two three")
    page.wait_for_selector(".running .prose p")
    page.select_option("#model", "echo")
    assert page.locator(".answered.running").count() == 1
    page.keyboard.press("Escape")
    page.wait_for_selector(DONE)
    say(page, "Four")
    page.wait_for_selector(f"{DONE} >> nth=1")
    assert page.locator(".who").all_inner_texts() == ["slow-echo", "echo"]


def test_an_answer_that_breaks_off_says_so(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    page = visit(echo_server).open("/chat")
    answering(page, "Half of", end="")
    say(page, "Go on")
    page.wait_for_selector(".answered:not(.running) .notice")
    assert page.inner_text(".prose") == "Half of"
    assert "broke off" in page.inner_text(".answered .notice")


def test_what_is_sent_before_the_server_answers_goes_when_it_does(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    tab = visit(echo_server)
    page = tab.page
    waiting: list[Any] = []
    page.route("**/api/models", lambda route: waiting.append(route))
    page.goto(f"{echo_server.url}/chat")
    page.wait_for_selector("#model:has-text('looking')")
    say(page, "Early bird")
    waiting.pop().abort()
    page.wait_for_selector("#problem .notice:has-text('does not answer')")
    assert page.input_value("#input") == "Early bird"
    page.unroute("**/api/models")
    page.keyboard.press("Enter")
    page.wait_for_selector(DONE)
    assert page.inner_text(".asked .plain") == "Early bird"
    assert page.locator("#problem .notice").count() == 0
    tab.problems = [problem for problem in tab.problems if "net::ERR" not in problem]


@pytest.mark.parametrize("size", [(1280, 500), (640, 400)], ids=["wide", "zoom-200"])
def test_an_answer_is_followed_unless_the_reader_went_up(
    visit: Callable[..., Tab], echo_server: RunningServer, size: tuple[int, int]
) -> None:
    page = visit(echo_server, viewport={"width": size[0], "height": size[1]}).open("/chat")
    page.select_option("#model", "slow-echo")
    page.evaluate(
        """() => {
          const scroller = document.querySelector("#scroller");
          const whole = getComputedStyle(scroller).overflowY === "visible";
          window.place = whole ? document.scrollingElement : scroller;
          window.left = () => place.scrollHeight - place.scrollTop - place.clientHeight;
        }"""
    )
    say(page, "word\n\n" * 20)
    wait_for(lambda: page.evaluate("place.scrollTop > 600 && left() < 2"))
    page.evaluate("place.scrollTop = 40")
    height = page.evaluate("place.scrollHeight")
    wait_for(lambda: page.evaluate("place.scrollHeight") > height + 200)
    assert page.evaluate("place.scrollTop") == 40
    page.keyboard.press("Escape")
    page.wait_for_selector(DONE)
    assert page.evaluate("place.scrollTop") == 40


@pytest.mark.parametrize(
    ("name", "told"),
    [("NotAllowedError", "does not allow"), ("NotFoundError", "no microphone"),
     ("OddError", "can't be used: odd")],
)  # fmt: skip
def test_no_microphone_is_told_in_words(
    visit: Callable[..., Tab], echo_server: RunningServer, name: str, told: str
) -> None:
    tab = visit(echo_server)
    tab.page.add_init_script(
        f"""navigator.mediaDevices.getUserMedia =
          async () => {{ throw new DOMException("odd", "{name}"); }};"""
    )
    page = tab.open("/chat")
    page.click("#mic")
    assert told in page.inner_text("#problem .notice")
    assert page.get_attribute("#mic", "aria-pressed") == "false"
    tab.open("/studio").click("#transcribe .record")
    assert told in page.inner_text("#transcribe .result .notice")


def test_a_huge_picture_is_made_small_before_it_goes(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    tab = visit(echo_server)
    page = tab.open("/chat")
    sizes = page.evaluate(
        """async () => {
          const { dataUrl } = await import("./static/pictures.js");
          const canvas = new OffscreenCanvas(4000, 2000);
          const context = canvas.getContext("2d");
          const noise = context.createImageData(4000, 2000);
          let seed = 1;
          for (let at = 0; at < noise.data.length; at += 1) {
            seed = (seed * 48271) % 2147483647;
            noise.data[at] = at % 4 === 3 ? 255 : seed & 255;
          }
          context.putImageData(noise, 0, 0);
          const file = await canvas.convertToBlob({ type: "image/png" });
          const [light, whole] = [await dataUrl(file, { lightly: true }), await dataUrl(file)];
          const image = new Image();
          image.src = light;
          await image.decode();
          return [image.width, image.height, light.slice(0, 15), light.length < whole.length / 2,
            whole.slice(0, 14)];
        }"""
    )
    assert sizes == [1536, 768, "data:image/jpeg", True, "data:image/png"]


def test_a_key_that_is_not_taken_is_said_to_be_wrong(
    visit: Callable[..., Tab], echo_server: RunningServer
) -> None:
    tab = visit(echo_server)
    page = tab.page

    def guard(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer right":
            return route.continue_()
        return route.fulfill(status=401, json={"error": {"message": "no"}})

    page.route("**/api/models", guard)
    page.goto(f"{echo_server.url}/chat")
    page.wait_for_selector("dialog[open]")
    assert page.locator("dialog .notice").count() == 0
    page.fill("dialog input", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog .notice:has-text('did not take that key')")
    page.fill("dialog[open] input", "right")
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-ready]")
    assert page.is_enabled("#model")
    tab.problems = [problem for problem in tab.problems if "401" not in problem]
