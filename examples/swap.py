"""One program for any chat model: which one it asks is said on the command line.

    python examples/swap.py xllamacpp:starter:chat --tool-choice weather
    python examples/swap.py openai
    python examples/swap.py anthropic
    python examples/swap.py gemini
    python examples/swap.py openai:llama-3.3-70b-versatile --gateway groq

It streams an answer, lets the model call a function, has a form filled in and shows a picture, and
tells at the end what that took. A provider's key is read from its environment variable.
"""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from blazen import (
    BlazenError,
    ChatMessage,
    CompletionOptions,
    Image,
    Model,
    ModelResponse,
    UnsupportedError,
)

RED_SQUARE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mP4z8BAEm"
    "IY1TCqYfhqAACQ+f8B8u7oVwAAAABJRU5ErkJggg=="
)


@dataclass
class City:
    """What is asked about a city."""

    continent: Literal["Africa", "America", "Asia", "Europe"]
    is_a_capital: bool
    people: int


def weather(city: str) -> str:
    """Look up the weather of a city.

    Args:
        city: Its name.
    """
    return f"{city}: 17 degrees and light rain"


class Program:
    """What is done with a model, whichever it is."""

    def __init__(self, model: Model, max_tokens: int = 400, tool_choice: str = "auto") -> None:
        self.model = model
        self.max_tokens = max_tokens
        self.tool_choice = tool_choice

    def options(self, **more: Any) -> CompletionOptions:
        return CompletionOptions(max_tokens=self.max_tokens, **more)

    async def stream(self) -> list[ModelResponse]:
        """Print an answer while it is written."""
        question = "In one sentence: why is the sky blue?"
        async with self.model.complete_stream(question, self.options()) as answer:
            async for chunk in answer:
                print(chunk.content or "", end="", flush=True)
        print()
        return [answer.response]

    async def tool(self) -> list[ModelResponse]:
        """Let the model call a function, and tell it what came of that."""
        messages = [ChatMessage.user("What is the weather in Oslo?")]
        options = self.options(tools=[weather], tool_choice=self.tool_choice)
        first = await self.model.complete(messages, options)
        messages.append(first.message)
        for call in first.tool_calls:
            result = weather(**call.parsed(weather))
            print(f"{call.name}({call.arguments}) -> {result}")
            messages.append(ChatMessage.tool(result, tool_call_id=call.id))
        if not first.tool_calls:
            print(first.content)
            return [first]
        last = await self.model.complete(messages, self.options(tools=[weather]))
        print(last.content)
        return [first, last]

    async def form(self) -> list[ModelResponse]:
        """Have a form filled in."""
        options = self.options(response_format=City)
        answer = await self.model.complete("Fill in the form, as JSON: Paris.", options)
        print(answer.parsed)
        return [answer]

    async def picture(self) -> list[ModelResponse]:
        """Show a picture."""
        message = ChatMessage.user("Which colour is this, in one word?", Image.of(RED_SQUARE))
        answer = await self.model.complete([message], self.options())
        print(answer.content)
        return [answer]

    async def run(self) -> dict[str, list[ModelResponse]]:
        """Take the steps; what a model can't do, it refuses before it is asked."""
        steps: dict[str, Callable[[], Awaitable[list[ModelResponse]]]] = {
            "stream": self.stream,
            "tool": self.tool,
            "form": self.form,
            "picture": self.picture,
        }
        answers = {}
        for name, step in steps.items():
            print(f"\n{name}:")
            try:
                answers[name] = await step()
            except UnsupportedError as refusal:
                print(f"not with this model: {refusal}")
        print(f"\n{took([answer for some in answers.values() for answer in some])}")
        return answers


def took(answers: list[ModelResponse]) -> str:
    """Say how many tokens the answers took, and dollars where that is known."""
    usages = [answer.usage for answer in answers if answer.usage is not None]
    said = f"{len(answers)} answers, {sum(usage.total_tokens for usage in usages)} tokens"
    costs = [usage.cost for usage in usages if usage.cost is not None]
    if not costs:
        return said
    return f"{said}, ${sum(costs):.6f}{'' if len(costs) == len(answers) else ' and more'}"


async def main(arguments: list[str] | None = None) -> dict[str, list[ModelResponse]]:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("spec", help="backend:model, such as xllamacpp:starter:chat or openai")
    parser.add_argument("--gateway", help="whose API, with openai: groq, openrouter, ollama, ...")
    parser.add_argument("--base-url", help="another place that speaks the provider's API")
    parser.add_argument("--max-tokens", type=int, default=400, help="the longest answer")
    parser.add_argument("--tool-choice", default="auto", help="auto, or 'weather': it must call")
    given = parser.parse_args(arguments)
    chosen = {"gateway": given.gateway, "base_url": given.base_url}
    settings: dict[str, Any] = {name: value for name, value in chosen.items() if value}
    model = Model.from_spec(given.spec, **settings)
    try:
        return await Program(model, given.max_tokens, given.tool_choice).run()
    finally:
        # A model of this machine gives its memory back, and one elsewhere its connections.
        await getattr(model, "unload" if hasattr(model, "unload") else "aclose")()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except BlazenError as error:
        sys.exit(f"{type(error).__name__}: {error}")
