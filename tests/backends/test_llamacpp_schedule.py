"""The decisions of the llama.cpp backend, without an engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen_llamacpp.schedule import (
    EXACT,
    Held,
    cells_used,
    choose_forgotten,
    choose_place,
    common_prefix,
    share,
    share_reading,
    shift_of,
)
from blazen_llamacpp.speculation import Lookup, draft_length

TOKENS = st.lists(st.integers(0, 2), max_size=12)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12), st.integers(0, 600))
def test_a_step_is_divided_evenly_and_spent(pending, budget):
    given_ = share(pending, budget)
    assert sum(given_) == min(budget, sum(pending))
    assert all(0 <= got <= wanted for got, wanted in zip(given_, pending, strict=True))
    short = [got for got, wanted in zip(given_, pending, strict=True) if got < wanted]
    if short:  # no one who lacks something gets much less than anyone else
        assert max(given_) - min(short) <= len(pending)


def test_short_prompts_are_not_held_up_by_a_long_one():
    assert share([4000, 10, 20], 100) == [70, 10, 20]


@given(
    st.lists(st.integers(2, 3000), min_size=1, max_size=8),
    st.integers(0, 8),
    st.floats(0, 10_000),
    st.integers(24, 512),
)
def test_reading_always_goes_on_and_never_fills_more_than_a_batch(pending, writing, speed, batch):
    given_ = share_reading(pending, writing, batch=batch, speed=speed)
    assert 0 < sum(given_) <= batch - writing


@pytest.mark.parametrize("writing", [47, 62, 63, 100, 255])
def test_beside_many_writers_prompts_are_read_too(writing):
    assert share_reading([500], writing, batch=writing + 16, speed=100) == [16]


def test_while_others_write_a_step_of_reading_is_short():
    alone = share_reading([3000], 0, batch=512, speed=500)
    beside = share_reading([3000], 3, batch=512, speed=500)
    assert alone == [512]
    assert beside == [100]


def test_the_last_token_of_a_long_prompt_is_left_for_a_small_step():
    assert share_reading([100], 0, batch=256, speed=0) == [99]
    assert share_reading([EXACT - 1], 0, batch=256, speed=0) == [EXACT - 1]


@given(TOKENS, TOKENS)
def test_a_common_prefix_is_the_longest(a, b):
    length = common_prefix(a, b)
    assert a[:length] == b[:length]
    assert length == min(len(a), len(b)) or a[length] != b[length]


def test_a_prompt_goes_where_most_of_it_is_known():
    held = [Held([1, 2]), Held([1, 2, 3, 4]), Held([9])]
    assert choose_place(held, [1, 2, 3, 4, 5]) == (1, 1, 4)


def test_one_token_is_always_left_to_read():
    assert choose_place([Held([1, 2, 3])], [1, 2, 3]) == (0, 0, 2)


def test_what_runs_lends_its_beginning_to_an_empty_sequence():
    held = [Held([1, 2, 3, 4], busy=True), Held([7, 8]), Held([])]
    assert choose_place(held, [1, 2, 3, 9]) == (2, 0, 3)


def test_a_long_memory_is_not_cut_for_a_short_likeness():
    held = [Held([1, *range(50)], used_at=2), Held([8, 8], used_at=1)]
    assert choose_place(held, [1, 9, 9]) == (1, 0, 1)
    assert choose_place(held[:1], [1, 9, 9]) == (0, 0, 1), "there is no other"


def test_without_likeness_the_empty_then_the_oldest_is_taken():
    held = [Held([5], used_at=3), Held([6], used_at=2), Held([])]
    assert choose_place(held, [1, 2]).sequence == 2
    assert choose_place(held[:2], [1, 2]).sequence == 1


def test_a_memory_that_can_not_be_cut_helps_only_as_a_whole():
    held = [Held([1, 2, 3]), Held([1, 2])]
    assert choose_place(held, [1, 2, 4, 5], can_cut=False) == (1, 1, 2)
    assert choose_place(held[:1], [1, 2, 4, 5], can_cut=False) == (0, 0, 0)


def test_all_busy_is_no_place():
    assert choose_place([Held([1], busy=True)], [1, 2]) is None


@given(st.lists(st.tuples(TOKENS, st.booleans(), st.integers(0, 9)), min_size=1), TOKENS)
def test_a_place_holds_what_it_promises(sequences, prompt):
    held = [Held(*sequence) for sequence in sequences]
    place = choose_place(held, prompt)
    if place is None:
        assert all(sequence.busy for sequence in held)
        return
    assert not held[place.sequence].busy
    assert held[place.source].tokens[: place.shared] == prompt[: place.shared]
    assert place.shared < max(1, len(prompt))


def test_the_idle_memory_unused_for_longest_is_forgotten_first():
    held = [Held([1], used_at=1, busy=True), Held([2], used_at=3), Held([3], used_at=2), Held([])]
    assert choose_forgotten(held) == 2
    assert choose_forgotten(held, keep=[2]) == 1
    assert choose_forgotten(held[:1]) is None


def test_shared_cells_count_once_when_room_is_short():
    assert cells_used([[1, 2, 3], [1, 2, 4]], capacity=8) == 4
    assert cells_used([[1, 2, 3], [1, 2, 4]], capacity=100) == 6


@given(st.integers(2, 5000), st.integers(0, 5000))
def test_a_shift_keeps_the_start_and_forgets_something(length, keep):
    keep = min(keep, length - 2)
    start, end = shift_of(length, keep)
    assert start == keep
    assert start < end <= length


def test_what_followed_the_same_words_is_proposed():
    lookup = Lookup()
    text = [1, 2, 3, 4, 5, 6, 1, 2, 3]
    assert lookup.follow(text, 2) == [4, 5]
    assert lookup.follow([*text, 4], 8) == [5, 6, 1, 2, 3, 4]
    assert lookup.follow([*text, 4, 9], 8) == []
    assert lookup.follow([*text, 4, 9, 2, 3], 0) == []


@pytest.mark.parametrize(("slots", "length"), [(1, 8), (2, 8), (4, 4), (16, 1), (100, 0)])
def test_the_more_write_the_less_is_proposed(slots, length):
    assert draft_length(8, slots) == length


@given(st.integers(1, 64), st.integers(1, 256))
def test_all_proposals_together_fit_into_what_the_engine_has_room_for(wanted, slots):
    assert slots * draft_length(wanted, slots) <= 2 * wanted


@given(st.integers(1, 64), st.integers(1, 256))
def test_proposals_make_no_step_calculate_in_another_order(wanted, slots):
    length = draft_length(wanted, slots)
    assert length == 0 or slots * (1 + length) < EXACT
