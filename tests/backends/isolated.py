"""A backend's own suite again, on the same weights, with its engine in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

import blazen
from blazen.isolation.model import isolate
from blazen.isolation.worker import rss_of
from blazen.options.isolation import Isolation
from blazen.testing.local import LocalSuite
from blazen.testing.streaming import StreamSuite
from tests.backends.briefly import OneWay


def apart(model: Any, **settings: Any) -> Any:
    """Give a model like this one, in a process of its own."""
    return isolate(model, Isolation(**settings))


class Apart(LocalSuite):
    """Comes before a suite's class among the bases of another one, which says nothing more."""

    like: ClassVar[str] = "loaded"
    """The fixture that gives the model of the suite; it need not be loaded for this."""

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, request: pytest.FixtureRequest) -> Any:
        model = apart(request.getfixturevalue(cls.like))
        yield model
        blazen.blocking(model).unload()

    def memory_now(self) -> int:
        """Count all that this process and its workers hold."""
        children = psutil.Process().children(recursive=True)
        return super().memory_now() + sum(rss_of(child.pid) or 0 for child in children)

    # How broken each of them is, the suite itself tells in this process. Here it is an error that
    # crosses, and each takes three processes: one that is raised before there is an engine, and
    # one that the engine raises, mean all that is new.
    @pytest.mark.parametrize("what", ["a missing file", "noise"])
    def test_broken_weights_are_refused(
        self, broken_model: Callable[[Path], Any] | None, tmp_path: Path, what: str
    ) -> None:
        """The error crosses as what it is."""
        made = broken_model and (lambda path: apart(broken_model(path)))
        super().test_broken_weights_are_refused(made, tmp_path, what)


class ApartStreams(Apart, OneWay, StreamSuite, LocalSuite):
    """The same for suites of answers in pieces."""


class ApartVoice(ApartStreams):
    """The suite of a voice, with one that is fast of itself.

    Options are read where the engine is: a test can't change them from here.
    """

    like = "quick"

    async def test_speed_is_kept_or_refused(self, model):
        slow, fast = [await model.speak(self.sentence, {"speed": speed}) for speed in (1.0, 2.0)]
        assert fast.duration < slow.duration * 0.8
