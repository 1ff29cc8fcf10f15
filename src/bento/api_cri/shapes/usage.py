"""What containers and filesystems take of the machine, as messages."""

from __future__ import annotations

from bento.api_cri.bodies import front
from bento.api_cri.messages import Message, pb
from bento.model.container import Container
from bento.model.disk import FilesystemUsage
from bento.model.pods import Pod
from bento.model.stats import LinkUsage, Usage


def filesystem(found: FilesystemUsage) -> Message:
    """Return what files take of a filesystem."""
    return pb.FilesystemUsage(
        timestamp=found.unix_ns,
        fs_id=pb.FilesystemIdentifier(mountpoint=found.path),
        used_bytes=pb.UInt64Value(value=found.used_bytes),
        inodes_used=pb.UInt64Value(value=found.files),
    )


def container(found: Container, now: Usage | None, files: FilesystemUsage) -> Message:
    """Return what a container takes. ``now`` None: it does not run."""
    config = front.container_config(found.spec.node.front)
    made = pb.ContainerStats(
        attributes=pb.ContainerAttributes(
            id=found.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        ),
        writable_layer=filesystem(files),
    )
    if now is not None:
        made.cpu.CopyFrom(_cpu([now], now.machine.unix_ns))
        made.memory.CopyFrom(_memory([now], now.machine.unix_ns))
    return made


def pod(found: Pod, now: list[Usage], unix_ns: int) -> Message:
    """Return what a pod takes, but for its containers one by one. ``now``: of those that run."""
    config = front.sandbox_config(found.settings.front)
    made = pb.PodSandboxStats(
        attributes=pb.PodSandboxAttributes(
            id=found.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        )
    )
    linux = made.linux
    linux.cpu.CopyFrom(_cpu(now, unix_ns))
    linux.memory.CopyFrom(_memory(now, unix_ns))
    linux.process.timestamp = unix_ns
    linux.process.process_count.value = sum(each.pids for each in now)
    if now and now[0].links:  # the network is that of the pod
        linux.network.timestamp = unix_ns
        first, *others = map(_link, now[0].links)
        linux.network.default_interface.CopyFrom(first)
        linux.network.interfaces.extend(others)
    return made


def _cpu(now: list[Usage], unix_ns: int) -> Message:
    used_ns = sum(each.cpu_ns or 0 for each in now)
    return pb.CpuUsage(timestamp=unix_ns, usage_core_nano_seconds=pb.UInt64Value(value=used_ns))


def _memory(now: list[Usage], unix_ns: int) -> Message:
    limits = [each.memory_limit_bytes for each in now if each.memory_limit_bytes < each.machine.memory_bytes]
    used_bytes = sum(each.memory_bytes for each in now)
    made = pb.MemoryUsage(
        timestamp=unix_ns,
        working_set_bytes=pb.UInt64Value(value=used_bytes),
        usage_bytes=pb.UInt64Value(value=sum(each.memory_usage_bytes or 0 for each in now)),
        rss_bytes=pb.UInt64Value(value=_summed(now, "total_rss", "rss", "anon")),
        page_faults=pb.UInt64Value(value=_summed(now, "total_pgfault", "pgfault")),
        major_page_faults=pb.UInt64Value(value=_summed(now, "total_pgmajfault", "pgmajfault")),
    )
    if now and len(limits) == len(now):
        made.available_bytes.value = max(0, sum(limits) - used_bytes)
    return made


def _summed(now: list[Usage], *names: str) -> int:
    """Return a number of memory.stat, by the first of its names that there is, of all together."""
    return sum(next((each.memory_stat[name] for name in names if name in each.memory_stat), 0) for each in now)


def _link(link: LinkUsage) -> Message:
    return pb.NetworkInterfaceUsage(
        name=link.name,
        rx_bytes=pb.UInt64Value(value=link.rx_bytes),
        rx_errors=pb.UInt64Value(value=link.rx_errors),
        tx_bytes=pb.UInt64Value(value=link.tx_bytes),
        tx_errors=pb.UInt64Value(value=link.tx_errors),
    )
