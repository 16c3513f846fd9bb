"""``blazen embed`` on a real small model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import blazen as sdk
from tests.cli.making import alone, done, refused

pytestmark = pytest.mark.needs("fastembed", "starter:embed")

TEXTS = ("a cat", "a kitten", "income tax law")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return alone(tmp_path, monkeypatch)


async def vectors() -> list[list[float]]:
    async with sdk.EmbeddingModel.fastembed("starter:embed") as model:
        return (await model.embed(list(TEXTS))).embeddings.tolist()


async def expected(lines: list[str]) -> None:
    rows = [json.loads(line) for line in lines]
    assert [row["text"] for row in rows] == list(TEXTS)
    for row, want in zip(rows, await vectors(), strict=True):
        assert row["embedding"] == pytest.approx(want, abs=1e-6)


async def test_each_text_gives_a_line() -> None:
    await expected(_run(*TEXTS).splitlines())


def _run(*arguments: str, given: str | None = None) -> str:
    # In a thread, as the test has a loop of its own.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: done("embed", *arguments, given=given).stdout).result()


async def test_lines_come_from_stdin_and_from_files(here: Path) -> None:
    await expected(_run(given="a cat\n\n  \na kitten\r\nincome tax law").splitlines())
    (here / "a.txt").write_text("a kitten\nincome tax law\n")
    await expected(_run("a cat", "--file", "a.txt").splitlines())


async def test_json_is_one_document() -> None:
    whole = json.loads(_run(*TEXTS, "--json"))
    assert (whole["model"], whole["dimensions"]) == ("starter:embed", 384)
    assert whole["tokens"] > 3
    for row, want in zip(whole["embeddings"], await vectors(), strict=True):
        assert row == pytest.approx(want, abs=1e-6)


def test_texts_are_compared() -> None:
    rows = [line.split("\t") for line in done("embed", *TEXTS, "--compare").stdout.splitlines()]
    assert [row[:2] for row in rows] == [[str(n), text] for n, text in enumerate(TEXTS, start=1)]
    assert [rows[n][2 + n] for n in range(3)] == ["1.000"] * 3
    assert rows[0][3] == rows[1][2]
    assert float(rows[0][3]) > 0.6 > 0.4 > float(rows[0][4])
    table = json.loads(done("embed", *TEXTS, "--compare", "--json").stdout)
    assert table["texts"] == list(TEXTS)
    assert f"{table['similarities'][0][1]:.3f}" == rows[0][3]


def test_texts_are_searched() -> None:
    asked = ("embed", *TEXTS, "--search", "what the state takes of my wages")
    rows = [line.split("\t") for line in done(*asked).stdout.splitlines()]
    assert rows[0][1] == "income tax law"
    assert len(rows) == 3
    assert [float(row[0]) for row in rows] == sorted((float(r[0]) for r in rows), reverse=True)
    found = json.loads(done(*asked, "--json").stdout)["found"]
    assert found[0]["index"] == 2
    assert f"{found[0]['score']:.3f}" == rows[0][0]


def test_many_texts_come_in_order() -> None:
    texts = [f"number {number}" for number in range(150)]
    lines = done("embed", "--query", given="\n".join(texts)).stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == texts


@pytest.mark.needs("xllamacpp", "starter:chat")
def test_a_gguf_embeds_too() -> None:
    asked = (*TEXTS, "--compare", "--json", "-m", "xllamacpp:starter:chat", "-o", "pooling=mean")
    whole = json.loads(done("embed", *asked).stdout)
    cat, kitten, law = whole["similarities"]
    assert cat[0] == pytest.approx(1)
    assert kitten[0] > law[0]


def test_what_is_wrong_is_said(here: Path) -> None:
    assert "all lines are blank" in refused("embed", given="\n \n")
    assert "give one" in refused("embed", "a", "--compare", "--search", "b")
    assert "--search takes a text" in refused("embed", "a", "--search", " ")
    assert "no-such" in refused("embed", "a", "-m", "no-such", code=3)
    assert "gone.txt" in refused("embed", "--file", "gone.txt")
    (here / "bytes").write_bytes(b"\xff\xfe\xfa")
    assert "no text in UTF-8" in refused("embed", "--file", "bytes")
    assert "'starter:chat' is a model for chat, not for embedding" in refused(
        "embed", "a", "-m", "starter:chat", code=3
    )
