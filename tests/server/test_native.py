"""blazen's own routes: the manager live, meshes, /generate, and what watches over the server."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import struct
import time

import httpx
import numpy as np
import pytest

import blazen
from tests.server.conftest import RunningServer, read_catalog, running

pytestmark = pytest.mark.needs("server", "clients", "images", "mesh")

PROMPT = "Repeat after me: Paris is lovely."
real = pytest.mark.needs("xllamacpp", "starter:chat", "starter:text")


def ask(server: RunningServer, path: str, **body):
    answer = httpx.post(f"{server.url}{path}", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def model_of(status, name):
    return next(model for model in status["models"] if model["name"] == name)


class Told:
    """The events of a server, one by one."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.iter_lines()
        self._limit = time.monotonic() + 60

    def __iter__(self):
        return self

    def __next__(self):
        name = ""
        for line in self._lines:
            assert time.monotonic() < self._limit, "what was waited for did not come"
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))
        raise StopIteration


# Health


def test_a_server_that_answers_is_healthy_and_ready(echo_server):
    for path in ("/health", "/healthz"):
        answer = httpx.get(f"{echo_server.url}{path}")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    ready = httpx.get(f"{echo_server.url}/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "waiting_for": []})


def test_a_server_is_ready_when_its_first_models_are(echo_catalog, tmp_path):
    catalog = read_catalog(
        tmp_path,
        """
        [discover]
        starters = false
        cache = false
        programs = false
        [models.first]
        spec = "echo:echo"
        preload = true
        """,
    )
    with running(catalog) as server:
        with httpx.stream("GET", f"{server.url}/api/models/events", timeout=60) as answer:
            for name, told in Told(answer):
                if name == "status" and all(m["loads"] for m in told["models"]):
                    break
        assert httpx.get(f"{server.url}/ready").json()["status"] == "ready"
        entry = server.manager._entries["first"]
        entry.loads, entry.problem = 0, ""
        ready = httpx.get(f"{server.url}/ready")
        assert ready.status_code == 503
        assert ready.json() == {"status": "loading", "waiting_for": ["first"]}
        entry.problem = "it has no weights"
        assert httpx.get(f"{server.url}/ready").status_code == 200
        server.service.stopping = True
        assert httpx.get(f"{server.url}/ready").json()["status"] == "stopping"


# The manager


def test_all_models_are_listed_whether_they_were_asked_for_or_not(echo_catalog):
    with running(echo_catalog) as server:
        status = httpx.get(f"{server.url}/api/models").json()
        names = {listing.name for listing in echo_catalog.listings()}
        assert {model["name"] for model in status["models"]} == names >= {"echo", "echo-mesh"}
        assert all(model["state"] == "unloaded" for model in status["models"])
        loaded = ask(server, "/api/models/load", model="echo")
        assert (loaded["state"], loaded["loads"], loaded["kind"]) == ("ready", 1, "model")
        assert "complete" in loaded["can"]
        status = httpx.get(f"{server.url}/api/models").json()
        assert model_of(status, "echo")["state"] == "ready"
        pool = next(pool for pool in status["pools"] if pool["name"] == "cpu")
        held = server.manager.status().pools[0]
        assert (pool["budget"], pool["used"]) == (held.budget, held.used)
        assert pool["available"] == held.available
        gone = ask(server, "/api/models/unload", model="echo")
        assert gone["state"] == "unloaded"


def test_a_model_is_pinned_and_told_how_long_to_stay(echo_server):
    told = ask(echo_server, "/api/models/adjust", model="echo", pinned=True, keep_alive=60.5)
    assert (told["pinned"], told["keep_alive"], told["priority"]) == (True, 60.5, 0)
    told = ask(echo_server, "/api/models/adjust", model="echo", priority=2)
    assert (told["pinned"], told["keep_alive"], told["priority"]) == (True, 60.5, 2)
    told = ask(
        echo_server, "/api/models/adjust", model="echo", pinned=False, keep_alive=None, priority=0
    )
    assert (told["pinned"], told["keep_alive"], told["priority"]) == (False, None, 0)
    for body, words in (
        ({"pinned": "yes"}, "pinned"),
        ({"keep_alive": -1}, "keep_alive"),
        ({"keep_alive": "5m"}, "keep_alive"),
        ({"priority": 0.5}, "priority"),
    ):
        answer = httpx.post(f"{echo_server.url}/api/models/adjust", json={"model": "echo", **body})
        assert answer.status_code == 400
        assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["load", "unload", "adjust"])
def test_a_model_that_is_not_listed_is_not_found(echo_server, path):
    for name in ("nobody", "/etc/passwd", "echo:other"):
        answer = httpx.post(f"{echo_server.url}/api/models/{path}", json={"model": name})
        assert answer.status_code == 404
        assert answer.json()["error"]["kind"] == "ModelNotFoundError"


def test_changes_are_told_as_they_happen(echo_catalog):
    with running(echo_catalog) as server:
        with httpx.stream("GET", f"{server.url}/api/models/events", timeout=60) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            told = Told(answer)
            name, first = next(told)
            assert name == "status"
            assert first == httpx.get(f"{server.url}/api/models").json()
            ask(server, "/api/models/load", model="echo")
            seen, status = [], None
            for name, data in told:
                if name == "event":
                    seen.append((data["kind"], data["id"]))
                elif model_of(data, "echo")["state"] == "ready":
                    status = data
                if status and ("loaded", "echo") in seen:
                    break
            assert seen.index(("loading", "echo")) < seen.index(("loaded", "echo"))
            ask(server, "/api/models/adjust", model="echo", pinned=True)
            for name, data in told:
                if name == "event":
                    assert (data["kind"], data["id"]) == ("adjusted", "echo")
                    assert data["detail"].startswith("pinned")
                    assert set(data) == {"kind", "id", "at", "by", "detail", "seconds", "bytes"}
                    break
        hub = server.manager._hub
        asyncio.run(asyncio.wait_for(_until(lambda: len(hub._listeners) == 1), 60))


async def _until(holds):
    while not holds():
        await asyncio.sleep(0.01)


def test_listeners_do_not_keep_a_server_from_stopping(echo_catalog):
    with running(echo_catalog, shutdown_timeout=30.0) as server:
        client = httpx.Client(timeout=60)
        answer = client.send(
            client.build_request("GET", f"{server.url}/api/models/events"), stream=True
        )
        told = Told(answer)
        assert next(told)[0] == "status"
    assert list(told) == []
    answer.close()
    client.close()


def test_no_path_of_this_machine_is_told(echo_catalog, tmp_path):
    from blazen.catalog import Listing
    from blazen.server.apis.native.models import shown_spec

    path = tmp_path / "deep" / "model.gguf"
    listing = Listing(name="m", kind="model", spec=f"xllamacpp:{path}", path=path)
    assert shown_spec(listing) == "xllamacpp:model.gguf"


# Meshes


def picture() -> str:
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def test_a_mesh_is_made_in_each_format(echo_server):
    meshes = {}
    for form in ("glb", "obj", "ply", "stl"):
        answer = httpx.post(
            f"{echo_server.url}/api/mesh", json={"image": picture(), "format": form}, timeout=60
        )
        assert answer.status_code == 200, answer.text
        assert f"mesh.{form}" in answer.headers["content-disposition"]
        meshes[form] = answer.content
    mesh = blazen.Mesh.from_bytes(meshes["glb"], "glb")
    assert len(mesh.faces) > 0
    for form in ("obj", "ply"):
        assert len(blazen.Mesh.from_bytes(meshes[form], form).faces) == len(mesh.faces)
    stl = meshes["stl"]
    assert struct.unpack_from("<I", stl, 80) == (len(mesh.faces),)
    assert len(stl) == 84 + 50 * len(mesh.faces)
    rows = np.frombuffer(stl, [("n", "<f4", 3), ("v", "<f4", (3, 3)), ("e", "<u2")], offset=84)
    np.testing.assert_allclose(rows["v"], mesh.vertices[mesh.faces], rtol=1e-6)
    lengths = np.linalg.norm(rows["n"], axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"image": "/etc/passwd"}, "data URL"),
        ({"image": "file:///etc/passwd"}, "data URL"),
        ({"image": "http://127.0.0.1/x.png"}, "no pictures from the web"),
        ({"image": "data:image/png;base64,AAAA"}, "image"),
        ({"image": "IMAGE", "format": "step"}, "format"),
        ({"image": "IMAGE", "resolution": 7}, "resolution"),
        ({}, "image"),
    ],
)
def test_a_picture_that_cannot_be_taken_is_refused(echo_server, body, words):
    if body.get("image") == "IMAGE":
        body = {**body, "image": picture()}
    answer = httpx.post(f"{echo_server.url}/api/mesh", json=body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["error"]["message"]


# /generate


def test_a_prompt_is_answered_with_what_it_took(echo_server):
    told = ask(echo_server, "/generate", prompt="one two three", model="echo")
    assert told["text"] == "one two three"
    assert (told["prompt_tokens"], told["generated_tokens"]) == (3, 3)
    assert told["total_ms"] > 0
    said = [{"role": "system", "content": "x"}, {"role": "user", "content": "four five"}]
    assert ask(echo_server, "/generate", messages=said, model="echo")["text"] == "four five"
    cut = ask(echo_server, "/generate", prompt="one two three", model="echo", max_tokens=2)
    assert cut["text"].split() == ["one", "two"]


def test_an_answer_comes_as_events(echo_server):
    body = {"prompt": "one two three", "model": "echo", "stream": True}
    answer = httpx.post(f"{echo_server.url}/generate", json=body)
    data = [
        line.removeprefix("data: ")
        for line in answer.text.splitlines()
        if line.startswith("data: ")
    ]
    assert data[-1] == "[DONE]"
    told = [json.loads(one) for one in data[:-1]]
    assert "".join(one["text"] for one in told) == "one two three"
    assert told[-1]["done"] is True
    assert told[-1]["generated_tokens"] == 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "either a prompt or messages"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, "either a prompt"),
        ({"messages": [{"role": "user", "content": "x"}], "raw": True}, "raw goes with a prompt"),
        ({"prompt": "x", "temp": 1, "temperature": 1}, "temp and temperature are the same"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "top_p": 2}, "top_p"),
        ({"prompt": "x", "temp": "hot"}, "temp"),
        ({"prompt": "x", "stop": [""]}, "stop"),
    ],
)
def test_what_makes_no_sense_is_refused(echo_server, body, words):
    answer = httpx.post(f"{echo_server.url}/generate", json={"model": "echo", **body})
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def real_server(tmp_path_factory):
    models = """
    [discover]
    starters = false
    cache = false
    programs = false
    [models.chat]
    spec = "xllamacpp:starter:chat"
    [models.base]
    spec = "xllamacpp:starter:text"
    [defaults]
    model = "chat"
    """
    with running(read_catalog(tmp_path_factory.mktemp("real"), models)) as server:
        yield server


@real
def test_a_real_model_says_what_the_sdk_says(real_server):
    face = blazen.blocking(real_server.manager)
    ask(real_server, "/api/models/load", model="chat")
    options = {"temperature": 0, "max_tokens": 24}
    wanted = face.complete("chat", PROMPT, options)
    told = ask(real_server, "/generate", prompt=PROMPT, temp=0, max_tokens=24)
    assert told["text"] == wanted.content == "Paris is lovely."
    assert told["prompt_tokens"] == wanted.usage.prompt_tokens
    assert told["generated_tokens"] == wanted.usage.completion_tokens
    assert 0 < told["decode_ms"] <= told["total_ms"]
    raw = ask(real_server, "/generate", prompt="One, two, three,", raw=True, temp=0, max_tokens=8)
    bare = face.complete("chat", blazen.Prompt("One, two, three,"), {**options, "max_tokens": 8})
    assert raw["text"] == bare.content
    lively = {"prompt": "A story:", "temp": 1.5, "max_tokens": 12}
    first, second = (ask(real_server, "/generate", **lively, seed=5)["text"] for _ in range(2))
    assert first == second
    assert ask(real_server, "/generate", **lively, seed=6)["text"] != first


@real
def test_a_base_model_goes_on_with_the_text(real_server):
    wanted = "The capital of France is"
    told = ask(real_server, "/generate", model="base", prompt=wanted, temp=0, max_tokens=6)
    face = blazen.blocking(real_server.manager)
    bare = face.complete("base", blazen.Prompt(wanted), {"temperature": 0, "max_tokens": 6})
    assert told["text"] == bare.content != ""
    ollama = ask(
        real_server,
        "/api/generate",
        model="base",
        prompt=wanted,
        stream=False,
        options={"temperature": 0, "num_predict": 6},
    )
    assert ollama["response"] == bare.content
    more = ask(
        real_server,
        "/api/generate",
        model="base",
        prompt=" And",
        context=ollama["context"],
        stream=False,
        options={"temperature": 0, "num_predict": 3},
    )
    longer = blazen.Prompt(f"{wanted}{bare.content} And")
    assert (
        more["response"]
        == face.complete("base", longer, {"temperature": 0, "max_tokens": 3}).content
    )
