"""Servers of one's own that speak OpenAI's API, a row each.

What a row says was read in the documentation that it names, on the day that it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blazen_openai.gateway import EFFORT, UNKNOWN, Gateway

_KINDS = ("model", "embedding")
_TEMPLATE: tuple[Mapping[str, Any], Mapping[str, Any]] = (
    {"chat_template_kwargs": {"enable_thinking": True}},
    {"chat_template_kwargs": {"enable_thinking": False}},
)
_LLAMA = {
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repeat_penalty",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
}

SERVER_ROWS = (
    Gateway(
        name="ollama",
        title="Ollama",
        docs="https://docs.ollama.com/api/openai-compatibility",
        checked="2026-11-21",
        base_url="http://localhost:11434/v1",
        keys=("OLLAMA_API_KEY",),
        needs_key=False,
        kinds=("model", "embedding"),
        apis=("chat", "responses"),
        refuses={
            "logit_bias": "Ollama does not take it",
            "logprobs": "not every Ollama gives them here",
            "tool_choice": "Ollama does not take it",
            "parallel_tool_calls": UNKNOWN,
        },
        shape="schema",
        reasoning=EFFORT,
        images="data",
        note="The context's length is the model's: set num_ctx in its Modelfile.",
    ),
    Gateway(
        name="lmstudio",
        title="LM Studio",
        docs="https://lmstudio.ai/docs/developer/openai-compat/chat-completions",
        checked="2026-11-21",
        base_url="http://localhost:1234/v1",
        keys=("LM_API_TOKEN",),
        needs_key=False,
        kinds=_KINDS,
        apis=("chat", "responses"),
        fields={"top_k": "top_k", "repeat_penalty": "repeat_penalty"},
        refuses={
            "logprobs": UNKNOWN,
            "parallel_tool_calls": UNKNOWN,
            "reasoning": "it is set for the model, in LM Studio",
        },
        shape="schema",
        named_choice=False,
        images="data",
    ),
    Gateway(
        name="vllm",
        title="vLLM",
        docs="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        checked="2026-11-21",
        base_url="http://localhost:8000/v1",
        keys=("VLLM_API_KEY",),
        needs_key=False,
        kinds=("model", "embedding", "transcription"),
        apis=("chat", "responses"),
        fields={"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
        shape="vllm",
        reasoning=_TEMPLATE,
        audio=True,
    ),
    Gateway(
        name="llamacpp",
        title="llama.cpp's server",
        docs="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        checked="2026-11-21",
        base_url="http://localhost:8080/v1",
        keys=("LLAMA_API_KEY",),
        needs_key=False,
        kinds=_KINDS,
        fields={**_LLAMA, "typical_p": "typical_p", "mirostat": "mirostat"},
        shape="grammar",
        reasoning=_TEMPLATE,
        named_choice=False,
        audio=True,
        note="Shapes are sent as a grammar, as the local engines have them.",
    ),
    Gateway(
        name="llamacpp-python",
        title="llama-cpp-python's server",
        docs="https://llama-cpp-python.readthedocs.io/en/latest/server/",
        checked="2026-11-21",
        base_url="http://localhost:8000/v1",
        needs_key=False,
        kinds=_KINDS,
        fields={**_LLAMA, "mirostat": "mirostat_mode"},
        refuses={
            "parallel_tool_calls": "its API does not have it",
            "reasoning": "its API does not have it",
        },
        shape="grammar",
        stream_usage=False,
        required_choice=False,
        empty_content="",
        note="Its streams carry no usage: tokens are counted here, and marked as estimated. Start "
        "it with `--interrupt_requests False`: as it is, a request ends the stream of another.",
    ),
    Gateway(
        name="tgi",
        title="Text Generation Inference",
        docs="https://huggingface.co/docs/text-generation-inference/messages_api",
        checked="2026-11-21",
        base_url="http://localhost:3000/v1",
        needs_key=False,
        refuses={
            "logit_bias": "its API says that it is not used",
            "parallel_tool_calls": UNKNOWN,
            "reasoning": UNKNOWN,
        },
        shape="tgi",
        stops=4,
    ),
)
