"""Lines of events, put together from pieces."""

from __future__ import annotations

import pytest

from blazen.remote.lines import Lines


def given(*pieces: bytes) -> list[bytes]:
    lines = Lines()
    found = [lines.add(piece) for piece in pieces]
    assert not lines.are_too_many
    return [*(piece for piece in found if piece), *filter(None, [lines.rest()])]


def test_only_whole_lines_are_given_on():
    assert given(b"data: 1\n\n", b"data: 2\r\n\r\n") == [b"data: 1\n\n", b"data: 2\r\n\r\n"]
    assert given(b"da", b"ta: ", b"1\n\nda", b"ta: 2\n") == [b"data: 1\n\n", b"data: 2\n"]
    assert given(b"data: 1\rda", b"ta") == [b"data: 1\r", b"data"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_are_as_many_as_they_like(end):
    whole, apart = Lines(), Lines()
    event = b"data: " + b"x" * 1000 + end
    for _ in range(20_000):
        assert whole.add(event + end)
        assert apart.add(event)
        assert apart.add(end)
        assert not whole.are_too_many
        assert not apart.are_too_many


def test_one_line_may_be_as_long_as_the_answer():
    assert len(given(b"event: image\ndata: ", *[b"x" * (1 << 20)] * 40, b"\n\n")) == 2


@pytest.mark.parametrize("line", [b"data: x\n", b":\n", b"id: 1\r\n"])
def test_an_event_of_too_many_lines_is_found(line):
    lines = Lines()
    pieces = 0
    while not lines.are_too_many:
        lines.add(line * 1000)
        pieces += 1
        assert pieces < 100


def test_many_lines_behind_a_long_one_are_found_at_once():
    lines = Lines()
    lines.add(b"data: " + b"x" * (30 << 20))
    lines.add(b"\n" + b"data: x\n" * 1000 + b"\n" + b"data: y\n\n")
    assert lines.are_too_many
