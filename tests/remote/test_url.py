"""Which URLs are taken, and which of them may carry a key."""

from __future__ import annotations

import pytest

from blazen import ValidationError
from blazen.remote.url import check_base_url, is_here, is_private, joined, origin, shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com", "https://example.com"),
        (" https://example.com/v1/ ", "https://example.com/v1"),
        ("http://localhost:8080/v1", "http://localhost:8080/v1"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
    ],
)
def test_urls_that_may_carry_a_key(url, expected):
    assert check_base_url(url, carries_key=True) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://127.0.0.1.nip",
    ],
)
def test_urls_that_may_not(url):
    with pytest.raises(ValidationError, match="allow_http"):
        check_base_url(url, carries_key=True)
    assert check_base_url(url, carries_key=False) == url
    assert check_base_url(url, carries_key=True, allow_http=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://x",
        "https://",
        "https:///x",
        "https://x:port",
        "https://a b/",
        "http://[",
        "https://u:hunter2@x",
        "https://x?key=hunter2",
        "https://x#hunter2",
        None,
        b"https://x",
    ],
)
def test_urls_that_are_none(url):
    with pytest.raises(ValidationError) as raised:
        check_base_url(url, carries_key=False)
    assert "hunter2" not in str(raised.value)


def test_origins_are_told_apart():
    assert origin("https://Example.com/a") == origin("https://example.com:443/b?c")
    for other in ("http://example.com", "https://example.com:8443", "https://www.example.com"):
        assert origin("https://example.com") != origin(other)


def test_hosts():
    assert all(map(is_here, ["localhost", "LOCALHOST.", "a.localhost", "127.9.9.9", "::1"]))
    assert not any(map(is_here, ["example.com", "10.0.0.1", "0.0.0.0", "", None]))
    assert all(
        map(is_private, ["localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254", "fe80::1"])
    )
    assert not any(map(is_private, ["example.com", "8.8.8.8", None]))


def test_a_path_leads_to_no_other_host():
    for path in ("images/3d", "/images/3d", "//evil.org/x", "https://evil.org/x"):
        assert origin(joined("https://example.com/v1", path)) == origin("https://example.com")


def test_what_is_shown_holds_nothing_secret():
    assert shown("https://u:p@x.org:8/a/b?sig=1#t") == "https://x.org:8/a/b"
    assert shown("http://[") == "(unreadable)"
