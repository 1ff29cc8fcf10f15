"""What may be asked of a container's sandbox, checked before anything is made."""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from bento.errors import UsageError
from bento.files.device_nodes import below
from bento.model.container import IMAGE, UNCONFINED, Sandbox
from bento.model.create import CreateOptions
from bento.model.network import OF_OTHERS
from bento.model.resources import Device
from bento.oci import capabilities, confinement, limits, seccomp
from bento.oci.etc import HOST_GATEWAY
from bento.parse.id_ranges import parse_userns
from bento.parse.sandbox import is_address, parse_capability

_PROFILE_MAX: Final = 256 * 1024
"""Of one that comes as text: it is in the container's record. Docker's own has 13 KiB."""
_SHM_BYTES_MIN = 4096
_IPC_SYSCTLS = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
"""Those of the IPC namespace (ipc/ipc_sysctl.c), beside fs.mqueue."""
_SYSCTL = re.compile(r"[a-zA-Z0-9_-]+(?:[./][a-zA-Z0-9_-]+)+")
_WORD = re.compile(r"[^\s#\0]{1,253}")
_RESOLVER_OPTION = re.compile(r"[a-z][a-z0-9-]*(:[0-9]{1,9})?")


def check(options: CreateOptions) -> tuple[str, ...]:
    """Raise UsageError for what cannot be had, or would reach beyond the container.

    Returns notes on what was asked for, and this machine has not.
    """
    sandbox = options.sandbox
    _check_namespaces(options)
    mine = capabilities.own()
    for name in sandbox.cap_add:
        if name != capabilities.ALL and parse_capability(name) not in mine:
            raise UsageError(
                f"capability {name} is not Bento's own to give", hint="it was dropped before Bento was started"
            )
    for name in sandbox.cap_drop:
        parse_capability(name)
    if sandbox.seccomp not in ("", UNCONFINED):
        if not sandbox.seccomp.startswith(("/", "{")):
            raise UsageError(f"seccomp profile {sandbox.seccomp!r} is not an absolute path")
        if len(sandbox.seccomp) > _PROFILE_MAX:
            raise UsageError(f"the seccomp profile is too long: more than {_PROFILE_MAX} characters")
        seccomp.of_user(sandbox.seccomp, ())
    if sandbox.shm_bytes is not None and sandbox.shm_bytes < _SHM_BYTES_MIN:
        raise UsageError(f"bad size of /dev/shm: {sandbox.shm_bytes} bytes", hint="4k is the least")
    for device in sandbox.devices:
        _check_device(device)
    for key in sandbox.sysctls:
        check_sysctl(key, options.network, options.namespaces.ipc)
    check_names(sandbox, options.network)
    return confinement.check(sandbox)


def check_blocks(paths: Iterable[str]) -> None:
    """Raise UsageError for what is no block device of the host."""
    for path in paths:
        if not path.startswith("/") or not stat.S_ISBLK(_mode_of(path)):
            raise UsageError(f"{path} is not a block device", hint="name a disk of the host, such as /dev/sda")


def check_oom_score(asked: int | None) -> None:
    """Raise UsageError for a score that there is not, or that this process may not give (proc_pid_oom_score_adj(5))."""
    if asked is None:
        return
    if not -1000 <= asked <= 1000:
        raise UsageError(f"bad OOM score adjustment {asked}", hint="give a number from -1000 to 1000")
    own = int(Path("/proc/self/oom_score_adj").read_text(encoding="ascii"))
    if asked < own and not limits.allowance(()).may_raise:
        raise UsageError(
            f"OOM score adjustment {asked} cannot be had: this process has {own}, and no CAP_SYS_RESOURCE to go below",
            hint=f"give {own} or more",
        )


def _mode_of(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError as error:
        raise UsageError(f"device {path}: {error.strerror}", hint="it is one of the host's") from None


def _check_device(device: Device) -> None:
    mode = _mode_of(device.host_path)
    if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode)):
        raise UsageError(f"{device.host_path} is not a device", hint="mount other files by -v")
    if stat.S_ISDIR(mode) and not any(below(device.host_path)):
        raise UsageError(f"there is no device below {device.host_path}", hint="mount other directories by -v")
    if not posixpath.normpath(device.path).startswith("/dev/"):
        raise UsageError(f"cannot make a device at {device.path}", hint="its place is below /dev")


def _check_namespaces(options: CreateOptions) -> None:
    if options.namespaces.uts == "host" and options.hostname:
        raise UsageError("--uts host excludes --hostname: the name is the machine's", hint="omit one of them")
    if options.namespaces.cgroup == "host" and options.system:
        raise UsageError(
            "--system needs a cgroup namespace of its own: its init manages what it sees", hint="omit --cgroupns host"
        )
    if options.namespaces.ids is not None or parse_userns(options.namespaces.user):
        _check_own_ids(options)
    if options.sandbox.shm_bytes is not None and options.namespaces.ipc not in ("", "private", "shareable"):
        raise UsageError(
            "--shm-size is for a /dev/shm of the container's own", hint=f"omit it with --ipc {options.namespaces.ipc}"
        )


def _check_own_ids(options: CreateOptions) -> None:
    """Raise UsageError for what a container cannot have with ids of its own: another namespace does not know them."""
    namespaces, is_pods = options.namespaces, options.namespaces.ids is not None
    userns = "the user namespace of its pod" if is_pods else f"--userns {namespaces.user}"
    others = {"--network": options.network, "--pid": namespaces.pid, "--ipc": namespaces.ipc}
    for option, mode in (*others.items(), ("--cgroupns", namespaces.cgroup)):
        if mode == "host" or (not is_pods and mode.startswith(OF_OTHERS)):
            raise UsageError(
                f"{userns} excludes {option} {mode}: that namespace belongs to another user namespace",
                hint="omit one of them",
            )
    for is_given, option in (
        (options.sandbox.privileged, "--privileged"),
        (options.system, "--system"),
        (options.pod and not is_pods, "--pod"),
        (any(mount.reaches_host for mount in options.files.mounts), "a mount that reaches the host"),
        (any(mount.kind == IMAGE for mount in options.files.mounts), "an image as a mount: its ids cannot be mapped"),
    ):
        if is_given:
            raise UsageError(f"{userns} excludes {option}", hint="omit one of them")


def check_sysctl(key: str, network: str, ipc: str) -> None:
    """Raise UsageError for a sysctl that is of none of the namespaces that these modes make."""
    if not _SYSCTL.fullmatch(key):
        raise UsageError(f"bad sysctl {key!r}", hint="use KEY=VALUE, such as net.core.somaxconn=1024")
    dotted = key.replace("/", ".")
    if dotted.startswith("net."):
        if network == "host":
            raise UsageError(f"sysctl {key} is the host's with --network host", hint="set it on the host")
    elif ipc == "host" or ipc.startswith(OF_OTHERS):
        raise UsageError(f"sysctl {key} is not the container's own with --ipc {ipc}", hint="set it where it is")
    elif dotted not in _IPC_SYSCTLS and not dotted.startswith("fs.mqueue."):
        raise UsageError(
            f"sysctl {key} is not of a namespace: it would be set for the whole machine", hint="set it on the host"
        )


def check_names(sandbox: Sandbox, network: str) -> None:
    """Raise UsageError for hosts, name servers and what else is of resolv.conf(5) that cannot be."""
    for name, address in sandbox.extra_hosts:
        if not _WORD.fullmatch(name):
            raise UsageError(f"bad host name {name!r}", hint="use NAME:IP")
        if address == HOST_GATEWAY and network == "none":
            raise UsageError(
                f"host {name}: the host cannot be reached with --network none", hint="use --network bridge"
            )
        if address != HOST_GATEWAY and not is_address(address):
            raise UsageError(f"host {name}: bad address {address!r}", hint=f"use NAME:IP, or NAME:{HOST_GATEWAY}")
    for address in sandbox.dns:
        if not is_address(address):
            raise UsageError(f"bad name server {address!r}", hint="give an IP address")
    for option in sandbox.dns_options:
        if not _RESOLVER_OPTION.fullmatch(option):
            raise UsageError(f"bad option {option!r} of the resolver", hint="give one such as ndots:2 (resolv.conf(5))")
    for domain in sandbox.dns_search:
        if not _WORD.fullmatch(domain):
            raise UsageError(f"bad domain {domain!r}", hint="give one such as example.com, or . for none")
