"""A status as a table, for terminals and notebooks."""

from __future__ import annotations

import html.parser

import pytest

from blazen.manager.status import ManagerStatus, ModelStatus, PoolStatus, State
from blazen.manager.table import render, render_html, seconds, size

MIB = 1 << 20
GIB = 1 << 30

STATUS = ManagerStatus(
    pools=(
        PoolStatus("cpu", 48 * GIB, 12 * GIB + 300 * MIB, foreign=2 * GIB),
        PoolStatus("gpu:0", 20 * GIB, 6 * GIB, quarantined=512 * MIB),
    ),
    models=(
        ModelStatus(
            "llm",
            State.Ready,
            ("complete",),
            charges={"gpu:0": 5 * GIB, "cpu": 1 * GIB, "gpu:1": 0},
            leases=2,
            waiting=3,
            pinned=True,
            priority=5,
            idle_seconds=0.04,
            load_seconds=12.4,
        ),
        ModelStatus(
            "whisper",
            State.Unloaded,
            ("transcribe",),
            keep_alive=300,
            fallback=("cloud", "other"),
            problem="it\n  failed",
        ),
        ModelStatus("cloud", State.Remote, ("complete",), keep_alive=0),
    ),
    waiting=3,
    cores=8,
    cores_used=4,
)


class Cells(html.parser.HTMLParser):
    """Reads tables back, and counts what tags there are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.tags[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_line_for_each_pool_and_each_model() -> None:
    lines = render(STATUS).splitlines()
    assert [line[:68] for line in lines[:3]] == [
        "pool     budget      used      free",
        "cpu    48.0 GiB  12.3 GiB  33.7 GiB  2.0 GiB taken by other programs",
        "gpu:0  20.0 GiB   6.0 GiB  14.0 GiB  512 MiB not given back",
    ]
    assert [line[:84] for line in lines[4:8]] == [
        "model    state     memory                       requests               idle  load",
        "llm      ready     cpu 1.0 GiB + gpu:0 5.0 GiB  2 running, 3 waiting  0.0 s  12 s  p",
        "whisper  unloaded  -                            -                         -     -  s",
        "cloud    remote    -                            -                         -     -  g",
    ]
    assert [line[83:] for line in lines[5:8]] == [
        "pinned, priority 5",
        "stays 5 min, else cloud, other, it failed",
        "goes at once",
    ]
    assert lines[8:] == ["", "3 requests wait, 4 of 8 cores used"]


def test_an_empty_manager_says_so() -> None:
    status = ManagerStatus(pools=(PoolStatus("cpu", GIB, 0),), models=())
    assert render(status).splitlines() == [
        "pool   budget  used     free",
        "cpu   1.0 GiB   0 B  1.0 GiB",
        "",
        "no models",
    ]
    assert "no models" in render_html(status)


def test_no_id_or_problem_breaks_its_line() -> None:
    status = ManagerStatus(
        pools=(),
        models=(
            ModelStatus("a\nb\x1b[31m\u202e", State.Ready, ()),
            ModelStatus("c", State.Ready, (), problem="x" * 500 + "\n" + "y"),
        ),
    )
    lines = render(status).splitlines()
    models = lines[lines.index(next(line for line in lines if line.startswith("model"))) :]
    assert len(models) == 3
    assert models[1].startswith("a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[31m")
    assert all(char.isprintable() for line in lines for char in line)
    assert len(models[2]) < 130
    assert models[2].endswith("x…")


def test_wide_and_combining_characters_stay_in_line() -> None:
    ids = ("模型", "cafe\N{COMBINING ACUTE ACCENT}", "plain")
    status = ManagerStatus(
        pools=(), models=tuple(ModelStatus(name, State.Ready, ()) for name in ids)
    )
    lines = [line for line in render(status).splitlines() if "ready" in line]
    assert [line.index("ready") for line in lines] == [5, 8, 7]  # 7 columns each


def test_html_holds_the_same() -> None:
    page = Cells(render_html(STATUS))
    assert page.rows[1][:4] == ["cpu", "48.0 GiB", "12.3 GiB", "33.7 GiB"]
    assert page.rows[4][:3] == ["llm", "ready", "cpu 1.0 GiB + gpu:0 5.0 GiB"]
    assert len(page.rows) == 1 + 2 + 1 + 3
    assert page.tags.count("table") == 2


def test_html_is_escaped() -> None:
    evil = "<script>alert('\"&')</script>"
    status = ManagerStatus(
        pools=(), models=(ModelStatus(evil, State.Ready, (), fallback=(evil,), problem=evil),)
    )
    page = Cells(render_html(status))
    assert "script" not in page.tags
    assert page.rows[-1][0] == evil
    assert evil in page.rows[-1][-1]


@pytest.mark.parametrize(
    "amount, text",
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (MIB - 1, "1.0 MiB"),
        (100 * MIB, "100 MiB"),
        (1000 * MIB, "1000 MiB"),
        (GIB, "1.0 GiB"),
        (3 << 40, "3.0 TiB"),
        (5000 << 50, "5000 PiB"),
    ],
)
def test_sizes_read_well(amount: int, text: str) -> None:
    assert size(amount) == text


@pytest.mark.parametrize(
    "value, text",
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (90, "90 s"),
        (300, "5 min"),
        (9_000, "2.5 h"),
        (400_000, "5 d"),
    ],
)
def test_times_read_well(value: float, text: str) -> None:
    assert seconds(value) == text
