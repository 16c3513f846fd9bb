"""What holds for a model that gives more than one vector, or less, for each text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from blazen.testing.embedding import BAD_TEXTS, ODD_TEXTS
from blazen.testing.local import LocalSuite
from blazen.testing.running import on_loop


class TextVectorsSuite(LocalSuite):
    """What sparse and late interaction models must do alike. Inherit one of their suites."""

    texts: Sequence[str] = (
        "a cat sleeps on the warm roof",
        "the stock market fell sharply today",
        "how to bake bread with rye flour",
    )
    long_count = 64
    """How many texts make a request that can be cancelled in its middle."""
    tolerance = 1e-3
    """How far two numbers may be from each other where they are to be the same."""

    async def ask_query(self, model: Any, question: Any) -> Any:
        """Embed texts that are searched with."""
        raise NotImplementedError

    def alike(self, one: Any, other: Any) -> bool:
        """Compare what two texts gave, number by number."""
        raise NotImplementedError

    def likeness(self, query: Any, document: Any) -> float:
        """Score a text by a query."""
        raise NotImplementedError

    def questions(self, count: int) -> list[Any]:
        """Give different lists of texts."""
        return [[f"{number}. {text}" for text in self.texts] for number in range(1, count + 1)]

    def long_question(self) -> Any:
        """Give many texts."""
        return [f"{self.texts[0]}, {number}" for number in range(self.long_count)]

    def same(self, answer: Any, expected: Any) -> bool:
        """Compare text by text."""
        return len(answer.embeddings) == len(expected.embeddings) and all(
            self.alike(mine, theirs)
            for mine, theirs in zip(answer.embeddings, expected.embeddings, strict=True)
        )

    @on_loop
    async def test_order_and_company_do_not_matter(self, model: Any) -> None:
        """A text has the same numbers wherever it stands and whatever stands beside it."""
        texts = ["short", self.texts[1] * 5, *self.long_question()]
        forth = (await self.ask(model, texts)).embeddings
        back = (await self.ask(model, texts[::-1])).embeddings
        alone = [(await self.ask(model, text)).embeddings[0] for text in texts[:3]]
        assert len(forth) == len(texts)
        for place, text in enumerate(texts):
            for other in (back[len(texts) - 1 - place], *alone[place : place + 1]):
                assert self.alike(forth[place], other), f"{text!r:.60} has two answers"

    @on_loop
    async def test_each_text_is_found_by_itself(self, model: Any) -> None:
        """Of all texts, one fits best to itself as a query."""
        documents = (await self.ask(model, list(self.texts))).embeddings
        queries = (await self.ask_query(model, list(self.texts))).embeddings
        for place, query in enumerate(queries):
            scores = [self.likeness(query, document) for document in documents]
            assert max(scores) > 0, f"text {place} is not even like itself: {scores}"
            best = max(range(len(scores)), key=scores.__getitem__)
            assert best == place, f"text {place} finds text {best}: {scores}"

    @on_loop
    async def test_a_text_and_a_list_of_one_are_the_same(self, model: Any) -> None:
        """A single text is taken as a list of one, and a tuple as a list; for queries too."""
        text = self.texts[0]
        for ask in (self.ask, self.ask_query):
            expected = await ask(model, text)
            assert len(expected.embeddings) == 1
            self.check_same(await ask(model, [text]), expected)
            self.check_same(await ask(model, (text,)), expected)

    @on_loop
    async def test_the_same_text_twice_gives_the_same_twice(self, model: Any) -> None:
        """Repeated texts are not dropped."""
        answer = await self.ask(model, [self.texts[0], self.texts[1], self.texts[0]])
        assert len(answer.embeddings) == 3
        first, other, again = answer.embeddings
        assert self.alike(first, again)
        assert not self.alike(first, other)

    @on_loop
    async def test_usage_counts_tokens(self, model: Any) -> None:
        """Where tokens are counted, more text has more of them."""
        one, more = await self.ask(model, self.texts[0]), await self.ask(model, list(self.texts))
        if one.usage is not None:
            assert 0 < one.usage.tokens < more.usage.tokens

    @pytest.mark.parametrize("what", BAD_TEXTS)
    @on_loop
    async def test_bad_texts_are_refused(self, model: Any, what: str) -> None:
        """What can't be texts is a `ValidationError`, as documents and as queries."""
        await self.check_refused(lambda: self.ask(model, BAD_TEXTS[what]))
        await self.check_refused(lambda: self.ask_query(model, BAD_TEXTS[what]))

    @pytest.mark.parametrize("what", ODD_TEXTS)
    @on_loop
    async def test_odd_texts_do_no_harm(self, model: Any, what: str) -> None:
        """They are embedded or refused, and the next request is answered."""
        await self.check_answers_or_blazen_error(model, [self.texts[0], ODD_TEXTS[what]])
