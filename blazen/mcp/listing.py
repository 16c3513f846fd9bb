"""The tool that says which models there are: `models`."""

from __future__ import annotations

import asyncio
import json

from mcp import types

from blazen.catalog import Listing
from blazen.errors import ValidationError
from blazen.manager import ModelStatus, State
from blazen.mcp import answers
from blazen.mcp.asking import ModelsArguments
from blazen.mcp.call import Call
from blazen.mcp.tool import Answer, Tool


async def _models(call: Call, asked: ModelsArguments) -> Answer:
    listings = await asyncio.to_thread(call.open.listings)  # it may look through folders
    kinds = sorted({one.kind for one in listings})
    if asked.kind is not None and asked.kind not in kinds:
        raise ValidationError(
            f"there are no models of the kind {asked.kind!r}; there are: {', '.join(kinds)}"
        )
    status = call.manager.status()
    registered = {one.id: one for one in status.models}
    values = answers.Models(
        models=[
            _known(one, registered.get(one.name))
            for one in listings
            if asked.kind in (None, one.kind)
        ],
        pools=[
            answers.Pool(name=pool.name, budget=pool.budget, used=pool.used)
            for pool in status.pools
        ],
    )
    text = json.dumps(values.model_dump(mode="json"), ensure_ascii=False)
    return Answer([types.TextContent(type="text", text=text)], values)


def _known(listing: Listing, status: ModelStatus | None) -> answers.KnownModel:
    state = State.Unloaded if status is None else status.state
    return answers.KnownModel(
        name=listing.name,
        kind=listing.kind,
        description=listing.description,
        size=listing.size,
        loaded=state in (State.Ready, State.Draining, State.Remote),
        state=state.value,
        memory=0 if status is None else sum(status.charges.values()),
        in_use=0 if status is None else status.leases,
    )


MODELS = Tool(
    name="models",
    title="List the models",
    description="List the models of this machine: the names that the other tools take as `model`, "
    "what each is for, and which are in memory already and so answer at once.",
    takes=ModelsArguments,
    gives=answers.Models,
    work=_models,
)
