"""The limits of the interface as Bento's."""

from __future__ import annotations

from bento.api_cri.messages import Message, pb
from bento.errors import UsageError
from bento.model.resources import UNLIMITED, Resources


def read_resources(linux: Message) -> Resources:
    """Return the limits of a container; 0 is none given. Raises UsageError for those that cannot be kept."""
    for page in linux.hugepage_limits:
        if page.limit:
            raise UsageError(f"huge pages of {page.page_size} are not limited here", hint="ask for none")
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
