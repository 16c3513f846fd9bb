from __future__ import annotations

import base64
import errno
import hashlib
import io
import shutil
import socket
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from blazen.errors import DownloadError, ModelNotFoundError, ValidationError
from blazen.offline import is_offline
from blazen.types.progress import Progress
from blazen.weights.cache import partial_path, read_receipt
from blazen.weights.download import bar, download, fetch, web
from tests.weights.servers import Answer, Files, serving

DATA = hashlib.sha256(b"seed").digest() * 40_000  # 1.28 MB: several blocks
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(web, "FIRST_PAUSE", 0.0)
    for name in ("BLAZEN_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving(Files({"/m.gguf": DATA})) as files:
        yield files


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".locks"}


def test_a_file_comes_whole_with_progress(server, tmp_path):
    seen: list[Progress] = []
    place = download(f"{server.url}/m.gguf", tmp_path / "m.gguf", on_progress=seen.append)
    assert place == tmp_path / "m.gguf"
    assert place.read_bytes() == DATA
    assert left_in(tmp_path) == {"m.gguf"}
    assert seen[0].done == 0
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1] == Progress("download", len(DATA), len(DATA), detail="m.gguf")


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    place = tmp_path / "m.gguf"
    for sha256 in (None, SHA, f"sha256:{SHA.upper()}"):
        download(f"{server.url}/m.gguf", place, sha256=sha256)
    assert len(server.asked) == 1
    place.write_bytes(b"another")
    download(f"{server.url}/m.gguf", place, sha256=SHA)
    assert place.read_bytes() == DATA


@pytest.mark.parametrize("chunked", [False, True])
def test_a_dropped_connection_is_resumed(server, tmp_path, chunked):
    server.chunked = chunked
    server.next = [Answer(cut=500_000), Answer(cut=300_000)]
    place = download(f"{server.url}/m.gguf", tmp_path / "m", sha256=SHA if chunked else None)
    assert place.read_bytes() == DATA
    ranges = [asked.headers.get("Range") for asked in server.asked]
    assert ranges[0] is None
    assert ranges[2] == "bytes=800000-"
    if not chunked:
        assert server.asked[1].headers["If-Range"] == server.etag(DATA)


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    server.next = [Answer(cut=500_000)]
    assert download(f"{server.url}/m.gguf", tmp_path / "m").read_bytes() == DATA


def test_a_file_that_changed_in_between_is_not_mixed(server, tmp_path):
    server.next = [Answer(cut=500_000), Answer(status=400)]
    with pytest.raises(DownloadError, match="400"):
        download(f"{server.url}/m.gguf", tmp_path / "m")
    assert partial_path(tmp_path / "m").stat().st_size == 500_000
    server.files["/m.gguf"] = DATA[::-1]
    assert download(f"{server.url}/m.gguf", tmp_path / "m").read_bytes() == DATA[::-1]


def test_without_a_mark_or_a_hash_nothing_is_resumed(server, tmp_path):
    server.etag = lambda data: None
    server.next = [Answer(cut=500_000), Answer(status=400)]
    with pytest.raises(DownloadError):
        download(f"{server.url}/m.gguf", tmp_path / "m")
    download(f"{server.url}/m.gguf", tmp_path / "m")
    assert "Range" not in server.asked[-1].headers


def test_another_url_does_not_resume_from_this_partial_file(server, tmp_path):
    server.files["/other"] = DATA[::-1]
    server.next = [Answer(cut=500_000), Answer(status=400)]
    with pytest.raises(DownloadError):
        download(f"{server.url}/m.gguf", tmp_path / "m")
    assert download(f"{server.url}/other", tmp_path / "m").read_bytes() == DATA[::-1]


def test_a_partial_file_that_is_too_long_is_thrown_away(server, tmp_path):
    server.next = [Answer(cut=500_000), Answer(status=400)]
    with pytest.raises(DownloadError):
        download(f"{server.url}/m.gguf", tmp_path / "m", sha256=SHA)
    with partial_path(tmp_path / "m").open("ab") as file:
        file.write(DATA * 2)
    assert download(f"{server.url}/m.gguf", tmp_path / "m", sha256=SHA).read_bytes() == DATA


def test_a_file_that_is_always_cut_is_said_to_be_truncated(server, tmp_path):
    server.next = [Answer(cut=1000), *[Answer(cut=0)] * 4, Answer(status=400)]
    with pytest.raises(DownloadError, match=f"truncated: 1000 of {len(DATA)} bytes"):
        download(f"{server.url}/m.gguf", tmp_path / "m")
    assert not (tmp_path / "m").exists()
    assert partial_path(tmp_path / "m").stat().st_size == 1000


def test_an_empty_file_arrives(server, tmp_path):
    server.files["/empty"] = b""
    assert download(f"{server.url}/empty", tmp_path / "e").read_bytes() == b""


def test_a_wrong_hash_is_refused_and_leaves_no_poison(server, tmp_path):
    with pytest.raises(DownloadError, match=SHA):
        download(f"{server.url}/m.gguf", tmp_path / "m", sha256="0" * 64)
    assert left_in(tmp_path) == set()
    assert len(server.asked) == 1


def test_a_poisoned_partial_file_is_fetched_anew_by_itself(server, tmp_path):
    server.next = [Answer(cut=500_000), Answer(status=400)]
    with pytest.raises(DownloadError):
        download(f"{server.url}/m.gguf", tmp_path / "m", sha256=SHA)
    partial = partial_path(tmp_path / "m")
    partial.write_bytes(b"\0" * partial.stat().st_size)
    assert download(f"{server.url}/m.gguf", tmp_path / "m", sha256=SHA).read_bytes() == DATA


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_refusal_is_tried_again(server, tmp_path, status):
    server.next = [Answer(status, {"Retry-After": "0"}), Answer(status)]
    assert download(f"{server.url}/m.gguf", tmp_path / "m").read_bytes() == DATA
    assert len(server.asked) == 3


def test_refusals_end_after_a_few_tries(server, tmp_path):
    server.next = [Answer(503)] * 20
    with pytest.raises(DownloadError, match="answered 503"):
        download(f"{server.url}/m.gguf", tmp_path / "m")
    assert len(server.asked) == 5


def test_a_long_retry_after_is_told_and_not_waited_for(server, tmp_path):
    server.next = [Answer(429, {"Retry-After": "3600"})]
    with pytest.raises(DownloadError, match="come back in 3600 seconds"):
        download(f"{server.url}/m.gguf", tmp_path / "m")


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, DownloadError, "token"),
        (403, DownloadError, "token"),
        (404, ModelNotFoundError, "check the address"),
        (410, ModelNotFoundError, "check the address"),
        (418, DownloadError, "418"),
    ],
)
def test_each_refusal_says_what_to_do(server, tmp_path, status, error, words):
    server.next = [Answer(status)]
    with pytest.raises(error, match=words) as caught:
        download(f"{server.url}/m.gguf?X-Amz-Signature=verysecret", tmp_path / "m")
    assert "verysecret" not in str(caught.value)
    assert left_in(tmp_path) == set()


def test_no_network_is_said_at_once(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match="no network"):
        download(f"http://127.0.0.1:{port}/m", tmp_path / "m")
    with pytest.raises(DownloadError, match="no network"):
        download("http://nowhere.invalid/m", tmp_path / "m")


def test_a_certificate_must_be_trusted_and_https_stays_https(server, tmp_path, monkeypatch):
    import ssl

    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, cert = str(tmp_path / "key"), str(tmp_path / "cert")
    what = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=here"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert]
    subprocess.run([openssl, *what, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with serving(Files({"/m": DATA}), tls=context) as files:
        with pytest.raises(DownloadError, match="SSL_CERT_FILE"):
            download(f"{files.url}/m", tmp_path / "m")
        monkeypatch.setenv("SSL_CERT_FILE", cert)
        assert download(f"{files.url}/m", tmp_path / "m").read_bytes() == DATA
        files.redirects["/down"] = f"{server.url}/m.gguf"
        with pytest.raises(DownloadError, match="less safe"):
            download(f"{files.url}/down", tmp_path / "n")
    assert server.asked == []


def test_offline_asks_nobody(server, tmp_path, monkeypatch):
    url = f"{server.url}/m.gguf"
    with pytest.raises(DownloadError, match="offline"):
        download(url, tmp_path / "m", offline=True)
    monkeypatch.setenv("BLAZEN_OFFLINE", "1")
    with pytest.raises(DownloadError, match="offline"):
        download(url, tmp_path / "m")
    assert server.asked == []
    download(url, tmp_path / "m", offline=False)
    assert download(url, tmp_path / "m").read_bytes() == DATA
    assert len(server.asked) == 1


def test_the_offline_switches(monkeypatch):
    assert not is_offline()
    for name in ("BLAZEN_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "true")
        assert is_offline()
        assert not is_offline(False)
        monkeypatch.setenv(name, "0")
        assert not is_offline()


def test_too_small_a_disk_is_met_before_the_first_byte(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    with pytest.raises(DownloadError, match=r"needs 1.3 MB .* has 1 kB free.*BLAZEN_CACHE"):
        download(f"{server.url}/m.gguf", tmp_path / "m")
    assert not (tmp_path / "m").exists()
    assert not partial_path(tmp_path / "m").exists()


def test_a_disk_that_fills_up_meanwhile_says_so_and_resumes(server, tmp_path, monkeypatch):
    real = Path.open

    class Full(io.FileIO):
        def write(self, data):
            if self.tell() >= 400_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(bytes(data)[:100_000])  # a raw write may take a part only

    def opened(self, mode="r", *args, **kwargs):
        return Full(self, "ab") if mode == "ab" else real(self, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        with pytest.raises(DownloadError, match=r"disk .* is full") as caught:
            download(f"{server.url}/m.gguf", tmp_path / "m")
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert not (tmp_path / "m").exists()
    size = partial_path(tmp_path / "m").stat().st_size
    assert size >= 400_000
    assert download(f"{server.url}/m.gguf", tmp_path / "m").read_bytes() == DATA
    assert server.asked[-1].headers["Range"] == f"bytes={size}-"


def test_a_cancelled_download_stops_between_blocks_and_resumes(server, tmp_path):
    server.hold = (400_000, threading.Event())
    seen: list[int] = []
    with pytest.raises(DownloadError, match="was cancelled"):
        download(
            f"{server.url}/m.gguf",
            tmp_path / "m",
            on_progress=lambda progress: seen.append(progress.done),
            cancelled=lambda: bool(seen) and seen[-1] > 100_000,
        )
    server.hold[1].set()
    server.hold = None
    size = partial_path(tmp_path / "m").stat().st_size
    assert 100_000 < size < len(DATA)
    assert download(f"{server.url}/m.gguf", tmp_path / "m").read_bytes() == DATA
    assert server.asked[-1].headers["Range"] == f"bytes={size}-"


def test_a_wait_between_tries_can_be_cancelled(server, tmp_path):
    server.next = [Answer(503, {"Retry-After": "50"})]
    with pytest.raises(DownloadError, match="was cancelled"):
        download(f"{server.url}/m.gguf", tmp_path / "m", cancelled=lambda: bool(server.asked))


def test_a_silent_server_is_given_up(server, tmp_path):
    server.hold = (0, threading.Event())
    with pytest.raises(DownloadError, match="connection was lost"):
        download(f"{server.url}/m.gguf", tmp_path / "m", timeout=0.05)


def test_a_token_stays_with_the_host_that_it_is_for(server, tmp_path):
    with serving(Files({"/stored": DATA})) as storage:
        server.redirects = {
            "/gated": f"{storage.url}/stored?sig=verysecret",
            "/moved": "/m.gguf",
        }
        headers = {"Authorization": "Bearer verysecret"}
        download(f"{server.url}/gated", tmp_path / "a", headers=headers)
        download(f"{server.url}/moved", tmp_path / "b", headers=headers)
        assert "Authorization" not in storage.asked[0].headers
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer verysecret"] * 3


def test_a_password_in_the_url_is_used_and_never_shown(server, tmp_path):
    url = server.url.replace("//", "//me:very%20secret@")
    seen = []
    server.files["/m x.gguf"] = DATA
    fetch(f"{url}/m x.gguf?token=s3cret", tmp_path / "m", target="t", on_progress=seen.append)
    account = base64.b64encode(b"me:very secret").decode()
    assert server.asked[0].headers["Authorization"] == f"Basic {account}"
    receipt = read_receipt(tmp_path / "m")
    assert receipt.url == f"{server.url}/m x.gguf?…"
    assert receipt.sha256 == {".": SHA}
    assert receipt.sizes == {".": len(DATA)}
    server.next = [Answer(404)]
    with pytest.raises(ModelNotFoundError) as caught:
        download(f"{url}/n?token=s3cret", tmp_path / "n")
    shown = f"{caught.value} {receipt} {seen}"
    assert "s3cret" not in shown
    assert "very" not in shown


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/m", "file:///etc/passwd"])
def test_a_redirect_to_something_less_safe_is_not_followed(server, tmp_path, place):
    server.redirects = {"/m": place}
    with pytest.raises(DownloadError, match="does not follow"):
        download(f"{server.url}/m", tmp_path / "m")


def test_a_proxy_is_used(server, tmp_path, monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", server.url)
    server.next = [Answer(200, body=b"by proxy")]
    place = download("http://weights.invalid/m", tmp_path / "m")
    assert place.read_bytes() == b"by proxy"
    assert server.asked[0].path == "http://weights.invalid/m"


def test_compressed_bytes_are_not_taken_for_the_file(server, tmp_path):
    server.next = [Answer(200, {"Content-Encoding": "gzip"}, body=b"zzz")]
    with pytest.raises(DownloadError, match="compressed"):
        download(f"{server.url}/m.gguf", tmp_path / "m")


def test_bad_arguments(server, tmp_path):
    with pytest.raises(ValidationError, match="no http"):
        download("starter:chat", tmp_path / "m")
    with pytest.raises(ValidationError, match="64 hexadecimal"):
        download(f"{server.url}/m.gguf", tmp_path / "m", sha256="abc")
    with pytest.raises(ValidationError, match="is a folder"):
        download(f"{server.url}/m.gguf", tmp_path)
    assert server.asked == []


FETCH = """
import sys
from blazen.weights.download import download
def tell(progress):
    print(progress.done, flush=True)
download(sys.argv[1], sys.argv[2], on_progress=tell)
"""


def child(server, place: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCH, f"{server.url}/m.gguf", str(place)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_download_leaves_nothing_half_there_and_resumes(server, tmp_path):
    place = tmp_path / "m.gguf"
    server.hold = (700_000, threading.Event())
    with child(server, place) as process:
        while int(process.stdout.readline()) < 300_000:
            pass
        process.kill()
    server.hold[1].set()
    server.hold = None
    assert not place.exists()
    size = partial_path(place).stat().st_size
    assert size >= 300_000
    download(f"{server.url}/m.gguf", place)
    assert place.read_bytes() == DATA
    assert server.asked[-1].headers["Range"] == f"bytes={size}-"
    assert left_in(tmp_path) == {"m.gguf"}


def test_of_two_processes_one_fetches_and_the_other_waits(server, tmp_path):
    place = tmp_path / "m.gguf"
    server.hold = (300_000, threading.Event())
    with child(server, place) as first:
        assert first.stdout.readline().strip() == "0"
        with child(server, place) as second, child(server, place) as third:
            server.hold[1].set()
            assert second.communicate()[0] == ""
            assert third.communicate()[0] == ""
        assert first.communicate()[0].splitlines()[-1] == str(len(DATA))
    assert [process.returncode for process in (first, second, third)] == [0, 0, 0]
    assert len(server.asked) == 1
    assert place.read_bytes() == DATA


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_and_a_pipe_does_not(server, tmp_path, monkeypatch):
    monkeypatch.delenv("BLAZEN_NO_PROGRESS", raising=False)
    for name, stream in (("a", Terminal()), ("b", io.StringIO())):
        monkeypatch.setattr(sys, "stderr", stream)
        download(f"{server.url}/m.gguf", tmp_path / name)
        shown = stream.getvalue()
        assert ("a  100% of 1.3 MB" in shown) == (name == "a")
        assert shown.endswith("\n") or name == "b"
    monkeypatch.setenv("BLAZEN_NO_PROGRESS", "1")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    download(f"{server.url}/m.gguf", tmp_path / "c")
    assert terminal.getvalue() == ""


def test_no_stderr_at_all_is_silent(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with bar.reporting(None) as report:
        report(Progress("download", 1, 2))


def test_the_bars_words():
    half = Progress("download", 2_000_000_000, 4_000_000_000, detail="m.gguf")
    assert bar.line(half, 20.0, 2_000_000_000) == "m.gguf   50% of 4.0 GB  100.0 MB/s  00:20 left"
    slow = bar.line(half, 20.0, 4_000_000)
    assert slow.endswith("200 kB/s  2:46:40 left")
    assert bar.line(Progress("load", 3, None, "layers"), 0.0, 0) == "load  3 layers"
    assert bar.line(Progress("download", 1, 2, detail="x" * 99), 0, 0).startswith("…x")
