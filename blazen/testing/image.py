"""What holds for a model that makes images."""

from __future__ import annotations

from typing import Any

import pytest

from blazen.protocols.image import ImageGeneration
from blazen.testing.local import LocalSuite
from blazen.testing.running import on_loop
from blazen.testing.streaming import StreamSuite
from blazen.types.generation import ImageChunk, ImageResponse
from blazen.types.image import Image

BAD_PROMPTS: dict[str, Any] = {
    "empty": "",
    "blanks": " \n\t ",
    "nothing": None,
    "a number": 42,
    "bytes": b"a lighthouse",
    "a list": ["a lighthouse"],
}
BAD_OPTIONS: dict[str, Any] = {
    "an unknown option": {"stpes": 4},
    "no options at all": 42,
    "no steps": {"steps": 0},
    "negative steps": {"steps": -4},
    "no width": {"width": 0},
    "a negative height": {"height": -64},
    "a width that is text": {"width": "wide"},
    "no images": {"count": 0},
    "a negative seed": {"seed": -1},
    "a strength above 1": {"strength": 2},
}
ODD_PROMPTS = {
    "emoji": "🦙🏽‍🔬",
    "NUL": "a light\0house",
    "half a surrogate pair": "a lighthouse \ud83d",
    "very long": "a lighthouse, a storm, an old boat, " * 200,
}


class ImageSuite(StreamSuite, LocalSuite):
    """What an image model must do, whatever its engine."""

    protocol = ImageGeneration
    prompt = "a lighthouse in a storm"
    width = 64
    height = 64
    steps = 2
    long_steps = 8
    """How many steps an image takes that is left in its middle."""

    def options(self, **more: Any) -> Any:
        """Give options: a seed, so that images can be compared, and a small size."""
        return {
            "width": self.width,
            "height": self.height,
            "steps": self.steps,
            "seed": 7,
            **more,
        }

    def questions(self, count: int) -> list[Any]:
        """Give different prompts, with their options."""
        return [(f"{self.prompt}, {number}", self.options()) for number in range(1, count + 1)]

    def long_question(self) -> Any:
        """Give the prompt, with more steps."""
        return self.prompt, self.options(steps=self.long_steps)

    async def ask(self, model: Any, question: Any) -> ImageResponse:
        """Make an image."""
        answer: ImageResponse = await model.generate(*question)
        return answer

    def stream(self, model: Any, question: Any) -> Any:
        """Make an image step by step."""
        return model.generate_stream(*question)

    def joined(self, pieces: list[ImageChunk]) -> tuple[Image, ...]:
        """Give the finished images."""
        return pieces[-1].images

    def content(self, answer: ImageResponse) -> tuple[Image, ...]:
        """Give the images."""
        return answer.images

    async def leave(self, stream: Any, way: str, pieces: Any = None) -> None:
        """Leave a stream; an unfinished image is none, so that nothing is kept of it."""
        await super().leave(stream, way, pieces)

    def check_pieces(self, pieces: list[ImageChunk], answer: ImageResponse) -> None:
        """Steps rise to the last, and only that one has finished images."""
        steps = [piece.step for piece in pieces]
        assert steps == sorted(steps), f"the steps go back: {steps}"
        assert len({piece.steps for piece in pieces}) == 1
        assert pieces[-1].step == pieces[-1].steps
        assert not any(piece.images for piece in pieces[:-1])

    @on_loop
    async def test_images_are_as_asked(self, model: Any) -> None:
        """Their number and size are right, and each has the seed that makes it again."""
        options = self.options(count=2, width=self.width * 2)
        answer = await model.generate(self.prompt, options)
        assert len(answer.images) == 2
        assert all(image.size == (self.width * 2, self.height) for image in answer.images)
        assert len(set(answer.seeds)) == 2
        options = self.options(width=self.width * 2, seed=answer.seeds[1])
        again = await model.generate(self.prompt, options)
        assert again.images[0] == answer.images[1]

    @on_loop
    async def test_seeds_are_drawn_where_none_is_given(self, model: Any) -> None:
        """The answer tells which."""
        answer = await model.generate(self.prompt, self.options(seed=None))
        assert len(answer.seeds) == 1
        again = await model.generate(self.prompt, self.options(seed=answer.seeds[0]))
        assert again.images == answer.images

    @pytest.mark.parametrize("what", BAD_PROMPTS)
    @on_loop
    async def test_bad_prompts_are_refused(self, model: Any, what: str) -> None:
        """What can't be a prompt is a `ValidationError`, whole or streamed."""
        prompt = BAD_PROMPTS[what]
        await self.check_refused(lambda: model.generate(prompt))
        await self.check_refused(lambda: model.generate_stream(prompt))

    @pytest.mark.parametrize("what", BAD_OPTIONS)
    @on_loop
    async def test_bad_options_are_refused(self, model: Any, what: str) -> None:
        """What can't be options is a `ValidationError`, whole or streamed."""
        options = BAD_OPTIONS[what]
        await self.check_refused(lambda: model.generate(self.prompt, options))
        await self.check_refused(lambda: model.generate_stream(self.prompt, options))

    @pytest.mark.parametrize("what", ODD_PROMPTS)
    @on_loop
    async def test_odd_prompts_do_no_harm(self, model: Any, what: str) -> None:
        """They are painted or refused, and the next request is answered."""
        await self.check_answers_or_blazen_error(model, (ODD_PROMPTS[what], self.options()))
