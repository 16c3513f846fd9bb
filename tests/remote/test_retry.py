"""When a request is made again: how often, after how long, and what for."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from blazen import (
    ProviderError,
    RateLimitError,
    TimeoutError,  # noqa: A004 - as users see it
    ValidationError,
)
from blazen.remote.failures import broken, failure, failure_inside, failure_of_job, said_in
from blazen.remote.retry import Retry, repeated, retry_after
from blazen.remote.timeouts import Timeouts


def test_pauses_double_up_to_the_longest_and_vary():
    retry = Retry(times=9, first=1, longest=5)
    for failed, most in enumerate((1, 2, 4, 5, 5), start=1):
        pauses = [retry.pause(failed) for _ in range(200)]
        assert most / 2 <= min(pauses) < max(pauses) <= most
    assert len(set(pauses)) > 100
    assert retry.pause(9) is not None
    assert retry.pause(10) is None
    assert Retry(times=0).pause(1) is None


def test_what_the_server_asks_for_is_granted_or_given_up():
    retry = Retry(first=1, longest=10)
    pauses = {retry.pause(1, 7) for _ in range(100)}
    assert 7 <= min(pauses) < max(pauses) <= 7.25  # never all at once
    assert retry.pause(1, 10) == 10
    assert retry.pause(1, 10.1) is None


def test_retry_after_is_read_in_each_form():
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90), usegmt=True)
    assert 80 < retry_after({"retry-after": soon}) <= 90
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after": "60", "retry-after-ms": "250"}) == 0.25
    for odd in ("", "soon", "-1", "nan", "1e999", "\u00b2", "Mon, 99 Foo 2015", "0 : ", ","):
        assert retry_after({"retry-after": odd}) is None
    huge = f"Wed, 21 Oct 2015 07:28:00 +{'9' * 20}"
    assert retry_after({"retry-after": huge}) is None


def test_a_wish_to_wait_for_ever_is_one():
    year = 365 * 24 * 3600
    for far in ("9" * 12, "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"):
        assert retry_after({"retry-after": far}) == year
        assert Retry().pause(1, retry_after({"retry-after": far})) is None


def test_a_date_is_read_by_the_clock_of_the_server():
    headers = {
        "retry-after": "Wed, 21 Oct 2015 07:28:30 GMT",
        "date": "Wed, 21 Oct 2015 07:28:00 GMT",
    }
    assert retry_after(headers) == 30
    assert retry_after({**headers, "date": "Wed, 21 Oct 2015 07:29:00 GMT"}) == 0
    assert retry_after({**headers, "retry-after": "Wed, 21 Oct 2015 07:28:30 -0000"}) == 30
    assert retry_after({**headers, "date": "today"}) == 0


@pytest.mark.parametrize("wrong", [{"times": -1}, {"times": 1.5}, {"first": "x"}, {"longest": -1}])
def test_wrong_policies_are_refused(wrong):
    with pytest.raises(ValidationError):
        Retry(**wrong)


class Attempts:
    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)

    async def __call__(self):
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def failed(status, retry_after=None):
    return ProviderError("x", provider="x", status=status, retry_after=retry_after)


async def test_what_fails_is_made_again():
    retry = Retry(times=2, first=0)
    settings = {"repeatable": lambda error: error.status == 500, "left": lambda: 60, "who": "x"}
    assert await repeated(Attempts(failed(500), failed(500), 7), retry, **settings) == 7
    for outcomes, rest in (
        ((failed(500), failed(500), failed(500), 7), 1),  # too often
        ((failed(404), 7), 1),  # not to be made again
        ((failed(500, retry_after=61), 7), 1),  # too late
        ((KeyError(), 7), 1),  # none of ours
    ):
        attempts = Attempts(*outcomes)
        with pytest.raises((ProviderError, KeyError)):
            await repeated(attempts, retry, **settings)
        assert len(attempts.outcomes) == rest
    attempts = Attempts(failed(500, retry_after=5), 7)
    with pytest.raises(ProviderError):
        await repeated(attempts, retry, **{**settings, "left": lambda: 5})
    assert attempts.outcomes == [7]


def test_what_a_server_says_is_short_clean_and_without_the_key():
    def hide(text):
        return text.replace("sk-key", "…")

    body = b'{"error": {"message": "bad\\nkey\\u0007 sk-key ' + b"x" * 290 + b'sk-key"}}'
    error = failure(400, {"request-id": "7"}, body, provider="p", where="https://x", hide=hide)
    assert str(error).startswith("https://x answered 400: bad key … xxx")
    assert "sk-" not in str(error)
    assert len(str(error)) < 400
    assert (error.provider, error.status, error.request_id) == ("p", 400, "7")
    deep = b'{"error":' * 300 + b"1" + b"}" * 300
    for odd in (
        b"",
        b"[" * 100_000,
        deep,
        b'{"error": "\\ud800"}',
        b"\xff\xfe",
        b'{"error": {"message": {"a": 1}}}',
        b"null",
    ):
        said = str(failure(500, {}, odd, provider="p", where="x"))
        assert "answered 500" in said
        assert len(said.encode()) < 400


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"error": "no"}, 200),
        ({"error": {"code": 503}}, 503),
        ({"error": {"code": "429"}}, 429),
        ({"error": {"type": "rate_limit_error"}}, 429),
        ({"error": {"type": "overloaded_error"}}, 529),
        ({"error": {"code": "invalid_api_key"}}, 401),
        ({"error": {"type": "permission_error"}}, 403),
        ({"error": {"code": True, "type": 5}}, 200),
        ({"error": [1], "status": 500}, 500),
        ([], 200),
        ({"error": "Too many requests"}, 429),
        ({"error": {"code": 429}, "code": 500}, 429),
        ({"error": {"message": "a picture of a forbidden rate limit"}}, 200),
        ({"error": {"error": {"type": "server_error"}}}, 200),
    ],
)
def test_an_error_in_a_good_answer_gets_the_status_that_it_means(answer, status):
    error = failure_inside(answer, {}, provider="p", where="x")
    assert error.status == status
    assert ("reports a failure" in str(error)) == (status == 200)


def test_what_is_said_too_deep_is_not_heard():
    answer = "no"
    for _ in range(3000):
        answer = {"error": answer}
    assert said_in(answer) == ""
    assert said_in({"error": {"errors": [{"msg": "no"}]}}) == "no"


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("ConnectTimeout", TimeoutError, "within 3 s: check base_url"),
        ("ReadTimeout", TimeoutError, "silent for 4 s: raise timeouts.idle"),
        ("WriteTimeout", TimeoutError, "silent for 4 s"),
        ("ConnectError", ProviderError, "could not be reached"),
        ("ProxyError", ProviderError, "could not be reached"),
        ("ReadError", ProviderError, "broke the connection off: …: odd"),
        ("UnsupportedProtocol", ProviderError, "is no URL that can be asked"),
        ("DecodingError", ProviderError, "sends what can't be read"),
    ],
)
def test_what_a_broken_request_is_called(name, kind, said):
    httpx2 = pytest.importorskip("httpx2")

    def sends(key: str) -> None:
        try:
            raise OSError("the wire")
        except OSError as error:
            raise getattr(httpx2, name)(f"{key}: odd") from error

    with pytest.raises(httpx2.HTTPError) as raised:
        sends("sk-key")
    cause = raised.value
    error = broken(
        cause,
        Timeouts(connect=3, idle=4),
        provider="p",
        where="https://x",
        known_as="7",
        hide=lambda text: text.replace("sk-key", "…"),
    )
    assert type(error) is kind
    assert said in str(error)
    assert getattr(error, "request_id", "7") == "7"
    # What frames hold, of the request as it was sent, is not kept.
    assert cause.__traceback__ is None
    assert cause.__cause__.__traceback__ is None


def test_a_job_that_failed_is_no_request_to_make_again():
    answer = {"error": {"type": "rate_limit_error", "message": "slow", "code": 429}}
    error = failure_of_job(answer, {"x-request-id": "7"}, provider="p", where="x")
    assert type(error) is ProviderError
    assert (error.status, error.request_id, str(error)) == (200, "7", "x reports a failure: slow")


async def test_each_repetition_is_logged_without_what_the_error_says(caplog):
    retry = Retry(times=2, first=0)
    settings = {"repeatable": lambda error: True, "left": lambda: 60, "who": "p at https://x"}
    limited = RateLimitError("sk-key", provider="p", status=429)
    with caplog.at_level(logging.INFO, "blazen"):
        await repeated(Attempts(limited, TimeoutError("sk-key"), 7), retry, **settings)
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("blazen", "INFO")
    ] * 2
    assert caplog.messages == [
        "p at https://x: RateLimitError 429, again in 0.0 s (1 of 2)",
        "p at https://x: TimeoutError, again in 0.0 s (2 of 2)",
    ]
