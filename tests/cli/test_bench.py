"""``blazen bench``: real measurements of small models, and the comparing of two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blazen.cli.benchmark import Row, Spread, ratios
from blazen.cli.commands.bench import read_threads
from blazen.errors import ValidationError
from tests.cli.making import alone, done, refused

pytestmark = pytest.mark.needs("xllamacpp", "starter:chat")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return alone(tmp_path, monkeypatch)


FEW = ("--runs", "2", "--max-tokens", "8")


def test_a_chat_model_with_each_number_of_threads() -> None:
    report = json.loads(done("bench", "starter:chat", "--threads", "1,2", "--json", *FEW).stdout)
    assert report["model"] == "starter:chat"
    assert report["spec"] == "xllamacpp:starter:chat"
    assert report["runs"] == 2
    assert report["machine"]["cores"] >= 1
    assert [row["threads"] for row in report["rows"]] == [1, 2]
    for row in report["rows"]:
        assert row["prompt_tokens"] > 30
        assert row["completion_tokens"] == 8
        assert row["load_seconds"] > 0
        assert set(row["figures"]) == {"prompt", "decode", "first_token"}
        for figure in row["figures"].values():
            assert 0 < figure["low"] <= figure["median"] <= figure["high"]
        # Reading is done in parallel, and so is faster than writing.
        assert row["figures"]["prompt"]["median"] > row["figures"]["decode"]["median"]


def test_people_get_a_table() -> None:
    result = done("bench", "-m", "starter:chat", *FEW)
    (row,) = (line.split("\t") for line in result.stdout.splitlines())
    assert row[0].isdigit() or row[0] == "default"
    assert len(row) == 4
    assert "starter:chat (xllamacpp), median" in result.stderr
    short = done("bench", "-m", "starter:chat", "--prompt", "Say: Hi", "--runs", "1", "-n", "500")
    assert "note: the longest answer had" in short.stderr


@pytest.mark.needs("fastembed", "starter:embed")
def test_an_embedding_model() -> None:
    report = json.loads(done("bench", "starter:embed", "--json", "--runs", "2").stdout)
    (row,) = report["rows"]
    assert report["kind"] == "embedding"
    assert set(row["figures"]) == {"texts", "tokens"}
    assert row["prompt_tokens"] > 64 * 20
    texts, tokens = row["figures"]["texts"]["median"], row["figures"]["tokens"]["median"]
    assert tokens / texts == pytest.approx(row["prompt_tokens"] / 64, rel=0.01)


def _report(*speeds: tuple[int | None, float, float]) -> dict[str, Any]:
    return {
        "version": 1,
        "rows": [
            Row(
                threads,
                1.0,
                50,
                8,
                {"decode": Spread.of([speed]), "first_token": Spread.of([wait])},
            ).to_dict()
            for threads, speed, wait in speeds
        ],
    }


def test_two_reports_are_compared(here: Path) -> None:
    (here / "old").write_text(json.dumps(_report((1, 100.0, 0.2), (2, 150.0, 0.2))))
    (here / "new").write_text(json.dumps(_report((2, 300.0, 0.3), (4, 500.0, 0.1))))
    lines = [
        line.split("\t") for line in done("bench", "--compare", "old", "new").stdout.splitlines()
    ]
    assert lines == [
        ["2", "answer tokens/s", "150", "300", "2.000", "better"],
        ["2", "first token, s", "0.2", "0.3", "1.500", "worse"],
    ]
    both = json.loads(done("bench", "--compare", "old", "new", "--json").stdout)["ratios"]
    assert [one["ratio"] for one in both] == [2.0, pytest.approx(1.5)]
    same = done("bench", "--compare", "old", "old").stdout.splitlines()
    assert [line.split("\t")[4:] for line in same] == [["1.000", ""]] * 4


def test_reports_of_the_default_threads_are_compared() -> None:
    (one,) = ratios(_report((None, 1.0, 1.0)), _report((None, 3.0, 1.0)))[:1]
    assert (one["threads"], one["ratio"]) == (None, 3.0)


def test_what_is_wrong_is_said(here: Path) -> None:
    (here / "old").write_text(json.dumps(_report((1, 100.0, 0.2))))
    (here / "other").write_text(json.dumps(_report((8, 100.0, 0.2))))
    (here / "text").write_text("no JSON")
    (here / "list").write_text("[]")
    (here / "empty").write_text("{}")
    (here / "later").write_text('{"version": 9, "rows": []}')
    (here / "wrong").write_text('{"version": 1, "rows": [{"threads": "x"}]}')
    for name, said in {
        "other": "nothing in common",
        "text": "is no JSON",
        "list": "none that blazen bench",
        "empty": "none that blazen bench",
        "later": "of version 9",
        "wrong": "threads",
    }.items():
        assert said in refused("bench", "--compare", "old", name), name
    assert "gone" in refused("bench", "--compare", "old", "gone")
    assert "given twice" in refused("bench", "starter:chat", "-m", "starter:chat")
    assert "no-such" in refused("bench", "no-such", code=3)
    assert "such as 1,2,4" in refused("bench", "--threads", "1,x")
    assert "--runs" in refused("bench", "--runs", "0")


@pytest.mark.needs("piper", "starter:speak")
def test_a_voice_has_no_bench() -> None:
    assert "neither for chat nor for embedding" in refused("bench", "starter:speak", code=1)


def test_threads_are_read() -> None:
    assert read_threads("1, 2,4,2") == [1, 2, 4]
    for wrong in ("", "0", "1,,2", "-1", "a"):
        with pytest.raises(ValidationError, match="1,2,4"):
            read_threads(wrong)
