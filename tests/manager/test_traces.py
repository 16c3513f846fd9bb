"""Traces: the generators give what they say, and a trace comes back from its file."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
from collections import Counter

import pytest

from blazen.errors import ValidationError
from blazen.manager import traces
from blazen.manager.simulation.traces import Request, SimulatedModel, Trace
from blazen.types.footprint import Footprint

GIB = 2**30
EVERY = [traces.zipf, traces.bursts, traces.day_and_night, traces.one_huge]

every = pytest.mark.parametrize("generator", EVERY, ids=lambda generator: generator.__name__)


def asked(trace):
    return Counter(request.model for request in trace.requests)


@every
def test_a_trace_is_the_same_for_the_same_seed_and_another_for_another(generator):
    assert generator(seed=3) == generator(seed=3)
    assert generator(seed=3).requests != generator(seed=4).requests


# The sum is over the file's text: that it is this one on every Python is the point.
@pytest.mark.parametrize(
    ("generator", "digest"),
    [
        (traces.zipf, "08b13904dc99ea84"),
        (traces.bursts, "4f2d928c47011b41"),
        (traces.day_and_night, "b8fb8c96c44fbd1e"),
        (traces.one_huge, "f3d8a078f105267c"),
    ],
)
def test_a_trace_is_the_same_on_every_python(generator, digest, tmp_path):
    trace = generator(traces.models(6, "1GiB", largest="8GiB", seed=1), 50, seed=5)
    trace.save(tmp_path / "trace.jsonl")
    text = (tmp_path / "trace.jsonl").read_bytes()
    assert hashlib.sha256(text).hexdigest()[:16] == digest


@every
def test_a_trace_has_what_was_asked_for(generator):
    trace = generator(7, 300, seconds=2.0)
    assert len(trace.models) == 7
    assert len(trace.requests) == 300
    assert set(asked(trace)) <= {model.id for model in trace.models}
    times = [request.at for request in trace.requests]
    assert times == sorted(times)
    assert sum(request.seconds for request in trace.requests) / 300 == pytest.approx(2.0, rel=0.2)


@every
def test_a_trace_takes_models_of_ones_own(generator):
    own = [SimulatedModel(name, {"gpu:0": "2GiB"}, 0.5) for name in ("a", "b", "c")]
    assert generator(own, 10).models == tuple(own)


@every
def test_no_requests_is_a_trace_too(generator):
    assert generator(requests=0).requests == ()


def test_zipf_asks_for_the_first_most_and_by_the_law():
    counts = asked(traces.zipf(10, 20_000, exponent=1.0))
    first, second, fourth = (counts[f"model-{number}"] for number in (0, 1, 3))
    assert first / second == pytest.approx(2, rel=0.1)
    assert first / fourth == pytest.approx(4, rel=0.1)


def test_zipf_of_exponent_zero_asks_for_all_alike():
    counts = asked(traces.zipf(4, 8000, exponent=0))
    assert max(counts.values()) / min(counts.values()) < 1.15


def test_zipf_comes_at_its_rate():
    last = traces.zipf(5, 5000, per_second=10).requests[-1]
    assert last.at == pytest.approx(500, rel=0.1)


def test_bursts_ask_for_one_model_many_times_and_pause():
    requests = traces.bursts(8, 200, burst=20, pause=1000, per_second=10).requests
    groups = [requests[start : start + 20] for start in range(0, 200, 20)]
    assert all(len({request.model for request in group}) == 1 for group in groups)
    assert len({group[0].model for group in groups}) > 1
    within = max(group[-1].at - group[0].at for group in groups)
    between = [b[0].at - a[-1].at for a, b in itertools.pairwise(groups)]
    assert within < 10
    assert sum(between) / len(between) > 100


def test_by_day_others_are_asked_for_than_by_night_and_more_often():
    trace = traces.day_and_night(10, 4000, days=3, night=0.1)
    by_day = {model.id for model in trace.models[:5]}

    def near(hour):
        return [r for r in trace.requests if abs(r.at / 3600 % 24 - hour) < 2]

    noon, night = near(12), [r for r in trace.requests if not 2 < r.at / 3600 % 24 < 22]
    assert len(noon) > 5 * len(night)
    assert sum(r.model in by_day for r in noon) > 0.9 * len(noon)
    assert sum(r.model in by_day for r in night) < 0.1 * len(night)
    assert 2.5 * 86_400 < trace.requests[-1].at < 3 * 86_400


def test_the_huge_one_is_as_large_and_as_rare_as_it_is_said_to_be():
    trace = traces.one_huge(12, 10_000, share=0.03)
    huge, *small = trace.models
    assert huge.takes.resident == {"cpu": 8 * small[0].takes.resident["cpu"]}
    assert huge.load_seconds == 8 * small[0].load_seconds
    assert asked(trace)[huge.id] == pytest.approx(300, rel=0.2)


def test_models_have_sizes_between_two_and_load_at_a_speed():
    every = traces.models(200, "1GiB", largest="16GiB", pool="gpu:1", bytes_per_second="4GiB")
    sizes = [model.takes.resident["gpu:1"] for model in every]
    assert GIB <= min(sizes) < 2 * GIB
    assert 8 * GIB < max(sizes) <= 16 * GIB
    assert sum(size < 4 * GIB for size in sizes) == pytest.approx(100, abs=25)
    assert all(
        model.load_seconds == pytest.approx(size / (4 * GIB), abs=1e-6)
        for model, size in zip(every, sizes, strict=True)
    )
    assert len({model.id for model in every}) == 200


def test_a_trace_comes_back_from_its_file(tmp_path):
    model = SimulatedModel(
        "a",
        Footprint({"cpu": GIB, "gpu:0": 5 * GIB}, {"cpu": 2 * GIB}, {"gpu:0": GIB // 2}),
        load_seconds=3.5,
        unload_seconds=0.0,
        pinned=True,
        keep_alive=60.0,
        priority=2,
        threads=4,
    )
    trace = Trace((model,), (Request(0.5, "a", 1.25, priority=3, client="c"), Request(1, "a", 2)))
    trace.save(tmp_path / "t.jsonl")
    assert Trace.from_file(tmp_path / "t.jsonl") == trace
    assert len((tmp_path / "t.jsonl").read_text("utf-8").splitlines()) == 3


def test_a_file_of_ones_own_may_be_in_any_order_and_name_sizes(tmp_path):
    (tmp_path / "own.jsonl").write_text(
        '{"at": 2, "model": "b", "seconds": 1}\n'
        '{"id": "b", "footprint": {"cpu": "2GiB"}}\n'
        "\n"
        '{"at": 1, "model": "b", "seconds": 1}\n',
        "utf-8",
    )
    trace = Trace.from_file(tmp_path / "own.jsonl")
    assert trace.models[0].takes == Footprint({"cpu": 2 * GIB})
    assert [request.at for request in trace.requests] == [1, 2]


def test_a_line_that_is_wrong_is_named(tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"id": "a", "footprint": {"cpu": 1}}\n{"at": -1, "model": "a", "seconds": 1}')
    with pytest.raises(ValidationError, match="line 2: at must be at least 0, not -1"):
        Trace.from_file(file)
    file.write_text('{"id": "a", "footprint": {"cpu": 1}, "colour": "red"}\n')
    with pytest.raises(ValidationError, match=r"line 1: .*unknown 'colour'"):
        Trace.from_file(file)
    file.write_text("not json\n")
    with pytest.raises(ValidationError, match="line 1: this is not JSON"):
        Trace.from_file(file)
    file.write_text("7\n")
    with pytest.raises(ValidationError, match="line 1"):
        Trace.from_file(file)


def test_a_trace_is_built_from_any_iterable_and_sorted_by_time():
    def items():
        yield Request(2, "a", 1)
        yield SimulatedModel("a", {"cpu": 1})
        yield Request(1, "a", 1)

    assert [request.at for request in Trace.of(items()).requests] == [1, 2]
    trace = Trace.of(items())
    assert Trace.of(trace) is trace
    assert Trace.of(list(trace)) == trace


def test_what_can_not_be_a_trace_says_why():
    model = SimulatedModel("a", {"cpu": 1})
    with pytest.raises(ValidationError, match="asks for 'b' and has no model of that name"):
        Trace.of([model, Request(0, "b", 1)])
    with pytest.raises(ValidationError, match="two models of the name 'a'"):
        Trace.of([model, model])
    with pytest.raises(ValidationError, match="made of SimulatedModel and Request, not 'a'"):
        Trace.of(["a"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimulatedModel("", {"cpu": 1}), "id is a text"),
        (lambda: SimulatedModel("a", {"ram": 1}), "a pool is 'cpu' or 'gpu:N'"),
        (lambda: SimulatedModel("a", {"cpu": 1}, load_seconds=-1), "load_seconds"),
        (lambda: Request(float("nan"), "a", 1), "at must be a number"),
        (lambda: Request(0, "a", -1), "seconds must be at least 0"),
        (lambda: traces.zipf(0), "count must be at least 1"),
        (lambda: traces.zipf([]), "at least 1 models"),
        (lambda: traces.zipf(per_second=0), "per_second must be more than 0"),
        (lambda: traces.zipf(exponent=-1), "exponent"),
        (lambda: traces.zipf(seed=0.5), "seed must be a whole number"),
        (lambda: traces.zipf(requests=-1), "requests"),
        (lambda: traces.one_huge(1), "at least 2 models"),
        (lambda: traces.one_huge(share=2), "share must be at most 1"),
        (lambda: traces.day_and_night(night=2), "night must be at most 1"),
        (lambda: traces.bursts(burst=0), "burst must be at least 1"),
        (lambda: traces.models(3, "4GiB", largest="1GiB"), "largest is '1GiB'"),
    ],
)
def test_what_can_not_be_right_is_refused(make, message):
    with pytest.raises(ValidationError, match=message):
        make()


def test_generating_needs_no_engine_and_no_numpy():
    code = (
        "import sys; from blazen.manager import traces; traces.zipf(); "
        "assert 'numpy' not in sys.modules, 'numpy was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
