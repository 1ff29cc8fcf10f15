"""The options of ``run`` and ``create`` that widen or narrow the default sandbox."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from bento.cli.options.switches import Arguments
from bento.lazy import LazyModule
from bento.model.container import Namespaces, Sandbox
from bento.model.resources import CgroupSettings
from bento.units import parse_bytes

if TYPE_CHECKING:
    from bento.parse import sandbox
else:  # mostly nothing is said of these
    sandbox = LazyModule("bento.parse.sandbox")


def configure(parser: Arguments) -> None:
    """Add the options."""
    for option, metavar, about in (
        ("--cap-add", "CAP", "a capability more, such as NET_ADMIN, or ALL"),
        ("--cap-drop", "CAP", "a capability less, or ALL"),
        (
            "--security-opt",
            "OPT",
            "no-new-privileges, seccomp=FILE|unconfined, apparmor=, label=, systempaths=unconfined",
        ),
        ("--group-add", "GROUP", "a group more of the user's, by name or id"),
        ("--add-host", "NAME:IP", "a line more in /etc/hosts"),
        ("--dns", "IP", "a name server, in place of the host's"),
        ("--dns-search", "DOMAIN", "a domain that short names are looked up in, in place of the host's"),
        ("--dns-option", "OPT", "an option of the resolver, such as ndots:2, in place of the host's"),
        ("--sysctl", "K=V", "a setting of the kernel for the container's namespaces"),
        ("--device", "HOST[:DST][:rwm]", "a device of the host, all below a directory, or vendor.com/class=name (CDI)"),
        ("--device-cgroup-rule", "RULE", "devices that it may make nodes of, or use, such as 'c 10:* rwm'"),
    ):
        parser.add_argument(option, action="append", default=[], metavar=metavar, help=about)
    parser.add_argument("--gpus", metavar="all|N|device=ID", help="GPUs of Nvidia's, as their file of CDI has them")
    parser.add_argument(
        "--privileged", action="store_true", help="all capabilities and devices, no filter, nothing hidden"
    )
    _configure_namespaces(parser)
    parser.add_argument(
        "--cgroup-parent", default="", metavar="SLICE", help="a slice of systemd's, with --cgroup-manager systemd"
    )
    parser.add_argument("--shm-size", metavar="BYTES[kmg]", help="the size of /dev/shm (default 64m)")


def _configure_namespaces(parser: Arguments) -> None:
    parser.add_argument(
        "--pid",
        default="",
        metavar="MODE",
        help="the PID namespace: private (default, in a pod that one's), container:NAME, or host",
    )
    parser.add_argument(
        "--ipc",
        default="",
        metavar="MODE",
        help="shared memory: private (default), shareable, container:NAME, host, or none",
    )
    for option, about in (
        ("--uts", "the host name: the machine's, or one of its own (default but for --network host)"),
        ("--cgroupns", "the cgroup namespace: the machine's, or one of its own (default)"),
    ):
        parser.add_argument(option, default="", choices=("host", "private"), help=about)
    parser.add_argument(
        "--userns",
        default="",
        metavar="MODE",
        help="ids of its own: auto, auto:size=N, or host: the machine's (default)",
    )


def read(args: argparse.Namespace) -> Sandbox:
    """Return what was said. Raises UsageError."""
    security = sandbox.parse_security(args.security_opt, cwd=os.getcwd()) if args.security_opt else {}
    gpus = sandbox.parse_gpus(args.gpus) if args.gpus is not None else ()
    return Sandbox(
        cap_add=sandbox.parse_capabilities(args.cap_add),
        cap_drop=sandbox.parse_capabilities(args.cap_drop),
        privileged=args.privileged,
        device_rules=tuple(sandbox.parse_device_rule(text) for text in args.device_cgroup_rule),
        group_add=tuple(args.group_add),
        extra_hosts=tuple(sandbox.parse_host(text) for text in args.add_host),
        dns=tuple(args.dns),
        dns_search=tuple(args.dns_search),
        dns_options=tuple(args.dns_option),
        shm_bytes=None if args.shm_size is None else parse_bytes(args.shm_size, what="shared memory"),
        sysctls=dict(sandbox.parse_sysctl(text) for text in args.sysctl),
        devices=tuple(sandbox.parse_device(text) for text in args.device if not sandbox.is_cdi(text)),
        cdi_devices=(*filter(sandbox.is_cdi, args.device), *gpus),
        **security,
    )


def read_namespaces(args: argparse.Namespace) -> Namespaces:
    """Return what was said of namespaces."""
    return Namespaces(pid=args.pid, ipc=args.ipc, uts=args.uts, cgroup=args.cgroupns, user=args.userns)


def read_cgroups(args: argparse.Namespace) -> CgroupSettings:
    """Return what was said of its cgroups as a whole."""
    return CgroupSettings(parent=args.cgroup_parent)
