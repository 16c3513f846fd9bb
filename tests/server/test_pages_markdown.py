"""The renderer of Markdown: what a model writes becomes elements, never markup or a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.browsing import Tab

pytestmark = [pytest.mark.long, pytest.mark.needs("server", "clients")]

DRAW = """async (text) => {
  const { render } = await import("./static/markdown.js");
  const place = document.createElement("div");
  place.append(...render(text));
  const tell = (node) => node.nodeType === 3 ? node.data
    : [node.tagName.toLowerCase(), ...[...node.childNodes].map(tell)];
  return [...place.childNodes].map(tell);
}"""


@pytest.fixture(scope="module")
def page(browser: Any, echo_server: Any) -> Iterator[Any]:
    """One page for all: nothing is changed on it."""
    tab = Tab(browser, echo_server.url)
    yield tab.open("/chat")
    tab.close()
    assert tab.problems == []


@pytest.fixture
def draw(page: Any) -> Callable[[str], Any]:
    return lambda text: page.evaluate(DRAW, text)


def flat(drawn: Any) -> str:
    """The words of what was drawn."""
    return drawn if isinstance(drawn, str) else "".join(flat(part) for part in drawn[1:])


def tags(drawn: Any) -> set[str]:
    if isinstance(drawn, str):
        return set()
    return {drawn[0]}.union(*(tags(part) for part in drawn[1:])) if drawn else set()


def test_blocks_and_what_stands_in_lines(draw: Callable[[str], Any]) -> None:
    assert draw("one *two* **three** `four` ~~five~~") == [
        ["p", "one ", ["em", "two"], " ", ["strong", "three"], " ", ["code", "four"], " ",
         ["del", "five"]]
    ]  # fmt: skip
    assert draw("a  \nb") == [["p", "a", ["br"], "b"]]
    assert draw("# Big\ntext") == [["p", ["strong", "Big"]], ["p", "text"]]
    assert draw("- a\n- b\n  - c\n\n3. x\n4. y") == [
        ["ul", ["li", "a"], ["li", "b", ["ul", ["li", "c"]]]],
        ["ol", ["li", "x"], ["li", "y"]],
    ]
    assert draw("> said\n> twice\n\n---") == [["blockquote", ["p", "said\ntwice"]], ["hr"]]
    assert draw("- [x] done\n- [ ] not") == [["ul", ["li", "☑ ", "done"], ["li", "☐ ", "not"]]]
    assert draw("snake_case_name and 2 * 3 * 4") == [["p", "snake_case_name and 2 * 3 * 4"]]
    assert draw(r"\*not\* \`so\`") == [["p", "*not* `so`"]]
    assert draw("***both***") == [["p", ["strong", ["em", "both"]]]]


def test_tables(draw: Callable[[str], Any]) -> None:
    drawn = draw("| a | b |\n|---|--:|\n| 1 | `x|y` |\n| 2 |")
    assert drawn[0][1][1] == ["thead", ["tr", ["th", "a"], ["th", "b"]]]
    assert drawn[0][1][2][2] == ["tr", ["td", "2"], ["td"]]


def test_code_is_kept_to_the_letter_and_may_still_be_open(draw: Callable[[str], Any]) -> None:
    code = "if a < b:\n    print('**x**')\n\n    # <b>"
    for text in (f"```python\n{code}\n```", f"```python\n{code}", f"~~~~python\n{code}\n~~~~"):
        figure = draw(text)[0]
        assert flat(figure[1][1]) == "python"
        assert figure[2] == ["pre", ["code", code]]
    assert draw("```\na\n```\nb")[1] == ["p", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
        "&lt;b&gt; &amp;",
    ],
)
def test_markup_stays_text(draw: Callable[[str], Any], text: str) -> None:
    assert draw(text) == [["p", text]]


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "file:///x",
     "//other.example/x", "\\x01javascript:alert(1)"],
)  # fmt: skip
def test_only_addresses_of_the_web_become_links(draw: Callable[[str], Any], address: str) -> None:
    drawn = draw(f"[press me]({address}) and <{address}>")
    assert "a" not in tags(["div", *drawn])
    assert "press me" in flat(["div", *drawn])


def test_pictures_are_links_and_are_not_fetched(draw: Callable[[str], Any]) -> None:
    # `page` fails at the end if anybody else was asked.
    drawn = draw("![a cat](https://cats.example/1.png?secret) https://cats.example/2.png.")
    assert drawn == [["p", ["a", "a cat"], " ", ["a", "https://cats.example/2.png"], "."]]


def test_links_tell_the_other_side_nothing(page: Any) -> None:
    found = page.evaluate(
        """async () => {
          const { render } = await import("./static/markdown.js");
          const link = render("[x](https://x.example/a(b)c)")[0].firstChild;
          return [link.href, link.rel, link.target];
        }"""
    )
    assert found == ["https://x.example/a(b)c", "noopener noreferrer nofollow", "_blank"]


@pytest.mark.parametrize(
    "text",
    ["> " * 4000 + "deep", "- " * 4000 + "deep", "*" * 20_000, "**a " * 8000, "[" * 20_000,
     "`" * 9999 + "a", "|" * 20_000 + "\n|-|", "![](" * 8000, "_a*" * 8000, "~~" * 9000,
     "<http://" * 4000, "\n".join(" " * (n % 40) + "- x" for n in range(4000)), "#" * 20_000],
)  # fmt: skip
def test_hostile_texts_end_soon(draw: Callable[[str], Any], text: str) -> None:
    # A renderer whose time grows exponentially, or whose depth has no end, would not come back.
    assert draw(text)


def test_a_growing_text_ends_as_if_it_came_whole(page: Any) -> None:
    text = "# Title\n\nSome *words*\nhere.\n\n- a\n- b\n\n```js\nlet x;\n```\n"
    text += "\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    same = page.evaluate(
        """async (text) => {
          const { Growing, render } = await import("./static/markdown.js");
          const [grown, whole] = [document.createElement("div"), document.createElement("div")];
          const growing = new Growing(grown);
          let kept = null;
          for (let end = 1; end <= text.length; end += 1) {
            growing.show(text.slice(0, end));
            if (end === 12) kept = grown.firstChild;
          }
          whole.append(...render(text));
          return [grown.isEqualNode(whole), kept === grown.firstChild];
        }""",
        text,
    )
    assert same == [True, True]


LONG = {
    "list": "\n".join(f"{'  ' * (n % 4)}- point *{n}* of many" for n in range(1500)),
    "numbers": "\n".join(f"{n}. point **{n}**" for n in range(1, 1500)),
    "table": "| a | b |\n|---|--:|\n" + "\n".join(f"| row {n} | `{n}` |" for n in range(1500)),
    "open code": "```python\n" + "\n".join(f"value_{n} = {n}" for n in range(2500)),
    "quote": "\n".join(f"> line *{n}*\n>" for n in range(1200)),
    "paragraphs": "\n\n".join(f"Paragraph **{n}** with some words." for n in range(1200)),
    "crlf": "\r\n".join(f"- one\r\n\r\n\tcode {n}\r\n# Head\r\n---" for n in range(200)),
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_answer_is_not_drawn_again_and_again(page: Any, name: str) -> None:
    same, made = page.evaluate(
        """async (text) => {
          const { Growing, render } = await import("./static/markdown.js");
          const [grown, whole] = [document.createElement("div"), document.createElement("div")];
          const growing = new Growing(grown);
          const create = document.createElement;
          let made = 0;
          document.createElement = function (...given) {
            made += 1;
            return create.apply(this, given);
          };
          for (let end = 7; end < text.length; end += 97) growing.show(text.slice(0, end));
          growing.show(text);
          document.createElement = create;
          whole.append(...render(text));
          return [grown.isEqualNode(whole), made / whole.querySelectorAll("*").length];
        }""",
        LONG[name],
    )
    assert same
    assert made < 5  # the more often it is drawn, the more elements would be made
