"""The explorer: what it shows is what the GGUF file holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from blazen.weights.starter import starter_path
from tests.server.browsing import Tab, numbers_in
from tests.server.conftest import RunningServer, read_catalog, running
from tests.server.test_pages_design import AUDIT

pytestmark = [pytest.mark.long, pytest.mark.needs("server", "clients", "xllamacpp", "starter:chat")]

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def reader() -> gguf.GGUFReader:
    return gguf.GGUFReader(starter_path("chat"))


def test_metadata_and_tensors_are_those_of_the_file(
    visit: Callable[..., Tab], server: RunningServer, reader: gguf.GGUFReader
) -> None:
    tab = visit(server)
    page = tab.open("/explorer?model=chat")
    tab.shot("explorer")
    keys = page.locator("#metadata th").all_inner_texts()
    wanted = [name for name in reader.fields if not name.startswith("GGUF.")]
    assert sorted(keys) == sorted(wanted)
    page.fill("#search", "llama.context_length")
    row = page.locator("#metadata tr")
    length = int(reader.fields["llama.context_length"].parts[-1][0])
    assert row.all_inner_texts() == [f"llama.context_length\t{length}"]
    facts = dict(
        zip(
            page.locator("#facts dt").all_inner_texts(),
            page.locator("#facts dd").all_inner_texts(),
            strict=True,
        )
    )
    parameters = sum(math.prod(int(size) for size in tensor.shape) for tensor in reader.tensors)
    assert numbers_in(facts["Parameters"]) == [parameters]
    rows = page.locator("#tensors tr")
    assert rows.count() == page.locator("#treemap [role=option]").count() == len(reader.tensors)
    shown = {name: (kind, shape) for name, kind, shape, _ in map(split, rows.all_inner_texts())}
    assert shown == {
        tensor.name: (tensor.tensor_type.name, " × ".join(str(size) for size in tensor.shape))
        for tensor in reader.tensors
    }


def split(row: str) -> list[str]:
    return [cell.strip() for cell in row.split("\t")]


def test_the_picture_gives_each_tensor_its_share_and_the_keys_walk_it(
    visit: Callable[..., Tab], server: RunningServer, reader: gguf.GGUFReader
) -> None:
    page = visit(server).open("/explorer?model=chat")
    assert page.evaluate(AUDIT) == []
    areas = page.evaluate(
        """() => Object.fromEntries(
          [...document.querySelectorAll("#treemap [role=option]")].map((rect) =>
            [rect.dataset.name, rect.getAttribute("width") * rect.getAttribute("height")]))"""
    )
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in reader.tensors}
    whole, drawn = sum(sizes.values()), sum(areas.values())
    for name, size in sizes.items():
        if size > whole / 1000:
            # A little goes to the lines between the layers.
            assert areas[name] / drawn == pytest.approx(size / whole, rel=0.12), name
    page.focus("#treemap [tabindex='0']")
    first = page.inner_text("#tensor")
    assert first.startswith("token_embd.weight")
    seen = {first}
    for key in ("ArrowRight", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
        seen.add(page.inner_text("#tensor"))
    assert len(seen) == 4
    chosen = page.locator("#tensors tr.chosen th").inner_text()
    assert page.inner_text("#tensor").startswith(chosen)
    page.fill("#tensor-search", "blk.3. attn q8")
    assert page.inner_text("#tensor-count").startswith("0 of")
    page.fill("#tensor-search", "blk.3. attn_q")
    assert page.locator("#tensors th").all_inner_texts() == ["blk.3.attn_q.weight"]
    page.fill("#tensor-search", "")
    page.get_by_role("button", name="Name", exact=True).click()
    names = page.locator("#tensors th").all_inner_texts()
    assert names[0].startswith("blk.0.")
    assert page.locator("th[aria-sort=ascending]").inner_text() == "Name"


def test_tokens_their_vectors_and_the_nearest(
    visit: Callable[..., Tab], server: RunningServer, reader: gguf.GGUFReader
) -> None:
    tab = visit(server, color_scheme="dark")
    page = tab.open("/explorer?model=chat")
    page.fill("#text", " cat dog")
    page.wait_for_selector("#token-count:has-text('2 tokens for 8 characters')")
    assert page.locator("#tokens code").all_inner_texts() == ["␣cat", "␣dog"]
    pieces = reader.fields["tokenizer.ggml.tokens"]
    ids = [int(number) for number in page.locator("#tokens .number").all_inner_texts()]
    held = [bytes(pieces.parts[pieces.data[number]]).decode() for number in ids]
    assert held == ["Ġcat", "Ġdog"]
    page.locator("#tokens button").first.click()
    page.wait_for_selector("#neighbors tbody tr")
    table = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    vector = gguf.dequantize(table.data[ids[0]], table.tensor_type).reshape(-1)
    assert page.locator("#strip rect").count() == len(vector)
    length = numbers_in(page.inner_text("#strip-value"))[1]
    assert length == pytest.approx(float((vector**2).sum() ** 0.5), rel=1e-3)
    near = page.locator("#neighbors tbody tr").all_inner_texts()
    assert len(near) == 10
    likeness = [numbers_in(row)[-1] for row in near]
    assert likeness == sorted(likeness, reverse=True)
    assert "cat" in near[0].lower()
    page.locator("#tokens-title").evaluate("(title) => title.scrollIntoView()")
    tab.shot("explorer-vectors")
    page.locator("#neighbors button").first.click()
    page.wait_for_selector(f"#vector-title:not(:has-text('({ids[0]})'))")


def test_a_file_of_many_tensors_with_hostile_names_is_shown_as_text(
    visit: Callable[..., Tab], server: RunningServer
) -> None:
    tab = visit(server)
    page = tab.open("/explorer?model=chat")
    hostile = "<img src=x onerror=alert(1)>"

    def many(route: Any) -> None:
        body = route.fetch().json()
        body["tensors"] = [
            {"name": f'blk.{n // 12}."]{hostile}.{n}', "dtype": f"Q{n % 12}", "shape": [n + 1, 2],
             "bytes": 2 * n + 2}
            for n in range(3000)
        ]  # fmt: skip
        body["metadata"] = {hostile: hostile, "long": hostile * 20}
        body["file"]["title"] = hostile
        route.fulfill(json=body)

    page.route("**/api/explorer/model*", many)
    tab.open("/explorer?model=chat")
    assert page.locator("#treemap [role=option]").count() == 3000
    assert page.inner_text("#tensor-count").startswith("3\u202f000 of")
    assert page.locator("#content img").count() == 0
    assert hostile in page.inner_text("#facts")
    page.locator("#treemap rect").nth(1500).focus()
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#tensor").startswith(page.locator("#tensors .chosen th").inner_text())
    page.fill("#tensor-search", "blk.7.")
    assert page.locator("#tensors tr").count() == 12


@pytest.mark.needs("starter:text")
def test_a_vocabulary_of_a_quarter_of_a_million(
    visit: Callable[..., Tab], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = '[models.text]\nspec = "xllamacpp:starter:text"\n'
    with running(read_catalog(tmp_path_factory.mktemp("text"), text)) as server:
        tab = visit(server)
        page = tab.open("/explorer?model=text")
        facts = page.inner_text("#facts")
        assert numbers_in(facts.split("Vocabulary")[1])[0] == 262_144
        page.fill("#text", "Sea")
        page.wait_for_selector("#token-count:has-text('1 token for 3 characters')")
        page.locator("#tokens button").first.click()
        page.wait_for_selector("#neighbors tbody tr >> nth=9")
        assert "sea" in page.inner_text("#neighbors tbody").lower()
        tab.close()
