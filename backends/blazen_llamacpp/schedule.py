"""Who gets what in the next step: decisions about tokens and cells, made without an engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

STEP_SECONDS = 0.2
"""How long a step may read prompts while others wait for their next token."""

EXACT = 64
"""Tokens of a step from which on the engine calculates in another order."""

_LEAST = 16
"""Tokens that are read in a step at the least, if the batch has room for them."""

_WORTH_KEEPING = 0.5


class Held(NamedTuple):
    """What one of the engine's sequences holds."""

    tokens: Sequence[int]
    busy: bool = False
    used_at: int = 0


class Place(NamedTuple):
    """Where a request goes: a sequence, and the one whose first tokens it takes over."""

    sequence: int
    source: int
    shared: int


def share(pending: Sequence[int], budget: int) -> list[int]:
    """Divide the tokens of a step among requests that wait for so many each.

    Who waits for one token, its next, comes first. The rest is divided evenly, and what a short
    prompt leaves goes to the longer ones.
    """
    given = [0] * len(pending)
    order = sorted(range(len(pending)), key=lambda i: pending[i])
    for place, i in enumerate(order):
        part = budget // (len(order) - place)
        given[i] = min(pending[i], max(part, 1 if budget > 0 else 0))
        budget -= given[i]
    return given


def share_reading(pending: Sequence[int], writing: int, *, batch: int, speed: float) -> list[int]:
    """Say how many tokens of each prompt are read in a step in which so many others write one.

    ``speed`` is how many tokens are read in a second: a step must not keep writers waiting. On the
    CPU the numbers that come out of a step of fewer than 64 tokens do not depend on what else is in
    it, so that short prompts stay among themselves, and a long one's last token, after which the
    answer begins, is left for a step of that kind: then an answer is the same whether its prompt
    was known before or not.
    """
    budget = batch - writing
    if writing + max(pending) < EXACT or budget < EXACT:
        # Beside many writers a step is large in any case: to keep it small would end all reading.
        return share(pending, min(budget, max(EXACT - 1 - writing, _LEAST)))
    if writing:
        budget = min(budget, max(EXACT, int(speed * STEP_SECONDS)))
    return [
        count - 1 if count == wanted and count > 1 else count
        for count, wanted in zip(share(pending, budget), pending, strict=True)
    ]


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Count the tokens that two lists begin with."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def choose_place(
    sequences: Sequence[Held], prompt: Sequence[int], *, can_cut: bool = True
) -> Place | None:
    """Choose a sequence for a prompt, and whose beginning it can take over.

    ``None``: all are busy. Where the model's memory can't be cut (``can_cut``), only a sequence
    that is whole the beginning of the prompt is of use.
    """
    free = [i for i, sequence in enumerate(sequences) if not sequence.busy]
    if not free:
        return None
    # One token at least must be read, for the engine to say what follows it.
    usable = prompt[:-1]
    shared = [common_prefix(sequence.tokens, usable) for sequence in sequences]
    if not can_cut:
        whole = [len(sequence.tokens) for sequence in sequences]
        shared = [n if n == all_ else 0 for n, all_ in zip(shared, whole, strict=True)]
    best = max(shared)
    oldest = min(free, key=lambda i: (bool(sequences[i].tokens), sequences[i].used_at))
    if best == 0:
        return Place(oldest, oldest, 0)
    # Of equals, a free one that holds nothing else: it is taken over without a copy.
    source = max(
        (i for i, n in enumerate(shared) if n == best),
        key=lambda i: (not sequences[i].busy, -len(sequences[i].tokens)),
    )
    held = sequences[source].tokens
    if not sequences[source].busy and (
        len(free) == 1 or best >= _WORTH_KEEPING * len(held) or not can_cut
    ):
        return Place(source, source, best)
    others = [i for i in free if i != source]
    return Place(
        min(others, key=lambda i: (bool(sequences[i].tokens), sequences[i].used_at)), source, best
    )


def choose_forgotten(sequences: Sequence[Held], keep: Iterable[int] = ()) -> int | None:
    """Choose the idle sequence to forget when cells run out: the one unused for longest."""
    kept = set(keep)
    idle = [i for i, s in enumerate(sequences) if s.tokens and not s.busy and i not in kept]
    return min(idle, key=lambda i: sequences[i].used_at, default=None)


def cells_used(sequences: Iterable[Sequence[int]], capacity: int) -> int:
    """Count the cells in use, of which several sequences may share some.

    Each sequence is the list of its cells. Counting twice is cheap, and good enough while there is
    room.
    """
    lists = list(sequences)
    simple = sum(map(len, lists))
    if simple <= capacity // 2:
        return simple
    return len(set().union(*lists))


def shift_of(length: int, keep: int) -> tuple[int, int]:
    """Say which tokens a full context forgets: the older half of what comes after ``keep``."""
    return keep, keep + max(1, (length - keep) // 2)
