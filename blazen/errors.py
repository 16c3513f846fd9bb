"""Every error that blazen raises.

::

    BlazenError
    ├── ValidationError            a value that can't be right (also a ValueError)
    ├── UnsupportedError           right, but not for this model or backend
    ├── UnknownBackendError        no backend of that name (also a LookupError)
    ├── MissingExtraError          known, but its engine is not installed (also an ImportError)
    ├── ModelNotFoundError         no such file, repository or starter model
    ├── DownloadError              weights did not arrive
    ├── LoadError                  the engine could not load the model
    ├── InferenceError             the engine failed while it worked
    ├── BackendCrashedError        the worker process of an engine died, and its request with it
    ├── OutputError                the answer is not of the shape that was asked for
    ├── BudgetError                it does not fit into the memory that was allowed
    ├── ContextLengthError         the prompt is longer than the model's context
    ├── TimeoutError               it took longer than was allowed (also the built-in TimeoutError)
    └── ProviderError              a remote provider refused or failed
        ├── AuthError              the key is missing, wrong or not allowed to do this
        └── RateLimitError         too many requests

A message says what was wrong, with which value, and what to do. An engine's own exception is always
the ``__cause__``.
"""

from __future__ import annotations

import builtins


class BlazenError(Exception):
    """The root: ``except BlazenError`` catches whatever blazen raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions pickle by calling the class with ``args``, which keyword-only fields defeat.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    cls: type[BlazenError], args: tuple[object, ...], state: dict[str, object]
) -> BlazenError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ValidationError(BlazenError, ValueError):
    """A value that can't be right, whatever the model."""


class UnsupportedError(BlazenError):
    """A request that is well formed, but that this model or backend can't serve."""


class UnknownBackendError(BlazenError, LookupError):
    """No backend of that name is registered."""


class MissingExtraError(BlazenError, ImportError):
    """The thing is known, but the package that it runs on is not installed."""


class ModelNotFoundError(BlazenError):
    """The path, repository, URL or starter name leads to no model."""


class DownloadError(BlazenError):
    """Weights could not be fetched, or what arrived is not what was asked for."""


class LoadError(BlazenError):
    """The engine could not load the model."""


class InferenceError(BlazenError):
    """The engine failed while it worked on a request."""


class BackendCrashedError(BlazenError):
    """The worker process of an engine died, or was ended because it hung.

    The next request starts another. ``output`` holds the last lines that it printed.
    """

    def __init__(
        self, message: str, *, signal: int | None = None, code: int | None = None, output: str = ""
    ) -> None:
        super().__init__(message)
        self.signal = signal
        """The signal that it died of, if it was one."""
        self.code = code
        """The code that it ended with, if it ended."""
        self.output = output


class OutputError(BlazenError):
    """The answer is not of the shape that was asked for; ``text`` is what came.

    It was cut by ``max_tokens``, or the model can't be held to a shape and went its own way.
    """

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(message)
        self.text = text


class BudgetError(BlazenError):
    """The model does not fit into the memory that it was allowed."""


class ContextLengthError(BlazenError):
    """The prompt, with what it may generate, is longer than the model's context.

    ``tokens`` and ``limit`` are ``None`` where a provider does not tell them.
    """

    def __init__(
        self, message: str, *, tokens: int | None = None, limit: int | None = None
    ) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.limit = limit


class TimeoutError(BlazenError, builtins.TimeoutError):  # noqa: A001 - the name that users expect
    """It took longer than was allowed."""


class ProviderError(BlazenError):
    """A remote provider refused a request or failed at it."""

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after


class AuthError(ProviderError):
    """The provider did not accept the key, or the key may not do this."""


class RateLimitError(ProviderError):
    """The provider asks for fewer requests; ``retry_after`` says when, if it told."""
