"""``info``: what an engine uses on this host, in Docker's words, with Bento's own beside them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bento import __version__, clock
from bento.docker import engine_info
from bento.engine.resources import names, units
from bento.model.container import Container, Status
from bento.oci.platform import host_platform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bento.engine.base.drivers import Drivers


def describe(
    drivers: Drivers, containers: Sequence[Container], *, image_count: int, warnings: Sequence[str]
) -> dict[str, Any]:
    """Return the facts. Raises MissingTool without a runtime."""
    runtime, host = drivers.runtime(""), os.uname()
    release = _os_release()
    mode = drivers.processes.cgroup_mode()
    manager, why_not = units.manager(drivers)
    facts = engine_info.EngineFacts(
        containers=len(containers),
        running=sum(c.status in (Status.RUNNING, Status.STOPPING) for c in containers),
        paused=sum(c.status is Status.PAUSED for c in containers),
        stopped=sum(not c.status.is_wanted for c in containers),
        images=image_count,
        root=str(drivers.root),
        run_root=str(drivers.run_root),
        runtime=str(runtime.path),
        runtime_version=runtime.version,
        has_seccomp=runtime.supports_seccomp,
        resolver=_resolver(drivers, containers),
        cgroup_mode=mode,
        cdi_directories=drivers.settings.cdi_directories,
        cgroup_manager=manager,
        version=__version__,
        cpus=os.sysconf("SC_NPROCESSORS_ONLN"),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kernel=host.release,
        machine=host.machine,
        hostname=host.nodename,
        os_type=str(host_platform()).partition("/")[0],
        system=release.get("PRETTY_NAME", ""),
        system_version=release.get("VERSION_ID", ""),
        now_unix_ns=clock.wall_ns(),
        warnings=(*warnings, *_of_manager(drivers, why_not)),
    )
    return engine_info.describe(facts)


def _of_manager(drivers: Drivers, why_not: str) -> tuple[str, ...]:
    """Say why containers are not scopes of systemd where that is wanted."""
    if not why_not:
        return ()
    asked = drivers.settings.cgroup_manager
    what = "no container can be made" if asked == units.SYSTEMD else "containers get their cgroups without it"
    return (f"--cgroup-manager {asked}: {why_not}: {what}",)


def _resolver(drivers: Drivers, containers: Sequence[Container]) -> str:
    if not any(map(names.needs_resolver, containers)):
        return "idle"
    return "running" if drivers.resolver.is_alive() else "missing"


def _os_release() -> dict[str, str]:
    """Return what os-release(5) says of this system."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                pairs = (line.strip().partition("=") for line in file)
                return {key: value.strip("\"'") for key, equals, value in pairs if equals}
        except OSError:
            continue
    return {}
