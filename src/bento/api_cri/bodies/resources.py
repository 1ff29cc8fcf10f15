"""The limits of the interface as Bento's."""

from __future__ import annotations

import re
from typing import Final

from bento.api_cri.messages import Message, pb
from bento.errors import UsageError
from bento.model.resources import UNLIMITED, Resources

_PAGE_SIZE: Final = re.compile(r"[1-9][0-9]{0,9}[KMG]B", re.ASCII)


def read_resources(linux: Message) -> Resources:
    """Return the limits of a container but for those of huge pages; 0 is none given."""
    has_quota = linux.cpu_quota != 0
    return Resources(
        cpu_shares=linux.cpu_shares or None,
        cpu_period_us=(linux.cpu_period or None) if linux.cpu_quota > 0 else None,
        cpu_quota_us=(linux.cpu_quota if linux.cpu_quota > 0 else UNLIMITED) if has_quota else None,
        cpuset_cpus=linux.cpuset_cpus,
        cpuset_mems=linux.cpuset_mems,
        memory_bytes=linux.memory_limit_in_bytes or None,
        memory_swap_bytes=linux.memory_swap_limit_in_bytes or None,
    )


def read_hugepages(linux: Message) -> dict[str, int]:
    """Return the limits of huge pages: bytes by size. Raises UsageError for what is no size."""
    for page in linux.hugepage_limits:
        if not _PAGE_SIZE.fullmatch(page.page_size):
            raise UsageError(f"bad size of huge pages {page.page_size!r}", hint="give one such as 2MB or 1GB")
    return {page.page_size: page.limit for page in linux.hugepage_limits}


def without_defaults(asked: Resources) -> Resources:
    """Return the limits of a new container without those that are none: they need no cgroup to be kept."""
    return Resources(
        **{name: value for name in Resources.__struct_fields__ if (value := getattr(asked, name)) != UNLIMITED}
    )


def shown(resources: Resources, oom_score_adj: int | None) -> Message:
    """Return the limits of a container as a message."""
    return pb.ContainerResources(
        linux=pb.LinuxContainerResources(
            cpu_shares=resources.cpu_shares or 0,
            cpu_period=resources.cpu_period_us or 0,
            cpu_quota=resources.cpu_quota_us or 0,
            cpuset_cpus=resources.cpuset_cpus,
            cpuset_mems=resources.cpuset_mems,
            memory_limit_in_bytes=resources.memory_bytes or 0,
            memory_swap_limit_in_bytes=resources.memory_swap_bytes or 0,
            oom_score_adj=oom_score_adj or 0,
        )
    )
