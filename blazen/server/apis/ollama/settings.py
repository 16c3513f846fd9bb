"""From Ollama's options to those of a model; what can't be had is refused by its name."""

from __future__ import annotations

import asyncio
from typing import Any

from blazen.catalog import Listing
from blazen.server.apis.ollama.asked import Answering, Options, more_of
from blazen.server.apis.ollama.names import header_or_none
from blazen.server.headers import context_of
from blazen.server.refusals import RefusedError
from blazen.server.schemas import check_schema
from blazen.types.chat import Tool
from blazen.types.completion import CompletionOptions
from blazen.types.response_format import ResponseFormat

_ALIKE = (
    "temperature",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "mirostat_tau",
    "mirostat_eta",
)
_AT_LOAD = (
    *("numa", "num_batch", "num_gpu", "main_gpu", "low_vram", "f16_kv", "logits_all"),
    *("vocab_only", "use_mmap", "use_mlock", "embedding_only", "num_thread", "num_gqa"),
    *("rope_frequency_base", "rope_frequency_scale", "draft_num_predict"),
)
# What says the same as leaving it out.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "tfs_z": (1, 0),
    "repeat_last_n": (64,),
    "penalize_newline": (False, True),
    "num_keep": (0, 4, -1),
}


async def read_settings(
    body: Answering, listing: Listing, *, tools: tuple[Tool, ...] = ()
) -> CompletionOptions:
    """Give the options of a request."""
    given = await read_options(body.options, listing)
    if isinstance(body.think, str):
        raise RefusedError(
            f"think: {body.think!r} is not supported: how long a model thinks can't be set here; "
            "send true or false",
            param="think",
        )
    if body.top_logprobs is not None and not body.logprobs:
        raise RefusedError("top_logprobs goes with logprobs: send logprobs: true", param="logprobs")
    return CompletionOptions(
        **given,
        response_format=_format(body.format),
        reasoning=body.think,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        tools=tools,
    )


async def read_options(options: Options | None, listing: Listing) -> dict[str, Any]:
    """Give the part of the options that Ollama calls so."""
    if options is None:
        return {}
    _refuse(options, listing)
    if options.num_ctx:
        header = await asyncio.to_thread(header_or_none, listing)
        holds = context_of(listing, header)
        if holds is not None and options.num_ctx > holds:
            raise RefusedError(
                f"num_ctx {options.num_ctx} is more than the {holds} tokens that {listing.name!r} "
                "holds here: it is set where the model is configured, as context_length in "
                f"[models.{listing.name}.options] of blazen.toml",
                param="options.num_ctx",
            )
    given: dict[str, Any] = {
        name: value for name in _ALIKE if (value := getattr(options, name)) is not None
    }
    if options.num_predict is not None and options.num_predict > 0:  # others say "no limit"
        given["max_tokens"] = options.num_predict
    if options.top_k is not None:
        given["top_k"] = max(0, options.top_k)
    if options.seed is not None and options.seed != -1:
        given["seed"] = options.seed % 2**32
    if options.mirostat:
        given["mirostat"] = options.mirostat
    if options.stop:
        given["stop"] = options.stop
    return given


def _refuse(options: Options, listing: Listing) -> None:
    for name, value in more_of(options).items():
        if name in _NEUTRAL:
            if value not in _NEUTRAL[name]:
                raise RefusedError(
                    f"the option {name!r} is not supported here: leave it out",
                    param=f"options.{name}",
                )
        elif name in _AT_LOAD:
            raise RefusedError(
                f"the option {name!r} can't be changed by a request: it is set where the model is "
                f"configured, in [models.{listing.name}.options] of blazen.toml",
                param=f"options.{name}",
            )
        else:
            raise RefusedError(f"there is no option {name!r:.60}", param="options")


def _format(given: str | dict[str, Any] | None) -> ResponseFormat | None:
    if not given:
        return None
    if given == "json":
        return ResponseFormat.json()
    check_schema(given, "format")
    return ResponseFormat.schema(given)
