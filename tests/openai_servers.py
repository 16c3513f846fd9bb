"""Engines' own OpenAI servers, each in a process that ends with its user."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

KEY = "a-key-of-this-machine"
CONTEXT = 1024

# A server outlives a test that was killed, unless it watches for that itself.
_ENDS_WITH_ITS_PARENT = """
import os, sys, threading

def watch():
    sys.stdin.read()
    os._exit(0)

threading.Thread(target=watch, daemon=True).start()
"""
_LLAMA_CPP_PYTHON = """
from llama_cpp.server.__main__ import main

main()
"""
_LLAMA_SERVER = """
import xllamacpp

path, key, context, embeds, template = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path, params.chat_template = path, template
params.model_alias = {"starter"}
params.hostnames, params.port, params.api_keys = ["127.0.0.1"], 0, [key]
params.n_parallel = 2
params.n_ctx = int(context) * params.n_parallel
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.n_gpu_layers, params.warmup, params.fit_params, params.verbosity = 0, False, False, -1
params.cache_ram_mib, params.endpoint_metrics, params.ui = 0, True, False
if embeds == "True":
    params.embedding, params.n_batch = True, int(context)
    params.n_ubatch = params.n_batch
server = xllamacpp.Server(params)
server.handle_metrics()
print("running on", server.listening_address, flush=True)
threading.Event().wait()
"""


def llama_cpp_python(
    model: Path, *, embeds: bool = False
) -> contextlib.AbstractContextManager[str]:
    """Run llama-cpp-python's server; gives its base URL."""
    settings = {
        "model": model,
        "model_alias": "starter",
        "host": "127.0.0.1",
        "port": 0,
        "api_key": KEY,
        "n_ctx": CONTEXT,
        "n_threads": 1,
        "n_threads_batch": 1,
        "embedding": embeds,
        "interrupt_requests": False,  # else a second request cuts a stream off
        "verbose": False,
    }
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    return _serving(_LLAMA_CPP_PYTHON, *flags)


def llama_server(
    model: Path, *, embeds: bool = False, template: str = ""
) -> contextlib.AbstractContextManager[str]:
    """Run llama.cpp's own server, as xllamacpp carries it; gives its base URL."""
    given = (model, KEY, CONTEXT, embeds, template)
    return _serving(_LLAMA_SERVER, *map(str, given))


@contextlib.contextmanager
def _serving(program: str, *arguments: str) -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, "-c", _ENDS_WITH_ITS_PARENT + program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # These would be settings of the server too.
        env={k: v for k, v in os.environ.items() if k not in ("HOST", "PORT", "CONFIG_FILE")},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said: list[str] = []
        # Its log is read to the end, for a full pipe would stop it.
        listening = threading.Thread(target=said.extend, args=(process.stdout,))
        try:
            for line in process.stdout:
                said.append(line)
                if found := re.search(r"running on (http://[\d.]+:\d+)", line):
                    break
            else:
                raise RuntimeError("the server did not start:\n" + "".join(said[-40:]))
            listening.start()
            yield f"{found[1]}/v1"
        finally:
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
            if listening.ident is not None:
                listening.join()
