"""The scheduler, driven by hand: order, fairness, room, cores, drains, retries and deadlocks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazen.errors import BudgetError, ValidationError
from blazen.manager.entries import Phase
from blazen.manager.line import PATIENCE
from blazen.types.footprint import Footprint
from tests.manager.walk import Tape, Walk
from tests.manager.world import World

# Order


def test_who_asks_first_has_the_model_first():
    world = World()
    holder = world.ask(world.add("a", 10, loaded=True))
    b, c = world.add("b", 10), world.add("c", 10)
    first, second = world.ask(c), world.ask(b)
    world.release(holder)
    world.settle()
    assert first.granted
    assert not second.granted
    world.release(first)
    world.settle()
    assert second.granted


def test_a_higher_priority_goes_first():
    world = World()
    holder = world.ask(world.add("a", 10, loaded=True))
    low = world.ask(world.add("b", 10))
    high = world.ask(world.add("c", 10), priority=3)
    world.release(holder)
    world.settle()
    assert (low.granted, high.granted) == (False, True)


def test_who_was_passed_often_enough_goes_before_every_priority():
    world = World()
    holder = world.ask(world.add("a", 10, loaded=True))
    low = world.ask(world.add("low", 10))
    high = [world.ask(world.add(f"h{n}", 10), priority=5) for n in range(PATIENCE + 3)]
    world.release(holder)
    served = []
    for _ in range(PATIENCE + 4):
        world.settle()
        (now,) = [ticket for ticket in (low, *high) if ticket.granted]
        served.append(now)
        world.release(now)
    assert served.index(low) <= PATIENCE
    assert len(set(served)) == PATIENCE + 4


def test_among_those_who_wait_for_one_model_a_higher_priority_goes_first():
    world = World({"cpu": 3})
    entry = world.add("a", Footprint({"cpu": 2}, per_request={"cpu": 1}))
    holder = world.ask(entry)
    world.settle()
    low, other, high = world.ask(entry), world.ask(entry), world.ask(entry, priority=4)
    for ticket in (holder, high, low, other):
        assert ticket.granted
        world.release(ticket)


def test_of_those_who_wait_for_one_model_none_is_passed_for_ever():
    world = World({"cpu": 3})
    entry = world.add("a", Footprint({"cpu": 2}, per_request={"cpu": 1}))
    holder = world.ask(entry)
    world.settle()
    low = world.ask(entry)
    for _ in range(PATIENCE + 1):
        following = world.ask(entry, priority=4)
        world.release(holder)
        if low.granted:
            break
        assert following.granted
        holder = following
    assert low.granted


def test_a_stream_of_requests_for_a_victim_does_not_starve_the_waiter():
    world = World()
    busy = world.add("busy", 10, loaded=True)
    holders = [world.ask(busy), world.ask(busy)]
    waiter = world.ask(world.add("w", 10))
    late = world.ask(busy)
    assert not late.granted
    for holder in holders:
        world.release(holder)
    world.settle()
    assert waiter.granted
    assert not late.granted


def test_a_small_one_behind_does_not_take_the_room_of_a_large_one():
    world = World()
    holder = world.ask(world.add("a", 6, loaded=True))
    large = world.ask(world.add("large", 8))
    small = world.ask(world.add("small", 3))
    assert world.loading == []
    world.release(holder)
    world.settle()
    assert large.granted
    assert not small.granted


def test_a_small_one_does_not_pass_who_waits_for_the_second_turn():
    world = World()
    holder = world.ask(world.add("a", 6, loaded=True))
    first, second = world.ask(world.add("first", 6)), world.ask(world.add("second", 6))
    small = world.ask(world.add("small", 3))
    assert world.loading == []
    world.release(holder)
    world.gone(holder.entry)
    assert world.loading == [first.entry]  # small would fit, at the cost of the second
    world.settle()
    world.release(first)
    world.settle()
    assert second.granted
    assert small.granted


def test_what_is_given_back_twice_counts_once():
    world = World(cores=2)
    entry = world.add("a", Footprint({"cpu": 2}, per_request={"cpu": 1}), threads=1)
    ticket = world.ask(entry, cores=True)
    world.settle()
    world.release(ticket)
    world.release(ticket)
    assert world.scheduler.ledger.used == {"cpu": 2}


def test_one_that_takes_nothing_of_what_another_waits_for_begins_at_once():
    world = World({"cpu": 10, "gpu:0": 10})
    world.ask(world.add("a", {"gpu:0": 10}, loaded=True))
    world.ask(world.add("b", {"gpu:0": 5}))
    other = world.ask(world.add("c", {"cpu": 10}))
    world.settle()
    assert other.granted


def test_independent_loads_run_at_once():
    world = World()
    entries = [world.add(name, 3) for name in "abc"]
    for entry in entries:
        world.ask(entry)
    assert world.loading == entries


# Room


def test_a_vector_of_pools_is_had_whole_or_not_at_all():
    world = World({"cpu": 10, "gpu:0": 10, "gpu:1": 10})
    holder = world.ask(world.add("a", {"gpu:1": 6}, loaded=True))
    wide = world.add("wide", {"cpu": 1, "gpu:0": 5, "gpu:1": 5})
    world.ask(wide)
    assert world.scheduler.ledger.used == {"cpu": 0, "gpu:0": 0, "gpu:1": 6}
    world.release(holder)
    world.settle()
    assert world.scheduler.ledger.used == {"cpu": 1, "gpu:0": 5, "gpu:1": 5}


def test_what_can_never_fit_is_refused_before_anything_goes():
    world = World({"cpu": 10, "gpu:0": 4})
    world.add("a", 8, loaded=True)
    ticket = world.ask(world.add("b", {"cpu": 5, "gpu:0": 5}))
    assert isinstance(world.outcomes[ticket], BudgetError)
    assert "whole budget" in str(world.outcomes[ticket])
    assert world.unloading == []


def test_what_is_pinned_is_named_to_who_does_not_fit_beside_it():
    world = World()
    world.add("a", 8, loaded=True, pinned=True)
    ticket = world.ask(world.add("b", 5))
    assert "'a' holds" in str(world.outcomes[ticket])
    assert "pinned" in str(world.outcomes[ticket])


def test_a_pinned_model_that_loads_is_counted_with_what_it_will_hold():
    world = World()
    pinned = world.add("a", Footprint({"cpu": 2}, {"cpu": 9}), pinned=True)
    world.ask(pinned)
    ticket = world.ask(world.add("b", 5))
    assert ticket not in world.outcomes
    world.settle()
    assert ticket.granted


def test_parts_of_requests_are_charged_while_they_run_and_limit_how_many():
    world = World({"cpu": 5})
    entry = world.add("a", Footprint({"cpu": 2}, per_request={"cpu": 1}))
    tickets = [world.ask(entry) for _ in range(5)]
    world.settle()
    assert [ticket.granted for ticket in tickets] == [True] * 3 + [False] * 2
    assert world.scheduler.ledger.used == {"cpu": 5}
    world.release(tickets[0])
    assert tickets[3].granted
    world.cancel(tickets[4])
    for ticket in tickets[1:4]:
        world.release(ticket)
    assert world.scheduler.ledger.used == {"cpu": 2}


def test_a_part_evicts_another_model_where_it_must():
    world = World({"cpu": 6})
    other = world.add("b", 3, loaded=True)
    entry = world.add("a", Footprint({"cpu": 2}, per_request={"cpu": 1}))
    tickets = [world.ask(entry)]
    world.settle()
    tickets.append(world.ask(entry))
    assert other in world.unloading
    world.settle()
    assert tickets[1].granted
    assert world.events("restoring") == []
    world.cancel(world.ask(world.add("c", 100)))
    assert world.events("restoring") == []


def test_a_part_is_not_handed_out_where_a_model_was_measured_to_hold_its_room():
    world = World({"cpu": 10})
    entry = world.add("a", Footprint({"cpu": 6}, per_request={"cpu": 2}))
    ticket = world.ask(entry)
    world.loaded(entry, {"cpu": 9})  # within the budget, but not with a request
    assert not ticket.granted
    assert isinstance(world.outcomes[ticket], BudgetError)


def test_a_part_waits_for_the_room_that_a_larger_model_took():
    world = World({"cpu": 10})
    idle = world.add("idle", 1, loaded=True)
    entry = world.add("a", Footprint({"cpu": 6}, per_request={"cpu": 2}))
    ticket = world.ask(entry)
    world.loaded(entry, {"cpu": 8})
    assert not ticket.granted
    assert world.unloading == [idle]
    world.settle()
    assert ticket.granted


def test_a_model_measured_far_over_its_size_goes_and_who_went_for_it_is_brought_back():
    world = World({"cpu": 10})
    world.add("pinned", 4, loaded=True, pinned=True)
    world.lied = True
    victim, entry = world.add("victim", 4, loaded=True), world.add("a", 5)
    ticket = world.ask(entry)
    world.gone(victim)
    world.loaded(entry, {"cpu": 9})
    assert isinstance(world.outcomes[ticket], BudgetError)
    world.settle()
    assert victim.phase is Phase.Ready
    assert entry.phase is Phase.Unloaded


# Cores


def test_cores_are_taken_by_turns():
    world = World(cores=4)
    a = world.add("a", 1, loaded=True, threads=3)
    b = world.add("b", 1, loaded=True, threads=3)
    first, second = world.ask(a, cores=True), world.ask(b, cores=True)
    assert (first.granted, second.granted) == (True, False)
    world.release(first)
    assert second.granted


def test_engines_that_can_share_get_fewer_threads():
    world = World(cores=4)
    entries = [world.add(n, 1, loaded=True, threads=4, fixed_threads=False) for n in "ab"]
    tickets = [world.ask(entry, cores=True) for entry in entries]
    assert all(ticket.granted for ticket in tickets)
    assert world.shares == {"a": 2, "b": 2}
    world.release(tickets[0])
    assert world.shares["b"] == 4


def test_small_ones_that_take_turns_do_not_starve_who_needs_all_cores():
    world = World(cores=4)
    large = world.add("large", 1, loaded=True, threads=4)
    small = [world.add(name, 1, loaded=True, threads=1) for name in "ab"]
    running = world.ask(small[0], cores=True)
    waiter = world.ask(large, cores=True)
    for turn in range(1, 6):
        following = world.ask(small[turn % 2], cores=True)
        world.release(running)
        if waiter.granted:
            return
        running = following
    raise AssertionError("it starves")


def test_who_waits_for_cores_does_not_hold_up_a_holder_behind_it():
    world = World(cores=2)
    a = world.add("a", 1, loaded=True, threads=2)
    b = world.add("b", 1, loaded=True, threads=2)
    outer = world.ask(a, cores=True)
    stranger = world.ask(b, cores=True)
    inner = world.ask(b, outer, cores=True)
    assert inner.granted
    world.release(inner)
    world.release(outer)
    assert stranger.granted


# Drains, unloads and idle time


def test_a_model_in_use_goes_only_when_its_last_request_has_ended():
    world = World()
    entry = world.add("a", 5, loaded=True)
    holders = [world.ask(entry), world.ask(entry)]
    unloader = world.unload(entry)
    late = world.ask(entry)
    for holder in holders:
        assert world.unloading == []
        world.release(holder)
    assert world.unloading == [entry]
    world.gone(entry)
    assert world.outcomes[unloader] is None
    world.settle()
    assert late.granted


def test_nobody_wants_it_gone_any_more():
    world = World()
    entry = world.add("a", 5, loaded=True)
    holder, unloader = world.ask(entry), world.unload(entry)
    world.scheduler.keep(unloader, world.now)
    world._do()
    assert world.ask(entry).granted
    world.release(holder)
    assert world.unloading == []


def test_an_unload_given_up_does_not_keep_what_is_over_the_budget():
    world = World()
    world.lied = True
    world.add("pinned", 5, loaded=True, pinned=True)
    entry = world.add("a", 5, loaded=True)
    holder = world.ask(entry)
    world.scheduler.measured(entry, {"cpu": 8}, world.now)
    world._do()
    unloader = world.unload(entry)
    world.scheduler.keep(unloader, world.now)
    world._do()
    world.release(holder)
    assert world.unloading == [entry]


@pytest.mark.parametrize("keep_alive", [0.0, 5.0])
def test_an_idle_model_goes_after_its_time(keep_alive):
    world = World()
    entry = world.add("a", 5, keep_alive=keep_alive)
    ticket = world.ask(entry)
    world.settle()
    world.release(ticket)
    if keep_alive:
        assert world.wakes[-1] == keep_alive
        world.pass_time(keep_alive)
    assert world.unloading == [entry]


def test_each_model_has_one_timer_however_often_it_is_used():
    world = World()
    entry = world.add("a", 5, loaded=True, keep_alive=10.0)
    for _ in range(50):
        world.release(world.ask(entry))
    assert world.wakes == [10.0]
    world.now = 4.0
    world.release(world.ask(entry))
    world.now = 10.0
    world.pass_time(0)
    assert world.unloading == []
    assert world.wakes == [10.0, 14.0]
    world.pass_time(4)
    assert world.unloading == [entry]


def test_a_shorter_time_rings_earlier_and_a_longer_one_later():
    world = World()
    entry = world.add("a", 5, loaded=True, keep_alive=100.0)
    world.release(world.ask(entry))
    world.adjust(entry, keep_alive=10.0)
    assert world.wakes == [100.0, 10.0]
    world.adjust(entry, keep_alive=20.0)
    world.now = 10.0
    world.pass_time(0)
    assert world.unloading == []
    assert world.wakes == [100.0, 10.0, 20.0]
    world.pass_time(10)
    assert world.unloading == [entry]


def test_a_time_that_was_made_shorter_under_a_request_counts_from_its_end():
    world = World()
    entry = world.add("a", 5, loaded=True, keep_alive=100.0)
    world.release(world.ask(entry))
    holder = world.ask(entry)
    world.adjust(entry, keep_alive=3.0)
    world.pass_time(50)
    assert world.unloading == []
    world.release(holder)
    assert world.wakes[-1] == 53.0
    world.pass_time(3)
    assert world.unloading == [entry]


def test_one_that_was_idle_for_long_goes_when_its_time_is_made_shorter():
    world = World()
    entry = world.add("a", 5, loaded=True)
    world.pass_time(50)
    world.adjust(entry, keep_alive=60.0)
    assert world.unloading == []
    world.adjust(entry, keep_alive=0)
    assert world.unloading == [entry]


def test_one_that_is_pinned_stays_and_goes_when_it_is_unpinned():
    world = World()
    entry = world.add("a", 5, loaded=True, keep_alive=5.0)
    world.adjust(entry, pinned=True)
    world.pass_time(50)
    assert world.unloading == []
    world.adjust(entry, pinned=False)
    assert world.unloading == [entry]
    assert world.events("adjusted") == ["a", "a"]


def test_who_waits_for_the_room_of_one_that_is_pinned_meanwhile_is_refused():
    world = World()
    entry = world.add("a", 8, loaded=True)
    holder = world.ask(entry)
    waiter = world.ask(world.add("b", 8))
    assert waiter not in world.outcomes
    world.adjust(entry, pinned=True)
    assert "'a' holds" in str(world.outcomes[waiter])
    assert "pinned" in str(world.outcomes[waiter])
    assert world.ask(entry).granted
    world.release(holder)


def test_a_new_priority_spares_a_model_and_the_same_again_is_no_event():
    world = World()
    old, new = world.add("old", 5, loaded=True), world.add("new", 5)
    world.ask(new)
    world.settle()
    world.release(world.asked[-1])
    world.adjust(old, priority=1)
    world.adjust(old, priority=1)
    assert world.events("adjusted") == ["old"]
    world.ask(world.add("third", 5))
    assert world.unloading == [new]


def test_idle_time_counts_although_someone_waited_in_vain():
    world = World(cores=2)
    other = world.ask(world.add("o", 1, loaded=True, threads=2), cores=True)
    entry = world.add("a", 1, loaded=True, threads=2, keep_alive=5.0)
    holder = world.ask(entry)
    waiter = world.ask(entry, cores=True)
    world.release(holder)
    world.cancel(waiter)
    world.release(other)
    assert world.wakes
    world.pass_time(5.0)
    assert world.unloading == [entry]


def test_a_remote_model_with_a_time_to_keep_it_goes_on_serving():
    world = World()
    entry = world.add("cloud", None, remote=True, keep_alive=0.0)
    entry.phase = Phase.Ready
    world.scheduler._refresh(entry)
    for _ in range(3):
        ticket = world.ask(entry)
        assert ticket.granted
        world.release(ticket)


def test_a_model_that_will_not_go_serves_on_and_is_no_victim_again():
    world = World()
    entry = world.add("a", 8, keep_alive=0.0)
    first = world.ask(entry)
    world.settle()
    world.release(first)
    world.still_there(entry)
    for _ in range(2):
        ticket = world.ask(entry)
        assert ticket.granted
        world.release(ticket)
    assert world.unloading == []
    refused = world.ask(world.add("b", 5))
    assert isinstance(world.outcomes[refused], BudgetError)
    world.unload(entry)
    assert world.unloading == [entry]


# What goes wrong


def test_victims_of_a_failed_load_are_brought_back():
    world = World()
    victim, entry = world.add("v", 6, loaded=True), world.add("a", 6)
    ticket = world.ask(entry)
    world.gone(victim)
    world.failed(entry)
    assert isinstance(world.outcomes[ticket], RuntimeError)
    assert world.events("restoring") == ["v"]
    world.settle()
    assert victim.phase is Phase.Ready


def test_nobody_is_brought_back_at_the_cost_of_another():
    world = World()
    victim, entry = world.add("v", 6, loaded=True), world.add("a", 6)
    other = world.add("o", 8)
    world.ask(entry)
    world.gone(victim)
    waiter = world.ask(other)
    world.failed(entry)
    world.settle()
    assert waiter.granted
    assert victim.phase is Phase.Unloaded
    assert not world.scheduler.queue


def test_one_that_was_unregistered_is_not_brought_back_under_another_that_has_its_name():
    world = World()
    victim, entry = world.add("v", 6, loaded=True), world.add("a", 6)
    world.ask(entry)
    world.gone(victim)
    assert world.scheduler.remove(victim, 0.0)
    world.add("v", 6)
    world.failed(entry)
    assert world.loading == []
    assert victim.phase is Phase.Unloaded


def test_removing_a_model_leaves_another_that_has_its_name_alone():
    world = World()
    old = world.add("v", 6)
    new = world.add("v", 6)
    assert world.scheduler.remove(old, 0.0)
    assert world.scheduler.entries["v"] is new


def test_a_load_that_runs_out_of_memory_has_more_freed_and_is_tried_once_more():
    world = World()
    idle, entry = world.add("idle", 3, loaded=True), world.add("a", 4)
    ticket = world.ask(entry)
    world.failed(entry, out_of_memory=True)
    assert world.unloading == [idle]
    world.gone(idle)
    assert world.loading == [entry]
    world.failed(entry, out_of_memory=True)
    assert isinstance(world.outcomes[ticket], RuntimeError)
    assert world.events("retrying") == ["a"]


def test_more_than_it_needs_is_freed_only_for_those_who_saw_it_fail():
    world = World()
    world.add("idle", 3, loaded=True)
    entry = world.add("a", 4)
    busy = world.ask(world.add("busy", 3, loaded=True))
    ticket = world.ask(entry)
    world.failed(entry, out_of_memory=True)
    world.cancel(ticket)
    world.release(busy)
    world.settle()
    assert entry.extra == {}


def test_memory_that_is_missing_twice_is_quarantined_twice():
    world = World()
    entry = world.add("a", 3, loaded=True)
    world.unload(entry)
    world.gone(entry, {"cpu": 2})
    world.ask(entry)
    world.settle()
    world.release(world.order[-1])
    world.unload(entry)
    world.gone(entry)
    assert world.scheduler.ledger.quarantined == {"cpu": 2}
    world.scheduler.remove(entry, 0.0)
    assert world.scheduler.ledger.quarantined == {"cpu": 2}
    world.scheduler.reclaimed("a", {}, world.now)
    assert world.scheduler.ledger.free("cpu") == 10


def test_a_load_that_nobody_waits_for_any_more_is_stopped_and_begun_again_for_the_next():
    world = World()
    entry = world.add("a", 3)
    first, second = world.ask(entry), world.ask(entry)
    world.cancel(first)
    assert entry not in world.stopped
    world.cancel(second)
    assert entry in world.stopped
    third = world.ask(entry)
    world.failed(entry)
    assert world.loading == [entry]
    world.settle()
    assert third.granted


def test_the_queue_has_an_end():
    world = World(max_waiting=1)
    world.ask(world.add("a", 10))
    with pytest.raises(BudgetError, match="max_waiting"):
        world.ask(world.add("b", 10))


def test_one_that_is_being_unregistered_takes_no_requests():
    world = World()
    entry = world.add("a", 5)
    entry.leaving = True
    with pytest.raises(ValidationError, match="unregistered"):
        world.ask(entry)


# Those who hold one model and wait for another


def test_who_would_wait_for_itself_is_refused():
    world = World()
    a, b = world.add("a", 6, loaded=True), world.add("b", 6)
    outer = world.ask(a)
    inner = world.ask(b, outer)
    assert "wait for itself" in str(world.outcomes[inner])
    stranger = world.ask(b)
    world.release(outer)
    world.settle()
    assert stranger.granted


def test_of_two_who_wait_for_each_other_one_is_refused():
    world = World()
    outers = [world.ask(world.add(name, 5, loaded=True)) for name in "ab"]
    inners = [
        world.ask(world.add(name, 5), outer) for name, outer in zip("cd", outers, strict=True)
    ]
    refused = [ticket for ticket in inners if world.outcomes.get(ticket)]
    assert len(refused) == 1
    world.release(outers[inners.index(refused[0])])
    world.settle()
    assert sum(ticket.granted for ticket in inners) == 1


def test_of_two_who_want_the_same_and_block_each_other_only_one_is_refused():
    world = World()
    outers = [world.ask(world.add(name, 5, loaded=True)) for name in "ab"]
    c = world.add("c", 5)
    inners = [world.ask(c, outer) for outer in outers]
    assert [ticket in world.outcomes for ticket in inners] == [False, True]


def test_a_holder_goes_before_who_waits_for_it():
    world = World()
    a = world.add("a", 4, loaded=True)
    outer = world.ask(a)
    large = world.ask(world.add("large", 8))
    inner = world.ask(world.add("small", 3), outer)
    world.settle()
    assert inner.granted
    world.release(inner)
    world.release(outer)
    world.settle()
    assert large.granted


def test_a_holder_may_have_what_was_set_aside_for_who_waits_for_it():
    world = World()
    outer = world.ask(world.add("a", 4, loaded=True))
    idle = world.add("b", 4, loaded=True)
    large = world.ask(world.add("large", 10))  # needs a and b to go
    inner = world.ask(world.add("c", 4), outer)
    assert world.unloading == [idle]
    world.settle()
    assert inner.granted
    world.release(inner)
    world.release(outer)
    world.settle()
    assert large.granted


def test_what_goes_only_when_its_own_holder_ends_is_no_room_for_that_holder():
    world = World()
    a = world.add("a", 6, loaded=True)
    outer = world.ask(a)
    world.unload(a)
    inner = world.ask(world.add("b", 6), outer)
    assert "wait for itself" in str(world.outcomes[inner])


def test_a_holder_goes_before_who_waits_for_its_model_to_be_unloaded():
    world = World()
    a = world.add("a", 4, loaded=True)
    outer = world.ask(a)
    world.unload(a)
    large = world.ask(world.add("large", 10))
    inner = world.ask(world.add("small", 2), outer)
    world.settle()
    assert inner.granted
    assert large not in world.outcomes


def test_holders_of_two_models_that_both_are_to_go_may_still_have_each_others():
    world = World()
    a, b = world.add("a", 5, loaded=True), world.add("b", 5, loaded=True)
    outers = [world.ask(a), world.ask(b)]
    world.unload(a)
    world.unload(b)
    inners = [world.ask(b, outers[0]), world.ask(a, outers[1])]
    for _ in range(2):
        for inner, outer in zip(inners, outers, strict=True):
            if inner.granted:
                world.release(inner)
                world.release(outer)
        world.settle()
    assert [world.outcomes[ticket] for ticket in inners] == [None, None]
    assert not world.scheduler.queue


def test_room_that_only_a_waiting_holder_could_free_is_not_counted_on():
    world = World({"cpu": 6})
    a, b = world.add("a", 2, loaded=True), world.add("b", 2, loaded=True)
    idle = world.add("idle", 2, loaded=True)
    outers = [world.ask(a), world.ask(b)]
    world.unload(a)
    world.unload(b)
    inner = world.ask(world.add("c", 2), outers[1])  # a is about to go: why not wait for that?
    world.ask(b, outers[0])  # because its holder waits for b
    assert world.unloading == [idle]
    world.settle()
    assert inner.granted


def test_one_in_front_who_waits_for_anyone_does_not_hold_up_the_holders():
    world = World()
    outers = [world.ask(world.add(name, 4, loaded=True)) for name in "ab"]
    for name in ("x", "y"):
        world.ask(world.add(name, 6))
    c = world.add("c", 2)
    inners = [world.ask(c, outer) for outer in outers]
    world.settle()
    assert all(ticket.granted for ticket in inners)


@settings(max_examples=600, deadline=None)
@given(st.lists(st.integers(0, 2**16), max_size=150), st.booleans())
def test_whatever_happens_the_account_is_right_and_nobody_waits_for_ever(numbers, faults):
    Walk(Tape(numbers), faults=faults).run()
