"""The hosted 3D backend against a real HTTP server that answers, and misbehaves, in every way."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import itertools
import json
import logging
import subprocess
import sys
import threading
import traceback
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("httpx2")
numpy = pytest.importorskip("numpy")
pytest.importorskip("trimesh")
pytest.importorskip("PIL")

import blazen  # noqa: E402
from blazen import AuthError, Image, Mesh, ProviderError, RateLimitError  # noqa: E402
from blazen.options.compat3d import Compat3dOptions  # noqa: E402
from blazen.remote.retry import Retry  # noqa: E402
from blazen.remote.timeouts import Timeouts  # noqa: E402
from blazen.testing import ThreeDSuite  # noqa: E402
from blazen_compat3d import Compat3dProvider  # noqa: E402
from blazen_compat3d.answers import look  # noqa: E402
from blazen_compat3d.events import Events  # noqa: E402
from tests.remote.misbehaving import Behaviour, Request, Wire, answering, serving  # noqa: E402

KEY = "sk-a-key-that-nobody-may-see"
PATIENCE = 20
"""Seconds after which a test counts as hanging; none of those below wait for it."""


def box(width: float = 1.0, color: tuple[int, int, int] = (200, 20, 20)) -> Mesh:
    corners = [(x * width, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    faces = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)]
    faces += [(2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]
    return Mesh(corners, faces, vertex_colors=numpy.array([color] * 8, "uint8"))


GLB = box().to_bytes("glb")
B64 = base64.b64encode(GLB).decode()
PICTURE = Image.from_array(numpy.zeros((8, 8, 3), "uint8")).to_bytes("png")
JOB = {"id": "a b/7", "status": "queued"}


def made(url: str, **settings) -> Compat3dProvider:
    settings = {
        "api_key": KEY,
        "poll_seconds": 0.001,
        "retry": Retry(first=0.001, times=2),
        "timeouts": Timeouts(connect=PATIENCE, idle=PATIENCE, total=PATIENCE),
        **settings,
    }
    return Compat3dProvider(Compat3dOptions(url, **settings))


@asynccontextmanager
async def using(*behaviours: Behaviour, **settings):
    """A model, its server, and the proof that neither a task nor a connection is left."""
    async with serving(*behaviours) as server:
        model = made(server.url, **settings)
        try:
            yield model, server
        finally:
            await model.aclose()
            await asyncio.wait_for(server.until_all_left(), PATIENCE)
            for _ in range(20):
                await asyncio.sleep(0)
            left = asyncio.all_tasks() - server._tasks - {asyncio.current_task()}
            assert not left, left


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def refusing(status: int, message: str = "no", **headers) -> Behaviour:
    body = {"error": {"message": message, "type": "x"}}
    return answering(body, status, x_request_id="req_7", **headers)


# How a mesh comes.

FORMS = {
    "as the body": [answering(GLB, content_type="model/gltf-binary")],
    "with a wrong content type": [answering(GLB, content_type="text/plain")],
    "as the body that is called JSON": [answering(GLB, content_type="application/json")],
    "as the body that is called events": [answering(GLB, content_type="text/event-stream")],
    "as OBJ that is called JSON": [
        answering(b"# made\n" + box().to_bytes("obj"), content_type="application/json")
    ],
    "as OBJ that is called events": [
        answering(b"# made\n" + box().to_bytes("obj"), content_type="text/event-stream")
    ],
    "as PLY that is called events": [
        answering(box().to_bytes("ply"), content_type="text/event-stream")
    ],
    "as JSON that is called events": [
        answering({"b64_json": B64}, content_type="text/event-stream")
    ],
    "by a job whose content is called JSON": [
        answering(JOB),
        answering({**JOB, "status": "completed"}),
        answering(GLB, content_type="application/json"),
    ],
    "behind a URL, and called JSON": [
        answering({"data": [{"url": "/files/mesh.glb"}]}),
        answering(GLB, content_type="application/json"),
    ],
    "behind a URL, and called events": [
        answering({"data": [{"url": "/files/mesh.glb"}]}),
        answering(GLB, content_type="text/event-stream"),
    ],
    "as OBJ": [answering(box().to_bytes("obj"))],
    "as PLY": [answering(box().to_bytes("ply"))],
    "as OpenAI sends images": [answering({"created": 1, "data": [{"b64_json": B64}]})],
    "as base64 beside a reason": [answering({"model": B64, "finish_reason": "SUCCESS"})],
    "as a data URL": [answering({"url": f"data:model/gltf-binary;base64,{B64}"})],
    "behind a URL": [answering({"data": [{"url": "/files/mesh.glb?sig=1"}]}), answering(GLB)],
    "among other URLs": [
        answering(
            {"output": {"thumbnail": "/a.png", "model_urls": {"fbx": "/a.fbx", "glb": "/a"}}}
        ),
        answering(GLB),
    ],
    "by a job": [
        answering(JOB, 202),
        answering({**JOB, "status": "processing", "progress": 0.4}),
        answering({**JOB, "status": "SUCCEEDED", "result": {"b64_json": B64}}),
    ],
    "by a job with a content path": [
        answering(JOB),
        answering({**JOB, "status": "completed"}),
        answering(GLB),
    ],
    "by a job that is only an id": [
        answering({"result": "0193"}),
        answering({"status": "PENDING", "progress": 3}),
        answering({"status": "SUCCEEDED", "model_urls": {"glb": "/x.glb"}}),
        answering(GLB),
    ],
    "by a job at a Location": [
        answering({"status": "accepted"}, 202, location="/jobs/7"),
        answering(GLB),
    ],
    "by a job at a Location and nothing else": [
        answering(b"", 202, location="/jobs/7"),
        answering(b"", 202, retry_after=0),
        answering(GLB),
    ],
    "by a job that is not known at once": [
        answering(JOB),
        refusing(404),
        refusing(404),
        answering({"status": "running"}),
        answering(GLB),
    ],
    "by a job whose taking is a success": [
        answering({"status": "success", "data": {"task_id": "7"}}),
        answering({"status": "success", "data": {"status": "running"}}),
        answering({"status": "success", "data": {"status": "success", "url": "/x.glb"}}),
        answering(GLB),
    ],
    "by a job with words of its own": [
        answering({"id": 7, "status": "TASK_STATUS_SUBMITTED"}),
        answering({"id": 7, "status": "retexturing"}),
        answering({"id": 7, "status": "TASK_STATUS_SUCCEED", "url": "/x.glb"}),
        answering(GLB),
    ],
    "by a result that is there at once": [
        answering({"id": "7", "status": "completed", "response_url": "/q/7"}),
        answering(GLB),
    ],
    "by a job that names where it is": [
        answering({"id": "7", "status": "starting", "urls": {"get": "/p/7", "cancel": "/c/7"}}),
        answering({"id": "7", "status": "succeeded", "output": ["/a.png", "/p/7.glb?sig=1"]}),
        answering(GLB),
    ],
    "by a job with a preview": [
        answering({"id": 7, "status": "running", "url": "/preview.glb", "progress": 50}),
        answering(GLB),
    ],
    "beside a picture of it": [
        answering(
            {"url": f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}", "data": B64}
        )
    ],
    "packed": [answering(gzip.compress(GLB), content_encoding="gzip")],
    "by a job that names its result": [
        answering({"request_id": "7", "status": "IN_QUEUE", "status_url": "/q/7/status"}),
        answering({"status": "COMPLETED", "response_url": "/q/7"}),
        answering({"model_mesh": {"url": "/x.glb", "content_type": "model/gltf-binary"}}),
        answering(GLB),
    ],
    "after a 303": [answering(b"", 303, location="/jobs/7"), answering(GLB)],
    "after a 307": [answering(b"", 307, location="/v2"), answering(GLB)],
}


@pytest.mark.parametrize("form", FORMS)
async def test_the_mesh_is_found_in_every_form(form):
    async with using(*FORMS[form]) as (model, server):
        mesh = await model.image_to_mesh(PICTURE)
        assert len(mesh.faces) == 12
        assert mesh.bounds == box().bounds
        assert len(server.asked) == len(FORMS[form])
        assert {request.key for request in server.asked} == {f"Bearer {KEY}"}


async def test_a_job_is_looked_up_where_it_is():
    async with using(*FORMS["by a job with a content path"]) as (model, server):
        await model.image_to_mesh(PICTURE)
        assert [f"{r.method} {r.path}" for r in server.asked] == [
            "POST /v1/images/3d",
            "GET /v1/images/3d/a%20b%2F7",
            "GET /v1/images/3d/a%20b%2F7/content",
        ]
    paths = {"job_path": "tasks/{id}", "content_path": "files/{id}.glb"}
    async with using(*FORMS["by a job with a content path"], **paths) as (model, server):
        await model.image_to_mesh(PICTURE)
        assert [r.path for r in server.asked[1:]] == [
            "/v1/tasks/a%20b%2F7",
            "/v1/files/a%20b%2F7.glb",
        ]


async def test_places_can_be_named():
    places = {"job_at": "made.0.who", "status_at": "how", "progress_at": "far", "mesh_at": "it.is"}
    behaviours = [
        answering({"made": [{"who": 7}], "how": "busy", "far": "45 %", "url": "/decoy.glb"}),
        answering({"how": "done", "it": {"is": B64}, "url": "/decoy.glb"}),
    ]
    async with using(*behaviours, **places) as (model, server):
        chunks = [chunk async for chunk in model.image_to_mesh_stream(PICTURE)]
        assert ("make", 45, 100) in [(c.stage, c.done, c.total) for c in chunks]
        assert [r.path for r in server.asked] == ["/v1/images/3d", "/v1/images/3d/7"]


async def test_the_form_is_as_configured():
    settings = {
        "model": "sf3d",
        "path": "v2/3d/make?version=3",
        "image_field": "picture",
        "model_field": "engine",
        "fields": {"seed": 7, "remesh": "none", "pbr": True},
        "option_fields": {"resolution": "detail", "texture": "bake"},
        "key_header": "X-Api-Key",
        "key_prefix": "",
        "headers": {"X-Tenant": "birds"},
    }
    async with using(answering(GLB), **settings) as (model, server):
        await model.image_to_mesh(PICTURE, {"resolution": 128, "texture": True})
        (request,) = server.asked
        assert request.path == "/v1/v2/3d/make?version=3"
        assert request.headers["x-api-key"] == KEY
        assert request.headers["x-tenant"] == "birds"
        assert "authorization" not in request.headers
        parts = request.body.split(b"--" + request.headers["content-type"].split("=")[1].encode())
        form = {}
        for part in parts[1:-1]:
            head, _, value = part.partition(b"\r\n\r\n")
            form[head.split(b'name="')[1].split(b'"')[0].decode()] = value.removesuffix(b"\r\n")
        assert form.pop("picture") == PICTURE
        assert form == {
            "engine": b"sf3d",
            "seed": b"7",
            "remesh": b"none",
            "pbr": b"true",
            "detail": b"128",
            "bake": b"true",
        }
        with pytest.raises(blazen.UnsupportedError, match="foreground_ratio"):
            await model.image_to_mesh(PICTURE, {"foreground_ratio": 0.5})
        assert len(server.asked) == 1


async def test_pictures_that_services_do_not_take_are_sent_as_png():
    async with using(answering(GLB)) as (model, server):
        await model.image_to_mesh(Image.from_bytes(PICTURE).to_bytes("bmp"))
        assert b"\x89PNG\r\n" in server.asked[0].body
        assert b'filename="image.png"' in server.asked[0].body


async def test_progress_is_told_and_never_goes_back():
    told = [
        ("queued", 0),
        ("running", 0.2),
        ("running", 60),
        ("running", "nonsense"),
        ("running", 50),
    ]
    behaviours = [answering({"id": "7", "status": s, "progress": p}) for s, p in told]
    async with using(*behaviours, answering(GLB)) as (model, _):
        chunks = [chunk async for chunk in model.image_to_mesh_stream(PICTURE)]
    assert [(c.stage, c.done) for c in chunks] == [
        ("send", 0),
        ("queue", 0),
        ("make", 20),
        ("make", 60),
        ("make", 60),
        ("make", 60),
        ("read", 1),
    ]
    assert chunks[-1].mesh.bounds == box().bounds


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("succeeded SUCCEED Success completed COMPLETE Done finished ready OK", "done"),
        ("TASK_STATUS_SUCCEEDED JobState.COMPLETED status-done", "done"),
        ("failed FAIL Failure error cancelled canceled expired timeout timed-out banned", "failed"),
        ("content_filtered TASK_STATUS_FAILED request_moderated generation_failed", "failed"),
        ("nsfw_detected UPSTREAM_ERROR unsuccessful killed", "failed"),
        ("queued PENDING in_queue IN-QUEUE submitted created waiting JOB_STATE_QUEUED", "queue"),
        ("running processing in_progress retexturing moderating deferred filtering 42%", "make"),
    ],
)
def test_the_words_of_many_services_are_understood(words, expected):
    options = Compat3dOptions("https://x.org")
    for word in words.replace("JobState.", "JOB.STATE.").split():
        assert look({"id": "7", "status": word}, options).state == expected, word


@pytest.mark.parametrize(
    ("told", "percent"),
    [
        (0.4, 40),
        ("0.4", 40),
        (40, 40),
        ("40 %", 40),
        ("1%", 1),
        ("0.6 %", 1),
        ("1", 1),
        (1.0, 100),
        (100, 100),
    ]
    + [(value, None) for value in (-1, 101, "much", True, None, [1], float("nan"), "")],
)
def test_progress_is_read_in_each_form(told, percent):
    assert look({"progress": told}, Compat3dOptions("https://x.org")).progress == percent


def test_odd_places_hold_nothing():
    deep = [GLB]
    for _ in range(3000):
        deep = [deep]
    assert not look({"data": deep}, Compat3dOptions("https://x.org")).has_mesh
    for place in ("data.1", "data.x", "data.0.url.x", "", "data.-1"):
        options = Compat3dOptions("https://x.org", mesh_at=place or None)
        found = look({"data": [{"url": "/x.glb"}]}, options)
        assert found.has_mesh == (place == ""), place


async def test_events_are_streamed():
    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(content_type="text/event-stream; charset=utf-8")
        await wire.events(
            ": hello\n\n",
            "event: ping\ndata: ping\n\n",
            {"status": "queued"},
            {"status": "running", "progress": 30},
        )
        await wire.events({"status": "done", "data": [{"b64_json": B64}]})
        await wire.until_left()  # the stream is left open: the mesh ends it

    async with using(behave) as (model, _):
        stream = model.image_to_mesh_stream(PICTURE)
        stages = [(chunk.stage, chunk.done) async for chunk in stream]
        assert stages == [("send", 0), ("queue", 0), ("make", 30), ("read", 1)]
        assert stream.response.bounds == box().bounds


async def test_a_stream_that_ends_with_a_job_is_polled():
    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(content_type="text/event-stream")
        await wire.events({"id": "7", "status": "running"}, "data: [DONE]\n\n")
        wire.close()

    async with using(behave, answering(GLB)) as (model, server):
        assert len((await model.image_to_mesh(PICTURE)).faces) == 12
        assert server.asked[1].path == "/v1/images/3d/7"


@pytest.mark.parametrize("end", ["cut", "silence"])
async def test_a_stream_that_breaks_off_leaves_its_job(end):
    event = b'data: {"id": "job-7", "status": "running"}\n\n'

    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(content_type="text/event-stream", transfer_encoding="chunked")
        await wire.raw(b"%x\r\n%s\r\n" % (len(event), event))
        if end == "cut":
            wire.close()
        else:
            await wire.until_left()

    timeouts = Timeouts(connect=PATIENCE, idle=0.2, total=PATIENCE)
    async with using(behave, answering(GLB), timeouts=timeouts) as (model, server):
        assert len((await model.image_to_mesh(PICTURE)).faces) == 12
        assert server.asked[1].path == "/v1/images/3d/job-7"
    # Where that was no name of a job, the stream's own end is what is told.
    said = "was silent" if end == "silence" else "broke the connection off"
    async with using(behave, refusing(404), timeouts=timeouts) as (model, server):
        with pytest.raises(blazen.BlazenError, match=said):
            await model.image_to_mesh(PICTURE)
        assert len(server.asked) == 4


async def test_a_broken_stream_takes_no_step_back():
    event = b'data: {"id": "7", "status": "running", "progress": 40}\n\n'

    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(content_type="text/event-stream", transfer_encoding="chunked")
        await wire.raw(b"%x\r\n%s\r\n" % (len(event), event))
        wire.close()

    behaviours = [behave, refusing(404), answering({"status": "queued"}), answering(GLB)]
    async with using(*behaviours) as (model, _):
        told = [(c.stage, c.done) async for c in model.image_to_mesh_stream(PICTURE)]
    # One for the event, and one for each time that the job was looked up.
    assert told == [("send", 0), *[("make", 40)] * 3, ("read", 1)]


async def test_a_first_byte_alone_is_no_event_and_no_mesh_yet():
    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(content_type="text/event-stream")
        for at in range(20):
            await wire.raw(GLB[at : at + 1])
            await asyncio.sleep(0)
        await wire.raw(GLB[20:])
        wire.close()

    async with using(behave) as (model, _):
        assert len((await model.image_to_mesh(PICTURE)).faces) == 12


async def test_leaving_a_block_closes_the_connections():
    async with serving(answering(GLB)) as server:
        model = made(server.url)
        async with model as entered:
            assert entered is model
            await model.image_to_mesh(PICTURE)
            assert server.connected == 1
        await asyncio.wait_for(server.until_all_left(), PATIENCE)


def test_events_come_whole_however_they_are_cut():
    text = b"\xef\xbb\xbfevent: a\r\ndata: 1\r\ndata: 2\r\n\r\n:note\n\n"
    text += b'id: 5\ndata:{"x": "\xc3\xa9"}\n\ndata: end'
    expected = [("a", "1\n2"), ("", '{"x": "é"}'), ("", "end")]
    for size in range(1, len(text) + 1):
        events = Events()
        got = [e for i in range(0, len(text), size) for e in events.feed(text[i : i + size])]
        assert [*got, *events.end()] == expected, size


# How it goes wrong.


async def cut(wire: Wire, request: Request) -> None:
    await wire.head(length=len(GLB))
    await wire.raw(GLB[:200])
    wire.close()


async def cut_without_a_length(wire: Wire, request: Request) -> None:
    await wire.head()
    await wire.raw(GLB[:200])
    wire.close()


async def cut_events(wire: Wire, request: Request) -> None:
    await wire.head(content_type="text/event-stream", transfer_encoding="chunked")
    await wire.raw(b'1a\r\ndata: {"status":"running"}\r\n')
    wire.close()


async def cut_as_events(wire: Wire, request: Request) -> None:
    await wire.head(length=len(GLB), content_type="text/event-stream")
    await wire.raw(GLB[:200])
    wire.close()


async def silent(wire: Wire, request: Request) -> None:
    await wire.until_left()


async def silent_in_its_middle(wire: Wire, request: Request) -> None:
    await wire.head(length=len(GLB))
    await wire.raw(GLB[:200])
    await wire.until_left()


async def dripping(wire: Wire, request: Request) -> None:
    await wire.head(length=10_000_000)
    while True:
        await wire.raw(b"g")
        await asyncio.sleep(0.01)


async def reset(wire: Wire, request: Request) -> None:
    wire.reset()


async def reset_in_its_middle(wire: Wire, request: Request) -> None:
    await wire.head(length=len(GLB))
    await wire.raw(GLB[:200])
    wire.reset()


async def huge(wire: Wire, request: Request) -> None:
    await wire.head(length=50_000_000)
    await wire.raw(b"glTF" + bytes(50_000_000 - 4))


async def huge_without_a_length(wire: Wire, request: Request) -> None:
    await wire.head()
    for _ in range(50):
        await wire.raw(b"g" * 1_000_000)
    wire.close()


async def huge_in_json(wire: Wire, request: Request) -> None:
    await wire.head(content_type="application/json")
    await wire.raw(b'{"b64_json": "')
    for _ in range(50):
        await wire.raw(b"A" * 1_000_000)
    wire.close()


async def huge_event(wire: Wire, request: Request) -> None:
    await wire.head(content_type="text/event-stream")
    await wire.raw(b"data: ")
    for _ in range(50):
        await wire.raw(b"A" * 1_000_000)
    wire.close()


async def huge_as_events(wire: Wire, request: Request) -> None:
    await wire.head(content_type="text/event-stream")
    for _ in range(50):
        await wire.raw(b"glTF" * 250_000)
    wire.close()


async def no_http(wire: Wire, request: Request) -> None:
    await wire.raw(b"220 mail.example.com ESMTP\r\n\r\n")
    wire.close()


async def error_in_words(wire: Wire, request: Request) -> None:
    await wire.head(content_type="text/event-stream")
    await wire.events("event: error\ndata: out of birds\n\n")
    await wire.until_left()


async def cut_refusal(wire: Wire, request: Request) -> None:
    await wire.head(400, length=1000)
    await wire.raw(b'{"error"')
    wire.close()


async def broken_event(wire: Wire, request: Request) -> None:
    await wire.head(content_type="text/event-stream")
    await wire.events("data: {'status': \n\n")
    await wire.until_left()


async def error_event(wire: Wire, request: Request) -> None:
    await wire.head(content_type="text/event-stream")
    await wire.events({"status": "running"}, 'event: error\ndata: {"message": "no more"}\n\n')
    await wire.until_left()


async def overloaded_event(wire: Wire, request: Request) -> None:
    await wire.head(content_type="text/event-stream")
    await wire.events({"error": {"type": "overloaded_error", "message": "later"}})
    await wire.until_left()


async def events_without_a_mesh(wire: Wire, request: Request) -> None:
    await wire.head(content_type="text/event-stream")
    await wire.events({"status": "running", "progress": 99})
    wire.close()


SHORT = {"timeouts": Timeouts(connect=5, idle=0.05, total=PATIENCE)}
SOON = {"timeouts": Timeouts(connect=5, idle=PATIENCE, total=0.1)}
SMALL = {"max_bytes": "1MB"}
NO_MESH = "no mesh, no URL of one and no job"

# What the server does, what the options are, the error, what it says, its status, requests made.
FAULTS = {
    "401": ([refusing(401, f"bad key {KEY}")], {}, AuthError, "bad key", 401, 1),
    "403": ([refusing(403)], {}, AuthError, "answered 403", 403, 1),
    "404": ([refusing(404)], {}, ProviderError, "base_url, path and model", 404, 1),
    "400": ([refusing(400, "too dark")], {}, ProviderError, "too dark", 400, 1),
    "402": ([answering({"detail": "no credit"}, 402)], {}, ProviderError, "no credit", 402, 1),
    "422": ([answering({"detail": [{"msg": "odd"}]}, 422)], {}, ProviderError, "odd", 422, 1),
    "429": ([refusing(429, retry_after_ms=1)], {}, RateLimitError, "fewer requests", 429, 3),
    "429 for long": ([refusing(429, retry_after=3600)], {}, RateLimitError, "429", 429, 1),
    "500": ([refusing(500)], {}, ProviderError, "answered 500", 500, 1),
    "529": ([refusing(529)], {}, ProviderError, "answered 529", 529, 3),
    "504": ([refusing(504)], {}, ProviderError, "answered 504", 504, 1),
    "a web page": (
        [answering(b"<html>Welcome", content_type="text/html")],
        {},
        ProviderError,
        "a web page",
        200,
        1,
    ),
    "an error page": (
        [answering(b"<html>Oops", 502, content_type="text/html")],
        {},
        ProviderError,
        "gives no reason",
        502,
        1,
    ),
    "an image": ([answering(PICTURE)], {}, ProviderError, "a PNG image", 200, 1),
    "nothing": ([answering(b"")], {}, ProviderError, "is empty", 200, 1),
    "nothing that is called JSON": (
        [answering(b"", content_type="application/json")],
        {},
        ProviderError,
        "is empty",
        200,
        1,
    ),
    "no events": (
        [answering(b"", content_type="text/event-stream")],
        {},
        ProviderError,
        "is empty",
        200,
        1,
    ),
    "a cut body that is called events": ([cut_as_events], {}, ProviderError, "broke", None, 1),
    "50 MB that are called events": (
        [huge_as_events],
        SMALL,
        ProviderError,
        "max_bytes",
        200,
        1,
    ),
    "a damaged mesh": (
        [answering(GLB[:12] + b"\xff" * (len(GLB) - 12))],
        {},
        ProviderError,
        "read",
        200,
        1,
    ),
    "a cut body": ([cut], {}, ProviderError, "broke the connection off", None, 1),
    "a body cut unseen": ([cut_without_a_length], {}, ProviderError, "lacks the last", 200, 1),
    "cut events": ([cut_events], {}, ProviderError, "broke the connection off", None, 1),
    "a cut download": ([answering({"url": "/x"}), cut], {}, ProviderError, "broke", None, 4),
    "silence": ([silent], SHORT, blazen.TimeoutError, "silent for 0.05 s", None, 1),
    "silence in its middle": (
        [silent_in_its_middle],
        SHORT,
        blazen.TimeoutError,
        "silent",
        None,
        1,
    ),
    "a slow drip": ([dripping], SOON, blazen.TimeoutError, "0.1 s that it may take", None, 1),
    "a reset": ([reset], {}, ProviderError, "broke the connection off", None, 1),
    "a reset in its middle": ([reset_in_its_middle], {}, ProviderError, "broke", None, 1),
    "a reset download": ([answering({"url": "/x"}), reset], {}, ProviderError, "broke", None, 4),
    "no HTTP": ([no_http], {}, ProviderError, "broke the connection off", None, 1),
    "50 MB": ([huge], SMALL, ProviderError, "more than 1,000,000 bytes", 200, 1),
    "50 MB unsaid": ([huge_without_a_length], SMALL, ProviderError, "more than", 200, 1),
    "50 MB of JSON": ([huge_in_json], SMALL, ProviderError, "bytes", 200, 1),
    "50 MB of an event": ([huge_event], SMALL, ProviderError, "max_bytes", 200, 1),
    "a large mesh in JSON": (
        [answering({"b64": B64})],
        {"max_bytes": 500},
        ProviderError,
        "more than 500",
        200,
        1,
    ),
    "an error in a 200": ([answering({"error": "no"})], {}, ProviderError, "a failure: no", 200, 1),
    "a bad key in a 200": (
        [answering({"error": {"type": "authentication_error", "message": "who?"}})],
        {},
        AuthError,
        "who?",
        401,
        1,
    ),
    "too much in a 200": (
        [answering({"error": {"code": 429, "message": "slow"}}, retry_after_ms=1)],
        {},
        RateLimitError,
        "slow",
        429,
        3,
    ),
    "too busy in a 200": (
        [answering({"type": "error", "error": {"type": "overloaded_error"}})],
        {},
        ProviderError,
        "overloaded",
        529,
        3,
    ),
    "a failed job": (
        [answering(JOB), answering({"status": "FAILED", "task_error": {"message": "too dark"}})],
        {},
        ProviderError,
        "too dark",
        200,
        2,
    ),
    "a job that ends with nothing": (
        [answering(JOB), answering({**JOB, "status": "done"}), refusing(404)],
        {},
        ProviderError,
        "404",
        404,
        3,
    ),
    "an endless job": ([answering(JOB)], SOON, blazen.TimeoutError, "0.1 s", None, None),
    "a job that is never known": (
        [answering(JOB), refusing(404)],
        {},
        ProviderError,
        "404",
        404,
        4,
    ),
    "a lost job": (
        [answering(JOB), answering(JOB), refusing(404)],
        {},
        ProviderError,
        "404",
        404,
        3,
    ),
    "a job that failed inside": (
        [answering(JOB), answering({"status": "failed", "error": {"type": "internal_error"}})],
        {},
        ProviderError,
        "internal_error",
        200,
        2,
    ),
    "a job that failed at once": (
        [answering({**JOB, "status": "FAILED", "error": {"code": 500, "message": "sorry"}})],
        {},
        ProviderError,
        "sorry",
        200,
        1,
    ),
    "a job that may be seen in an hour": (
        [answering(JOB, retry_after=3600)],
        {},
        blazen.TimeoutError,
        "the job http://127.0.0.1",
        None,
        1,
    ),
    "a reason and nothing else": (
        [answering({"code": 2000, "message": "no more credit"})],
        {},
        ProviderError,
        "no job: no more credit",
        200,
        1,
    ),
    "half a character in a job": (
        [answering(b'{"id": "\\ud800"}', content_type="application/json")],
        {},
        ProviderError,
        "not JSON",
        200,
        1,
    ),
    "half a character in a URL": (
        [answering(b'{"url": "http://x/\xed\xa0\x80"}', content_type="application/json")],
        {},
        ProviderError,
        "not JSON",
        200,
        1,
    ),
    "no success": (
        [answering({"success": False, "message": "too dark", "id": "7"})],
        {},
        ProviderError,
        "reports a failure: too dark",
        200,
        1,
    ),
    "a job without a name": (
        [answering({"id": "", "url": None})],
        {},
        ProviderError,
        NO_MESH,
        200,
        1,
    ),
    "a million values": (
        [answering(b"[" + b"[]," * 1_000_000 + b"0]", content_type="application/json")],
        {},
        ProviderError,
        "values",
        200,
        1,
    ),
    "a file of ours": (
        [answering({"url": "file:///etc/passwd"})],
        {},
        ProviderError,
        NO_MESH,
        200,
        1,
    ),
    "a job in a file of ours": (
        [answering({"id": "7", "status_url": "file:///etc/passwd"})],
        {},
        ProviderError,
        "a URL that is none",
        None,
        1,
    ),
    "a signed URL to nowhere": (
        [answering({"url": "https://u:hunter2@[x/?sig=hunter2"})],
        {},
        ProviderError,
        "a URL that is none",
        200,
        1,
    ),
    "no JSON": (
        [answering(b"{nope", content_type="application/json")],
        {},
        ProviderError,
        "not JSON",
        200,
        1,
    ),
    "a list": ([answering([1, None, {}])], {}, ProviderError, NO_MESH, 200, 1),
    "null": ([answering(None)], {}, ProviderError, NO_MESH, 200, 1),
    "a number": ([answering(7)], {}, ProviderError, NO_MESH, 200, 1),
    "wrong types": (
        [answering({"id": [1], "status": 7, "url": 5, "data": "x", "progress": {}})],
        {},
        ProviderError,
        NO_MESH,
        200,
        1,
    ),
    "deep JSON": ([answering(b"[" * 100_000)], {}, ProviderError, "not JSON", 200, 1),
    "no base64": ([answering({"m": "§§"})], {"mesh_at": "m"}, ProviderError, "base64", 200, 1),
    "a URL to nowhere": (
        [answering({"url": "http://["})],
        {},
        ProviderError,
        "a URL that is none",
        200,
        1,
    ),
    "a broken event": ([broken_event], {}, ProviderError, "not JSON", 200, 1),
    "an error event": ([error_event], {}, ProviderError, "no more", 200, 1),
    "an overloaded event": ([overloaded_event], {}, ProviderError, "later", 529, 1),
    "events without a mesh": ([events_without_a_mesh], {}, ProviderError, NO_MESH, 200, 1),
    "endless redirects": (
        [answering(b"", 307, location="/v1")],
        {},
        ProviderError,
        "again and again",
        307,
        6,
    ),
    "an error in words": ([error_in_words], {}, ProviderError, "out of birds", 200, 1),
    "a cut refusal": ([cut_refusal], {}, ProviderError, "gives no reason", 400, 1),
    "a job that never says where": (
        [answering(JOB), answering({**JOB, "status": "done"}), answering({"status": "done"})],
        {},
        ProviderError,
        "not where it is",
        200,
        3,
    ),
    "a result without a name": (
        [answering({"status": "done"})],
        {},
        ProviderError,
        "not where it is",
        200,
        1,
    ),
    "a redirect to a broken URL": (
        [answering(b"", 307, location="http://x:port/")],
        {},
        ProviderError,
        "Invalid URL in location header",
        None,
        1,
    ),
    "a moved service": (
        [answering(b"", 301, location="/v2")],
        {},
        ProviderError,
        "base_url",
        301,
        1,
    ),
    "a redirect to no URL": (
        [answering(b"", 307, location="ftp://x/")],
        {},
        ProviderError,
        "a URL that is none",
        None,
        1,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_ends_in_the_right_error(fault):
    behaviours, settings, kind, said, status, requests = FAULTS[fault]
    async with using(*behaviours, **settings) as (model, server):
        with pytest.raises(blazen.BlazenError) as raised:
            await asyncio.wait_for(model.image_to_mesh(PICTURE), PATIENCE)
        error = raised.value
        assert type(error) is kind, repr(error)
        assert said in str(error)
        assert getattr(error, "status", None) == status
        if fault.isdigit() and fault not in ("402", "422"):
            assert error.request_id == "req_7"
        if requests is not None:
            assert len(server.asked) == requests
        assert KEY not in shown(error)
        assert "hunter2" not in shown(error)


async def test_it_answers_after_a_failure():
    behaviours = [
        refusing(503),
        refusing(429, retry_after_ms=1),
        answering(JOB),
        refusing(500),
        reset,
    ]
    async with using(*behaviours, answering(GLB)) as (model, server):
        assert len((await model.image_to_mesh(PICTURE)).faces) == 12
        posts = [request for request in server.asked if request.method == "POST"]
        assert len(posts) == 3
        assert len({request.headers["idempotency-key"] for request in posts}) == 1
        assert {request.body.count(PICTURE) for request in posts} == {1}
        await model.image_to_mesh(PICTURE)
        assert server.asked[-1].headers["idempotency-key"] != posts[0].headers["idempotency-key"]


async def test_the_wish_to_wait_is_known_to_the_caller():
    async with using(refusing(429, retry_after=3600)) as (model, _):
        with pytest.raises(RateLimitError) as raised:
            await model.image_to_mesh(PICTURE)
        assert raised.value.retry_after == 3600


async def test_a_server_that_is_not_there():
    async with serving(answering(GLB)) as server:
        pass
    model = made(server.url)
    with pytest.raises(ProviderError, match="could not be reached") as raised:
        await model.image_to_mesh(PICTURE)
    assert raised.value.status is None
    await model.aclose()


# Where the key goes.


async def test_a_redirect_does_not_carry_the_key_away():
    async with serving(answering(GLB)) as other:
        elsewhere = f"http://localhost:{other.port}/x.glb"
        async with using(answering(b"", 307, location=elsewhere)) as (model, server):
            with pytest.raises(ProviderError, match="go only to base_url"):
                await model.image_to_mesh(PICTURE)
            assert not other.asked
        # What only reads may be led elsewhere, but without the key.
        for behaviours in (
            [answering({"url": elsewhere})],
            [answering({"url": "/here"}), answering(b"", 302, location=elsewhere)],
            [answering({"id": "7", "status_url": elsewhere})],
        ):
            async with using(*behaviours, headers={"X-Other": "also-secret"}) as (model, server):
                await model.image_to_mesh(PICTURE)
                assert {request.key for request in server.asked} == {f"Bearer {KEY}"}
                headers = other.asked[-1].headers
                assert KEY not in str(headers)
                assert "also-secret" not in str(headers)


def test_plain_http_carries_no_key_to_another_machine(monkeypatch):
    monkeypatch.delenv("COMPAT3D_API_KEY", raising=False)
    with pytest.raises(blazen.ValidationError, match="unencrypted"):
        Compat3dProvider(Compat3dOptions("http://example.com/v1", api_key=KEY))
    Compat3dProvider(Compat3dOptions("http://example.com/v1"))
    Compat3dProvider(Compat3dOptions("http://example.com/v1", api_key=KEY, allow_http=True))
    Compat3dProvider(Compat3dOptions("https://example.com/v1", api_key=KEY))
    monkeypatch.setenv("COMPAT3D_API_KEY", KEY)
    with pytest.raises(blazen.ValidationError, match="unencrypted") as raised:
        Compat3dProvider(Compat3dOptions("http://example.com/v1"))
    assert KEY not in shown(raised.value)


async def test_the_key_shows_up_nowhere(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("COMPAT3D_API_KEY", KEY)
    async with using(refusing(401, f"you gave {KEY}"), api_key=None) as (model, server):
        with pytest.raises(AuthError) as raised:
            await model.image_to_mesh(PICTURE)
        assert server.asked[0].key == f"Bearer {KEY}"
        stream = model.image_to_mesh_stream(PICTURE)
        texts = [shown(raised.value), repr(model), repr(model.options), repr(stream), caplog.text]
        texts += [repr(vars(model)), repr(vars(model._service))]
        assert not [text for text in texts if KEY in text]
        await stream.aclose()
    given = Compat3dOptions("https://x.org", api_key=KEY, headers={"X-Key": KEY})
    assert KEY not in repr(given)
    assert given.api_key.reveal() == KEY


def test_nothing_is_imported_before_it_is_used():
    code = (
        "import sys, blazen_compat3d; from blazen.options.compat3d import Compat3dOptions;"
        "model = blazen_compat3d.Compat3dProvider(Compat3dOptions('https://x.org', api_key='k'));"
        "print(model); assert not {'httpx2', 'anyio', 'numpy', 'trimesh'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_offline_sends_nothing(monkeypatch):
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    async with using(answering(GLB)) as (model, server):
        with pytest.raises(ProviderError, match="BLAZEN_OFFLINE"):
            await model.image_to_mesh(PICTURE)
        assert not server.asked
        monkeypatch.delenv("BLAZEN_OFFLINE")
        await model.image_to_mesh(PICTURE)


# When nobody waits any more.


@pytest.mark.parametrize("behaviour", [silent, silent_in_its_middle, dripping])
async def test_cancelling_closes_the_connection(behaviour):
    async with using(behaviour) as (model, server):
        task = asyncio.create_task(model.image_to_mesh(PICTURE))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # Before the model is closed: the request's own end closed it.
        await asyncio.wait_for(server.until_all_left(), PATIENCE)


async def test_leaving_a_stream_closes_the_connection():
    async def behave(wire: Wire, request: Request) -> None:
        await wire.head(content_type="text/event-stream")
        await wire.events({"status": "running"})
        await wire.until_left()

    async with using(behave) as (model, server):
        async with model.image_to_mesh_stream(PICTURE) as stream:
            async for chunk in stream:
                if chunk.stage == "make":
                    break
        await asyncio.wait_for(server.until_all_left(), PATIENCE)
        async for chunk in model.image_to_mesh_stream(PICTURE):
            if chunk.stage == "make":
                break
        await asyncio.wait_for(server.until_all_left(), PATIENCE)


def test_the_end_of_a_loop_closes_its_connections(boxes):
    model = made(boxes.url)
    for _ in range(2):
        mesh = asyncio.run(model.image_to_mesh(PICTURE))
        assert boxes.until_all_left()
    assert len(mesh.faces) == 12
    blocking = blazen.blocking(model)
    assert blocking.image_to_mesh(PICTURE) == mesh
    blocking.aclose()  # that loop goes on
    assert boxes.until_all_left()
    with blocking as entered:
        assert entered.image_to_mesh(PICTURE) == mesh
    assert boxes.until_all_left()


async def test_dropping_a_model_closes_its_connections():
    async with serving(answering(GLB)) as server:
        model = made(server.url)
        await model.image_to_mesh(PICTURE)
        assert server.connected == 1
        del model
        await asyncio.wait_for(server.until_all_left(), PATIENCE)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "ftp://x"}, "reads https"),
        ({"base_url": "https://me:hunter2@x.org"}, "account"),
        ({"base_url": "https://x.org?key=hunter2"}, "query"),
        ({"base_url": 7}, "text"),
        ({"api_key": " "}, "empty"),
        ({"api_key": "hunter2\nX: y"}, "characters"),
        ({"headers": {"X Y": "hunter2"}}, "no name"),
        ({"headers": {"X": 7}}, "dictionary"),
        ({"headers": {"Content-type": "image/png"}}, "belongs to the request"),
        ({"key_header": 7}, "no name"),
        ({"key_header": "X-K\u00e9y"}, "no name"),
        ({"key_prefix": "Be\u00e4rer "}, "key_prefix"),
        ({"key_prefix": "Bearer\n"}, "key_prefix"),
        ({"key_prefix": None}, "key_prefix"),
        ({"api_key_env": 7}, "api_key_env"),
        ({"model": 7}, "model"),
        ({"job_path": ""}, "job_path"),
        ({"mesh_at": ["data", 0]}, "mesh_at"),
        ({"option_fields": {"resolution": ""}}, "option_fields"),
        ({"fields": {"x": None}}, "dictionary"),
        ({"option_fields": {"resolutoin": "x"}}, "did you mean 'resolution'"),
        ({"poll_seconds": 0}, "poll_seconds"),
        ({"max_bytes": "much"}, "max_bytes"),
        ({"timeouts": {"idle": 0}}, "timeouts.idle"),
        ({"retry": {"times": -1}}, "times"),
        ({"path": ""}, "path"),
    ],
)
def test_wrong_options_are_refused(settings, said):
    with pytest.raises(blazen.ValidationError, match=said) as raised:
        Compat3dOptions(**{"base_url": "https://x.org/v1", **settings})
    assert "hunter2" not in shown(raised.value)


# The suite that every 3D model passes.


class Boxes(ThreadingHTTPServer):
    """A service that behaves: it makes a box of each picture, by a job that is looked up."""

    daemon_threads = True
    request_queue_size = 128  # of its own it refuses the sixth that comes at once

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), BoxHandler)
        self.jobs: dict[str, tuple[bytes, int]] = {}
        """For each its mesh, and how often it is to be looked up until that is there."""
        self.numbers = itertools.count()
        self._changed = threading.Condition()
        self._connected = 0
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def finish_request(self, request, client_address):
        with self._changed:
            self._connected += 1
        try:
            super().finish_request(request, client_address)
        finally:
            with self._changed:
                self._connected -= 1
                self._changed.notify_all()

    def until_all_left(self) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._connected, PATIENCE)

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class BoxHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms for a word on its headers

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = self.headers["Content-Type"].split("boundary=")[1].encode()
        part = next(p for p in body.split(b"--" + boundary) if b'name="image"' in p)
        pixels = Image.from_bytes(part.partition(b"\r\n\r\n")[2][:-2]).to_array()
        name = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
        color = tuple(bytes.fromhex(name[:6]))
        mesh = box(1 + int(name[:2], 16) / 256, color).to_bytes()
        job = f"{name}-{next(self.server.numbers)}"
        fine = b'name="resolution"\r\n\r\n64' in body
        self.server.jobs[job] = (mesh, 20 if fine else 1)
        self.answer(json.dumps({"id": job, "status": "queued"}).encode(), "application/json")

    def do_GET(self):
        job = self.path.rpartition("/")[2]
        mesh, looks = self.server.jobs[job]
        self.server.jobs[job] = (mesh, looks - 1)
        if looks > 1:
            self.answer(b'{"status": "running"}', "application/json")
        else:
            self.answer(mesh, "model/gltf-binary")

    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def boxes():
    served = Boxes()
    yield served
    served.close()


class TestSuite(ThreeDSuite):
    limit_seconds = 60.0

    @pytest.fixture
    def model(self, boxes):
        return made(boxes.url, poll_seconds=0.01)
