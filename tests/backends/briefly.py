"""A suite once more for the same backend, without what is the same whatever the model holds."""

from __future__ import annotations


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
