"""Who goes for a need: never too few, never one too many, and in the order that was asked for."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from blazen.manager.policy import Holding, ReloadCost, Snapshot, choose, least_recently_used

POOLS = ("cpu", "gpu:0")

amounts = st.dictionaries(st.sampled_from(POOLS), st.integers(1, 10))


@st.composite
def snapshots(draw):
    holdings = [
        Holding(
            f"m{number}",
            draw(amounts),
            draw(st.booleans()),
            draw(st.integers(0, 2)),
            float(number),
            0.0,
            draw(st.integers(0, 5)),
            draw(st.sampled_from([0.0, 0.1, 10.0])),
            draw(st.integers(0, 40)),
        )
        for number in range(draw(st.integers(0, 7)))
    ]
    room = {pool: draw(st.integers(-10, 10)) for pool in POOLS}
    return Snapshot(100.0, room, holdings)


def fails(snapshot, need):
    raise RuntimeError("not today")


def says_twice(snapshot, need):
    return [*snapshot.holdings, *snapshot.holdings]


def forgets(snapshot, need):
    return snapshot.holdings[1::2]


def invents(snapshot, need):
    stranger = Holding("stranger", {"cpu": 99, "gpu:0": 99}, False, 0, 0.0, 0.0, 0, 0.0, 0)
    return [stranger, *snapshot.holdings]


def gives_rubbish(snapshot, need):
    return [None, 7]


MISTAKEN = (fails, says_twice, forgets, invents, gives_rubbish)
policies = st.sampled_from([least_recently_used, ReloadCost(), *MISTAKEN])


def freed(snapshot, chosen, pool):
    return snapshot.room[pool] + sum(holding.charges.get(pool, 0) for holding in chosen)


def enough(snapshot, chosen, need):
    return all(freed(snapshot, chosen, pool) >= size for pool, size in need.items())


@given(snapshots(), amounts, policies)
def test_it_is_enough_or_nothing_would_be(snapshot, need, policy):
    chosen = choose(snapshot, need, policy)
    if chosen is None:
        assert not enough(snapshot, snapshot.holdings, need)
    else:
        assert enough(snapshot, chosen, need)
        assert len({holding.id for holding in chosen}) == len(chosen)


@given(snapshots(), amounts, policies)
def test_nobody_goes_who_could_stay(snapshot, need, policy):
    for holding in (chosen := choose(snapshot, need, policy) or ()):
        assert not enough(snapshot, [other for other in chosen if other is not holding], need)


@given(snapshots(), amounts, policies)
def test_nobody_in_use_or_of_a_higher_priority_goes_where_others_would_do(snapshot, need, policy):
    chosen = choose(snapshot, need, policy) or ()
    for key in {(holding.busy, holding.priority) for holding in chosen}:
        lower = [h for h in snapshot.holdings if (h.busy, h.priority) < key]
        assert not enough(snapshot, lower, need)


@given(snapshots(), amounts, policies)
def test_the_same_state_has_the_same_answer_and_is_left_alone(snapshot, need, policy):
    before = [(holding, dict(holding.charges)) for holding in snapshot.holdings]
    room = dict(snapshot.room)
    assert choose(snapshot, need, policy) == choose(snapshot, need, policy)
    assert [(holding, dict(holding.charges)) for holding in snapshot.holdings] == before
    assert snapshot.room == room


@given(snapshots(), amounts)
def test_of_equals_the_least_recently_used_goes(snapshot, need):
    same = [
        holding._replace(charges={"cpu": 2}, busy=False, priority=0)
        for holding in snapshot.holdings
    ]
    chosen = choose(
        Snapshot(100.0, snapshot.room, same), {"cpu": need.get("cpu", 1)}, least_recently_used
    )
    if chosen:
        assert list(chosen) == same[: len(chosen)]


def held(name, size, **facts):
    base = Holding(name, {"cpu": size}, False, 0, 0.0, 0.0, 1, 1.0, 0)
    return base._replace(**facts)


def test_what_is_slow_to_bring_back_stays():
    slow, fast = held("slow", 4, load_seconds=60.0), held("fast", 4, used_at=9.0)
    snapshot = Snapshot(10.0, {"cpu": 0}, [slow, fast])
    assert choose(snapshot, {"cpu": 4}, least_recently_used) == (slow,)
    assert choose(snapshot, {"cpu": 4}, ReloadCost()) == (fast,)


def test_what_keeps_coming_back_becomes_worth_more():
    chosen = []
    for reloads in itertools.count():
        thrashing = held("thrashing", 4, reloads=reloads)
        snapshot = Snapshot(10.0, {"cpu": 0}, [thrashing, held("other", 4, load_seconds=5.0)])
        chosen.append(choose(snapshot, {"cpu": 4}, ReloadCost())[0].id)
        if chosen[-1] == "other":
            break
    assert chosen[0] == "thrashing"
    assert len(chosen) < 5


def test_room_of_another_pool_is_no_help():
    other = held("gpu", 4)._replace(charges={"gpu:0": 8})
    snapshot = Snapshot(0.0, {"cpu": 0, "gpu:0": 0}, [other])
    assert choose(snapshot, {"cpu": 4}, least_recently_used) is None


def test_a_mistaken_policy_still_has_those_that_are_there_go():
    holdings = [Holding(f"m{n}", {"cpu": 1}, False, 0, n, 0.0, 1, 1.0, 0) for n in range(3)]
    snapshot = Snapshot(9.0, {"cpu": 0, "gpu:0": 0}, holdings)
    for policy in MISTAKEN:
        chosen = choose(snapshot, {"cpu": 3}, policy)
        assert sorted(holding.id for holding in chosen) == ["m0", "m1", "m2"], policy
    assert [holding.id for holding in choose(snapshot, {"cpu": 1}, forgets)] == ["m1"]
