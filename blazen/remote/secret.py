"""Keys and tokens, held so that they show up nowhere."""

from __future__ import annotations

import hmac
import os
import re
from typing import TYPE_CHECKING, Any

from blazen.errors import ValidationError

if TYPE_CHECKING:
    from typing_extensions import Self

_HIDDEN = "…"
_SHORT = 6


class Secret:
    """A key that prints as dots: only `reveal` gives it.

    It has no JSON form. It pickles only where it came from the environment, as the name of its
    variable; one that was given by hand has to be given again.
    """

    __slots__ = ("_value", "_variable")

    def __init__(self, value: str, *, variable: str | None = None) -> None:
        # A message about a key must never hold it: so these say only what is wrong.
        if not isinstance(value, str):
            raise ValidationError(f"a key is a text, not {type(value).__name__}")
        value = value.strip()
        origin = f" (from {variable})" if variable else ""
        if not value:
            raise ValidationError(f"the key is empty{origin}: leave it out to send none")
        if not (value.isascii() and value.isprintable()):
            raise ValidationError(
                f"the key{origin} holds characters that no header can carry: copy it again"
            )
        self._value = value
        self._variable = variable

    @classmethod
    def of(cls, value: str | Self | None, *, variable: str | None = None) -> Self | None:
        """Take a key, or else what the environment variable holds, or else none."""
        if value is not None:
            return value if isinstance(value, cls) else cls(value)  # type: ignore[arg-type]  # checked there
        found = os.environ.get(variable, "").strip() if variable else ""
        return cls(found, variable=variable) if found else None

    def reveal(self) -> str:
        """Give the key itself, for the request that needs it."""
        return self._value

    def hidden_in(self, text: str) -> str:
        """Give a text without the key: servers like to repeat it in their refusals."""
        if len(self._value) >= _SHORT:
            return text.replace(self._value, _HIDDEN)
        # So short a header is no key, and would be a part of many a word and number.
        return re.sub(rf"(?<!\w){re.escape(self._value)}(?!\w)", _HIDDEN, text)

    def __repr__(self) -> str:
        return f"Secret({_HIDDEN})"

    def __str__(self) -> str:
        return _HIDDEN

    def __format__(self, spec: str) -> str:
        return format(_HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._variable is None:
            raise ValidationError(
                "a key is not pickled: keep it in an environment variable, and each process reads "
                "it there"
            )
        return _from_environment, (self._variable,)


def _from_environment(variable: str) -> Secret:
    return Secret(os.environ.get(variable, ""), variable=variable)
