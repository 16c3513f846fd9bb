"""What was learned of models' memory: how it adds up, how it is kept, and under which key."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from blazen.errors import ValidationError
from blazen.manager import learned as module
from blazen.manager.learned import Learned, LearnedFootprints, key_of
from blazen.testing import EchoModel
from blazen.types.footprint import Footprint

MIB = 1 << 20
GIB = 1 << 30


def seen(resident: dict[str, int], seconds: float = 2.0, **more: dict[str, int]) -> Learned:
    return Learned(Footprint(resident=resident, **more), load_seconds=seconds)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "footprints.json"


# How it adds up


def test_resident_rises_at_once_and_falls_by_half() -> None:
    known = seen({"cpu": 4 * GIB})
    assert known.then(seen({"cpu": 6 * GIB})).footprint.resident == {"cpu": 6 * GIB}
    assert known.then(seen({"cpu": 2 * GIB})).footprint.resident == {"cpu": 3 * GIB}


def test_a_smaller_resident_is_believed_after_some_runs() -> None:
    known = seen({"cpu": 8 * GIB})
    for _ in range(8):
        known = known.then(seen({"cpu": 1 * GIB}))
    assert GIB <= known.footprint.resident["cpu"] < GIB + 32 * MIB


def test_a_pool_that_is_no_longer_used_fades_away() -> None:
    known = seen({"gpu:0": 4 * GIB})
    for _ in range(13):
        known = known.then(seen({"cpu": GIB}))
    assert known.footprint.resident == {"cpu": GIB}


def test_limits_keep_the_most_that_was_seen() -> None:
    known = seen({}, load_peak={"cpu": 5, "gpu:0": 9}, per_request={"cpu": 7})
    both = known.then(seen({}, load_peak={"cpu": 6, "gpu:0": 3}, per_request={"gpu:0": 1}))
    assert both.footprint.load_peak == {"cpu": 6, "gpu:0": 9}
    assert both.footprint.per_request == {"cpu": 7, "gpu:0": 1}


def test_runs_add_up_and_load_seconds_follow() -> None:
    known = seen({"cpu": 1}, seconds=10).then(seen({"cpu": 1}, seconds=4))
    assert (known.runs, known.load_seconds) == (2, 7)


@pytest.mark.parametrize("wrong", [{"load_seconds": -1}, {"load_seconds": 1, "runs": 0}])
def test_what_cant_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="must be at least"):
        Learned(Footprint(), **wrong)


# How it is kept


def test_what_was_put_is_there_for_others_and_later(place: Path) -> None:
    here, other = LearnedFootprints(place), LearnedFootprints(place)
    assert here.get("a") is None
    here.put("a", seen({"cpu": GIB}))
    assert here.get("a") == other.get("a") == seen({"cpu": GIB})
    other.put("a", seen({"cpu": 2 * GIB}))
    other.put("b", seen({"gpu:0": GIB}))
    assert here.get("a").runs == 2
    assert here.get("a").footprint.resident == {"cpu": 2 * GIB}
    assert here.get("b") == seen({"gpu:0": GIB})


def test_it_lies_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLAZEN_CACHE", str(tmp_path))
    LearnedFootprints().put("a", seen({"cpu": GIB}))
    assert LearnedFootprints(tmp_path / "footprints.json").get("a") == seen({"cpu": GIB})


def test_the_file_is_read_once_as_long_as_it_stays_the_same(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LearnedFootprints(place).put("a", seen({"cpu": GIB}))
    reads = []
    read = module._read
    monkeypatch.setattr(module, "_read", lambda path: reads.append(path) or read(path))
    fresh = LearnedFootprints(place)
    for _ in range(3):
        assert fresh.get("a") is not None
    assert reads == [place]


def test_one_is_cleared_or_all(place: Path) -> None:
    store = LearnedFootprints(place)
    for key in "abc":
        store.put(key, seen({"cpu": GIB}))
    store.clear("a")
    fresh = LearnedFootprints(place)
    assert (fresh.get("a"), fresh.get("b")) == (None, seen({"cpu": GIB}))
    store.clear("no such key")
    store.clear()
    assert [LearnedFootprints(place).get(key) for key in "abc"] == [None] * 3


def test_a_cache_that_was_deleted_is_begun_anew(place: Path) -> None:
    store = LearnedFootprints(place)
    store.put("a", seen({"cpu": GIB}))
    place.unlink()
    assert store.get("a") is None
    store.put("b", seen({"cpu": GIB}))
    assert LearnedFootprints(place).get("b") is not None


SPOILED = [
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b"[]",
    b'{"version": 2, "footprints": {}}',
    b'{"version": 1}',
    b'{"version": 1, "footprints": [1]}',
]


@pytest.mark.parametrize("content", SPOILED, ids=range(len(SPOILED)))
def test_a_file_that_cant_be_read_is_told_and_begun_anew(
    place: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    place.parent.mkdir()
    place.write_bytes(content)
    store = LearnedFootprints(place)
    assert store.get("a") is None
    assert store.get("a") is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert str(place) in caplog.text
    store.put("a", seen({"cpu": GIB}))
    assert LearnedFootprints(place).get("a") == seen({"cpu": GIB})


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"footprint": {"resident": {"disk": 5}}, "load_seconds": 1.0},
        {"footprint": {"resident": {"cpu": -5}}, "load_seconds": 1.0},
        {"footprint": {}, "load_seconds": "1"},
        {"footprint": {}, "load_seconds": 1.0, "runs": 1, "more": 2},
    ],
)
def test_one_spoiled_entry_leaves_the_others(place: Path, entry: object) -> None:
    LearnedFootprints(place).put("good", seen({"cpu": GIB}))
    data = json.loads(place.read_text())
    data["footprints"] = {"bad": entry, **data["footprints"]}
    place.write_text(json.dumps(data))
    store = LearnedFootprints(place)
    assert store.get("bad") is None
    assert store.get("good") == seen({"cpu": GIB})


def test_a_place_that_cant_be_written_is_told_once_and_counts_for_this_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    store = LearnedFootprints(blocked / "footprints.json")
    store.put("a", seen({"cpu": GIB}))
    store.put("a", seen({"cpu": 2 * GIB}))
    kept = [record for record in caplog.records if "can't be kept" in record.getMessage()]
    assert [record.levelno for record in kept] == [logging.WARNING]
    assert store.get("a").footprint.resident == {"cpu": 2 * GIB}
    assert store.get("a").runs == 2

    blocked.unlink()  # and once it can be, all of it is
    store.put("b", seen({"cpu": GIB}))
    assert LearnedFootprints(blocked / "footprints.json").get("a").runs == 2
    assert store.get("a").runs == 2

    store.clear("a")
    assert store.get("a") is None


def test_a_write_that_fails_leaves_the_file_as_it_was(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = LearnedFootprints(place)
    store.put("a", seen({"cpu": GIB}))

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    store.put("b", seen({"cpu": 2 * GIB}))
    assert "No space left" in caplog.text
    assert store.get("b") == seen({"cpu": 2 * GIB})
    fresh = LearnedFootprints(place)
    assert (fresh.get("a"), fresh.get("b")) == (seen({"cpu": GIB}), None)

    store.clear("a")
    assert "can't be cleared" in caplog.text
    assert (store.get("a"), store.get("b")) == (None, seen({"cpu": 2 * GIB}))


def test_another_that_holds_the_lock_is_not_waited_for_in_vain(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import filelock

    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.01)
    store = LearnedFootprints(place)
    store.put("a", seen({"cpu": GIB}))
    with filelock.FileLock(place.with_name(f".{place.name}.lock")):
        store.put("b", seen({"cpu": GIB}))
        assert store.get("b") == seen({"cpu": GIB})
        assert LearnedFootprints(place).get("b") is None
    assert "can't be kept" in caplog.text
    store.put("c", seen({"cpu": GIB}))
    assert LearnedFootprints(place).get("b") == seen({"cpu": GIB})


def test_only_the_newest_are_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    store = LearnedFootprints(place)
    for key in ("a", "b", "a", "c"):
        store.put(key, seen({"cpu": GIB}))
    assert store.get("b") is None
    assert store.get("a").runs == 2
    assert store.get("c") is not None


def test_threads_and_stores_that_write_at_once_lose_nothing(place: Path) -> None:
    shared = LearnedFootprints(place)

    def write(store: LearnedFootprints, name: str) -> None:
        for _ in range(5):
            store.put(name, seen({"cpu": GIB}))
            store.put("all", seen({"cpu": GIB}))

    threads = [threading.Thread(target=write, args=(shared, f"t{n}")) for n in range(2)]
    threads += [
        threading.Thread(target=write, args=(LearnedFootprints(place), f"s{n}")) for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared.put("last", seen({"cpu": GIB}))  # it brings what a lock that took too long held back
    fresh = LearnedFootprints(place)
    assert {name: fresh.get(name).runs for name in ("t0", "t1", "s0", "s1")} == dict.fromkeys(
        ("t0", "t1", "s0", "s1"), 5
    )
    assert fresh.get("all").runs == 20


def test_processes_that_write_at_once_lose_nothing(place: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from blazen.manager import learned\n"
        "learned._LOCK_SECONDS = 30\n"
        "store = learned.LearnedFootprints(Path(sys.argv[1]))\n"
        "for _ in range(10):\n"
        "    store.put('a', learned.Learned(learned.Footprint(resident={'cpu': 5}), 1.0))\n"
    )
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(place)], env={**os.environ, "PYTHONPATH": path}
        )
        for _ in range(2)
    ]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    assert LearnedFootprints(place).get("a").runs == 20


# Under which key


@dataclasses.dataclass(frozen=True)
class Options:
    model_id: str | os.PathLike[str] = "org/model"
    context_length: int | None = None
    max_tokens: int = 100
    api_key: str | None = None
    more: Any = None


class Configured:
    def __init__(self, options: Any = None, **settings: Any) -> None:
        self.options = options or Options(**settings)


class OtherClass(Configured):
    pass


def test_a_key_is_short_and_stays() -> None:
    key = key_of(Configured())
    assert key == key_of(Configured())
    assert len(key) == 20
    int(key, 16)


def test_a_key_is_the_same_in_another_run() -> None:
    code = (
        "from blazen.manager.learned import key_of\n"
        "class Plain:\n"
        "    def __init__(self):\n"
        "        self.names = {'a', 'b', 'c', 'd'}\n"
        "        self.thing = object()\n"
        "print(key_of(Plain()))\n"
    )
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    keys = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(keys) == 1


@pytest.mark.parametrize(
    "other",
    [
        Configured(model_id="org/other"),
        Configured(context_length=8192),
        Configured(max_tokens=200),
        Configured(more={"layers": 3}),
        Configured(more=[Options()]),
        OtherClass(),
        Configured({"model_id": "org/model"}),
    ],
)
def test_what_decides_the_memory_changes_the_key(other: object) -> None:
    assert key_of(other) != key_of(Configured())


def test_secrets_do_not_change_the_key() -> None:
    assert key_of(Configured(api_key="sk-1")) == key_of(Configured(api_key="sk-2"))
    nested = [Configured(more={"Auth-Token": text, "size": 1}) for text in ("one", "two")]
    assert key_of(nested[0]) == key_of(nested[1])


def test_other_weights_in_the_same_file_change_the_key(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"1234")
    keys = [key_of(Configured(model_id=file)), key_of(Configured(model_id=str(file)))]
    assert keys[0] == keys[1]
    os.utime(file, ns=(5, 5))
    keys.append(key_of(Configured(model_id=file)))
    file.write_bytes(b"12345")
    os.utime(file, ns=(5, 5))
    keys.append(key_of(Configured(model_id=file)))
    assert len(set(keys)) == 3


def test_other_weights_in_the_same_folder_change_the_key(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"1234")
    before = key_of(Configured({"model": str(tmp_path)}))
    (tmp_path / "model.onnx").write_bytes(b"12345")
    assert key_of(Configured({"model": str(tmp_path)})) != before


def test_another_version_of_the_engine_changes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Engined(Configured):
        engine = "made_up_engine"

    keys = [key_of(Engined())]  # not installed
    package = tmp_path / "made_up_engine"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('the engine was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    versions = ["made_up_engine_cpu-1.0.dist-info", "made_up_engine_cpu-1.1.dist-info"]
    for version in versions:
        (tmp_path / version).mkdir()
        module._engine_version.cache_clear()
        keys.append(key_of(Engined()))
        (tmp_path / version).rmdir()
    module._engine_version.cache_clear()
    assert len(set(keys)) == 3


def test_another_machine_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(Configured())
    monkeypatch.setattr(module, "_machine", lambda: ["riscv64", 2, 1, []])
    assert key_of(Configured()) != before


def test_a_model_without_options_is_known_by_its_attributes() -> None:
    class Plain:
        def __init__(self, size: int) -> None:
            self.size = size

    assert key_of(Plain(1)) == key_of(Plain(1)) != key_of(Plain(2))


def test_any_object_has_a_key() -> None:
    class Slotted:
        __slots__ = ("size",)

    class Silent:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    class Odd:
        engine = object()  # its own word, not the name of a module

        def __init__(self) -> None:
            self.options = {1: Silent(), "path": "\udcff\0", "n": float("nan"), "set": {1, "a"}}

    assert len({key_of(Slotted()), key_of(Odd()), key_of(EchoModel())}) == 3
    assert key_of(Odd()) == key_of(Odd())
