"""What this machine has: devices, memory and cores, as this process may use them.

Nothing here imports an engine, touches a GPU or writes to a stream; where there is no GPU and no
driver, the answer is a machine with a CPU.
"""

from blazen.hardware.choice import choose_device
from blazen.hardware.cores import Cores, count_cores, engines_sharing, sharing_cores, thread_budget
from blazen.hardware.devices import Device
from blazen.hardware.gpus import Gpu, find_gpus
from blazen.hardware.machine import Hardware, detect
from blazen.hardware.ram import (
    Memory,
    map_large_blocks,
    memory,
    pss_bytes,
    release_memory,
    rss_bytes,
)

__all__ = [
    "Cores",
    "Device",
    "Gpu",
    "Hardware",
    "Memory",
    "choose_device",
    "count_cores",
    "detect",
    "engines_sharing",
    "find_gpus",
    "map_large_blocks",
    "memory",
    "pss_bytes",
    "release_memory",
    "rss_bytes",
    "sharing_cores",
    "thread_budget",
]
