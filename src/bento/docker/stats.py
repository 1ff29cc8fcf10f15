"""A sample of what a container takes: the document of Docker's API, and the words of ``docker stats``."""

from __future__ import annotations

from typing import Any, Final

from bento.docker.words import memory_text, size_text
from bento.model.stats import BlockUsage, ContainerStats, Usage
from bento.units import rfc3339, short_id

FIELDS: Final = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
"""What a template is given of a container, and the header of each in a table."""

UNKNOWN: Final = "--"


def fields(stats: ContainerStats, *, is_whole: bool) -> dict[str, str]:
    """Return the words of ``docker stats``. ``is_whole``: the id is not cut short."""
    identifier = stats.id if is_whole else short_id(stats.id)
    return {
        "Container": identifier,
        "ID": identifier,
        "Name": stats.name,
        "CPUPerc": _cpu_text(stats),
        "MemUsage": _memory_text(stats.now),
        "MemPerc": f"{stats.memory_percent:.2f}%",
        "NetIO": _network_text(stats.now),
        "BlockIO": _block_text(stats.now),
        "PIDs": str(stats.now.pids) if stats.now is not None else "0",
    }


def _cpu_text(stats: ContainerStats) -> str:
    if stats.now is None:
        return "0.00%"
    return UNKNOWN if stats.cpu_percent is None else f"{stats.cpu_percent:.2f}%"


def _memory_text(usage: Usage | None) -> str:
    if usage is None:
        return "0B / 0B"
    taken = UNKNOWN if usage.memory_usage_bytes is None else memory_text(usage.memory_bytes)
    return f"{taken} / {memory_text(usage.memory_limit_bytes)}"


def _network_text(usage: Usage | None) -> str:
    links = usage.links if usage is not None else ()
    received, sent = sum(link.rx_bytes for link in links), sum(link.tx_bytes for link in links)
    return f"{size_text(received)} / {size_text(sent)}"


def _block_text(usage: Usage | None) -> str:
    blocks = usage.blocks if usage is not None else ()
    return f"{size_text(sum(b.read_bytes for b in blocks))} / {size_text(sum(b.write_bytes for b in blocks))}"


def document(stats: ContainerStats) -> dict[str, Any]:
    """Return a line of the answer to ``GET /containers/ID/stats``; its ``pre...`` are those of the sample before."""
    now, before = stats.now, stats.before
    links = {} if now is None or not now.links else {"networks": {link.name: _link(link) for link in now.links}}
    return {
        "read": rfc3339(now.machine.unix_ns if now is not None else 0),
        "preread": rfc3339(before.machine.unix_ns if before is not None else 0),
        "pids_stats": _pids(now),
        "blkio_stats": _blocks(now.blocks if now is not None else (), now.cgroup_version if now is not None else 2),
        "num_procs": 0,  # Windows'
        "storage_stats": {},
        "cpu_stats": _cpu(now),
        "precpu_stats": _cpu(before),
        "memory_stats": _memory(now),
        "name": f"/{stats.name}",
        "id": stats.id,
        **links,
    }


def _link(link: Any) -> dict[str, int]:
    words = ("bytes", "packets", "errors", "dropped")
    return {f"{way}_{word}": getattr(link, f"{way}_{word}") for way in ("rx", "tx") for word in words}


def _pids(usage: Usage | None) -> dict[str, int]:
    if usage is None:
        return {}
    return {"current": usage.pids} | ({"limit": usage.pids_limit} if usage.pids_limit is not None else {})


def _cpu(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        times, throttling, rest = (0, 0, 0), (0, 0, 0), {}
    else:
        times = (usage.cpu_ns or 0, usage.cpu_system_ns, usage.cpu_user_ns)
        throttling = (usage.periods, usage.throttled_periods, usage.throttled_ns)
        rest = {"system_cpu_usage": usage.machine.cpu_ns, "online_cpus": usage.machine.cpus}
    words = ("total_usage", "usage_in_kernelmode", "usage_in_usermode")
    throttling_words = ("periods", "throttled_periods", "throttled_time")
    return {
        "cpu_usage": dict(zip(words, times, strict=True)),
        **rest,
        "throttling_data": dict(zip(throttling_words, throttling, strict=True)),
    }


def _memory(usage: Usage | None) -> dict[str, Any]:
    """Docker has a peak and failures of version 1 alone."""
    if usage is None or usage.memory_usage_bytes is None:
        return {}
    found: dict[str, Any] = {"usage": usage.memory_usage_bytes, "stats": usage.memory_stat}
    if usage.cgroup_version == 1:
        found |= {"max_usage": usage.memory_peak_bytes, "failcnt": usage.memory_failures}
    return found | {"limit": usage.memory_limit_bytes}


def _blocks(blocks: tuple[BlockUsage, ...], version: int) -> dict[str, Any]:
    """Docker writes the operations of version 1 with a capital, those of version 2 without; and none as [] and null."""
    none: list[object] | None = [] if version == 1 else None
    words = ("Read", "Write") if version == 1 else ("read", "write")
    sizes = [(block, word, size) for block in blocks for word, size in zip(words, _sizes(block), strict=True)]
    counts = [(block, word, count) for block in blocks for word, count in zip(words, _counts(block), strict=True)]
    unknown = ("io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive",
               "io_time_recursive", "sectors_recursive")  # fmt: skip
    return {
        "io_service_bytes_recursive": [_entry(*each) for each in sizes] or none,
        "io_serviced_recursive": [_entry(*each) for each in counts] or none,
        **dict.fromkeys(unknown, none),
    }


def _sizes(block: BlockUsage) -> tuple[int, int]:
    return block.read_bytes, block.write_bytes


def _counts(block: BlockUsage) -> tuple[int, int]:
    return block.reads, block.writes


def _entry(block: BlockUsage, word: str, value: int) -> dict[str, object]:
    return {"major": block.major, "minor": block.minor, "op": word, "value": value}
