"""Four models by name in a budget that holds two: an answer, a stream, vectors, a fallback."""

import asyncio
import tempfile
from pathlib import Path

from blazen import EmbeddingModel, Model, ModelManager
from blazen.manager import Event, EventKind, LearnedFootprints

BUDGET = "512MiB"
OPTIONS = {"max_tokens": 24, "temperature": 0}
TOLD = {EventKind.Loaded, EventKind.Evicting, EventKind.Spilled}


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        learned = LearnedFootprints(Path(folder) / "footprints.json")
        async with ModelManager(pools={"cpu": BUDGET}, learn=learned) as manager:
            await register(manager)
            listener = asyncio.create_task(tell(manager))
            await ask(manager)
            print(f"\n{manager.status()}\n")
            listener.cancel()


async def register(manager: ModelManager) -> None:
    small = Model.xllamacpp("starter:chat", device="cpu", context_length=2048)
    twin = Model.llamacpp("starter:chat", parallel=2, device="cpu", context_length=2048)
    search = EmbeddingModel.fastembed(
        "starter:embed", device="cpu", max_length=128, max_batch_size=4
    )
    # Four long contexts don't fit into the budget: its requests go to another.
    large = Model.xllamacpp("starter:chat", parallel=4, device="cpu", context_length=8192)
    await manager.register("small", small)
    await manager.register("twin", twin)
    await manager.register("search", search)
    await manager.register("large", large, fallback="small")


async def ask(manager: ModelManager) -> None:
    explanation = await manager.explain("small")
    print(f"Before anything is loaded: {explanation.reason}.\n")
    answer = await manager.complete("small", "Name a bird.", OPTIONS)
    print(f"small: {answer.content}\n")

    print("twin: ", end="")
    async for chunk in manager.complete_stream("twin", "Why is the sky blue?", OPTIONS):
        print(chunk.content or "", end="", flush=True)
    print("\n")

    found = await manager.embed("search", ["The heron waits for fish.", "Yeast makes bread rise."])
    print(f"search: {len(found.embeddings)} vectors of {found.dimensions}\n")

    answer = await manager.complete("large", "Name a fish.", OPTIONS)
    print(f"large: {answer.content}")
    if answer.route:
        print(f"That was {answer.route.answered!r}, since {'; '.join(answer.route.reasons)}\n")

    # All at once: each waits for its turn.
    answers = await asyncio.gather(
        *(manager.complete(("small", "twin")[n % 2], f"Count to {n}.", OPTIONS) for n in range(6))
    )
    print(f"{len(answers)} answers at once\n")


async def tell(manager: ModelManager) -> None:
    async for event in manager.events():
        if event.kind in TOLD:
            print(f"  [{describe(event)}]")


def describe(event: Event) -> str:
    if event.kind is EventKind.Evicting:
        return f"{event.id} goes for {event.by}"
    if event.kind is EventKind.Spilled:
        return f"{event.id}'s request goes to {event.by}"
    return f"{event.id} is loaded, with {sum(event.bytes.values()) / 2**20:.0f} MiB"


if __name__ == "__main__":
    asyncio.run(main())
