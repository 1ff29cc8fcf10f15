"""What the cgroups of one container, its network links and the machine count.

Facts are from the kernel's admin-guide: cgroup-v2.rst; cgroup-v1/cpuacct.rst, memory.rst, blkio-controller.rst and
pids.rst; and proc_stat(5), proc_pid_net(5). Of a hybrid host each controller is read where it is. What is missing
counts as nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bento import clock
from bento.kernel.cgroup import read_control
from bento.model.stats import BlockUsage, LinkUsage, MachineUsage

_TICK_NS: Final = 10**9 // os.sysconf("SC_CLK_TCK")
_CPU_STATES: Final = 8  # of the line "cpu"; guest time, after them, is within user time
_LOOPBACK: Final = "lo"
_DIRECTIONS: Final = {"Read": 0, "Write": 1}


def machine() -> MachineUsage:
    """Return the machine's side of a sample."""
    lines = read_control("/proc/stat").splitlines()
    times = [int(word) for word in lines[0].split()[1 : 1 + _CPU_STATES]] if lines else []
    total_kib = _fields("/proc/meminfo", separator=":").get("MemTotal", 0)
    return MachineUsage(
        unix_ns=clock.wall_ns(),
        mono_s=clock.mono_s(),
        cpu_ns=sum(times) * _TICK_NS,
        cpus=sum(line.startswith("cpu") for line in lines) - 1,
        memory_bytes=total_kib * 1024,
    )


def read(paths: Mapping[str, str], machine: MachineUsage) -> dict[str, Any]:
    """Return the fields of ``Usage`` that cgroups say. ``paths``: a directory by controller, "" for version 2."""
    v2 = paths.get("", "")
    memory = _memory(paths["memory"]) if "memory" in paths else _memory2(v2)
    limit_bytes = memory["memory_limit_bytes"]
    if not 0 < limit_bytes < machine.memory_bytes:
        memory["memory_limit_bytes"] = machine.memory_bytes
    return {
        "cgroup_version": 1 if "memory" in paths else 2,
        **(_cpu(paths["cpuacct"], paths.get("cpu", "")) if "cpuacct" in paths else _cpu2(v2)),
        **memory,
        "blocks": tuple(_blocks(paths["blkio"]) if "blkio" in paths else _blocks2(v2)),
        **_pids(paths.get("pids", v2)),
    }


def links(pid: int) -> tuple[LinkUsage, ...]:
    """Return the links of a process's network, but for the loopback; none where that is this process's own network."""
    try:
        if os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
            return ()
    except OSError:
        return ()
    return tuple(parse_links(read_control(f"/proc/{pid}/net/dev")))


def parse_links(text: str) -> Iterator[LinkUsage]:
    """Read /proc/PID/net/dev: two lines of headings, then a line for each link."""
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        counts = rest.split()
        if name.strip() == _LOOPBACK or len(counts) < 12:
            continue
        rx, tx = map(int, counts[:4]), map(int, counts[8:12])
        words = ("bytes", "packets", "errors", "dropped")
        received = {f"rx_{word}": value for word, value in zip(words, rx, strict=True)}
        sent = {f"tx_{word}": value for word, value in zip(words, tx, strict=True)}
        yield LinkUsage(name=name.strip(), **received, **sent)


def _cpu(accounting: str, quota: str) -> dict[str, Any]:
    times, throttled = _fields(f"{accounting}/cpuacct.stat"), _fields(f"{quota}/cpu.stat")
    return {
        "cpu_ns": _number(f"{accounting}/cpuacct.usage"),
        "cpu_user_ns": times.get("user", 0) * _TICK_NS,
        "cpu_system_ns": times.get("system", 0) * _TICK_NS,
        "periods": throttled.get("nr_periods", 0),
        "throttled_periods": throttled.get("nr_throttled", 0),
        "throttled_ns": throttled.get("throttled_time", 0),
    }


def _cpu2(directory: str) -> dict[str, Any]:
    found = _fields(f"{directory}/cpu.stat")
    return {
        "cpu_ns": found["usage_usec"] * 1000 if "usage_usec" in found else None,
        "cpu_user_ns": found.get("user_usec", 0) * 1000,
        "cpu_system_ns": found.get("system_usec", 0) * 1000,
        "periods": found.get("nr_periods", 0),
        "throttled_periods": found.get("nr_throttled", 0),
        "throttled_ns": found.get("throttled_usec", 0) * 1000,
    }


def _memory(directory: str) -> dict[str, Any]:
    return {
        "memory_usage_bytes": _number(f"{directory}/memory.usage_in_bytes"),
        "memory_limit_bytes": _number(f"{directory}/memory.limit_in_bytes") or 0,
        "memory_peak_bytes": _number(f"{directory}/memory.max_usage_in_bytes") or 0,
        "memory_failures": _number(f"{directory}/memory.failcnt") or 0,
        "memory_kernel_bytes": _number(f"{directory}/memory.kmem.usage_in_bytes") or 0,
        "memory_stat": (stat := _fields(f"{directory}/memory.stat")),
        "memory_swap_bytes": stat.get("total_swap", 0),
    }


def _memory2(directory: str) -> dict[str, Any]:
    return {
        "memory_usage_bytes": _number(f"{directory}/memory.current"),
        "memory_limit_bytes": _number(f"{directory}/memory.max") or 0,
        "memory_peak_bytes": _number(f"{directory}/memory.peak") or 0,
        "memory_failures": _fields(f"{directory}/memory.events").get("max", 0),
        "memory_stat": (stat := _fields(f"{directory}/memory.stat")),
        "memory_kernel_bytes": stat.get("kernel", 0),
        "memory_swap_bytes": _number(f"{directory}/memory.swap.current") or 0,
    }


def _blocks(directory: str) -> Iterator[BlockUsage]:
    """Version 1: what a scheduler that weighs cgroups counts, else what the throttling counts."""
    for kind in ("bfq", "throttle"):
        sizes = _by_device(read_control(f"{directory}/blkio.{kind}.io_service_bytes_recursive"))
        counts = _by_device(read_control(f"{directory}/blkio.{kind}.io_serviced_recursive"))
        for device, (read_bytes, write_bytes) in sizes.items():
            reads, writes = counts.get(device, (0, 0))
            yield _block(device, read_bytes, write_bytes, reads, writes)
        if sizes:
            return


def _by_device(text: str) -> dict[str, tuple[int, int]]:
    """Lines of ``MAJOR:MINOR OPERATION COUNT``; other operations are sums of these two, or parts of them."""
    found: dict[str, list[int]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in _DIRECTIONS:
            found.setdefault(words[0], [0, 0])[_DIRECTIONS[words[1]]] = int(words[2])
    return {device: (read, written) for device, (read, written) in found.items()}


def _blocks2(directory: str) -> Iterator[BlockUsage]:
    """Version 2: lines of ``MAJOR:MINOR rbytes=N wbytes=N rios=N wios=N ...``; a device may have none of these."""
    for line in read_control(f"{directory}/io.stat").splitlines():
        device, *words = line.split()
        found = {key: int(value) for key, _, value in (word.partition("=") for word in words) if value.isdigit()}
        if "rbytes" in found:
            counts = (found.get(name, 0) for name in ("rbytes", "wbytes", "rios", "wios"))
            yield _block(device, *counts)


def _block(device: str, read_bytes: int, write_bytes: int, reads: int, writes: int) -> BlockUsage:
    major, _, minor = device.partition(":")
    return BlockUsage(
        major=int(major), minor=int(minor), read_bytes=read_bytes, write_bytes=write_bytes, reads=reads, writes=writes
    )


def _pids(directory: str) -> dict[str, Any]:
    return {"pids": _number(f"{directory}/pids.current"), "pids_limit": _number(f"{directory}/pids.max")}


def _number(path: str) -> int | None:
    """Return what a control file holds; None for ``max``, and where there is none."""
    text = read_control(path).strip()
    return int(text) if text.isdigit() else None


def _fields(path: str, separator: str = "") -> dict[str, int]:
    """Return the lines of ``NAME NUMBER``."""
    found = {}
    for line in read_control(path).splitlines():
        name, _, rest = line.partition(separator or " ")
        value = rest.split(None, 1)
        if value and value[0].isdigit():
            found[name] = int(value[0])
    return found
