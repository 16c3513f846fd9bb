from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from blazen.errors import DownloadError, MissingExtraError, ModelNotFoundError, ValidationError
from blazen.types.progress import Progress
from blazen.weights.cache import partial_path
from blazen.weights.download import web
from blazen.weights.hub import fetch_file, fetch_folder, list_files, pick
from blazen.weights.hub.snapshots import HubFile
from blazen.weights.inventory import cached, remove, verify
from tests.weights.servers import Answer, Hub, git_hash, serving_hub

WEIGHTS = hashlib.sha256(b"w").digest() * 40_000
OID = hashlib.sha256(WEIGHTS).hexdigest()
CONFIG = b'{"model_type": "tiny"}'
REPO = "org/tiny"

pytest.importorskip("huggingface_hub")


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    import huggingface_hub.utils._http as client

    monkeypatch.setattr(web, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    for name in ("BLAZEN_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    yield
    client.close_session()


@pytest.fixture
def hub():
    files = {
        "config.json": CONFIG,
        "README.md": b"# tiny",
        "q4/model.gguf": WEIGHTS,
        "q8/model.gguf": WEIGHTS[::-1],
    }
    with serving_hub(Hub({REPO: files})) as hub:
        yield hub


@pytest.fixture
def args(hub, tmp_path):
    return {"cache_dir": tmp_path / "cache", "endpoint": hub.url, "token": "hf_other"}


def test_a_large_file_comes_from_the_storage_and_a_small_one_from_git(hub, args):
    seen: list[Progress] = []
    weights = fetch_file(REPO, "q4/model.gguf", **args, on_progress=seen.append)
    config = fetch_file(REPO, "config.json", **args)
    assert weights.read_bytes() == WEIGHTS
    assert config.read_bytes() == CONFIG
    assert config.parent == weights.parent.parent
    assert config.parent.name == hub.commit(REPO)
    assert seen[0].done == 0
    assert seen[-1] == Progress("download", len(WEIGHTS), len(WEIGHTS), detail="q4/model.gguf")
    assert len(hub.cdn.gets()) == 1
    assert not [asked for asked in hub.cdn.asked if "Authorization" in asked.headers]


def test_the_layout_is_the_clients_own(hub, args):
    import huggingface_hub

    path = fetch_file(REPO, "q4/model.gguf", **args)
    count = len(hub.asked)
    found = huggingface_hub.hf_hub_download(
        REPO, "q4/model.gguf", cache_dir=args["cache_dir"] / "hub", local_files_only=True
    )
    assert Path(found) == path
    info = huggingface_hub.scan_cache_dir(args["cache_dir"] / "hub")
    assert [repo.repo_id for repo in info.repos] == [REPO]
    assert not info.warnings
    assert len(hub.asked) == count


def test_what_is_here_costs_no_request(hub, args):
    fetch_file(REPO, "config.json", **args)
    fetch_folder(REPO, ["q4/*"], **args)
    listed = list_files(REPO, **args)
    count = len(hub.asked) + len(hub.cdn.asked)
    for offline in (False, True):
        again = {**args, "offline": offline}
        assert fetch_file(REPO, "config.json", **again).read_bytes() == CONFIG
        folder = fetch_folder(REPO, ["q4/*", "config.json"], **again)
        assert (folder / "q4/model.gguf").read_bytes() == WEIGHTS
        assert list_files(REPO, **again) == listed
    assert len(hub.asked) + len(hub.cdn.asked) == count


@pytest.mark.parametrize("switch", ["BLAZEN_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody_for_what_is_missing(hub, args, monkeypatch, switch):
    monkeypatch.setenv(switch, "1")
    with pytest.raises(DownloadError, match=r"README.md of org/tiny .*offline"):
        fetch_file(REPO, "README.md", **args)
    with pytest.raises(DownloadError, match=r"the whole of org/tiny .*offline"):
        fetch_folder(REPO, **args)
    with pytest.raises(DownloadError, match="offline"):
        list_files(REPO, **args)
    assert hub.asked == []


def test_offline_takes_a_folder_that_another_program_filled(hub, args):
    import huggingface_hub

    huggingface_hub.snapshot_download(
        REPO, cache_dir=args["cache_dir"] / "hub", endpoint=hub.url, allow_patterns=["config.json"]
    )
    count = len(hub.asked)
    folder = fetch_folder(REPO, ["*.json"], **args, offline=True)
    assert (folder / "config.json").read_bytes() == CONFIG
    with pytest.raises(DownloadError, match="offline"):
        fetch_folder(REPO, ["*.gguf"], **args, offline=True)
    assert len(hub.asked) == count


def test_a_folder_with_patterns_and_one_progress_for_all(hub, args):
    seen: list[Progress] = []
    folder = fetch_folder(REPO, ["*.json", "q4/"], **args, on_progress=seen.append)
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert found == {"config.json", "q4/model.gguf"}
    total = len(CONFIG) + len(WEIGHTS)
    assert {progress.total for progress in seen} == {total}
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[-1].done == total
    whole = fetch_folder(REPO, **args)
    assert whole == folder
    assert (folder / "q8/model.gguf").read_bytes() == WEIGHTS[::-1]
    assert len(hub.cdn.gets()) == 2


def test_listing_gives_names_sizes_and_hashes(hub, args):
    files = {file.name: file for file in list_files(REPO, **args)}
    assert files["q4/model.gguf"] == HubFile("q4/model.gguf", len(WEIGHTS), OID)
    assert files["config.json"] == HubFile("config.json", len(CONFIG), git_hash(CONFIG))
    assert len(files) == 4


def test_a_revision_by_branch_and_by_commit(hub, args):
    commit = hub.commit(REPO)
    by_commit = fetch_file(REPO, "config.json", revision=commit, **args)
    assert by_commit == fetch_file(REPO, "config.json", revision="main", **args)
    with pytest.raises(ModelNotFoundError, match="no revision 'nope'"):
        fetch_file(REPO, "config.json", revision="nope", **args)
    with pytest.raises(ModelNotFoundError, match="no revision 'nope'"):
        fetch_folder(REPO, revision="nope", **args)


def test_a_branch_stays_where_it_was_until_it_is_removed(hub, args):
    old = fetch_file(REPO, "config.json", **args)
    hub.repos[REPO]["config.json"] = b"{}"
    assert fetch_file(REPO, "config.json", **args) == old
    remove(REPO, cache_dir=args["cache_dir"])
    assert fetch_file(REPO, "config.json", **args).read_bytes() == b"{}"


def test_a_gated_repository_asks_for_a_token(hub, args):
    hub.gated.add(REPO)
    for call in (
        lambda: fetch_file(REPO, "config.json", **args),
        lambda: fetch_folder(REPO, **args),
    ):
        with pytest.raises(
            DownloadError, match=r"gated: accept its conditions.*HF_TOKEN"
        ) as caught:
            call()
        assert "hf_other" not in str(caught.value)
    args["token"] = hub.token
    assert fetch_file(REPO, "q4/model.gguf", **args).read_bytes() == WEIGHTS
    assert not [asked for asked in hub.cdn.asked if "Authorization" in asked.headers]


def test_the_token_comes_from_the_environment(hub, args, monkeypatch):
    hub.private.add(REPO)
    with pytest.raises(ModelNotFoundError, match="private"):
        fetch_file(REPO, "config.json", **args)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    args["token"] = None
    assert fetch_file(REPO, "config.json", **args).read_bytes() == CONFIG


def test_what_is_not_there_is_said(hub, args):
    with pytest.raises(ModelNotFoundError, match=r"no file 'nope\.gguf'"):
        fetch_file(REPO, "nope.gguf", **args)
    with pytest.raises(ModelNotFoundError, match="no repository 'org/nope'"):
        fetch_file("org/nope", "config.json", **args)
    with pytest.raises(ModelNotFoundError, match="no repository 'org/nope'"):
        list_files("org/nope", **args)
    with pytest.raises(ModelNotFoundError, match=r"no file like \*\.onnx; it has: config\.json"):
        fetch_folder(REPO, ["*.onnx"], **args)


def test_no_network_is_said_unless_it_is_here(hub, args):
    fetch_file(REPO, "config.json", **args)
    args["endpoint"] = "http://127.0.0.1:9"  # nothing listens on the port that discards
    with pytest.raises(DownloadError, match="no network to the hub"):
        fetch_file(REPO, "README.md", **args)
    assert fetch_file(REPO, "config.json", **args).read_bytes() == CONFIG


def test_a_hub_that_is_down_for_a_moment(hub, args):
    hub.failing = [503, 502]
    assert fetch_file(REPO, "config.json", **args).read_bytes() == CONFIG
    hub.failing = [503] * 50
    with pytest.raises(DownloadError, match=r"can't be reached .*503"):
        fetch_file(REPO, "README.md", **args)


def test_a_file_that_is_cut_is_resumed_and_a_damaged_one_refused(hub, args):
    hub.cdn.next = [Answer(cut=300_000)]
    assert fetch_file(REPO, "q4/model.gguf", **args).read_bytes() == WEIGHTS
    assert hub.cdn.gets()[-1].headers["Range"] == "bytes=300000-"
    hub.cdn.next = [Answer(200, body=b"\0" * len(WEIGHTS))]
    with pytest.raises(DownloadError, match="damaged on its way"):
        fetch_file(REPO, "q8/model.gguf", **args)
    blobs = args["cache_dir"] / "hub" / "models--org--tiny" / "blobs"
    assert {path.name for path in blobs.iterdir()} == {OID}
    hub.cdn.next = [Answer(200, body=b"short")]
    with pytest.raises(DownloadError, match="has 5 bytes, not the"):
        fetch_file(REPO, "q8/model.gguf", **args)


def test_a_signature_is_never_shown(hub, args):
    hub.cdn.next = [Answer(403)]
    with pytest.raises(DownloadError) as caught:
        fetch_file(REPO, "q4/model.gguf", **args)
    assert "verysecret" not in str(caught.value)
    assert "verysecret" not in "".join(
        path.read_text() for path in args["cache_dir"].rglob("*.origin")
    )


def test_a_folder_is_cancelled_and_resumed(hub, args):
    hub.cdn.hold = (400_000, threading.Event())
    seen: list[Progress] = []
    with pytest.raises(DownloadError, match="cancelled"):
        fetch_folder(
            REPO,
            **args,
            on_progress=seen.append,
            cancelled=lambda: bool(seen) and seen[-1].done > 200_000,
        )
    hub.cdn.hold[1].set()
    hub.cdn.hold = None
    assert not cached(args["cache_dir"])[0].complete
    folder = fetch_folder(REPO, **args)
    assert (folder / "q4/model.gguf").read_bytes() == WEIGHTS
    assert int(hub.cdn.gets()[1].headers["Range"][6:-1]) > 100_000
    assert cached(args["cache_dir"])[0].complete


def test_too_small_a_disk_is_met_before_the_first_byte(hub, args, monkeypatch):
    import shutil

    full = shutil.disk_usage("/")._replace(free=20_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    hub.repos[REPO]["big.gguf"] = b"\0" * 5_000_000
    with pytest.raises(DownloadError, match=r"org/tiny needs 7\.6 MB"):
        fetch_folder(REPO, **args)
    assert hub.cdn.asked == []


def test_the_clients_own_download_is_used_for_what_only_it_may_fetch(hub, args, monkeypatch):
    import inspect

    import huggingface_hub.constants

    if "tqdm_class" not in inspect.signature(huggingface_hub.hf_hub_download).parameters:
        pytest.skip("this version of the client reports no progress of one file")
    monkeypatch.setattr(huggingface_hub.constants, "MAX_HTTP_DOWNLOAD_SIZE", 100)
    monkeypatch.setattr("huggingface_hub.file_download.http_get", _small_get(monkeypatch))
    blobs = args["cache_dir"] / "hub" / "models--org--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{OID}.dead.incomplete").write_text("left by a killed process")
    seen: list[Progress] = []
    with pytest.raises(DownloadError, match="cancelled"):
        fetch_file(REPO, "q4/model.gguf", **args, cancelled=lambda: True)
    path = fetch_file(REPO, "q4/model.gguf", **args, on_progress=seen.append)
    assert path.read_bytes() == WEIGHTS
    assert seen[-1] == Progress("download", len(WEIGHTS), len(WEIGHTS), detail="q4/model.gguf")
    assert {path.name for path in blobs.iterdir()} == {OID}


def _small_get(monkeypatch):
    """Give the client's http_get with its own limit as it is: the test lowers only ours."""
    import huggingface_hub.constants
    from huggingface_hub import file_download

    real = file_download.http_get

    def get(*args, **kwargs):
        with monkeypatch.context() as patch:
            patch.setattr(huggingface_hub.constants, "MAX_HTTP_DOWNLOAD_SIZE", 1 << 40)
            return real(*args, **kwargs)

    return get


def test_a_server_that_names_files_outside_is_refused(hub, args):
    hub.repos[REPO]["../../evil"] = b"x"
    with pytest.raises(ValidationError, match="no file inside"):
        fetch_folder(REPO, **args)
    for name in ("../x", "/etc/passwd", "a/../../b", "c:\\x", ""):
        with pytest.raises(ValidationError):
            fetch_file(REPO, name, **args)
    for repo in ("../x", "org", "org/na/me", "a--b/c", "org/..", "org/x.git"):
        with pytest.raises(ValidationError):
            fetch_file(repo, "config.json", **args)
    assert not (args["cache_dir"] / "evil").exists()


def test_a_page_that_is_no_hub_is_said(hub, args, monkeypatch):
    monkeypatch.setattr(Hub, "answer", lambda self, handler: handler.reply(200, {}, b"hi") or True)
    with pytest.raises(DownloadError, match="is no hub"):
        fetch_file(REPO, "config.json", **args)


def test_listing_verifying_and_removing(hub, args):
    root = args["cache_dir"]
    fetch_file(REPO, "q4/model.gguf", **args)
    config = fetch_file(REPO, "config.json", **args)
    (model,) = cached(root)
    assert (model.target, model.source, model.complete) == (REPO, "hub", True)
    assert model.files == ("config.json", "q4/model.gguf")
    assert len(WEIGHTS) < model.size < len(WEIGHTS) + 10_000
    assert verify(REPO, cache_dir=root).good == ("config.json", "q4/model.gguf")
    config.resolve().write_bytes(CONFIG[::-1])
    (root / "hub" / "models--org--tiny" / "blobs" / OID).unlink()
    found = verify(f"hf:{REPO}", cache_dir=root)
    assert (found.damaged, found.missing) == (("config.json",), ("q4/model.gguf",))
    assert not cached(root)[0].complete
    assert remove(REPO, cache_dir=root) > 0
    assert cached(root) == []


def test_without_the_client_what_is_here_still_works(hub, args, monkeypatch):
    fetch_file(REPO, "config.json", **args)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert fetch_file(REPO, "config.json", **args).read_bytes() == CONFIG
    with pytest.raises(MissingExtraError, match=r"pip install 'blazen\[hub\]'"):
        fetch_file(REPO, "README.md", **args)


FETCH = """
import sys
from blazen.weights.hub import fetch_file
print("start", flush=True)
fetch_file("org/tiny", "q4/model.gguf", endpoint=sys.argv[1], cache_dir=sys.argv[2],
           on_progress=lambda progress: print(progress.done, flush=True))
"""


def child(hub: Hub, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", FETCH, hub.url, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_download_leaves_nothing_half_there_and_resumes(hub, args):
    root = args["cache_dir"]
    hub.cdn.hold = (700_000, threading.Event())
    with child(hub, root) as process:
        assert process.stdout.readline() == "start\n"
        while int(process.stdout.readline()) < 300_000:
            pass
        process.kill()
    hub.cdn.hold[1].set()
    hub.cdn.hold = None
    blob = root / "hub" / "models--org--tiny" / "blobs" / OID
    assert not blob.exists()
    size = partial_path(blob).stat().st_size
    with pytest.raises(DownloadError, match="offline"):
        fetch_file(REPO, "q4/model.gguf", **args, offline=True)
    assert fetch_file(REPO, "q4/model.gguf", **args).read_bytes() == WEIGHTS
    assert hub.cdn.gets()[-1].headers["Range"] == f"bytes={size}-"
    assert {path.name for path in blob.parent.iterdir()} == {OID}


def test_of_two_processes_one_fetches_and_the_other_waits(hub, args):
    hub.cdn.hold = (300_000, threading.Event())
    with child(hub, args["cache_dir"]) as first:
        assert first.stdout.readline() == "start\n"
        assert first.stdout.readline().strip() == "0"
        with child(hub, args["cache_dir"]) as second:
            assert second.stdout.readline() == "start\n"
            hub.cdn.hold[1].set()
            assert second.communicate()[0] == ""
        first.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(hub.cdn.gets()) == 1


def test_the_client_is_asked_for_no_telemetry(hub, args):
    fetch_folder(REPO, **args)
    assert not [asked for asked in hub.asked if "telemetry" in asked.path or "agent" in asked.path]
    agents = {
        asked.headers.get("user-agent", asked.headers.get("User-Agent")) for asked in hub.asked
    }
    assert all(agent.startswith("blazen") for agent in agents)


def test_picking_one_file():
    files = ["README.md", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "big-00001-of-00002.gguf"]
    files.append("big-00002-of-00002.gguf")
    assert pick(files, suffix=".gguf", hint="q8_0") == "m-Q8_0.gguf"
    assert pick(files, suffix=".gguf", hint=("Q5", "Q4_K_M")) == "m-Q4_K_M.gguf"
    assert pick(files, suffix=".gguf", hint="big") == "big-00001-of-00002.gguf"
    assert pick(files, suffix=".md") == "README.md"
    with pytest.raises(ValidationError, match=r"several files end in \.gguf"):
        pick(files, suffix=".gguf")
    with pytest.raises(ModelNotFoundError, match=r"no file ends in \.onnx"):
        pick(files, suffix=".onnx")
