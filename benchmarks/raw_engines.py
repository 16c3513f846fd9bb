"""The engines by themselves, each as its own documentation uses it: what ours is measured against.

An engine answers with the moments at which its tokens came.
"""

from __future__ import annotations

import ctypes
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blazen.weights.starter import starter_path

CONTEXT = 2048
Moments = list[float]


class LlamaCppPython:
    """llama-cpp-python's own `create_chat_completion`."""

    def __init__(self, threads: int) -> None:
        from llama_cpp import Llama

        self._llama = Llama(
            str(starter_path("chat")),
            n_ctx=CONTEXT,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )

    def answer(self, prompt: str, tokens: int) -> Moments:
        """Stream one answer."""
        chunks = self._llama.create_chat_completion(
            [{"role": "user", "content": prompt}], max_tokens=tokens, temperature=0, stream=True
        )
        return [time.perf_counter() for c in chunks if c["choices"][0]["delta"].get("content")]

    def in_turn(self, prompts: Sequence[str], tokens: int) -> int:
        """Answer one after another, which is all that it can do; give the number of tokens."""
        return sum(
            self._llama.create_chat_completion(
                [{"role": "user", "content": prompt}], max_tokens=tokens, temperature=0
            )["usage"]["completion_tokens"]
            for prompt in prompts
        )

    def close(self) -> None:
        """Give the memory back."""
        self._llama.close()


class LowLevelLoop:
    """The least that llama.cpp asks for: one batch, one decode, one greedy sampler a sequence."""

    def __init__(self, threads: int, sequences: int) -> None:
        from llama_cpp import llama_cpp as lib

        self._lib: Any = lib
        lib.llama_backend_init()
        model = lib.llama_model_default_params()
        model.n_gpu_layers = 0
        self._model = lib.llama_model_load_from_file(str(starter_path("chat")).encode(), model)
        context = lib.llama_context_default_params()
        context.n_ctx, context.n_seq_max, context.kv_unified = CONTEXT, sequences, True
        context.n_threads = context.n_threads_batch = threads
        self._context = lib.llama_init_from_model(self._model, context)
        self._vocabulary = lib.llama_model_get_vocab(self._model)
        self._batch = lib.llama_batch_init(512, 0, 1)
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_greedy())
        self._sampler = chain

    def together(self, prompts: Sequence[str], tokens: int) -> int:
        """Decode the prompts side by side; give the number of tokens."""
        lib, batch = self._lib, self._batch
        lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        last, places = [], []
        for number, prompt in enumerate(prompts):
            ids = self._tokens(prompt)
            for place, token in enumerate(ids):
                self._put(place, token, place, number, logits=place == len(ids) - 1)
            batch.n_tokens = len(ids)
            self._decode()
            last.append(lib.llama_sampler_sample(self._sampler, self._context, len(ids) - 1))
            places.append(len(ids))
        running = list(range(len(prompts)))
        made = [1] * len(prompts)
        piece = ctypes.create_string_buffer(64)
        while running:
            for row, number in enumerate(running):
                self._put(row, last[number], places[number], number, logits=True)
                places[number] += 1
            batch.n_tokens = len(running)
            self._decode()
            for row, number in enumerate(running):
                last[number] = lib.llama_sampler_sample(self._sampler, self._context, row)
                lib.llama_token_to_piece(self._vocabulary, last[number], piece, 64, 0, True)
                made[number] += 1
            running = [
                number
                for number in running
                if made[number] < tokens
                and not lib.llama_vocab_is_eog(self._vocabulary, last[number])
            ]
        return sum(made)

    def _put(self, row: int, token: int, place: int, sequence: int, *, logits: bool) -> None:
        batch = self._batch
        batch.token[row], batch.pos[row], batch.logits[row] = token, place, logits
        batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequence

    def _decode(self) -> None:
        status = self._lib.llama_decode(self._context, self._batch)
        assert status == 0, f"llama_decode returned {status}"

    def _tokens(self, prompt: str) -> list[int]:
        text = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n".encode()
        room = (self._lib.llama_token * 512)()
        count = self._lib.llama_tokenize(self._vocabulary, text, len(text), room, 512, True, True)
        return list(room[:count])

    def close(self) -> None:
        """Give the memory back."""
        self._lib.llama_sampler_free(self._sampler)
        self._lib.llama_batch_free(self._batch)
        self._lib.llama_free(self._context)
        self._lib.llama_model_free(self._model)


class XllamaCpp:
    """xllamacpp's server, as its README uses it."""

    def __init__(self, threads: int, parallel: int = 1) -> None:
        import xllamacpp

        self._folder = tempfile.TemporaryDirectory()
        params = xllamacpp.CommonParams()
        params.model.path = str(starter_path("chat"))
        params.n_ctx, params.n_parallel = CONTEXT * parallel, parallel
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.n_gpu_layers, params.warmup, params.verbosity = 0, False, -1
        params.cache_ram_mib, params.endpoint_metrics = 0, True
        params.hostnames = [str(Path(self._folder.name) / "engine.sock")]
        self._server: Any = xllamacpp.Server(params)
        self._server.handle_metrics()

    def answer(self, prompt: str, tokens: int) -> Moments:
        """Stream one answer."""
        moments: Moments = []

        def on_event(event: dict[str, Any]) -> bool:
            choices = event.get("choices") or [{}]
            if choices[0].get("delta", {}).get("content"):
                moments.append(time.perf_counter())
            return False

        self._server.handle_chat_completions(_request(prompt, tokens), on_event)
        return moments

    def together(self, prompts: Sequence[str], tokens: int) -> int:
        """Answer the prompts on a thread each; give the number of tokens."""
        return sum(len(moments) for moments in _on_threads(self.answer, prompts, tokens))

    def close(self) -> None:
        """Give the memory back."""
        del self._server
        self._folder.cleanup()


class MistralRs:
    """mistral.rs' runner, as its README uses it."""

    def __init__(self) -> None:
        from mistralrs import Runner, Which

        path = starter_path("chat")
        self._runner = Runner(
            which=Which.GGUF(quantized_model_id=str(path.parent), quantized_filename=path.name),
            token_source="none",
        )

    def answer(self, prompt: str, tokens: int) -> Moments:
        """Stream one answer."""
        from mistralrs import ChatCompletionRequest

        request = ChatCompletionRequest(
            messages=[{"role": "user", "content": prompt}],
            model="default",
            max_tokens=tokens,
            temperature=0.0,
            stream=True,
        )
        chunks = self._runner.send_chat_completion_request(request)
        return [time.perf_counter() for chunk in chunks if chunk.choices[0].delta.content]

    def in_turn(self, prompts: Sequence[str], tokens: int) -> int:
        """Answer one after another; give the number of tokens."""
        return sum(len(self.answer(prompt, tokens)) for prompt in prompts)

    def close(self) -> None:
        """Give back what it does give back."""
        del self._runner


def _request(prompt: str, tokens: int) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
    }


def _on_threads(answer: Any, prompts: Sequence[str], tokens: int) -> list[Moments]:
    found: list[Moments] = [[] for _ in prompts]

    def one(number: int) -> None:
        found[number] = answer(prompts[number], tokens)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
