"""Measuring memory: this process and its children, and GPUs that are made up here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from blazen import hardware
from blazen.hardware import Gpu, Memory
from blazen.manager import meter as meter_module
from blazen.manager.meter import MachineMeter, Meter

MIB = 1 << 20
GIB = 1 << 30


def run_python(code: str) -> list[int]:
    """Run code in a process of its own, where nothing else allocates, and read its numbers."""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


def measured(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> MachineMeter:
    monkeypatch.setattr(hardware, "find_gpus", lambda: gpus)
    return MachineMeter()


def gpu(index: int, total: int, free: int, **more: object) -> Gpu:
    return Gpu(index=index, name="Made up", uuid=f"GPU-{index}", total=total, free=free, **more)


def test_the_machines_meter_is_a_meter() -> None:
    meter: Meter = MachineMeter()
    assert meter.used("cpu") > MIB


def test_what_the_process_takes_and_gives_back_is_seen() -> None:
    before, held, after = run_python(
        "import mmap\n"
        "from blazen.manager.meter import MachineMeter\n"
        "meter = MachineMeter()\n"
        "meter.used('cpu')\n"
        "print(meter.used('cpu'))\n"
        "block = mmap.mmap(-1, 200 << 20)\n"
        "for page in range(0, 200 << 20, 4096): block[page] = 1\n"
        "print(meter.used('cpu'))\n"
        "block.close()\n"
        "print(meter.used('cpu'))\n"
    )
    assert 190 * MIB < held - before < 230 * MIB
    assert after - before < 20 * MIB


CHILD = """
import subprocess, sys
from blazen.manager import meter as module
from blazen.manager.meter import MachineMeter
meter = MachineMeter()
grandchild = "block = bytearray(b'x' * (100 << 20)); print(flush=True); input()"
child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
meter.used('cpu')
print(meter.used('cpu'))
with subprocess.Popen(
    [sys.executable, '-c', child], stdin=subprocess.PIPE, stdout=subprocess.PIPE
) as running:
    running.stdout.readline()
    print(meter.used('cpu'))
    module._descendants = module._searched
    print(meter.used('cpu'))
    running.communicate(b'\\n')
print(meter.used('cpu'))
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not tell what a child holds alone")
def test_what_children_and_theirs_hold_counts_until_they_end() -> None:
    before, held, searched, after = run_python(CHILD)
    assert 100 * MIB < held - before < 180 * MIB
    assert abs(searched - held) < 10 * MIB
    assert after - before < 20 * MIB


FORK = """
import os
from blazen.manager.meter import MachineMeter
meter = MachineMeter()
block = bytearray(b'x' * (200 << 20))
meter.used('cpu')
print(meter.used('cpu'), flush=True)
tell, told = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    own = bytearray(b'x' * (50 << 20))
    print(meter.used('cpu'), flush=True)
    os.write(told[1], b'.')
    os.read(tell[0], 1)
    os._exit(0)
os.read(told[0], 1)
print(meter.used('cpu'), flush=True)
os.write(tell[1], b'.')
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print(meter.used('cpu'), flush=True)
os.waitpid(pid, 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks share their memory and Linux tells")
def test_what_a_fork_shares_counts_once() -> None:
    before, of_the_fork, held, ended = run_python(FORK)
    assert of_the_fork - before > 30 * MIB  # it measures itself, and not the process it came from
    assert 45 * MIB < held - before < 100 * MIB
    assert ended - before < 20 * MIB  # and a child that has ended is no trouble


def test_a_program_that_is_just_being_started_does_not_count_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Until it runs its own code it has its parent's memory, which only this process stands for.
    monkeypatch.setattr(meter_module, "_has_children", lambda: True)
    monkeypatch.setattr(meter_module, "_descendants", lambda pid: [pid])
    with_itself = MachineMeter().used("cpu")
    monkeypatch.setattr(meter_module, "_descendants", lambda pid: [])
    assert abs(with_itself - MachineMeter().used("cpu")) < 5 * MIB


def test_a_child_that_has_just_gone_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = 1 << 30  # no system counts so far, so that no other program can take its number
    # This process itself may grow in between, or lose pages of files to the system.
    own = meter_module._process(os.getpid()).memory_info()
    still = SimpleNamespace(memory_info=lambda: own)
    monkeypatch.setattr(meter_module, "_process", lambda pid: still)
    monkeypatch.setattr(meter_module, "_has_children", lambda: True)
    monkeypatch.setattr(meter_module, "_descendants", lambda pid: [gone])
    assert MachineMeter().used("cpu") == own.rss
    assert meter_module._searched(gone) == []


def test_what_is_left_of_ram_is_what_the_machine_or_its_container_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "memory", lambda: Memory(total=8 * GIB, available=3 * GIB))
    assert MachineMeter().available("cpu") == 3 * GIB


def test_each_gpu_is_its_own_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = measured(monkeypatch, gpu(0, 24 * GIB, 20 * GIB), gpu(1, 80 * GIB, 10 * GIB))
    assert (meter.used("gpu:0"), meter.available("gpu:0")) == (4 * GIB, 20 * GIB)
    assert (meter.used("gpu:1"), meter.available("gpu:1")) == (70 * GIB, 10 * GIB)


def test_a_gpu_that_is_not_there_cant_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = measured(monkeypatch, gpu(0, 24 * GIB, 20 * GIB))
    for pool in ("gpu:1", "gpu", "disk"):
        assert meter.used(pool) is None
        assert meter.available(pool) is None


def test_a_gpu_that_shares_the_cpus_memory_has_no_pool_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meter = measured(monkeypatch, gpu(0, 16 * GIB, 4 * GIB, unified=True))
    assert meter.used("gpu:0") is None
    assert meter.available("gpu:0") is None


def test_ram_is_measured_without_a_look_at_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> tuple[Gpu, ...]:
        raise AssertionError("the GPUs were asked")

    monkeypatch.setattr(hardware, "find_gpus", never)
    assert MachineMeter().used("cpu") > 0
    assert MachineMeter().available("cpu") > 0
