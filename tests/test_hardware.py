"""Cores, memory, GPUs and devices: on trees and drivers made here, and on what this machine has."""

from __future__ import annotations

import contextvars
import ctypes
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from blazen.errors import BudgetError, UnsupportedError, ValidationError
from blazen.hardware import (
    Cores,
    Device,
    Gpu,
    Hardware,
    Memory,
    choose_device,
    count_cores,
    detect,
    find_gpus,
    memory,
    nvml,
    pss_bytes,
    rss_bytes,
    sharing_cores,
    thread_budget,
)
from blazen.hardware import (
    cores as cores_module,
)
from blazen.hardware import (
    gpus as gpus_module,
)
from blazen.hardware import (
    ram as ram_module,
)
from blazen.hardware.cgroups import cpu_quota, memory_limits

GIB = 2**30
MIB = 2**20


def run_python(code: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    kept = {k: v for k, v in os.environ.items() if k not in ("BLAZEN_THREADS", "PYTHONWARNINGS")}
    return subprocess.run(
        [sys.executable, *options, "-c", code],
        capture_output=True,
        text=True,
        env={**kept, "PYTHONPATH": path, **env},
        timeout=60,
    )


# Devices


@pytest.mark.parametrize(
    ("text", "kind", "index", "written"),
    [
        ("cpu", "cpu", None, "cpu"),
        ("CUDA", "cuda", None, "cuda"),
        ("cuda:0", "cuda", 0, "cuda:0"),
        (" Cuda:12 ", "cuda", 12, "cuda:12"),
        ("gpu", "gpu", None, "gpu"),
        ("gpu:1", "cuda", 1, "cuda:1"),
        ("metal", "metal", None, "metal"),
        ("MPS", "metal", None, "metal"),
        ("mps:0", "metal", None, "metal"),
        ("auto", "auto", None, "auto"),
        (None, "auto", None, "auto"),
    ],
)
def test_a_device_is_read_and_written(text, kind, index, written):
    device = Device.parse(text)
    assert (device.kind, device.index, str(device)) == (kind, index, written)
    assert Device.parse(str(device)) == device
    assert Device.parse(device) is device
    assert Device.from_json(device.to_json()) == device


@pytest.mark.parametrize(
    "text",
    ["", "cuda:", "cuda:-1", "cuda:x", "cuda:1:2", "cpu:1", "auto:0", "metal:1", "mps:2", "tpu",
     "cuda 1", "cuda:٣", "cuda:99999", 0, b"cpu"],
)  # fmt: skip
def test_what_is_no_device_is_refused_with_the_valid_forms(text):
    with pytest.raises(ValidationError) as caught:
        Device.parse(text)
    for form in ("'cpu'", "'cuda:N'", "'metal'", "'auto'"):
        assert form in str(caught.value)


def test_a_device_built_by_hand_is_checked_too():
    assert Device("cuda", 3) == Device.parse("cuda:3")
    for kind, index in [("cpu", 0), ("gpu", 1), ("rocm", None), ("cuda", -1)]:
        with pytest.raises(ValidationError):
            Device(kind, index)
    with pytest.raises(ValidationError):
        Device.from_dict({"kind": "nothing"})


def test_devices_are_values():
    assert len({Device.Cuda, Device.parse("cuda"), Device.parse("cuda:0"), Device.Cpu}) == 3
    with pytest.raises(AttributeError):
        Device.Cpu.kind = "cuda"
    assert repr(Device.parse("cuda:1")) == "Device('cuda:1')"


def test_a_device_names_its_pool():
    assert Device.Cpu.pool == "cpu"
    assert Device.Metal.pool == "cpu"
    assert Device.Cuda.pool == "gpu:0"
    assert Device.parse("cuda:3").pool == "gpu:3"
    for wish in (Device.Auto, Device.Gpu):
        with pytest.raises(ValidationError, match="choose_device"):
            _ = wish.pool


def test_a_device_says_whether_it_is_a_gpu():
    assert [d.is_gpu for d in (Device.Cpu, Device.Auto)] == [False, False]
    assert [d.is_gpu for d in (Device.Cuda, Device.Metal, Device.Gpu)] == [True] * 3


# Containers


class Tree:
    """A file system with cgroups in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def groups(self, *lines: str) -> None:
        self.write("proc/self/cgroup", "".join(f"{line}\n" for line in lines))

    def mounts(self, *lines: str) -> None:
        first = "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
        self.write("proc/self/mountinfo", first + "".join(f"{line}\n" for line in lines))

    def version_2(self, own: str, mounted: str = "/") -> None:
        self.groups(f"0::{own}")
        self.mounts(f"31 23 0:28 {mounted} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw")

    def version_1(self, own: str, mounted: str = "/") -> None:
        self.groups(f"4:memory:{own}", f"3:cpu,cpuacct:{own}", "1:name=systemd:/", "0::/")
        self.mounts(
            f"33 31 0:30 {mounted} /sys/fs/cgroup/cpu,cpuacct rw shared:9 master:3"
            " - cgroup cgroup rw,cpu,cpuacct",
            f"35 31 0:32 {mounted} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
            "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
        )


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_without_cgroups_there_is_no_limit(tree):
    assert cpu_quota(tree.root) is None
    assert memory_limits(tree.root) is None


def test_version_2_without_limits(tree):
    tree.version_2("/app")
    tree.write("sys/fs/cgroup/app/cpu.max", "max 100000\n")
    tree.write("sys/fs/cgroup/app/memory.max", "max\n")
    tree.write("sys/fs/cgroup/app/memory.high", "max\n")
    assert cpu_quota(tree.root) is None
    assert memory_limits(tree.root) is None


def test_version_2_limits_of_the_own_group(tree):
    tree.version_2("/app")
    tree.write("sys/fs/cgroup/app/cpu.max", "250000 100000\n")
    tree.write("sys/fs/cgroup/app/memory.max", f"{4 * GIB}\n")
    tree.write("sys/fs/cgroup/app/memory.current", f"{GIB}\n")
    tree.write("sys/fs/cgroup/app/memory.stat", f"anon 1\ninactive_file {GIB // 4}\nslab 2\n")
    assert cpu_quota(tree.root) == 2.5
    assert memory_limits(tree.root) == (4 * GIB, 3 * GIB + GIB // 4)


def test_version_2_throttles_at_high_before_max(tree):
    tree.version_2("/app")
    tree.write("sys/fs/cgroup/app/memory.max", f"{4 * GIB}\n")
    tree.write("sys/fs/cgroup/app/memory.high", f"{3 * GIB}\n")
    tree.write("sys/fs/cgroup/app/memory.current", f"{GIB}\n")
    assert memory_limits(tree.root) == (3 * GIB, 2 * GIB)


def test_limits_stand_on_any_level(tree):
    tree.version_2("/slice/pod/app")
    tree.write("sys/fs/cgroup/slice/cpu.max", "150000 100000\n")
    tree.write("sys/fs/cgroup/slice/pod/cpu.max", "max 100000\n")
    tree.write("sys/fs/cgroup/slice/pod/app/cpu.max", "400000 100000\n")
    # The neighbours in the slice have left less room than the app's own limit, the lower one.
    tree.write("sys/fs/cgroup/slice/memory.max", f"{8 * GIB}\n")
    tree.write("sys/fs/cgroup/slice/memory.current", f"{7 * GIB}\n")
    tree.write("sys/fs/cgroup/slice/pod/app/memory.max", f"{4 * GIB}\n")
    tree.write("sys/fs/cgroup/slice/pod/app/memory.current", f"{GIB}\n")
    assert cpu_quota(tree.root) == 1.5
    assert memory_limits(tree.root) == (4 * GIB, GIB)


def test_a_group_over_its_limit_has_no_room(tree):
    tree.version_2("/app")
    tree.write("sys/fs/cgroup/app/memory.high", f"{GIB}\n")
    tree.write("sys/fs/cgroup/app/memory.current", f"{2 * GIB}\n")
    assert memory_limits(tree.root) == (GIB, 0)


def test_version_1_limits(tree):
    tree.version_1("/docker/abc")
    cpu, ram = "sys/fs/cgroup/cpu,cpuacct/docker", "sys/fs/cgroup/memory/docker"
    tree.write(f"{cpu}/cpu.cfs_quota_us", "300000\n")
    tree.write(f"{cpu}/cpu.cfs_period_us", "100000\n")
    tree.write(f"{cpu}/abc/cpu.cfs_quota_us", "-1\n")
    tree.write(f"{cpu}/abc/cpu.cfs_period_us", "100000\n")
    tree.write(f"{ram}/abc/memory.limit_in_bytes", f"{2 * GIB}\n")
    tree.write(f"{ram}/abc/memory.usage_in_bytes", f"{GIB}\n")
    tree.write(f"{ram}/abc/memory.stat", f"inactive_file 5\ntotal_inactive_file {GIB // 2}\n")
    assert cpu_quota(tree.root) == 3.0
    assert memory_limits(tree.root) == (2 * GIB, GIB + GIB // 2)


def test_version_1_container_that_sees_its_own_group_as_the_mount(tree):
    tree.version_1("/docker/abc", mounted="/docker/abc")
    tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n")
    tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    tree.write("sys/fs/cgroup/memory/memory.limit_in_bytes", f"{GIB}\n")
    tree.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n")
    assert cpu_quota(tree.root) == 2.0
    assert memory_limits(tree.root) == (GIB, GIB)


@pytest.mark.parametrize("own", ["/of/the/host", "/../../outside", "/"])
def test_a_path_that_is_not_there_falls_back_to_the_mount(tree, own):
    tree.version_2(own)
    tree.write("sys/fs/cgroup/cpu.max", "100000 50000\n")
    assert cpu_quota(tree.root) == 2.0


def test_a_path_outside_the_mount_never_leaves_it(tree):
    tree.version_2("/../../../../secret")
    tree.write("secret/cpu.max", "100000 100000\n")
    tree.write("sys/fs/cgroup/cpu.max", "max 100000\n")
    assert cpu_quota(tree.root) is None


def test_broken_files_are_no_limit(tree):
    tree.version_2("/app")
    tree.write("sys/fs/cgroup/app/cpu.max", "")
    tree.write("sys/fs/cgroup/app/memory.max", "a lot\n")
    assert cpu_quota(tree.root) is None
    assert memory_limits(tree.root) is None
    tree.write("sys/fs/cgroup/app/cpu.max", "100000 0\n")
    assert cpu_quota(tree.root) is None
    tree.write("proc/self/mountinfo", "nonsense\n\n - \n")
    tree.write("proc/self/cgroup", "nonsense\n")
    assert cpu_quota(tree.root) is None


def test_ram_is_what_the_container_leaves(tree):
    system = Memory(total=16 * GIB, available=10 * GIB)
    assert ram_module._within_limits(system, tree.root) == system
    tree.version_2("/app")
    tree.write("sys/fs/cgroup/app/memory.max", f"{4 * GIB}\n")
    tree.write("sys/fs/cgroup/app/memory.current", f"{3 * GIB}\n")
    assert ram_module._within_limits(system, tree.root) == Memory(4 * GIB, GIB)
    # The container may have room that the machine has not.
    crowded = Memory(total=16 * GIB, available=GIB // 2)
    assert ram_module._within_limits(crowded, tree.root) == Memory(4 * GIB, GIB // 2)
    tree.write("sys/fs/cgroup/app/memory.max", f"{2**63 - 4096}\n")
    assert ram_module._within_limits(system, tree.root) == system


# Cores


@pytest.fixture
def eight_threads(monkeypatch, tree):
    """Four cores with two hyper-threads each: 0 and 4 are one core, and so on."""
    monkeypatch.setattr(cores_module, "_totals", lambda: (4, 8))
    if sys.version_info >= (3, 13):
        monkeypatch.setattr(os, "process_cpu_count", lambda: 8)
    for cpu in range(8):
        place = f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        tree.write(place, f"{cpu % 4},{cpu % 4 + 4}\n")
    return tree


@pytest.mark.parametrize(
    ("allowed", "usable", "usable_physical"),
    [
        (range(8), 8, 4),
        ([0, 4], 2, 1),
        ([0, 1], 2, 2),
        ([0, 1, 4], 3, 2),
        ([7], 1, 1),
        (None, 8, 4),
    ],
)
def test_affinity_counts_hyper_threads_once(eight_threads, allowed, usable, usable_physical):
    cpus = None if allowed is None else frozenset(allowed)
    found = cores_module._count(eight_threads.root, cpus)
    assert found == Cores(4, 8, usable=usable, usable_physical=usable_physical)


@pytest.mark.parametrize(
    ("quota", "usable", "usable_physical"),
    [("600000", 6, 4), ("350000", 3, 3), ("150000", 1, 1), ("20000", 1, 1), ("9000000", 8, 4)],
)
def test_a_quota_is_rounded_down(eight_threads, quota, usable, usable_physical):
    eight_threads.version_2("/app")
    eight_threads.write("sys/fs/cgroup/app/cpu.max", f"{quota} 100000\n")
    found = cores_module._count(eight_threads.root, frozenset(range(8)))
    assert (found.usable, found.usable_physical) == (usable, usable_physical)


def test_a_kernel_that_hides_the_topology(monkeypatch, tmp_path):
    monkeypatch.setattr(cores_module, "_totals", lambda: (2, 2))
    found = cores_module._count(tmp_path, frozenset({0, 1}))
    assert found == Cores(2, 2, usable=min(2, found.usable), usable_physical=found.usable)


def test_the_cores_of_this_machine_are_consistent():
    found = count_cores()
    assert 1 <= found.usable_physical <= found.usable <= found.logical == psutil.cpu_count()
    assert found.usable_physical <= found.physical <= found.logical


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's affinity")
def test_affinity_of_a_real_process_is_obeyed():
    code = (
        "import os; from blazen.hardware import count_cores, thread_budget\n"
        "before = count_cores().usable\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "found = count_cores()\n"
        "print(before, found.usable, found.usable_physical, thread_budget(), thread_budget(8))"
    )
    done = run_python(code)
    before, *after = map(int, done.stdout.split())
    assert before == count_cores().usable
    assert after == [1, 1, 1, 1]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python 3.13 brought the variable")
def test_pythons_own_cpu_count_is_obeyed():
    code = "from blazen.hardware import count_cores; print(count_cores().usable)"
    assert run_python(code, PYTHON_CPU_COUNT="1").stdout.strip() == "1"


@pytest.fixture
def four_of_eight(monkeypatch):
    monkeypatch.delenv("BLAZEN_THREADS", raising=False)
    monkeypatch.setattr(cores_module, "count_cores", lambda: Cores(4, 8, 8, 4))


@pytest.mark.usefixtures("four_of_eight")
@pytest.mark.parametrize(
    ("wanted", "engines", "threads", "warned"),
    [
        (None, 1, 4, False),  # hyper-threads are left aside
        (None, 2, 2, False),
        (None, 3, 1, False),
        (None, 9, 1, False),
        (3, 1, 3, False),
        (8, 1, 8, False),  # unless they are asked for
        (9, 1, 8, True),
        (8, 2, 4, True),
        (2, 16, 1, True),
        (1, 16, 1, False),
    ],
)
def test_threads_never_exceed_the_share(caplog, wanted, engines, threads, warned):
    with caplog.at_level(logging.WARNING, "blazen.hardware"):
        assert thread_budget(wanted, engines=engines) == threads
    assert bool(caplog.records) is warned
    if warned:
        assert f"using {threads} threads instead of {wanted}" in caplog.text


def test_engines_that_load_while_others_run_take_their_share(monkeypatch):
    monkeypatch.setenv("BLAZEN_THREADS", "6")
    with sharing_cores(3):
        assert thread_budget() == 2
        assert thread_budget(engines=1) == 6  # whoever says it, knows better
        with sharing_cores(2):
            assert thread_budget() == 3
        assert thread_budget(5) == 2
    assert thread_budget() == 6


def test_a_share_of_the_cores_belongs_to_its_own_context(monkeypatch):
    monkeypatch.setenv("BLAZEN_THREADS", "6")
    with sharing_cores(3):
        inside = contextvars.copy_context()
    assert inside.run(thread_budget) == 2
    with ThreadPoolExecutor(1) as pool, sharing_cores(2):
        assert pool.submit(thread_budget).result() == 6


@pytest.mark.parametrize("engines", [0, -1, 1.5, "2"])
def test_what_is_no_number_of_engines_is_refused(engines):
    with pytest.raises(ValidationError, match="engines"), sharing_cores(engines):
        pass


@pytest.mark.usefixtures("four_of_eight")
def test_the_environment_sets_what_there_is_to_share(monkeypatch):
    monkeypatch.setenv("BLAZEN_THREADS", " 6 ")
    assert thread_budget() == 6
    assert thread_budget(engines=2) == 3
    assert thread_budget(10) == 6
    assert thread_budget(cores=2) == 2  # a caller that hands out cores itself knows better
    monkeypatch.setenv("BLAZEN_THREADS", "")
    assert thread_budget() == 4


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_wrong_environment_is_refused(monkeypatch, value):
    monkeypatch.setenv("BLAZEN_THREADS", value)
    with pytest.raises(ValidationError, match=f"BLAZEN_THREADS .*'{value}'"):
        thread_budget()


@pytest.mark.parametrize(
    "settings", [{"wanted": 0}, {"wanted": True}, {"wanted": 1.5}, {"engines": 0}, {"cores": 0}]
)
def test_wrong_numbers_of_threads_are_refused(settings):
    with pytest.raises(ValidationError, match="must be"):
        thread_budget(settings.pop("wanted", None), **settings)


# Main memory


def test_ram_agrees_with_the_system():
    found, system = memory(), psutil.virtual_memory()
    limits = memory_limits()
    if limits is None:
        assert found.total == system.total
    else:
        assert found.total == min(system.total, limits[0])
        system = SimpleNamespace(available=min(system.available, limits[1]))
    assert 0 < found.available <= found.total
    assert abs(found.available - system.available) < found.total * 0.05


def test_resident_memory_grows_with_what_is_touched():
    before, shared_before = rss_bytes(), pss_bytes()
    block = bytearray(b"\1") * (64 * MIB)
    assert rss_bytes() - before > 48 * MIB
    assert pss_bytes() - shared_before > 48 * MIB
    del block


def test_pages_shared_with_a_child_count_in_part():
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this system does not divide shared pages")
    code = (
        "import os; from blazen.hardware import pss_bytes, rss_bytes\n"
        "block = bytearray(b'x') * 2**26\n"
        "alone = pss_bytes(); ready, go = os.pipe(), os.pipe()\n"
        "child = os.fork()\n"
        "if not child: os.write(ready[1], b'1'); os.read(go[0], 1); os._exit(0)\n"
        "os.read(ready[0], 1); print(alone - pss_bytes(), rss_bytes())\n"
        "os.write(go[1], b'1'); os.waitpid(child, 0)"
    )
    dropped, resident = map(int, run_python(code).stdout.split())
    assert dropped > 24 * MIB  # half of the block is the child's
    assert resident > 64 * MIB


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory")
def test_freed_memory_goes_back():
    code = (
        "from blazen.hardware import release_memory, rss_bytes\n"
        "blocks = [bytes(2000) for _ in range(50_000)]; last = bytes(2000)\n"
        "full = rss_bytes(); del blocks; kept = rss_bytes()\n"
        "release_memory(); print(full - kept, kept - rss_bytes())"
    )
    by_itself, asked = map(int, run_python(code).stdout.split())
    # The last block keeps the heap's end in place: without asking, the freed part stays.
    assert by_itself < 20 * MIB
    assert asked > 60 * MIB


def test_cyclic_garbage_is_collected():
    code = (
        "import gc, weakref; from blazen.hardware import release_memory\n"
        "class Node: pass\n"
        "gc.disable(); node = Node(); node.me = node; ref = weakref.ref(node); del node\n"
        "assert ref() is not None; release_memory(); print(ref())"
    )
    assert run_python(code).stdout.strip() == "None"


# GPUs: a driver made of C callbacks, so that the calls cross the same border as the real one's


@dataclass
class FakeGpu:
    uuid: str = "GPU-00000000-aaaa-bbbb-cccc-000000000000"
    name: str = "NVIDIA H200"
    total: int = 140 * GIB
    free: int = 139 * GIB
    capability: tuple[int, int] = (9, 0)
    slices: list[FakeGpu] = field(default_factory=list)
    fails: dict[str, int] = field(default_factory=dict)


class FakeDriver:
    """Answers as libnvidia-ml does; ``fails`` maps a function to the code it gives."""

    def __init__(self, *gpus: FakeGpu, **fails: int) -> None:
        self.known = list(gpus)
        self.fails = fails
        self.calls: list[str] = []
        out, handle, number = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint
        self._offer("nvmlInit_v2")
        self._offer("nvmlSystemGetDriverVersion", ctypes.c_void_p, number)
        self._offer("nvmlDeviceGetCount_v2", out)
        self._offer("nvmlDeviceGetHandleByIndex_v2", number, out)
        self._offer("nvmlDeviceGetName", handle, out, number)
        self._offer("nvmlDeviceGetUUID", handle, out, number)
        self._offer("nvmlDeviceGetCudaComputeCapability", handle, out, out)
        self._offer("nvmlDeviceGetMemoryInfo", handle, out)
        self._offer("nvmlDeviceGetMigMode", handle, out, out)
        self._offer("nvmlDeviceGetMaxMigDeviceCount", handle, out)
        self._offer("nvmlDeviceGetMigDeviceHandleByIndex", handle, number, out)

        self.nvmlErrorString = type(
            "Explain", (), {"__call__": lambda _, code: b"error %d" % code}
        )()

    def _offer(self, name: str, *kinds: type) -> None:
        def answer(*arguments: int) -> int:
            self.calls.append(name)
            if name in self.fails:
                return self.fails[name]
            return getattr(self, f"_{name}")(*arguments) or 0

        call = ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(answer)
        setattr(self, name, call)

    def _of(self, handle: int) -> FakeGpu:
        gpu, part = divmod(handle, 1000)
        return self.known[gpu - 1].slices[part - 1] if part else self.known[gpu - 1]

    @staticmethod
    def _put(kind: type, place: int, value: int) -> None:
        kind.from_address(place).value = value

    @staticmethod
    def _text(place: int, length: int, text: str) -> None:
        assert len(text) < length
        ctypes.memmove(place, text.encode() + b"\0", len(text) + 1)

    def _nvmlInit_v2(self):
        return 0

    def _nvmlSystemGetDriverVersion(self, place, length):
        self._text(place, length, "580.1")

    def _nvmlDeviceGetCount_v2(self, place):
        self._put(ctypes.c_uint, place, len(self.known))

    def _nvmlDeviceGetHandleByIndex_v2(self, index, place):
        if "handle" in self.known[index].fails:
            return self.known[index].fails["handle"]
        self._put(ctypes.c_void_p, place, (index + 1) * 1000)
        return 0

    def _nvmlDeviceGetName(self, handle, place, length):
        self._text(place, length, self._of(handle).name)

    def _nvmlDeviceGetUUID(self, handle, place, length):
        if "uuid" in self._of(handle).fails:
            return self._of(handle).fails["uuid"]
        self._text(place, length, self._of(handle).uuid)
        return 0

    def _nvmlDeviceGetCudaComputeCapability(self, handle, major, minor):
        if handle % 1000:
            return 3
        self._put(ctypes.c_int, major, self._of(handle).capability[0])
        self._put(ctypes.c_int, minor, self._of(handle).capability[1])
        return 0

    def _nvmlDeviceGetMemoryInfo(self, handle, place):
        gpu = self._of(handle)
        if "memory" in gpu.fails:
            return gpu.fails["memory"]
        sizes = (ctypes.c_ulonglong * 3).from_address(place)
        sizes[:] = [gpu.total, gpu.free, gpu.total - gpu.free]
        return 0

    def _nvmlDeviceGetMigMode(self, handle, mode, pending):
        if "mig" in self._of(handle).fails:
            return self._of(handle).fails["mig"]
        self._put(ctypes.c_uint, mode, bool(self._of(handle).slices))
        self._put(ctypes.c_uint, pending, 0)
        return 0

    def _nvmlDeviceGetMaxMigDeviceCount(self, handle, place):
        self._put(ctypes.c_uint, place, 7)

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, handle, index, place):
        # The last slots are in use: those before are empty, as they may be.
        at = index - (7 - len(self._of(handle).slices))
        if at < 0:
            return 6
        self._put(ctypes.c_void_p, place, handle + at + 1)
        return 0


A = "GPU-237845e6-2c8d-f34b-edc5-9ff7ce90a2de"
B = "GPU-ce9418df-f207-9da0-8305-06ca8af10ca9"


@pytest.fixture
def plug(monkeypatch):
    """Puts GPUs into the machine."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")

    def plug(*gpus: FakeGpu, **fails: int) -> FakeDriver:
        driver = FakeDriver(*gpus, **fails)
        monkeypatch.setattr(nvml, "open_library", lambda: driver)
        gpus_module._driver.cache_clear()
        return driver

    yield plug
    gpus_module._driver.cache_clear()


@pytest.fixture
def no_driver(monkeypatch):
    def missing() -> object:
        raise OSError("libnvidia-ml.so.1: cannot open shared object file")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(nvml, "open_library", missing)
    gpus_module._driver.cache_clear()
    yield
    gpus_module._driver.cache_clear()


def test_a_gpu_tells_all_about_itself(plug):
    plug(FakeGpu(A), FakeGpu(B, name="NVIDIA L4", total=24 * GIB, free=GIB, capability=(8, 9)))
    first, second = find_gpus()
    assert first == Gpu(
        0, "NVIDIA H200", A, 140 * GIB, 139 * GIB, compute_capability=(9, 0), driver="580.1"
    )
    assert (second.index, second.name, second.free) == (1, "NVIDIA L4", GIB)
    assert second.compute_capability == (8, 9)
    assert (str(second.device), second.pool, second.unified) == ("cuda:1", "gpu:1", False)


def test_free_memory_is_measured_anew_and_the_rest_remembered(plug):
    gpu = FakeGpu(A)
    driver = plug(gpu)
    assert find_gpus()[0].free == 139 * GIB
    driver.calls.clear()
    gpu.free, gpu.name = 5 * GIB, "other"
    assert (find_gpus()[0].free, find_gpus()[0].name) == (5 * GIB, "NVIDIA H200")
    assert set(driver.calls) == {"nvmlDeviceGetMemoryInfo"}
    assert detect(refresh=True).gpus[0].name == "other"


def test_no_driver_is_no_gpu_and_no_noise(no_driver, caplog):
    with caplog.at_level(logging.INFO):
        assert find_gpus() == ()
        assert detect(refresh=True).gpus == ()
    assert caplog.records == []


@pytest.mark.parametrize(
    "function", ["nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlSystemGetDriverVersion"]
)
def test_a_driver_that_does_not_work_is_no_gpu_and_no_noise(plug, caplog, function):
    plug(FakeGpu(A), **{function: 18})
    with caplog.at_level(logging.INFO):
        assert find_gpus() == ()
    assert caplog.records == []
    with pytest.raises(UnsupportedError, match=rf"{function} answered 18 \(error 18\)"):
        choose_device("cuda")


def test_a_library_too_old_for_a_function_is_no_crash(plug):
    driver = plug(FakeGpu(A))
    del driver.nvmlDeviceGetMigMode
    assert [gpu.uuid for gpu in find_gpus()] == [A]
    driver = plug(FakeGpu(A))
    del driver.nvmlDeviceGetCount_v2
    assert find_gpus() == ()


@pytest.mark.parametrize("step", ["handle", "uuid", "memory"])
def test_one_gpu_that_fails_leaves_the_others(plug, caplog, step):
    plug(FakeGpu(A, fails={step: 15}), FakeGpu(B))
    with caplog.at_level(logging.INFO):
        assert [gpu.uuid for gpu in find_gpus()] == [B]
    assert caplog.records == []


def test_a_gpu_lost_later_keeps_the_others_numbers(plug):
    first = FakeGpu(A)
    plug(first, FakeGpu(B))
    assert len(find_gpus()) == 2
    first.fails["memory"] = 15
    assert [(gpu.index, gpu.uuid) for gpu in find_gpus()] == [(1, B)]


def test_a_gpu_without_memory_of_its_own_shares_the_cpus(plug):
    plug(FakeGpu(A, name="NVIDIA GB10", fails={"memory": 3}))
    machine = detect()
    (gpu,) = machine.gpus
    assert (gpu.unified, gpu.pool, str(gpu.device)) == (True, "cpu", "cuda:0")
    assert gpu.total == machine.memory.total
    assert machine.unified
    assert list(machine.pools) == ["cpu"]


# What the real driver (580.159, two H200s) showed for each value; the values stand between bars.
VISIBLE = {
    (A, B): f"0,1|0 , 1|{A},{B}|GPU-2378,GPU-ce94",
    (B, A): f"1,0|1x,0|{B},{A}",
    (A,): f"0|0,5,1|0,-1,1|0,,1|0abc|0x1|0;1|0 1|0,{B}|0,{A}|{A}|GPU-{A[4:].upper()}",
    (B,): f"1| 1|+1|01|{B},0|{B}",
    (): f"|-1|5|0,0|0,1,0|,0|abc|NoDevFiles|void|all|none|GPU-|gpu-23784|{A[4:]}|{A},{A}",
}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, (A, B)), *((v, shown) for shown, text in VISIBLE.items() for v in text.split("|"))],
)
def test_visible_devices_count_as_the_driver_counts_them(plug, monkeypatch, value, shown):
    plug(FakeGpu(A), FakeGpu(B))
    if value is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    found = find_gpus()
    assert tuple(gpu.uuid for gpu in found) == shown
    assert [gpu.index for gpu in found] == list(range(len(shown)))


def test_a_gpu_cut_into_slices_shows_one_of_them(plug, monkeypatch):
    parts = [
        FakeGpu(f"MIG-{n}{n}", name="NVIDIA H200 MIG 1g.18gb", total=16 * GIB, free=n * GIB)
        for n in (1, 2, 3)
    ]
    plug(FakeGpu(A, slices=parts), FakeGpu(B))
    assert [gpu.uuid for gpu in find_gpus()] == ["MIG-11", B]
    assert find_gpus()[0].total == 16 * GIB
    for value, shown in [
        ("MIG-33,MIG-22", ["MIG-33", "MIG-22"]),
        ("MIG-33,MIG-33", []),
        ("MIG-9", []),
        (A, ["MIG-11"]),
        ("1", [B]),
        ("0", ["MIG-11"]),
    ]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert [gpu.uuid for gpu in find_gpus()] == shown


def test_a_gpu_in_slice_mode_whose_slices_fail_is_no_crash(plug):
    plug(FakeGpu(A, slices=[FakeGpu("MIG-11", fails={"uuid": 15})]), FakeGpu(B, fails={"mig": 3}))
    assert [gpu.uuid for gpu in find_gpus()] == [A, B]


def test_a_mac_has_one_pool(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(gpus_module, "memory", lambda: Memory(16 * GIB, 9 * GIB))
    (gpu,) = find_gpus()
    assert (gpu.device, gpu.pool, gpu.free) == (Device.Metal, "cpu", 9 * GIB)
    machine = Hardware(Cores(8, 8, 8, 8), Memory(16 * GIB, 9 * GIB), (gpu,))
    assert machine.unified
    assert machine.pools == {"cpu": Memory(16 * GIB, 9 * GIB)}
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert find_gpus() == ()


# The whole machine


def test_the_machine_goes_to_json_and_back(plug):
    plug(FakeGpu(A), FakeGpu(B))
    machine = detect()
    assert Hardware.from_json(machine.to_json()) == machine
    assert json.loads(machine.to_json())["gpus"][1]["uuid"] == B
    assert machine.pools["gpu:1"] == Memory(140 * GIB, 139 * GIB)
    assert set(machine.pools) == {"cpu", "gpu:0", "gpu:1"}
    assert not machine.unified
    assert "cuda:1 (NVIDIA H200, 139.0 GiB of 140.0 GiB free)" in machine.describe()


def test_detecting_is_silent_even_when_warnings_are_errors():
    code = (
        "import sys\n"
        "from blazen.hardware import choose_device, detect, find_gpus, release_memory\n"
        "assert 'psutil' not in sys.modules and 'ctypes' not in sys.modules\n"
        "detect(refresh=True); choose_device('auto'); release_memory()\n"
        "assert 'numpy' not in sys.modules; print('done')"
    )
    done = run_python(code, "-W", "error")
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


# Choosing


@pytest.fixture
def said(caplog):
    """What is logged, as (level, text)."""
    caplog.set_level(logging.INFO, "blazen.hardware")
    return lambda: [(r.levelname, r.getMessage()) for r in caplog.records]


def test_without_a_gpu_auto_is_the_cpu_and_says_why(no_driver, said):
    assert choose_device() == Device.Cpu
    assert said() == [("INFO", "using cpu: no GPU was found; no NVIDIA driver is installed")]


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "gpu", "metal"])
def test_a_gpu_that_is_absent_is_never_replaced(no_driver, wanted, said):
    with pytest.raises(UnsupportedError) as caught:
        choose_device(wanted)
    for part in (repr(wanted), "cpu (", "no NVIDIA driver is installed", "'auto'"):
        assert part in str(caught.value)
    assert said() == []


def test_auto_takes_the_roomiest_gpu(plug, said):
    plug(FakeGpu(A, free=10 * GIB), FakeGpu(B, free=20 * GIB))
    assert choose_device("auto", needs=5 * GIB) == Device.parse("cuda:1")
    ((level, text),) = said()
    assert level == "INFO"
    assert text.startswith("using cuda:1: the roomiest of 2 GPUs is NVIDIA H200 with 20.0 GiB")
    assert choose_device("gpu") == Device.parse("cuda:1")


def test_equal_gpus_are_taken_in_order(plug):
    plug(FakeGpu(A), FakeGpu(B))
    assert choose_device() == Device.parse("cuda:0")


def test_auto_falls_back_when_no_gpu_has_room(plug, said):
    plug(FakeGpu(A, free=2 * GIB))
    assert choose_device(needs=2 * GIB) == Device.parse("cuda:0")
    assert choose_device(needs=2 * GIB + 1) == Device.Cpu
    assert said()[1][1] == "using cpu: the model needs 2.0 GiB and cuda:0 has 2.0 GiB free"
    with pytest.raises(BudgetError, match=r"needs 3\.0 GiB and cuda:0 has 2\.0 GiB"):
        choose_device(needs=3 * GIB, supported=["cuda"])


def test_a_named_gpu_is_kept_when_it_is_full_but_not_in_silence(plug, said):
    plug(FakeGpu(A, free=GIB), FakeGpu(B))
    assert choose_device("cuda", needs=2 * GIB) == Device.parse("cuda:0")
    assert said()[0] == ("WARNING", "cuda:0 has 1.0 GiB free, and the model needs 2.0 GiB")
    assert choose_device("gpu:1", needs=2 * GIB) == Device.parse("cuda:1")


def test_a_named_gpu_must_be_there(plug, monkeypatch):
    plug(FakeGpu(A), FakeGpu(B))
    with pytest.raises(UnsupportedError, match=r"cuda:0 .*cuda:1 "):
        choose_device("cuda:2")
    with pytest.raises(UnsupportedError):
        choose_device("metal")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert choose_device("cuda:0") == Device.parse("cuda:0")
    with pytest.raises(UnsupportedError, match="CUDA_VISIBLE_DEVICES is '1'"):
        choose_device("cuda:1")


def test_an_engine_that_knows_no_gpu(plug, said):
    plug(FakeGpu(A))
    assert choose_device(supported=["cpu"]) == Device.Cpu
    assert said() == [("INFO", "using cpu: the engine does not run on cuda")]
    for wanted in ("cuda", "gpu", "metal"):
        with pytest.raises(UnsupportedError, match="the engine runs on cpu only"):
            choose_device(wanted, supported=["cpu"])


def test_an_engine_that_needs_a_gpu(no_driver):
    with pytest.raises(UnsupportedError, match="runs on cuda and metal only"):
        choose_device(supported=["cuda", "metal"])
    with pytest.raises(UnsupportedError, match="'cpu' was asked for"):
        choose_device("cpu", supported=["cuda"])


def test_the_cpu_can_be_asked_for(plug, said):
    plug(FakeGpu(A))
    assert choose_device(Device.Cpu, needs=10**18) == Device.Cpu
    assert said() == [("INFO", "using cpu: it was asked for")]


def test_metal_is_chosen_on_a_mac(monkeypatch):
    gpu = Gpu(0, "Apple GPU", "metal", 16 * GIB, 9 * GIB, api="metal", unified=True)
    machine = Hardware(Cores(8, 8, 8, 8), Memory(16 * GIB, 9 * GIB), (gpu,))
    monkeypatch.setattr("blazen.hardware.choice.detect", lambda: machine)
    assert choose_device() == choose_device("gpu") == choose_device("mps") == Device.Metal
    assert choose_device(supported=["cpu", "cuda"]) == Device.Cpu
    with pytest.raises(UnsupportedError):
        choose_device("cuda")


def test_different_gpus_may_be_numbered_otherwise_by_cuda(plug, said, monkeypatch):
    plug(FakeGpu(A), FakeGpu(B, name="NVIDIA L4"))
    choose_device("cuda:1")
    assert [level for level, _ in said()] == ["WARNING", "INFO"]
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in said()[0][1]
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    choose_device("cuda:1")
    assert [level for level, _ in said()][2:] == ["INFO"]


@pytest.mark.parametrize(
    "settings",
    [{"needs": -1}, {"needs": 1.5}, {"supported": []}, {"supported": ["cpu", "gpu"]},
     {"wanted": "quantum"}],
)  # fmt: skip
def test_wrong_wishes_are_refused(settings):
    with pytest.raises(ValidationError):
        choose_device(**settings)


# On a machine with NVIDIA GPUs

with_gpu = pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="needs an NVIDIA GPU")


@pytest.fixture
def real_driver(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus_module._driver.cache_clear()


@with_gpu
@pytest.mark.usefixtures("real_driver")
def test_the_real_gpus_agree_with_nvidia_smi():
    fields = "uuid,name,memory.total,memory.free,driver_version,compute_cap"
    shown = subprocess.run(
        ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = find_gpus()
    assert len(found) == len(shown) > 0
    for gpu, line in zip(found, shown, strict=True):
        uuid, name, total, free, driver, capability = line.split(", ")
        assert (gpu.uuid, gpu.name, gpu.driver) == (uuid, name, driver)
        assert ".".join(map(str, gpu.compute_capability)) == capability
        assert gpu.total == pytest.approx(int(total) * MIB, rel=0.05)
        assert gpu.free == pytest.approx(int(free) * MIB, rel=0.05, abs=gpu.total * 0.05)


CUDA_COUNT = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1"); cuda.cuInit(0)
count = ctypes.c_int(0); cuda.cuDeviceGetCount(ctypes.byref(count))
for index in range(max(count.value, 0)):
    uuid = (ctypes.c_ubyte * 16)(); cuda.cuDeviceGetUuid_v2(uuid, index)
    print(bytes(uuid).hex())
"""


@with_gpu
@pytest.mark.usefixtures("real_driver")
def test_the_real_numbering_is_that_of_cuda(monkeypatch):
    everything = [gpu.uuid for gpu in find_gpus()]
    first, last = everything[0], everything[-1]
    for value in ["0", "", "-1", "1,0", "0,0", first, f"{last},{first}", last[:12], "0,99,1"]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        by_cuda = run_python(CUDA_COUNT, CUDA_VISIBLE_DEVICES=value).stdout.split()
        assert [gpu.uuid[4:].replace("-", "") for gpu in find_gpus()] == by_cuda, value
