"""Local servers: plain files with misbehaviour on demand, and one that speaks the hub's words."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Answer:
    """What a server does once, in place of serving the file."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Send so many bytes of the body, then drop the connection."""
    body: bytes | None = None


@dataclass
class Files:
    """What there is, what to do wrong next, and what was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    next: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    ranges: bool = True
    etag: Callable[[bytes], str | None] = lambda data: f'"{hashlib.md5(data).hexdigest()}"'
    chunked: bool = False
    hold: tuple[int, threading.Event] | None = None
    """Send so many bytes of each body, then wait for the event."""
    redirects: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def gets(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Files
    hub: Hub | None = None

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.close_connection = True
        path = self.path
        self.state.asked.append(Asked(self.command, path, dict(self.headers.items())))
        if self.hub is not None and self.hub.answer(self):
            return
        plain = urllib.parse.unquote(path.partition("?")[0])
        if plain in self.state.redirects:
            self.reply(302, {"Location": self.state.redirects[plain]}, b"")
        elif self.state.next:
            answer = self.state.next.pop(0)
            if answer.status == 200 and answer.body is None:
                self.send_file(self.state.files[plain], cut=answer.cut)
            else:
                self.reply(answer.status, answer.headers, answer.body or b"")
        elif plain in self.state.files:
            self.send_file(self.state.files[plain])
        else:
            self.reply(404, {}, b"no such file")

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        length = {"Content-Length": str(len(body)), "Connection": "close"}
        for key, value in (length | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self._send(body)

    def send_file(self, data: bytes, *, cut: int | None = None) -> None:
        etag = self.state.etag(data)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        start = 0
        if wanted and self.state.ranges and (condition is None or condition == etag):
            start = int(wanted[1])
            if start >= len(data):
                self.reply(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
                return
        self.send_response(206 if start else 200)
        self.send_header("Connection", "close")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if etag:
            self.send_header("ETag", etag)
        body = data[start:]
        if self.state.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "GET":
            return
        if cut is not None:
            body = body[:cut]
        if self.state.hold is not None:
            count, event = self.state.hold
            self._send(body[:count])
            event.wait(60)
            body = body[count:]
        if self.state.chunked:
            body = b"%x\r\n%s\r\n" % (len(body), body) + (b"0\r\n\r\n" if cut is None else b"")
        self._send(body)

    def _send(self, body: bytes) -> None:
        try:
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:  # the other side hung up, as some tests want it to
            pass


@dataclass
class Hub:
    """Repositories by id and their files; ``large`` names are kept in LFS, behind a redirect."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    large: tuple[str, ...] = (".gguf", ".onnx", ".safetensors")
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    failing: list[int] = field(default_factory=list)
    token: str = "hf_good"
    files: Files = field(default_factory=Files)
    cdn: Files = field(default_factory=Files)

    @property
    def url(self) -> str:
        return self.files.url

    @property
    def asked(self) -> list[Asked]:
        return self.files.asked

    def commit(self, repo: str) -> str:
        content = json.dumps({n: git_hash(d) for n, d in sorted(self.repos[repo].items())})
        return hashlib.sha1(f"{repo}{content}".encode()).hexdigest()

    def answer(self, handler: _Handler) -> bool:
        path = urllib.parse.unquote(handler.path.partition("?")[0])
        if self.failing:
            handler.reply(self.failing.pop(0), {}, b"")
            return True
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?/?", path)
        if api:
            self._api(handler, api[1], api[2] or "revision", api[3] or "main")
            return True
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if file:
            self._file(handler, file[1], file[2], file[3])
            return True
        return False

    def _refused(self, handler: _Handler, repo: str, revision: str, *, gate: bool) -> bool:
        known = handler.headers.get("Authorization") == f"Bearer {self.token}"
        if repo not in self.repos or (repo in self.private and not known):
            code, status = "RepoNotFound", 404 if known else 401
        elif gate and repo in self.gated and not known:
            code, status = "GatedRepo", 401
        elif revision not in ("main", self.commit(repo)):
            code, status = "RevisionNotFound", 404
        else:
            return False
        handler.reply(status, {"X-Error-Code": code, "X-Error-Message": code}, b"{}")
        return True

    def _api(self, handler: _Handler, repo: str, what: str, revision: str) -> None:
        if self._refused(handler, repo, revision, gate=False):
            return
        files = self.repos[repo]
        answer: object = {
            "id": repo,
            "sha": self.commit(repo),
            "siblings": [{"rfilename": name} for name in files],
        }
        if what == "tree":
            answer = [self._entry(name, data) for name, data in files.items()]
        handler.reply(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _entry(self, name: str, data: bytes) -> dict[str, object]:
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(data)}
        entry["oid"] = git_hash(data)
        if name.endswith(self.large):
            oid = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": oid, "size": len(data), "pointerSize": 134}
        return entry

    def _file(self, handler: _Handler, repo: str, revision: str, name: str) -> None:
        if self._refused(handler, repo, revision, gate=True):
            return
        headers = {"X-Repo-Commit": self.commit(repo)}
        data = self.repos[repo].get(name)
        if data is None:
            handler.reply(404, headers | {"X-Error-Code": "EntryNotFound"}, b"")
        elif name.endswith(self.large):
            oid = hashlib.sha256(data).hexdigest()
            self.cdn.files[f"/store/{oid}"] = data
            headers |= {
                "X-Linked-Etag": f'"{oid}"',
                "X-Linked-Size": str(len(data)),
                "Location": f"{self.cdn.url}/store/{oid}?X-Amz-Signature=verysecret",
            }
            handler.reply(302, headers, b"")
        else:
            headers |= {"ETag": f'"{git_hash(data)}"', "Content-Length": str(len(data))}
            handler.reply(200, headers, data)


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that hangs up or distrusts us is what some tests are about


@contextmanager
def serving(
    state: Files, hub: Hub | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Files]:
    handler = type("Handler", (_Handler,), {"state": state, "hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    state.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        if state.hold is not None:
            state.hold[1].set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving_hub(hub: Hub) -> Iterator[Hub]:
    # Two hosts, as in the world: the client follows a redirect only where the host is the same.
    with serving(hub.files, hub), serving(hub.cdn):
        hub.cdn.url = hub.cdn.url.replace("127.0.0.1", "localhost")
        yield hub


@contextmanager
def standing_in(hub: Hub) -> Iterator[Hub]:
    """Serve a hub, and have everybody here take it for the real one."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with serving_hub(hub), pytest.MonkeyPatch.context() as patch:
        for name in ("BLAZEN_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY"):
            patch.delenv(name, raising=False)
        patch.setenv("no_proxy", "127.0.0.1,localhost")
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield hub
    from huggingface_hub.utils import close_session

    close_session()
