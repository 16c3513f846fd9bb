"""A chat answer and a small search by meaning, with what each of them took."""

import asyncio
import time

from blazen import ChatMessage, CompletionOptions, EmbeddingModel, Local, Model

LIBRARY = [
    "Water boils at a lower temperature on a high mountain.",
    "The heron stands still in the reeds and waits for fish.",
    "Compound interest makes small savings grow over decades.",
    "To make bread rise, yeast turns sugar into gas.",
    "A sundial tells the hour by the shadow of its gnomon.",
]
QUESTION = "How do birds catch their food?"


async def chat() -> None:
    model = Model.xllamacpp("starter:chat")
    await load("chat", model)
    messages = [ChatMessage.user("In one sentence: why is the sky blue?")]
    options = CompletionOptions(max_tokens=64, temperature=0)
    async with model, model.complete_stream(messages, options) as stream:
        async for chunk in stream:
            print(chunk.content or "", end="", flush=True)
    usage, timing = stream.response.usage, stream.response.timing
    if usage and timing and timing.first_token and timing.tokens_per_second:
        print(
            f"\n\n{usage.completion_tokens} tokens at {timing.tokens_per_second:.0f} tokens/s, "
            f"the first after {timing.first_token:.2f} s\n"
        )


async def search() -> None:
    model = EmbeddingModel.local(model_name="starter:embed")
    await load("embedding", model)
    async with model:
        began = time.perf_counter()
        question, *texts = (await model.embed([QUESTION, *LIBRARY])).embeddings
        took = time.perf_counter() - began
    scores = {
        text: sum(a * b for a, b in zip(question, vector, strict=True))
        for text, vector in zip(LIBRARY, texts, strict=True)
    }
    print(QUESTION)
    for text in sorted(LIBRARY, key=scores.__getitem__, reverse=True):
        print(f"  {scores[text]:5.2f}  {text}")
    print(f"\n{len(LIBRARY) + 1} texts in {took * 1000:.0f} ms")


async def load(what: str, model: Local) -> None:
    began = time.perf_counter()
    await model.load()
    seconds, megabytes = time.perf_counter() - began, (model.memory_bytes or 0) / 1e6
    print(f"The {what} model took {seconds:.2f} s to load, and {megabytes:.0f} MB.\n")


async def main() -> None:
    await chat()
    await search()


if __name__ == "__main__":
    asyncio.run(main())
