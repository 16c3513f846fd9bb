"""Options that every cloud provider shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from blazen.checks import parse_bytes
from blazen.errors import ValidationError
from blazen.remote.keys import check_header
from blazen.remote.prices import Price
from blazen.remote.retry import Retry
from blazen.remote.secret import Secret
from blazen.remote.timeouts import Timeouts
from blazen.remote.url import check_base_url

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class ProviderOptions:
    """A model that a cloud provider runs."""

    model: str | None = None
    """Its name at the provider; ``None`` is the provider's default here."""
    _: KW_ONLY
    api_key: str | Secret | None = None
    """The key; without one, the provider's environment variable is looked up."""
    base_url: str | None = None
    """Another place that speaks the same API."""
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    """Further headers, which are kept as secret as the key."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of each request, as the provider's API names them."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: Retry = field(default_factory=Retry)
    max_bytes: int | str = "32MiB"
    """The largest answer that is accepted."""
    allow_http: bool = False
    """Send the key over plain HTTP to another machine too."""
    price: Price | None = None
    """What the model costs, where blazen does not know it, or you pay another price."""

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # frozen: only what was given in another form is replaced
        set_field(self, "api_key", Secret.of(self.api_key))
        set_field(self, "timeouts", Timeouts.of(self.timeouts))
        set_field(self, "retry", Retry.of(self.retry))
        set_field(self, "max_bytes", parse_bytes("max_bytes", self.max_bytes))
        set_field(self, "headers", _secret(self.headers))
        if not isinstance(self.body, Mapping) or not all(isinstance(key, str) for key in self.body):
            raise ValidationError("body must be a dictionary of the request's further fields")
        if isinstance(self.price, Mapping):
            set_field(self, "price", Price.from_dict(self.price))
        elif not isinstance(self.price, (Price, type(None))):
            raise ValidationError(f"price must be a Price, not {self.price!r:.60}")
        if self.price is not None and self.price.cached_input is None:
            # Whoever gives a price for input means all of it, unless there is a word on the rest.
            set_field(self, "price", replace(self.price, cached_input=self.price.input))
        if self.base_url is not None:
            check_base_url(self.base_url, carries_key=False)

    @classmethod
    def widened(cls, options: ProviderOptions) -> Self:
        """Give these options as this class, which may have more of them."""
        if isinstance(options, cls):
            return options
        if not isinstance(options, ProviderOptions) or not issubclass(cls, type(options)):
            raise ValidationError(
                f"expected {cls.__name__} or ProviderOptions, not {options!r:.80}"
            )
        # What was left at its default takes the default of this class, which may be another.
        usual = ProviderOptions()
        given = {one.name: getattr(options, one.name) for one in fields(ProviderOptions)}
        return cls(
            **{name: value for name, value in given.items() if value != getattr(usual, name)}
        )


def _secret(headers: object) -> dict[str, Secret]:
    # A value may be secret: it is not shown.
    if not isinstance(headers, Mapping) or not all(
        isinstance(value, (str, Secret)) for value in headers.values()
    ):
        raise ValidationError("headers must be a dictionary of texts")
    for name in headers:
        check_header(name)
    return {
        name: Secret(value) if isinstance(value, str) else value for name, value in headers.items()
    }
