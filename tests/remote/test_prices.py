"""What a request costs, where that is known."""

from __future__ import annotations

import pytest

from blazen import ValidationError
from blazen.options.provider import ProviderOptions
from blazen.remote import prices
from blazen.remote.prices import Price, price_of

ROWS = [
    (provider, name, price)
    for provider, rows in prices._ROWS.items()
    for name, price in rows.items()
]


@pytest.mark.parametrize(("provider", "name", "price"), ROWS, ids=lambda value: str(value)[:24])
def test_each_row_says_where_and_when_it_was_read(provider, name, price):
    hosts = {
        "openai": "developers.openai.com",
        "anthropic": "platform.claude.com",
        "gemini": "ai.google.dev",
    }
    assert price.source.startswith(f"https://{hosts[provider]}/")
    assert len(price.as_of) == len("2026-11-21")
    assert price_of(provider, name) is price
    if price.cached_input is not None:
        assert price.cached_input < price.input
    assert Price.from_json(price.to_json()) == price


def test_a_version_of_a_model_has_its_price():
    plain = price_of("anthropic", "claude-haiku-4-5")
    assert plain is not None
    assert price_of("anthropic", "claude-haiku-4-5-20251001") is plain
    assert price_of("openai", "gpt-5-mini-2025-08-07") is price_of("openai", "gpt-5-mini")
    assert price_of("anthropic", "claude-sonnet-4-5-latest") is not None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-5"),
        ("openai", "gpt-5-mini-high"),
        ("openai", "gpt-5-mini-2025"),
        ("openai", "my-gpt-5-mini"),
        ("openai", "claude-haiku-4-5"),
        ("groq", "gpt-5-mini"),
        ("openai", ""),
    ],
)
def test_what_is_not_known_has_no_price(provider, model):
    assert price_of(provider, model) is None


def test_each_kind_of_token_has_its_price():
    price = Price(2, 10, cached_input=0.5, cache_write=4)
    assert price.cost(1_000_000) == 2
    assert price.cost(0, 1_000_000) == 10
    assert price.cost(1_000_000, cached=400_000) == pytest.approx(0.6 * 2 + 0.4 * 0.5)
    assert price.cost(1_000_000, cached=400_000, written=100_000) == pytest.approx(1.0 + 0.2 + 0.4)
    assert Price(0.13).cost(500_000) == pytest.approx(0.065)
    assert Price(0).cost(5, 5) == 0


def test_no_price_is_made_up():
    price = Price(2, 10, up_to=1000)
    assert price.cost(1000, 50_000) is not None
    assert price.cost(1001) is None
    assert price.cost(100, cached=1) is None
    assert price.cost(100, written=1) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"input": -1}, "input"),
        ({"input": 1, "output": "x"}, "output"),
        ({"input": 1, "cached_input": -0.1}, "cached_input"),
        ({"input": 1, "up_to": 0}, "up_to"),
        ({"input": 1, "as_of": "yesterday"}, "as_of"),
    ],
)
def test_wrong_prices_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Price(**wrong)


def test_options_take_a_price():
    # What is not told apart costs as much as the rest.
    assert ProviderOptions(price=Price(1, 2)).price == Price(1, 2, cached_input=1)
    assert ProviderOptions(price={"input": 1, "output": 2}).price == Price(1, 2, cached_input=1)
    assert ProviderOptions(price=Price(1, 2, cached_input=0.5)).price.cached_input == 0.5
    assert ProviderOptions().price is None
    with pytest.raises(ValidationError, match="price"):
        ProviderOptions(price=3)
