"""A suite once more for the same backend, without what is the same whatever the model holds."""

from __future__ import annotations

from typing import Any

import pytest

from blazen.testing.streaming import StreamSuite


class Briefly:
    """Comes before a suite's class: the lifecycle is shown by the backend's whole suite."""

    test_load_and_unload_are_idempotent = None
    test_a_model_can_be_entered = None
    test_loads_unloads_and_requests_at_once = None
    test_a_load_can_be_cancelled = None
    test_progress_of_a_load_only_grows = None
    test_unload_gives_memory_back = None
    test_no_thread_survives_unload = None
    test_broken_weights_are_refused = None


class OneByOne:
    """Comes before it too, for a model that answers one at a time: the others wait for any alike.

    The backend's whole suite has them wait.
    """

    test_concurrent_requests_each_get_their_own_answer = None
    test_two_loops_at_once = None
    test_a_request_cancelled_at_once_frees_the_model = None
    test_streams_left_early_do_not_touch_the_others = None


class OneWay(StreamSuite):
    """Comes before it too: in how many ways a stream is begun and left, the whole suite shows.

    They are ways of one object, which says but two things to an engine: it is awaited that this
    one stops, or a finalizer tells it to.
    """

    @pytest.mark.parametrize("way", ["aclose"])
    def test_leaving_a_stream_frees_the_model(self, model: Any, way: str) -> None:
        """The engine hears of it, and answers the next request."""
        super().test_leaving_a_stream_frees_the_model(model, way)

    @pytest.mark.parametrize("way", ["drop"])
    def test_leaving_a_stream_stops_the_engine(self, model: Any, way: str) -> None:
        """The engine works no further."""
        super().test_leaving_a_stream_stops_the_engine(model, way)

    @pytest.mark.parametrize("way", ["read it at once"])
    def test_a_stream_begins_in_any_way(self, model: Any, way: str) -> None:
        """How it is begun makes no difference to the engine."""
        super().test_a_stream_begins_in_any_way(model, way)
