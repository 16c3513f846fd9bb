"""The simulator: what it counts is right, and its optimum is what no choice can beat."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazen.errors import ValidationError
from blazen.manager import ModelManager, ReloadCost, traces
from blazen.manager.simulation.optimum import find_optimum
from blazen.manager.simulation.report import SimulationReport, Waits
from blazen.manager.simulation.simulator import simulate
from blazen.manager.simulation.traces import Request, SimulatedModel, Trace
from blazen.types.footprint import Footprint

GIB = 2**30


def model(name, size=1, load=1.0, unload=0.0, **more):
    return SimulatedModel(name, {"cpu": size * GIB}, load, unload, **more)


def run(models, requests, gib, *arguments, **settings):
    return simulate([*models, *requests], {"cpu": gib * GIB}, *arguments, **settings)


def apart(order, seconds=1.0, every=100.0):
    """Requests so far apart that each has ended, with its load, before the next."""
    return [Request(place * every, name, seconds) for place, name in enumerate(order)]


def per_model(report, what):
    return {used.id: getattr(used, what) for used in report.models}


# What it counts


def test_a_request_waits_for_its_load_and_the_next_does_not():
    report = run([model("a", load=3.0)], [Request(0, "a", 1), Request(10, "a", 2)], 1)
    assert (report.answered, report.loads, report.evictions) == (2, 1, 0)
    assert report.waits == Waits(count=1, mean=1.5, p50=0.0, p95=3.0, longest=3.0)
    assert report.makespan == 12
    assert report.busy_share == pytest.approx(3 / 12)
    assert report.bytes_loaded == GIB


def test_one_load_serves_all_who_wait():
    report = run([model("a", load=3.0)], [Request(at, "a", 5) for at in (0, 1, 2)], 1)
    assert report.loads == 1
    assert [report.waits.longest, report.waits.mean] == [3.0, 2.0]
    assert report.makespan == 8


def test_the_least_recently_used_goes_and_its_unload_takes_time():
    models = [model(name, load=2.0, unload=0.5) for name in "abc"]
    report = run(models, apart("abac"), 2)
    assert per_model(report, "evictions") == {"a": 0, "b": 1, "c": 0}
    assert per_model(report, "loads") == {"a": 1, "b": 1, "c": 1}
    assert report.waits.longest == 2.5


def test_a_model_in_use_is_waited_for():
    models = [model("a"), model("b")]
    report = run(models, [Request(0, "a", 10), Request(2, "b", 1)], 1)
    assert report.models[1].waits.longest == pytest.approx(1 + 10 - 2 + 1)
    assert report.makespan == 13


def test_independent_loads_run_at_once():
    report = run([model("a", load=5), model("b", load=5)], [Request(0, n, 1) for n in "ab"], 2)
    assert report.makespan == 6


def test_the_use_of_pools_has_the_peak_of_a_load_and_the_mean_over_time():
    heavy = SimulatedModel("a", Footprint({"cpu": GIB}, {"cpu": 3 * GIB}), 1.0)
    report = simulate([heavy, Request(5, "a", 3)], {"cpu": 4 * GIB, "gpu:0": GIB})
    cpu, gpu = report.pools
    assert (cpu.budget, cpu.peak) == (4 * GIB, 3 * GIB)
    assert cpu.mean == pytest.approx((3 * 1 + 1 * 3) / 4 * GIB)
    assert (gpu.peak, gpu.mean) == (0, 0)


def test_a_model_over_two_pools_is_charged_to_both():
    both = SimulatedModel("a", {"cpu": "1GiB", "gpu:0": "2GiB"})
    other = SimulatedModel("b", {"gpu:0": "2GiB"})
    report = simulate([both, other, *apart("aba")], {"cpu": "8GiB", "gpu:0": "3GiB"})
    assert report.loads == 3
    assert report.bytes_loaded == (3 + 2 + 3) * GIB
    assert [pool.peak for pool in report.pools] == [GIB, 2 * GIB]


def test_a_model_that_can_never_fit_is_refused_and_the_rest_goes_on():
    report = run([model("a"), model("big", 5)], [*apart("ab", 1)[:1], Request(1, "big", 1)], 2)
    assert (report.requests, report.answered, report.refused) == (2, 1, 1)
    assert report.optimum.loads_at_least == 1
    assert per_model(report, "refused") == {"a": 0, "big": 1}


def test_no_more_wait_than_may():
    requests = [Request(0, "a", 1), Request(0.1, "a", 1), Request(0.2, "a", 1)]
    report = run([model("a")], requests, 1, max_waiting=2)
    assert (report.answered, report.refused) == (2, 1)


def test_who_waits_too_long_is_late_and_a_load_that_nobody_wants_is_stopped():
    models = [model("a", load=10, unload=1), model("b", load=1)]
    requests = [Request(0, "a", 1), Request(3, "b", 1)]
    report = run(models, requests, 1, timeout=2)
    assert (report.answered, report.late) == (1, 1)
    assert per_model(report, "loads") == {"a": 0, "b": 1}
    assert report.models[1].waits.longest == 1
    assert report.makespan == 5


def test_who_comes_while_a_load_is_stopped_has_it_loaded_after_all():
    slow = model("a", load=10, unload=2)
    report = run([slow], [Request(0, "a", 1), Request(4, "a", 1)], 1, timeout=20)
    assert report.late == 0
    late = simulate(
        [slow, Request(0, "a", 1), Request(3, "a", 1, client="x")], {"cpu": GIB}, timeout=2.5
    )
    assert late.late == 2
    assert late.loads == 0


def test_a_model_goes_after_its_keep_alive():
    models = [model("a", keep_alive=5.0), model("b")]
    report = run(models, [Request(0, "a", 1), Request(4, "a", 1), Request(30, "a", 1)], 2)
    assert (report.loads, report.idle_unloads, report.evictions) == (2, 1, 0)


def test_a_pinned_model_stays():
    models = [model("a", pinned=True), model("b"), model("c")]
    report = run(models, apart("abcbcba"), 2)
    assert per_model(report, "loads")["a"] == 1
    assert report.loads == report.optimum.loads_at_most == 6


def test_a_higher_priority_goes_first():
    models = [model("a"), model("low"), model("high", priority=1)]
    requests = [Request(0, "a", 10), Request(1, "low", 1), Request(2, "high", 1)]
    by_model = per_model(run(models, requests, 1), "waits")
    assert by_model["high"].longest < by_model["low"].longest
    requests[1] = Request(1, "low", 1, priority=5)
    by_model = per_model(run(models, requests, 1), "waits")
    assert by_model["high"].longest > by_model["low"].longest


def test_cores_hold_back_what_would_run_at_once():
    models = [model("a", threads=2), model("b", threads=2)]
    loading = [Request(0, "a", 0), Request(0, "b", 0)]
    requests = [*loading, Request(5, "a", 10), Request(5, "b", 10)]
    assert run(models, requests, 2).makespan == 15
    assert run(models, requests, 2, cores=2).makespan == 25


def test_requests_of_a_client_follow_each_other():
    requests = [Request(0, "a", 2, client="x"), Request(0, "a", 2, client="x")]
    assert run([model("a")], requests, 1).makespan == 5
    requests.append(Request(50, "a", 2, client="x"))
    report = run([model("a")], requests, 1)
    assert report.makespan == 52
    assert report.waits.count == 1


def test_a_client_goes_on_after_a_refusal():
    requests = [Request(0, "big", 2, client="x"), Request(0, "a", 2, client="x")]
    report = run([model("a"), model("big", 9)], requests, 1)
    assert (report.answered, report.refused) == (1, 1)


def test_another_policy_decides_otherwise():
    """A small model is dear and a large one cheap: what is dear to reload stays."""
    models = [model("dear", load=60), model("cheap", load=0.1), model("new")]
    requests = apart(["dear", "cheap", "new"])
    assert per_model(run(models, requests, 2), "evictions")["dear"] == 1
    assert per_model(run(models, requests, 2, ReloadCost()), "evictions")["cheap"] == 1

    def newest(snapshot, need):
        return reversed(snapshot.holdings)

    report = run(models, requests, 2, newest)
    assert report.policy == "newest"
    assert per_model(report, "evictions")["cheap"] == 1


def test_an_empty_trace_has_an_empty_report():
    report = run([model("a")], [], 1)
    assert (report.requests, report.makespan, report.busy_share) == (0, 0, 0)
    assert report.requests_per_second == 0
    assert report.loads_over_optimum == 0
    assert "0 answered" in str(report)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pools": {}}, "a manager needs a budget"),
        ({"pools": {"ram": 1}}, "a pool is 'cpu' or 'gpu:N'"),
        ({"pools": {"gpu:0": 1}}, "the manager has no budget for it"),
        ({"cores": 0}, "cores must be at least 1"),
        ({"timeout": -1}, "timeout must be at least 0"),
        ({"max_waiting": 0}, "max_waiting must be at least 1"),
    ],
)
def test_settings_that_can_not_be_right_are_refused(arguments, message):
    with pytest.raises(ValidationError, match=message):
        simulate([model("a")], **{"pools": {"cpu": GIB}, **arguments})


def test_a_report_goes_to_json_and_back_and_prints_for_people():
    report = simulate(traces.zipf(15, 200), {"cpu": "16GiB"})
    assert SimulationReport.from_json(report.to_json()) == report
    text = str(report)
    assert "policy          least_recently_used" in text
    assert f"loads           {report.loads}, " in text
    assert "(Belady)" in text
    assert "and 3 models with fewer loads" in text
    assert max(map(len, text.splitlines())) < 100
    mixed = simulate(traces.one_huge(15, 200), {"cpu": "40GiB"})
    assert "(bounds)" in str(mixed)


def test_the_waits_are_summed_up_by_rank():
    waits = Waits.of([5.0, 0.0, 1.0, 2.0, *[0.0] * 16])
    assert waits == Waits(count=3, mean=0.4, p50=0.0, p95=2.0, longest=5.0)


# The same decisions as the manager's


class Counted:
    """A model that loads at once, and counts."""

    device = "cpu"
    memory_bytes = None

    def __init__(self):
        self.is_loaded = False
        self.loads = 0

    async def load(self):
        self.is_loaded = True
        self.loads += 1

    async def unload(self):
        self.is_loaded = False

    async def embed(self, texts):
        return texts


@pytest.mark.parametrize("policy", [None, ReloadCost()], ids=["lru", "reload cost"])
async def test_a_manager_loads_what_the_simulator_says(policy):
    chosen = {} if policy is None else {"policy": policy}
    now = [0.0]
    trace = traces.zipf(traces.models(12, "1GiB", largest="5GiB", seed=2), 300, seconds=0, seed=9)
    # Far enough apart that each has ended before the next; loads take no time on this clock.
    order = [request.model for request in trace.requests]
    models = [
        SimulatedModel(model.id, model.footprint, load_seconds=0.0, unload_seconds=0.0)
        for model in trace.models
    ]
    report = simulate([*models, *apart(order, seconds=0.0)], {"cpu": "10GiB"}, **chosen)

    real = {model.id: Counted() for model in trace.models}
    manager = ModelManager(pools={"cpu": "10GiB"}, measure=False, clock=lambda: now[0], **chosen)
    for model in trace.models:
        await manager.register(model.id, real[model.id], footprint=model.takes)
    for place, name in enumerate(order):
        now[0] = place * 100.0
        assert await manager.embed(name, "x") == "x"
    assert {name: one.loads for name, one in real.items()} == per_model(report, "loads")
    assert report.evictions > 50


# The optimum


def fewest(order, sizes, budget, cost):
    """Try every choice: the least cost of serving models in this order."""
    states = {frozenset(): 0}
    for name in order:
        following = {}
        for there, paid in states.items():
            price = paid + (0 if name in there else cost(name))
            others = sorted(there - {name})
            for count in range(len(others) + 1):
                for stay in itertools.combinations(others, count):
                    if sum(sizes[one] for one in stay) + sizes[name] <= budget:
                        state = frozenset({name, *stay})
                        following[state] = min(price, following.get(state, price))
        states = following
    return min(states.values())


sizes_of_models = st.dictionaries(
    st.sampled_from("abcdef"), st.integers(1, 5), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_the_optimum_lies_between_its_bounds(data):
    sizes = data.draw(sizes_of_models)
    budget = data.draw(st.integers(max(sizes.values()), 12))
    order = data.draw(st.lists(st.sampled_from(sorted(sizes)), max_size=12))
    footprints = {name: Footprint({"cpu": size}) for name, size in sizes.items()}
    found = find_optimum(order, footprints, {"cpu": budget})
    loads = fewest(order, sizes, budget, lambda name: 1) if order else 0
    moved = fewest(order, sizes, budget, sizes.__getitem__) if order else 0
    assert found.loads_at_least <= loads <= found.loads_at_most
    assert found.bytes_at_least <= moved


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from("abcdef"), max_size=14),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 2),
)
def test_with_models_of_one_size_the_optimum_is_exact(order, places, size, spare):
    budget = places * size + min(spare, size - 1)
    sizes = dict.fromkeys("abcdef", size)
    footprints = dict.fromkeys("abcdef", Footprint({"cpu": size, "gpu:0": 1}))
    found = find_optimum(order, footprints, {"cpu": budget, "gpu:0": 100})
    assert found.is_exact
    if order:
        assert found.loads_at_least == fewest(order, sizes, budget, lambda name: 1)


def test_belady_of_a_textbook_sequence():
    order = list("70120304230321201701")
    footprints = dict.fromkeys("0123457", Footprint({"cpu": 1}))
    found = find_optimum(order, footprints, {"cpu": 3})
    assert (found.loads_at_least, found.loads_at_most, found.bytes_at_least) == (9, 9, 9)


def test_the_bytes_of_the_optimum_keep_parts():
    footprints = {"a": Footprint({"cpu": 6}), "b": Footprint({"cpu": 6})}
    found = find_optimum(list("abab"), footprints, {"cpu": 10})
    assert (found.loads_at_least, found.loads_at_most) == (4, 4)
    assert found.bytes_at_least == 6 + 6 + 2 + 2


def test_the_tightest_of_several_pools_counts():
    footprints = dict.fromkeys("abc", Footprint({"cpu": 1, "gpu:0": 4}))
    found = find_optimum(list("abcabc"), footprints, {"cpu": 100, "gpu:0": 8})
    assert (found.loads_at_least, found.loads_at_most) == (4, 4)


def test_the_achievable_number_has_room_for_load_peaks_and_requests():
    peak = Footprint({"cpu": 1}, {"cpu": 3})
    found = find_optimum(list("abab"), {"a": peak, "b": peak}, {"cpu": 3})
    assert (found.loads_at_least, found.loads_at_most) == (2, 4)
    working = Footprint({"cpu": 1}, per_request={"cpu": 2})
    found = find_optimum(list("abab"), {"a": working, "b": working}, {"cpu": 3})
    assert found.loads_at_most == 4


def test_served_together_is_better_than_the_best_in_order():
    """Requests that wait for one model share its load: no order of arrival can do that."""
    requests = [Request(0.01 * place, "ab"[place % 2], 0.1) for place in range(20)]
    report = run([model("a"), model("b")], requests, 1)
    assert report.loads < report.optimum_as_asked.loads_at_least == 20
    assert report.loads >= report.optimum.loads_at_least


# Whatever the trace


@st.composite
def some_traces(draw):
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True))
    amounts = st.dictionaries(st.sampled_from(["cpu", "gpu:0"]), st.integers(1, 6))
    seconds = st.sampled_from([0.0, 0.5, 1.0, 3.0])
    models = [
        SimulatedModel(
            name,
            Footprint(draw(amounts), draw(amounts), draw(st.one_of(st.just({}), amounts))),
            draw(seconds),
            draw(seconds),
            pinned=draw(st.integers(0, 9)) == 0,
            keep_alive=draw(st.sampled_from([None, None, 0, 2.0])),
            priority=draw(st.integers(0, 1)),
            threads=draw(st.integers(0, 3)),
        )
        for name in names
    ]
    requests = draw(
        st.lists(
            st.builds(
                Request,
                st.integers(0, 30).map(lambda at: at / 2),
                st.sampled_from(names),
                seconds,
                st.sampled_from([None, None, 0, 2]),
                st.sampled_from(["", "", "x", "y"]),
            ),
            max_size=30,
        )
    )
    return Trace(tuple(models), tuple(requests))


@settings(deadline=None, max_examples=300)
@given(
    some_traces(),
    st.sampled_from([None, 1.0, 4.0]),
    st.sampled_from([None, 2, 4]),
    st.sampled_from([None, ReloadCost()]),
)
def test_every_request_ends_within_every_budget(trace, timeout, cores, policy):
    pools = {"cpu": 10, "gpu:0": 8}
    chosen = {} if policy is None else {"policy": policy}
    report = simulate(trace, pools, timeout=timeout, cores=cores, **chosen)
    assert report.requests == len(trace.requests)
    assert report.answered + report.refused + report.late == report.requests
    assert all(pool.mean <= pool.peak <= pool.budget for pool in report.pools)
    assert report.loads >= report.optimum.loads_at_least
    assert report.bytes_loaded >= report.optimum.bytes_at_least
    assert report.optimum.loads_at_most >= report.optimum.loads_at_least
    assert 0 <= report.busy_share <= 1 + 1e-9
    assert simulate(trace, pools, timeout=timeout, cores=cores, **chosen) == report
    if timeout is not None:
        assert report.waits.longest <= timeout
