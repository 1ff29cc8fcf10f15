"""What widens or narrows the default sandbox: security options, hosts, sysctls, devices."""

from __future__ import annotations

import _socket
import posixpath
import re
from collections.abc import Iterable
from typing import Final

from bento.errors import UsageError
from bento.model.container import UNCONFINED, Device

_ACCESS: Final = re.compile(r"(?!.*(.).*\1)[rwm]{1,3}")
_SWITCHES: Final = {"": True, "true": True, "false": False}


def parse_security(words: Iterable[str], *, cwd: str = "") -> tuple[bool, str]:
    """``no-new-privileges``, ``seccomp=FILE`` and ``seccomp=unconfined``: whether, and which profile.

    ``cwd``: the directory below which a relative FILE is. Raises UsageError.
    """
    no_new_privileges, seccomp = False, ""
    for word in words:
        key, value = [*re.split("[=:]", word, maxsplit=1), ""][:2]
        if key == "no-new-privileges" and value in _SWITCHES:
            no_new_privileges = _SWITCHES[value]
        elif key == "seccomp" and value:
            seccomp = value if value == UNCONFINED else posixpath.normpath(posixpath.join(cwd, value))
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


def is_address(text: str) -> bool:
    """Whether this is an IPv4 or IPv6 address."""
    try:
        _socket.inet_pton(_socket.AF_INET6 if ":" in text else _socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


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
