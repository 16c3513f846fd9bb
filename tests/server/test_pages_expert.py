"""The page for experts: raw prompts, tokens with probabilities, times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.server.browsing import Tab, numbers_in
from tests.server.conftest import RunningServer

pytestmark = [pytest.mark.long, pytest.mark.needs("server", "clients", "xllamacpp", "starter:chat")]


def generate(page: Any) -> None:
    page.click("#run")
    page.wait_for_selector("#timings dd:text-is('stop'), #timings dd:text-is('length')")


def facts(page: Any) -> dict[str, str]:
    names = page.locator("#timings dt").all_inner_texts()
    return dict(zip(names, page.locator("#timings dd").all_inner_texts(), strict=True))


def test_tokens_with_probabilities_and_alternatives(
    visit: Callable[..., Tab], server: RunningServer
) -> None:
    tab = visit(server)
    page = tab.open("/expert")
    page.fill("[name=temperature]", "0")
    page.fill("[name=max_tokens]", "24")
    page.fill("[name=alternatives]", "4")
    generate(page)
    asked = {
        "model": "chat", "temperature": 0, "max_tokens": 24, "logprobs": True, "top_logprobs": 4,
        "messages": [{"role": "user", "content": page.input_value("#user")}],
    }  # fmt: skip
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=asked, timeout=180).json()
    wanted = [token["token"] for token in answer["choices"][0]["logprobs"]["content"]]
    shown = page.locator(".token").all()
    assert len(shown) == len(wanted) > 3
    words = page.inner_text("#tokens").replace("⏎\n", "\n").replace("∅", "")
    assert words.strip() == "".join(wanted).strip()
    page.locator(".token").first.focus()
    for at in range(3):
        rows = page.locator("#alternatives tbody tr").all_inner_texts()
        chances = [numbers_in(row.rsplit("\t", 1)[-1].split("\n")[-1])[-1] for row in rows]
        assert len(chances) >= 4
        assert chances == sorted(chances, reverse=True)
        assert 0 < sum(chances) <= 100.5
        # Without a temperature the likeliest is taken.
        assert page.locator("#alternatives tr").nth(1).get_attribute("class") == "taken"
        assert page.locator(".token[aria-selected=true]").count() == 1
        assert shown[at].get_attribute("aria-selected") == "true"
        page.keyboard.press("ArrowRight")
    page.hover(".token >> nth=1")
    assert shown[1].get_attribute("aria-selected") == "true"
    told = facts(page)
    assert numbers_in(told["Answer"]) == [answer["usage"]["completion_tokens"]]
    assert numbers_in(told["Prompt"]) == [answer["usage"]["prompt_tokens"]]
    for name in ("First token after", "Reading the prompt", "Writing", "Speed", "Perplexity"):
        assert numbers_in(told[name])[0] > 0, name
    tab.shot("expert")


def test_the_raw_prompt_is_what_the_template_makes(
    visit: Callable[..., Tab], server: RunningServer
) -> None:
    tab = visit(server, color_scheme="dark")
    page = tab.open("/expert")
    page.fill("#system", "Be brief.")
    page.fill("#user", "Name a bird.")
    page.click("#apply")
    page.wait_for_selector("#panel-raw:not([hidden])")
    prompt = page.input_value("#prompt")
    assert "<|im_start|>system\nBe brief.<|im_end|>" in prompt
    assert prompt.rstrip().endswith("<|im_start|>assistant")
    page.click("#template-box summary")
    assert "im_start" in page.inner_text("#template")
    with page.expect_request("**/v1/completions") as asked:
        page.fill("[name=max_tokens]", "12")
        page.fill("[name=stop]", "\\n")
        generate(page)
    sent = asked.value.post_data_json
    assert (sent["prompt"], sent["max_tokens"], sent["stop"]) == (prompt, 12, "\n")
    assert page.locator(".token").count() > 0
    tab.shot("expert-dark")


def test_thinking_is_asked_for_and_a_stop_keeps_the_tokens(
    visit: Callable[..., Tab], server: RunningServer
) -> None:
    page = visit(server).open("/expert")
    page.check("#thinking")
    page.fill("[name=max_tokens]", "1000")
    page.fill("#user", "Count from one to three hundred in words.")
    # At the first token, from within: a short answer may end before a click from outside comes.
    page.evaluate(
        """() => new MutationObserver(() => document.querySelector("#stop").click())
          .observe(document.querySelector("#tokens"), { childList: true })"""
    )
    with page.expect_request("**/v1/chat/completions") as asked:
        page.click("#run")
    assert asked.value.post_data_json["thinking"] is True
    page.wait_for_selector("#timings dd:text-is('stopped by you'), #timings dd:text-is('stop')")
    assert page.locator(".token").count() > 0
    assert page.is_enabled("#run")
