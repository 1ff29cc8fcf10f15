"""The tables of the default sandbox: Docker's, so that images find what they expect and nothing more.

Sources: the runtime-spec (config-linux.md, "Default Devices", "Default Filesystems") for the mounts, and Docker's
documented defaults for capabilities, masked paths and device rules.
"""

from __future__ import annotations

from typing import Any, Final

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CAPABILITIES: Final = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)

# What describes, or reaches, the machine outside the container. Runtimes skip those that do not exist.
MASKED_PATHS: Final = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)

PROC_FILES: Final = tuple(
    f"/proc/{name}" for name in ("cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime")
)
"""What a mount may replace in /proc: the files that lxcfs has in the place of the machine's numbers. runc agrees."""

READ_ONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# runc mounts the cgroup2 hierarchy of a hybrid host writable even when a read-only mount was asked for (runc 1.1).
HYBRID_READ_ONLY_PATH: Final = "/sys/fs/cgroup/unified"
CGROUP: Final = "/sys/fs/cgroup"

SHM_BYTES: Final = 64 * 1024 * 1024

REBOOT: Final = "CAP_SYS_BOOT"
"""In a PID namespace of its own reboot(2) ends that namespace and nothing else (pid_namespaces(7)). With it comes
kexec_load(2), which does not care: only together with a filter that denies that one."""

CONTAINER_ENV: Final = "bento"
"""What inits look for in $container (systemd: CONTAINER_INTERFACE)."""

NAMESPACES: Final = ("pid", "ipc", "mount", "cgroup")
"""Always the container's own; the network and the host name are decided per container."""


def _mount(destination: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}


def mounts(shm_bytes: int = SHM_BYTES, *, is_open: bool = False) -> list[dict[str, Any]]:
    """Return the file systems every container gets, in mounting order. ``is_open``: /sys may be written to."""
    read_only = () if is_open else ("ro",)
    shm_options = ("nosuid", "noexec", "nodev", "mode=1777", f"size={shm_bytes}")
    return [
        _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        # gid 5 is "tty" on every Linux distribution that follows the Debian or LSB numbering.
        _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        _mount("/sys", "sysfs", "nosuid", "noexec", "nodev", *read_only),
        _mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", *read_only),
        _mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": list(shm_options)},
    ]


def read_only_hierarchies() -> dict[str, Any]:
    """Return the mount, after those, that makes the tmpfs read-only which holds the hierarchies of cgroup v1.

    Runtimes leave it writable. As a read-only path it would be bound onto itself with all below it, and crun 1.8 leaves
    those copies of the hierarchies writable.
    """
    return _mount(CGROUP, "tmpfs", "remount", "ro", "nosuid", "noexec", "nodev")


def system_mounts(*, has_cgroup2: bool) -> list[dict[str, Any]]:
    """Return what the init of a system container needs beside, or instead of, ``mounts``.

    systemd without CAP_SYS_ADMIN gives up where /run/lock is no mount yet. cgroup2 alone, also where the host has
    version 1 beside it: version 1 would hand out the device controller.
    """
    cgroup2 = _mount("/sys/fs/cgroup", "cgroup2", "nosuid", "noexec", "nodev", "relatime", "rw")
    return [
        _mount("/run", "tmpfs", "nosuid", "nodev", "mode=755"),
        _mount("/run/lock", "tmpfs", "nosuid", "nodev", "noexec", "mode=1777", "size=5m"),
        _mount("/tmp", "tmpfs", "nosuid", "nodev", "mode=1777"),
        *([cgroup2] if has_cgroup2 else []),
    ]


def _device(major: int, minor: int, *, allow: bool = True) -> dict[str, Any]:
    return {"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"}


def device_rules() -> list[dict[str, Any]]:
    """Return the device cgroup's rules: nothing, then the harmless character devices of mem(4), random(4), tty(4)."""
    return [
        {"allow": False, "access": "rwm"},
        _device(1, 3),  # null
        _device(1, 5),  # zero
        _device(1, 8),  # random
        _device(1, 9),  # urandom
        _device(5, 0),  # tty
        _device(5, 1),  # console
        _device(10, 229, allow=False),  # fuse: runtimes of old allowed it by themselves
    ]
