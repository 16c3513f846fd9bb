from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from blazen.errors import DownloadError, ModelNotFoundError, ValidationError
from blazen.weights.cache import (
    arrive,
    cache_root,
    describe,
    partial_path,
    read_receipt,
    receipt_path,
    write_receipt,
)
from blazen.weights.inventory import CachedModel, Verification, cache_size, cached, remove, verify


def test_the_root_is_the_argument_then_the_variable_then_the_systems_place(tmp_path, monkeypatch):
    monkeypatch.setenv("BLAZEN_CACHE", str(tmp_path / "env"))
    assert cache_root(tmp_path / "arg") == tmp_path / "arg"
    assert cache_root() == tmp_path / "env"
    assert cache_root("~/w") == Path.home() / "w"
    monkeypatch.delenv("BLAZEN_CACHE")
    assert cache_root().name == "blazen"
    assert cache_root().is_absolute()


def test_a_file_arrives_whole_and_is_not_fetched_twice(tmp_path):
    place = tmp_path / "deep" / "model.gguf"
    with arrive(place) as partial:
        partial.write_bytes(b"weights")
        assert not place.exists()
        assert partial.parent == place.parent
    assert place.read_bytes() == b"weights"
    assert not partial.exists()
    with arrive(place) as partial:
        assert partial is None


def break_off(place: Path, text: str = "half", *, folder: bool = False, resume: bool = False):
    with arrive(place, folder=folder, resume=resume) as partial:
        with (partial / "a" if folder else partial).open("a") as file:
            file.write(text)
        raise RuntimeError


def test_a_failure_leaves_nothing(tmp_path):
    place = tmp_path / "model"
    for folder in (False, True):
        with pytest.raises(RuntimeError):
            break_off(place, folder=folder)
        assert not place.exists()
        assert not partial_path(place).exists()


def test_a_resumable_failure_keeps_its_partial_file_and_only_that(tmp_path):
    place = tmp_path / "model"
    for text in ("one", "two"):
        with pytest.raises(RuntimeError):
            break_off(place, text, resume=True)
    assert partial_path(place).read_text() == "onetwo"
    assert not place.exists()
    assert {path.name for path in tmp_path.iterdir()} == {".locks", partial_path(place).name}


def test_what_is_not_ready_is_replaced_in_one_step(tmp_path):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("old")
    folder.mkdir()
    (folder / "old").write_text("old")
    with arrive(file, ready=lambda path: False) as partial:
        partial.write_text("new")
        assert file.read_text() == "old"
    with arrive(folder, folder=True, ready=lambda path: False) as partial:
        (partial / "new").write_text("new")
    assert file.read_text() == "new"
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_very_long_name_arrives(tmp_path):
    place = tmp_path / ("x" * 250)
    with arrive(place) as partial:
        partial.write_text("x")
        write_receipt(place, describe(partial, target="long"))
    assert place.read_text() == "x"
    assert read_receipt(place).target == "long"


def test_threads_wait_for_each_other(tmp_path):
    place, inside, filled = tmp_path / "model", threading.Event(), []

    def fill() -> None:
        with arrive(place) as partial:
            if partial is not None:
                inside.set()
                filled.append(1)
                partial.write_text("x")

    threads = [threading.Thread(target=fill) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert filled == [1]


def test_waiting_for_another_can_be_cancelled(tmp_path):
    place, held, release = tmp_path / "model", threading.Event(), threading.Event()

    def hold() -> None:
        with arrive(place) as partial:
            partial.write_text("x")
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    with pytest.raises(DownloadError, match="cancelled"), arrive(place, cancelled=lambda: True):
        pass
    release.set()
    thread.join()
    assert place.exists()


HOLD = """
import sys
from pathlib import Path
from blazen.weights.cache import arrive
with arrive(Path(sys.argv[1]), folder=True) as partial:
    (partial / "half").write_text("half")
    print("inside", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_frees_the_lock_and_leaves_nothing_behind(tmp_path):
    place = tmp_path / "model"
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout.readline().strip() == b"inside"
        child.kill()
    assert not place.exists()
    with arrive(place, folder=True) as partial:
        assert list(partial.iterdir()) == []
        (partial / "whole").write_text("whole")
    assert [path.name for path in place.iterdir()] == ["whole"]
    assert not partial_path(place).exists()


def test_a_folder_that_cant_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DownloadError, match="can't make the folder"), arrive(tmp_path / "file/x"):
        pass


@pytest.fixture
def starter(tmp_path) -> Path:
    place = tmp_path / "starter" / "speak"
    with arrive(place, folder=True) as partial:
        (partial / "sub").mkdir()
        (partial / "a.bin").write_bytes(b"a" * 100)
        (partial / "sub" / "b.bin").write_bytes(b"b" * 50)
        write_receipt(place, describe(partial, target="starter:speak"))
    return place


def test_listing_verifying_and_removing_a_starter_model(tmp_path, starter):
    (model,) = cached(tmp_path)
    assert (model.target, model.source, model.size) == ("starter:speak", "starter", 150)
    assert model.files == ("a.bin", "sub/b.bin")
    assert model.complete
    assert model.path == starter
    assert CachedModel.from_json(model.to_json()) == model
    assert cache_size(tmp_path) >= 150

    assert verify("starter:speak", cache_dir=tmp_path).ok
    (starter / "a.bin").write_bytes(b"A" * 100)
    (starter / "sub" / "b.bin").unlink()
    (starter / "new").write_text("?")
    found = verify("starter:speak", cache_dir=tmp_path)
    assert not found.ok
    assert (found.damaged, found.missing, found.unknown) == (("a.bin",), ("sub/b.bin",), ("new",))
    assert Verification.from_json(found.to_json()) == found

    assert remove("starter:speak", cache_dir=tmp_path) == 101
    assert not starter.exists()
    assert not receipt_path(starter).exists()
    assert cached(tmp_path) == []


def test_what_was_left_half_way_is_listed_and_can_be_removed(tmp_path):
    place = tmp_path / "starter" / "chat"
    with pytest.raises(RuntimeError):
        break_off(place, "12345", resume=True)
    (model,) = cached(tmp_path)
    assert (model.target, model.size, model.complete) == ("starter:chat", 5, False)
    assert remove("starter:chat", cache_dir=tmp_path) == 5
    assert cached(tmp_path) == []


def test_an_unknown_target_names_what_there_is(tmp_path, starter):
    with pytest.raises(ModelNotFoundError, match="starter:speak"):
        remove("starter:other", cache_dir=tmp_path)
    with pytest.raises(ModelNotFoundError, match="nothing"):
        verify("org/name", cache_dir=tmp_path / "empty")
    with pytest.raises(ValidationError):
        remove("", cache_dir=tmp_path)


def test_an_empty_cache_is_empty(tmp_path):
    assert cached(tmp_path / "none") == []
    assert cache_size(tmp_path / "none") == 0


def test_a_broken_receipt_is_no_receipt(tmp_path, starter):
    receipt_path(starter).write_text("{")
    assert read_receipt(starter) is None
    assert set(verify("starter:speak", cache_dir=tmp_path).unknown) == {"a.bin", "sub/b.bin"}


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_importing_costs_no_platformdirs_and_no_filelock():
    code = (
        "import sys, blazen.weights.locate, blazen.weights.inventory\n"
        "print(sorted({'platformdirs', 'filelock', 'huggingface_hub', 'httpx', 'urllib.request',"
        " 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
