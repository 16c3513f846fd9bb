"""The tools that take texts: `generate`, `chat`, `embed`."""

from __future__ import annotations

import json

from mcp import types

from blazen.errors import ValidationError
from blazen.mcp import answers
from blazen.mcp.asking import ChatArguments, EmbedArguments, GenerateArguments, Sampled
from blazen.mcp.call import Call
from blazen.mcp.tool import Answer, Tool
from blazen.types.chat import ChatMessage, Prompt, Role
from blazen.types.completion import InferenceChunk
from blazen.types.similarity import similarities


async def _generate(call: Call, asked: GenerateArguments) -> Answer:
    if not asked.raw:
        messages = [ChatMessage.user(asked.prompt)]
        if asked.system is not None:
            messages.insert(0, ChatMessage.system(asked.system))
        return await _write(call, asked, messages)
    if asked.system is not None:
        raise ValidationError("a raw prompt has no system message: leave out system, or raw")
    return await _write(call, asked, Prompt(asked.prompt))


async def _chat(call: Call, asked: ChatArguments) -> Answer:
    messages = [ChatMessage.from_dict(message.model_dump()) for message in asked.messages]
    return await _write(call, asked, messages)


async def _write(call: Call, asked: Sampled, messages: list[ChatMessage] | Prompt) -> Answer:
    options = asked.options()
    id = await call.ready(asked.model, "model")  # noqa: A001
    system = call.open.listing_of(id).system
    if system is not None and isinstance(messages, list) and messages[0].role is not Role.System:
        messages = [ChatMessage.system(system), *messages]

    def how(piece: InferenceChunk, count: int) -> tuple[float, float, str]:
        return min(count, asked.max_tokens), asked.max_tokens, f"{count} tokens"

    response = await call.collect(call.manager.complete_stream(id, messages, options), how)
    usage, timing = response.usage, response.timing
    values = answers.Text(
        text=response.content,
        reasoning=response.reasoning,
        parsed=response.parsed,
        model=id,
        finish_reason=response.finish_reason,
        prompt_tokens=None if usage is None else usage.prompt_tokens,
        completion_tokens=None if usage is None else usage.completion_tokens,
        tokens_per_second=None if timing is None else timing.tokens_per_second,
    )
    return Answer([types.TextContent(type="text", text=response.content)], values)


async def _embed(call: Call, asked: EmbedArguments) -> Answer:
    id = await call.ready(asked.model, "embedding")  # noqa: A001
    embed = call.manager.embed_query if asked.query else call.manager.embed
    response = await embed(id, asked.texts)
    vectors, usage = response.embeddings, response.usage
    values = answers.Vectors(
        embeddings=None if asked.compare else [_short(row) for row in vectors],
        similarities=[_short(row) for row in similarities(vectors)] if asked.compare else None,
        dimensions=response.dimensions,
        model=id,
        tokens=None if usage is None else usage.tokens,
        truncated=None if usage is None else usage.truncated,
    )
    # A client of an older protocol sees no values but these.
    text = json.dumps(values.model_dump(mode="json", exclude_none=True), separators=(",", ":"))
    return Answer([types.TextContent(type="text", text=text)], values)


def _short(row: memoryview[float] | list[float]) -> list[float]:
    """Write numbers as precisely as they are: more digits would be noise."""
    return [float(f"{value:.8g}") for value in row]


GENERATE = Tool(
    name="generate",
    title="Answer a prompt",
    description="Have a language model on this machine answer one prompt: write, summarise, "
    "translate, extract. It sees nothing but the prompt, so put everything that it needs into it. "
    "With `json_schema` the answer is valid JSON of that shape.",
    takes=GenerateArguments,
    gives=answers.Text,
    work=_generate,
)
CHAT = Tool(
    name="chat",
    title="Continue a conversation",
    description="Have a language model on this machine answer the last message of a conversation. "
    "It remembers nothing between calls: give all messages each time.",
    takes=ChatArguments,
    gives=answers.Text,
    work=_chat,
)
EMBED = Tool(
    name="embed",
    title="Turn texts into vectors",
    description="Turn texts into vectors (embeddings) on this machine: texts that mean alike have "
    "vectors that point alike. To rank or group texts yourself ask with `compare`, which gives how "
    "alike they are in place of long vectors.",
    takes=EmbedArguments,
    gives=answers.Vectors,
    work=_embed,
)
