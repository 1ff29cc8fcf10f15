"""The options of ``run`` and ``create`` that widen or narrow the default sandbox."""

from __future__ import annotations

import argparse
import os
import re

from bento.cli.switches import Arguments
from bento.errors import UsageError
from bento.model.container import Device, Sandbox
from bento.oci import capabilities
from bento.oci.config import UNCONFINED
from bento.units import parse_bytes

_ACCESS = re.compile(r"(?!.*(.).*\1)[rwm]{1,3}")
_SWITCHES = {"": True, "true": True, "false": False}


def configure(parser: Arguments) -> None:
    """Add the options."""
    for option, metavar, about in (
        ("--cap-add", "CAP", "a capability more, such as NET_ADMIN, or ALL"),
        ("--cap-drop", "CAP", "a capability less, or ALL"),
        ("--security-opt", "OPT", "no-new-privileges, seccomp=FILE or seccomp=unconfined"),
        ("--group-add", "GROUP", "a group more of the user's, by name or id"),
        ("--add-host", "NAME:IP", "a line more in /etc/hosts"),
        ("--dns", "IP", "a name server, in place of the host's"),
        ("--dns-search", "DOMAIN", "a domain that short names are looked up in, in place of the host's"),
        ("--sysctl", "K=V", "a setting of the kernel for the container's namespaces"),
        ("--device", "HOST[:DST][:rwm]", "a device of the host"),
    ):
        parser.add_argument(option, action="append", default=[], metavar=metavar, help=about)
    parser.add_argument("--shm-size", metavar="BYTES[kmg]", help="the size of /dev/shm (default 64m)")


def read(args: argparse.Namespace) -> Sandbox:
    """Return what was said. Raises UsageError."""
    no_new_privileges, seccomp = _security(args.security_opt)
    return Sandbox(
        cap_add=tuple(map(capabilities.parse, args.cap_add)),
        cap_drop=tuple(map(capabilities.parse, args.cap_drop)),
        no_new_privileges=no_new_privileges,
        seccomp=seccomp,
        group_add=tuple(args.group_add),
        extra_hosts=tuple(map(parse_host, args.add_host)),
        dns=tuple(args.dns),
        dns_search=tuple(args.dns_search),
        shm_bytes=None if args.shm_size is None else parse_bytes(args.shm_size, what="shared memory"),
        sysctls=dict(map(parse_sysctl, args.sysctl)),
        devices=tuple(map(parse_device, args.device)),
    )


def _security(words: list[str]) -> tuple[bool, str]:
    no_new_privileges, seccomp = False, ""
    for word in words:
        key, value = [*re.split("[=:]", word, maxsplit=1), ""][:2]
        if key == "no-new-privileges" and value in _SWITCHES:
            no_new_privileges = _SWITCHES[value]
        elif key == "seccomp" and value:
            seccomp = value if value == UNCONFINED else os.path.abspath(value)
        else:
            raise UsageError(
                f"unknown security option {word!r}", hint="use no-new-privileges, seccomp=FILE or seccomp=unconfined"
            )
    return no_new_privileges, seccomp


def parse_host(text: str) -> tuple[str, str]:
    """``NAME:IP``, or ``NAME=IP``; the address may have colons. Raises UsageError."""
    name, address = [*re.split("[=:]", text, maxsplit=1), ""][:2]
    if not name or not address:
        raise UsageError(f"bad host {text!r}", hint="use NAME:IP")
    return name, address.removeprefix("[").removesuffix("]")


def parse_sysctl(text: str) -> tuple[str, str]:
    """``K=V``. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"bad sysctl {text!r}", hint="use KEY=VALUE, such as net.core.somaxconn=1024")
    return key, value


def parse_device(text: str) -> Device:
    """``HOST[:DST][:rwm]``. Raises UsageError."""
    host, *rest = text.split(":")
    access = rest.pop() if rest and _ACCESS.fullmatch(rest[-1]) else "rwm"
    path = rest[0] if rest else host
    if len(rest) > 1 or not host.startswith("/") or not path.startswith("/"):
        raise UsageError(f"bad device {text!r}", hint="use HOST[:DST][:rwm], such as /dev/fuse or /dev/sda:/dev/disk:r")
    return Device(host_path=host, path=path, access=access)
