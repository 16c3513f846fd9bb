"""A key shows up in no text and no pickle."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle

import pytest

from blazen import ValidationError
from blazen.remote.secret import Secret
from blazen.types.record import encode

KEY = "sk-very-secret"


def test_only_reveal_gives_it(caplog):
    secret = Secret(f" {KEY}\n")
    assert secret.reveal() == KEY
    logging.getLogger("x").error("%s %r", secret, {"key": secret})
    for text in (repr(secret), str(secret), f"{secret:>9}", f"{[secret]}", caplog.text):
        assert KEY not in text
        assert "…" in text


def test_it_has_no_json_form():
    for write in (json.dumps, encode):
        with pytest.raises((TypeError, ValidationError)) as raised:
            write(Secret(KEY))
        assert KEY not in str(raised.value)


def test_it_is_pickled_by_its_variable_only(monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    found = Secret.of(None, variable="A_KEY")
    data = pickle.dumps(found)
    assert KEY.encode() not in data
    assert pickle.loads(data) == found
    with pytest.raises(ValidationError, match="environment variable") as raised:
        pickle.dumps(Secret(KEY))
    assert KEY not in str(raised.value)
    monkeypatch.delenv("A_KEY")
    with pytest.raises(ValidationError, match="A_KEY"):
        pickle.loads(data)


def test_where_it_comes_from(monkeypatch):
    monkeypatch.setenv("A_KEY", KEY)
    assert Secret.of("other", variable="A_KEY") == Secret("other")
    assert Secret.of(None) is None
    assert Secret.of(None, variable="NO_SUCH_KEY") is None
    monkeypatch.setenv("A_KEY", "  ")
    assert Secret.of(None, variable="A_KEY") is None
    secret = Secret(KEY)
    assert Secret.of(secret) is secret


def test_copies_are_the_same_key():
    @dataclasses.dataclass(frozen=True)
    class Options:
        key: Secret

    options = Options(Secret(KEY))
    assert copy.copy(options.key) is copy.deepcopy(options.key) is options.key
    assert dataclasses.asdict(options)["key"] == Secret(KEY)
    assert hash(options) == hash(Options(Secret(KEY)))
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY


@pytest.mark.parametrize("value", ["", "  ", "very\nsecret", "very\x00secret", "verysécret", 7])
def test_what_can_be_no_key_is_refused_without_showing_it(value):
    with pytest.raises(ValidationError) as raised:
        Secret(value)
    assert "very" not in str(raised.value)


def test_it_is_taken_out_of_texts():
    assert Secret(KEY).hidden_in(f"you sent '{KEY}'") == "you sent '…'"
    assert Secret("a.b.c-d").hidden_in("xa.b.c-dx") == "x…x"
    # A header as short as a version is hidden where it stands alone, not in each number.
    assert Secret("2").hidden_in("version 2 of 2025, (2)") == "version … of 2025, (…)"
