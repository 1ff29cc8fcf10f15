"""The engine in ``info`` and ``version``: Docker's fields, with Bento's own beside them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from bento.model.container import LOG_DRIVERS
from bento.model.volume import DRIVER
from bento.units import rfc3339


class EngineFacts(Struct, frozen=True, kw_only=True):
    """What there is to say of an engine and its host."""

    containers: int
    running: int
    paused: int
    stopped: int
    images: int
    root: str
    run_root: str
    runtime: str  # its path
    runtime_version: str
    has_seccomp: bool
    resolver: str  # running, idle (no container has names) or missing
    cgroup_mode: str  # v1, hybrid or v2
    cdi_directories: tuple[str, ...]
    cgroup_manager: str  # of new containers: cgroupfs or systemd
    version: str  # Bento's
    cpus: int
    memory_bytes: int
    kernel: str
    machine: str
    hostname: str
    os_type: str
    system: str  # as os-release(5) has it
    system_version: str
    now_unix_ns: int
    warnings: tuple[str, ...]


def describe(facts: EngineFacts) -> dict[str, Any]:
    """Return what ``info`` shows, in this order."""
    name = facts.runtime.rpartition("/")[2]
    return {
        "Containers": facts.containers,
        "ContainersRunning": facts.running,
        "ContainersPaused": facts.paused,
        "ContainersStopped": facts.stopped,
        "Images": facts.images,
        "Driver": "overlay",
        "Root": facts.root,
        "RunRoot": facts.run_root,
        "DockerRootDir": facts.root,
        "Runtime": facts.runtime,
        "RuntimeVersion": facts.runtime_version,
        "DefaultRuntime": name,
        "Runtimes": {name: {"path": facts.runtime}},
        "Seccomp": facts.has_seccomp,
        "SecurityOptions": ["name=seccomp,profile=builtin"] if facts.has_seccomp else [],
        "Resolver": facts.resolver,
        "CDISpecDirs": list(facts.cdi_directories),
        "CgroupMode": facts.cgroup_mode,
        "CgroupDriver": facts.cgroup_manager,
        "CgroupVersion": "2" if facts.cgroup_mode == "v2" else "1",
        "ServerVersion": facts.version,
        "OperatingSystem": facts.system,
        "OSType": facts.os_type,
        "Architecture": facts.machine,
        "KernelVersion": facts.kernel,
        "NCPU": facts.cpus,
        "MemTotal": facts.memory_bytes,
        "Name": facts.hostname,
        "SystemTime": rfc3339(facts.now_unix_ns),
        "OSVersion": facts.system_version,
        "LoggingDriver": LOG_DRIVERS[0],
        "Plugins": {
            "Volume": [DRIVER],
            "Network": ["bridge", "host", "none"],
            "Log": list(LOG_DRIVERS),
        },
        "Labels": [],
        "Debug": False,
        "ExperimentalBuild": False,
        "LiveRestoreEnabled": True,  # containers need no engine that runs
        "Swarm": {"LocalNodeState": "inactive"},
        "Warnings": list(facts.warnings),
    }


def version(engine: str, *, python: str, kernel: str, machine: str) -> dict[str, str]:
    """Return what ``version`` shows, in this order."""
    return {"Version": engine, "Python": python, "Kernel": kernel, "Arch": machine}


def version_fields(shown: dict[str, str]) -> dict[str, object]:
    """Return what a template is given. Scripts ask for .Client.Version or .Server.Version: both are this program."""
    return shown | {"Client": shown, "Server": shown}
