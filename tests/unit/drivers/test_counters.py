"""What the cgroups of each version say, from files in the formats of the kernel's documentation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bento.docker import stats
from bento.drivers.usage import counters
from bento.model.stats import BlockUsage, ContainerStats, LinkUsage, MachineUsage, Usage
from bento.testing.usage import usage

TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
MACHINE = MachineUsage(unix_ns=10**18, mono_s=10.0, cpu_ns=4 * 10**9, cpus=2, memory_bytes=8 << 30)

VERSION1 = {
    "cpuacct/cpuacct.usage": "1500000000\n",
    "cpuacct/cpuacct.stat": "user 100\nsystem 50\n",
    "cpu/cpu.stat": "nr_periods 9\nnr_throttled 2\nthrottled_time 70000\n",
    "memory/memory.usage_in_bytes": "30000000\n",
    "memory/memory.max_usage_in_bytes": "40000000\n",
    "memory/memory.failcnt": "3\n",
    "memory/memory.limit_in_bytes": "104857600\n",
    "memory/memory.stat": "cache 9\ninactive_file 1\ntotal_cache 9\ntotal_inactive_file 10000000\n",
    "blkio/blkio.throttle.io_service_bytes_recursive": (
        "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 12288\n8:0 Async 0\n8:0 Discard 0\n8:0 Total 12288\n"
        "253:1 Read 0\n253:1 Write 512\n253:1 Total 512\nTotal 12800\n"
    ),
    "blkio/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n",
    "pids/pids.current": "7\n",
    "pids/pids.max": "100\n",
}
VERSION2 = {
    "cpu.stat": (
        "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 9\nnr_throttled 2\nthrottled_usec 70\n"
    ),
    "memory.current": "30000000\n",
    "memory.max": "max\n",
    "memory.peak": "40000000\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
    "memory.stat": "anon 20000000\nfile 10000000\ninactive_file 10000000\n",
    "io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n",
    "pids.current": "7\n",
    "pids.max": "max\n",
}
BLOCK = BlockUsage(major=8, minor=0, read_bytes=4096, write_bytes=8192, reads=1, writes=2)


def tree(base: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)
    return base


def read(paths: dict[str, str]) -> Usage:
    return Usage(machine=MACHINE, links=(), **counters.read(paths, MACHINE))


def test_version_1(tmp_path: Path) -> None:
    base = tree(tmp_path, VERSION1)
    found = read({name: str(base / name) for name in ("cpuacct", "cpu", "memory", "blkio", "pids", "freezer")})

    assert (found.cpu_ns, found.cpu_user_ns, found.cpu_system_ns) == (1_500_000_000, 100 * TICK_NS, 50 * TICK_NS)
    assert (found.periods, found.throttled_periods, found.throttled_ns) == (9, 2, 70_000)
    assert (found.memory_bytes, found.memory_limit_bytes) == (20_000_000, 100 << 20)
    assert found.memory_peak_bytes == 40_000_000
    assert found.memory_failures == 3
    assert found.blocks == (
        BLOCK, BlockUsage(major=253, minor=1, read_bytes=0, write_bytes=512, reads=0, writes=0)
    )  # fmt: skip
    assert (found.pids, found.pids_limit, found.cgroup_version) == (7, 100, 1)


def test_version_2(tmp_path: Path) -> None:
    found = read({"": str(tree(tmp_path, VERSION2))})

    assert (found.cpu_ns, found.cpu_user_ns, found.cpu_system_ns) == (1_500_000_000, 10**9, 500_000_000)
    assert (found.periods, found.throttled_periods, found.throttled_ns) == (9, 2, 70_000)
    assert (found.memory_bytes, found.memory_limit_bytes, found.memory_peak_bytes) == (20_000_000, 8 << 30, 40_000_000)
    assert found.memory_failures == 3
    assert found.blocks == (BLOCK,)
    assert (found.pids, found.pids_limit, found.cgroup_version) == (7, None, 2)


def test_hybrid_host_is_read_where_each_controller_is(tmp_path: Path) -> None:
    v1 = tree(tmp_path / "v1", {name: text for name, text in VERSION1.items() if name.startswith(("memory", "pids"))})
    v2 = tree(tmp_path / "unified", {"cpu.stat": VERSION2["cpu.stat"], "io.stat": VERSION2["io.stat"]})
    found = read({"memory": str(v1 / "memory"), "pids": str(v1 / "pids"), "": str(v2)})

    assert (found.cpu_ns, found.memory_bytes, found.pids, found.blocks) == (1_500_000_000, 20_000_000, 7, (BLOCK,))


@pytest.mark.parametrize("paths", [{}, {"": "/nonexistent"}, {"memory": "/nonexistent", "cpuacct": "/nonexistent"}])
def test_what_the_host_does_not_say_is_not_made_up(paths: dict[str, str]) -> None:
    found = counters.read(paths, MACHINE)

    assert (found["cpu_ns"], found["memory_usage_bytes"], found["pids"], found["blocks"]) == (None, None, None, ())
    now = usage(MACHINE, **found | {"pids": 1})
    shown = stats.fields(ContainerStats(id="a" * 64, name="web", now=now), is_whole=True)
    assert (shown["CPUPerc"], shown["MemUsage"]) == ("--", "-- / 8GiB")


@pytest.mark.parametrize("limit", ["9223372036854771712", "0", "max"])
def test_limit_beyond_the_machines_memory_is_that(tmp_path: Path, limit: str) -> None:
    (tmp_path / "memory.limit_in_bytes").write_text(limit)
    assert counters.read({"memory": str(tmp_path)}, MACHINE)["memory_limit_bytes"] == 8 << 30


def test_what_bfq_counts_comes_first(tmp_path: Path) -> None:
    (tmp_path / "blkio.bfq.io_service_bytes_recursive").write_text("8:0 Read 5\nTotal 5\n")
    (tmp_path / "blkio.throttle.io_service_bytes_recursive").write_text("8:0 Read 7\nTotal 7\n")
    assert [block.read_bytes for block in counters.read({"blkio": str(tmp_path)}, MACHINE)["blocks"]] == [5]


def test_links_but_for_the_loopback() -> None:
    text = (
        "Inter-|   Receive  |  Transmit\n face |bytes packets ...\n"
        "    lo:  99 1 0 0 0 0 0 0 99 1 0 0 0 0 0 0\n"
        "  eth0:1234 5 1 2 0 0 0 0  678 9 3 4 0 0 0 0\n"
    )
    assert list(counters.parse_links(text)) == [
        LinkUsage(
            name="eth0", rx_bytes=1234, rx_packets=5, rx_errors=1, rx_dropped=2,
            tx_bytes=678, tx_packets=9, tx_errors=3, tx_dropped=4,
        )
    ]  # fmt: skip


def sample(**some: Any) -> ContainerStats:
    link = LinkUsage(
        name="eth0", rx_bytes=1234, rx_packets=5, rx_errors=0, rx_dropped=0,
        tx_bytes=0, tx_packets=0, tx_errors=0, tx_dropped=0,
    )  # fmt: skip
    later = MachineUsage(unix_ns=10**18 + 10**9, mono_s=11.0, cpu_ns=6 * 10**9, cpus=2, memory_bytes=8 << 30)
    taken = {"memory_usage_bytes": 4_620_288, "memory_limit_bytes": 100 << 20, "links": (link,), "blocks": (BLOCK,)}
    now = usage(later, **{"cpu_ns": 2 * 10**9, "pids": 3, **taken, **some})
    return ContainerStats(id="a" * 64, name="web", now=now, before=usage(MACHINE, cpu_ns=10**9 // 2))


def test_words_are_those_of_docker() -> None:
    assert stats.fields(sample(), is_whole=False) == {
        "Container": "a" * 12, "ID": "a" * 12, "Name": "web", "CPUPerc": "150.00%", "MemUsage": "4.406MiB / 100MiB",
        "MemPerc": "4.41%", "NetIO": "1.23kB / 0B", "BlockIO": "4.1kB / 8.19kB", "PIDs": "3",
    }  # fmt: skip
    stopped = stats.fields(ContainerStats(id="a" * 64, name="web"), is_whole=True)
    assert list(stopped.values()) == ["a" * 64, "a" * 64, "web", "0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"]


@pytest.mark.parametrize("version", [1, 2])
def test_document_is_that_of_dockers_api(version: int) -> None:
    found = stats.document(sample(cgroup_version=version, pids_limit=9, memory_peak_bytes=5, memory_failures=6))

    assert (found["name"], found["id"], found["pids_stats"]) == ("/web", "a" * 64, {"current": 3, "limit": 9})
    assert found["read"] == "2001-09-09T01:46:41.000000000Z"
    cpu, before = found["cpu_stats"], found["precpu_stats"]
    taken = cpu["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    of = cpu["system_cpu_usage"] - before["system_cpu_usage"]
    assert taken / of * cpu["online_cpus"] * 100 == 150.0  # as its clients reckon
    memory = {"usage": 4_620_288, "stats": {}, "limit": 100 << 20}
    assert found["memory_stats"] == memory | ({"max_usage": 5, "failcnt": 6} if version == 1 else {})
    word = "Read" if version == 1 else "read"
    assert found["blkio_stats"]["io_service_bytes_recursive"][0] == {"major": 8, "minor": 0, "op": word, "value": 4096}
    assert found["networks"]["eth0"]["rx_bytes"] == 1234


def test_document_of_what_does_not_run() -> None:
    found = stats.document(ContainerStats(id="a" * 64, name="web"))

    assert (found["read"], found["memory_stats"], found["pids_stats"]) == ("0001-01-01T00:00:00Z", {}, {})
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert "networks" not in found
