"""What containers and pods take, as metrics: under the names that cAdvisor gave them, which people's queries have.

A value is a whole number, as the interface has it; of seconds the rest is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec import Struct

from bento.api_cri.bodies import front
from bento.api_cri.messages import Message, pb
from bento.model.container import Container
from bento.model.disk import FilesystemUsage
from bento.model.pods import Pod
from bento.model.stats import BlockUsage, LinkUsage, ProcessUsage, Usage

_LABELS: Final = ("id", "name", "image", "namespace", "pod", "container")
_POD: Final = "POD"  # what cAdvisor calls that which is a pod's, and no container's
_NS: Final = 10**9
_FAULTS: Final = ("pgfault", "pgmajfault")
_SCOPES: Final = ("container", "hierarchy")  # there are no cgroups below: they are the same


class Seen(Struct, frozen=True, kw_only=True):
    """What was seen of a container that runs."""

    container: Container
    pod: Pod
    usage: Usage
    files: FilesystemUsage
    disk_bytes: int  # of the filesystem that its files are on
    inodes: int
    free_inodes: int
    processes: ProcessUsage


_Values = Iterable[tuple[int, tuple[str, ...]]]
"""Values, each with those of the labels that the metric has besides."""


class _Row(Struct, frozen=True):
    name: str
    about: str
    of: Callable[[Seen], _Values]
    labels: tuple[str, ...] = ()
    is_counter: bool = False


def _one(read: Callable[[Seen], int]) -> Callable[[Seen], _Values]:
    return lambda seen: ((read(seen), ()),)


def _used(read: Callable[[Usage], int]) -> Callable[[Seen], _Values]:
    return lambda seen: ((read(seen.usage), ()),)


def _stat(*names: str) -> Callable[[Seen], _Values]:
    """A number of memory.stat, by the first of its names that there is."""
    return _used(lambda usage: next((usage.memory_stat[name] for name in names if name in usage.memory_stat), 0))


def _blocks(read: Callable[[BlockUsage], int]) -> Callable[[Seen], _Values]:
    return lambda seen: ((read(each), (f"{each.major}:{each.minor}",)) for each in seen.usage.blocks)


def _operations(seen: Seen) -> _Values:
    for each in seen.usage.blocks:
        device = (f"{each.major}:{each.minor}", str(each.major), str(each.minor))
        yield each.read_bytes, (*device, "read")
        yield each.write_bytes, (*device, "write")


def _faults(seen: Seen) -> _Values:
    stat = seen.usage.memory_stat
    for name in _FAULTS:
        for scope in _SCOPES:
            yield stat.get(f"total_{name}", stat.get(name, 0)), (name, scope)


def _limit(usage: Usage) -> int:
    """Return the limit of memory; 0 is none."""
    return usage.memory_limit_bytes if usage.memory_limit_bytes < usage.machine.memory_bytes else 0


_DEVICE: Final = ("device",)
_ROWS: Final = (
    _Row("container_last_seen", "When it was last seen, in seconds since 1970.",
         _used(lambda usage: usage.machine.unix_ns // _NS)),
    _Row("container_start_time_seconds", "When it was started, in seconds since 1970.",
         _one(lambda seen: (seen.container.run.started_unix_ns if seen.container.run else 0) // _NS)),
    _Row("container_cpu_usage_seconds_total", "CPU time, in seconds.",
         lambda seen: (((seen.usage.cpu_ns or 0) // _NS, ("total",)),), ("cpu",), True),
    _Row("container_cpu_user_seconds_total", "CPU time of programs, in seconds.",
         _used(lambda usage: usage.cpu_user_ns // _NS), is_counter=True),
    _Row("container_cpu_system_seconds_total", "CPU time of the kernel for it, in seconds.",
         _used(lambda usage: usage.cpu_system_ns // _NS), is_counter=True),
    _Row("container_cpu_cfs_periods_total", "Periods of its CPU quota.",
         _used(lambda usage: usage.periods), is_counter=True),
    _Row("container_cpu_cfs_throttled_periods_total", "Periods in which its CPU quota held it.",
         _used(lambda usage: usage.throttled_periods), is_counter=True),
    _Row("container_cpu_cfs_throttled_seconds_total", "Time for which its CPU quota held it, in seconds.",
         _used(lambda usage: usage.throttled_ns // _NS), is_counter=True),
    _Row("container_memory_usage_bytes", "Memory, with the cache of its files.",
         _used(lambda usage: usage.memory_usage_bytes or 0)),
    _Row("container_memory_working_set_bytes", "Memory, without the cache that was not used lately.",
         _used(lambda usage: usage.memory_bytes)),
    _Row("container_memory_max_usage_bytes", "The most memory that it had at once.",
         _used(lambda usage: usage.memory_peak_bytes)),
    _Row("container_memory_cache", "The cache of its files, in bytes.", _stat("total_cache", "cache", "file")),
    _Row("container_memory_rss", "Memory that is of no file, in bytes.", _stat("total_rss", "rss", "anon")),
    _Row("container_memory_mapped_file", "Files that are mapped into memory, in bytes.",
         _stat("total_mapped_file", "mapped_file", "file_mapped")),
    _Row("container_memory_kernel_usage", "The kernel's memory for it, in bytes.",
         _used(lambda usage: usage.memory_kernel_bytes)),
    _Row("container_memory_swap", "What of it is swapped out, in bytes.", _used(lambda usage: usage.memory_swap_bytes)),
    _Row("container_memory_failcnt", "How often it has met its limit of memory.",
         _used(lambda usage: usage.memory_failures), is_counter=True),
    _Row("container_memory_failures_total", "Faults of pages.", _faults, ("failure_type", "scope"), True),
    _Row("container_oom_events_total", "Processes that the kernel has killed for want of memory.",
         lambda seen: () if seen.processes.oom_kills is None else ((seen.processes.oom_kills, ()),), is_counter=True),
    _Row("container_fs_usage_bytes", "What its own files take of the disk.", _one(lambda seen: seen.files.used_bytes)),
    _Row("container_fs_limit_bytes", "The size of their filesystem.", _one(lambda seen: seen.disk_bytes)),
    _Row("container_fs_inodes_total", "The inodes of that filesystem.", _one(lambda seen: seen.inodes)),
    _Row("container_fs_inodes_free", "Those of them that are free.", _one(lambda seen: seen.free_inodes)),
    _Row("container_fs_reads_bytes_total", "Bytes read from block devices.",
         _blocks(lambda each: each.read_bytes), _DEVICE, True),
    _Row("container_fs_reads_total", "Reads of block devices.", _blocks(lambda each: each.reads), _DEVICE, True),
    _Row("container_fs_writes_bytes_total", "Bytes written to block devices.",
         _blocks(lambda each: each.write_bytes), _DEVICE, True),
    _Row("container_fs_writes_total", "Writes to block devices.", _blocks(lambda each: each.writes), _DEVICE, True),
    _Row("container_blkio_device_usage_total", "Bytes read from and written to block devices.",
         _operations, (*_DEVICE, "major", "minor", "operation"), True),
    _Row("container_processes", "Its processes.", _one(lambda seen: seen.processes.processes)),
    _Row("container_threads", "Its threads.", _used(lambda usage: usage.pids)),
    _Row("container_threads_max", "How many threads it may have; 0 is no limit.",
         _used(lambda usage: usage.pids_limit or 0)),
    _Row("container_file_descriptors", "Its open descriptors.", _one(lambda seen: seen.processes.descriptors)),
    _Row("container_sockets", "Those of them that are sockets.", _one(lambda seen: seen.processes.sockets)),
    _Row("container_spec_memory_limit_bytes", "Its limit of memory; 0 is none.", _used(_limit)),
    _Row("container_spec_memory_swap_limit_bytes", "Its limit of memory and swap; 0 is none.",
         _one(lambda seen: max(0, seen.container.spec.resources.memory_swap_bytes or 0))),
    _Row("container_spec_memory_reservation_limit_bytes", "Its reservation of memory.",
         _one(lambda seen: seen.container.spec.resources.memory_reservation_bytes or 0)),
    _Row("container_spec_cpu_period", "The period of its CPU quota, in microseconds.",
         _one(lambda seen: seen.container.spec.resources.cpu_period_us or 0)),
    _Row("container_spec_cpu_quota", "Its CPU quota, in microseconds; 0 is none.",
         _one(lambda seen: max(0, seen.container.spec.resources.cpu_quota_us or 0))),
    _Row("container_spec_cpu_shares", "Its shares of CPU time.",
         _one(lambda seen: seen.container.spec.resources.cpu_shares or 0)),
)  # fmt: skip
_LINKS: Final[dict[str, tuple[str, Callable[[LinkUsage], int]]]] = {
    "container_network_receive_bytes_total": ("Bytes received.", lambda link: link.rx_bytes),
    "container_network_receive_packets_total": ("Packets received.", lambda link: link.rx_packets),
    "container_network_receive_packets_dropped_total": ("Packets dropped at receipt.", lambda link: link.rx_dropped),
    "container_network_receive_errors_total": ("Errors at receipt.", lambda link: link.rx_errors),
    "container_network_transmit_bytes_total": ("Bytes sent.", lambda link: link.tx_bytes),
    "container_network_transmit_packets_total": ("Packets sent.", lambda link: link.tx_packets),
    "container_network_transmit_packets_dropped_total": ("Packets dropped at sending.", lambda link: link.tx_dropped),
    "container_network_transmit_errors_total": ("Errors at sending.", lambda link: link.tx_errors),
}
"""Of a pod, whose the network is."""


def descriptors() -> list[Message]:
    """Return what metrics there are."""
    said = [(row.name, row.about, row.labels) for row in _ROWS]
    said += [(name, about, ("interface",)) for name, (about, _) in _LINKS.items()]
    return [pb.MetricDescriptor(name=name, help=about, label_keys=(*_LABELS, *more)) for name, about, more in said]


def sandbox(pod: Pod, seen: list[Seen], unix_ns: int) -> Message:
    """Return the metrics of a pod, and of its containers that run."""
    found = pb.PodSandboxMetrics(pod_sandbox_id=pod.id)
    if seen:
        found.metrics.extend(_of_links(pod, seen[0].usage.links, unix_ns))
    for each in seen:
        found.container_metrics.add(container_id=each.container.id, metrics=_of_container(each, unix_ns))
    return found


def _of_container(seen: Seen, unix_ns: int) -> Iterator[Message]:
    container, said = seen.container, front.sandbox_config(seen.pod.settings.front).metadata
    name = front.container_config(container.spec.node.front).metadata.name
    labels = (container.id, container.name, container.spec.image, said.namespace, said.name, name)
    for row in _ROWS:
        for value, more in row.of(seen):
            yield _metric(row.name, value, (*labels, *more), unix_ns, is_counter=row.is_counter)


def _of_links(pod: Pod, links: Iterable[LinkUsage], unix_ns: int) -> Iterator[Message]:
    said = front.sandbox_config(pod.settings.front).metadata
    labels = (pod.id, pod.name, "", said.namespace, said.name, _POD)
    for link in links:
        for name, (_, read) in _LINKS.items():
            yield _metric(name, read(link), (*labels, link.name), unix_ns, is_counter=True)


def _metric(name: str, value: int, labels: tuple[str, ...], unix_ns: int, *, is_counter: bool) -> Message:
    return pb.Metric(
        name=name,
        timestamp=unix_ns,
        metric_type=pb.COUNTER if is_counter else pb.GAUGE,
        label_values=labels,
        value=pb.UInt64Value(value=value),
    )
