"""What widens or narrows the default sandbox: capabilities, security options, hosts, sysctls, devices."""

from __future__ import annotations

import _socket
import posixpath
import re
from collections.abc import Iterable
from typing import Any, Final

from bento.errors import UsageError
from bento.model.container import UNCONFINED
from bento.model.resources import Device
from bento.oci import capabilities

_ACCESS: Final = re.compile(r"(?!.*(.).*\1)[rwm]{1,3}")
_CDI: Final = re.compile(r"[A-Za-z][\w.-]*/[A-Za-z][\w.-]*=[A-Za-z0-9]([\w.:-]*[A-Za-z0-9])?", re.ASCII)
"""``vendor.com/class=name`` (the Container Device Interface's SPEC.md)."""
_GPU: Final = "nvidia.com/gpu"
_COUNT: Final = re.compile("[1-9][0-9]{0,2}")
_FIELD: Final = re.compile(r'"([^"]*)"|([^,"]+)')
_RULE: Final = re.compile(r"[acb] (\d{1,9}|\*):(\d{1,9}|\*) (?!.*(.).*\3)[rwm]{1,3}", re.ASCII)
_SWITCHES: Final = {"": True, "true": True, "false": False}


def parse_capability(text: str) -> str:
    """Return a capability as ``CAP_CHOWN``, or ``ALL``; with or without ``CAP_``, in any case. Raises UsageError."""
    name = text.upper()
    if name == capabilities.ALL:
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in capabilities.NAMES:
        raise UsageError(f"unknown capability {text!r}", hint="see capabilities(7), such as NET_ADMIN, or ALL")
    return name


def parse_capabilities(words: Iterable[str]) -> tuple[str, ...]:
    """The capabilities of ``--cap-add`` or ``--cap-drop``, each word one or several with commas. Raises UsageError."""
    return tuple(parse_capability(name) for text in words for name in text.split(","))


def parse_security(words: Iterable[str], *, cwd: str = "") -> dict[str, Any]:
    """``no-new-privileges``, ``seccomp=``, ``apparmor=``, ``label=``, ``systempaths=unconfined``: fields of Sandbox.

    ``cwd``: the directory below which a relative file of ``seccomp=`` is. Raises UsageError.
    """
    said: dict[str, Any] = {}
    labels: list[str] = []
    for word in words:
        key, value = [*re.split("[=:]", word, maxsplit=1), ""][:2]
        if key == "no-new-privileges" and value in _SWITCHES:
            said["no_new_privileges"] = _SWITCHES[value]
        elif key == "seccomp" and value:
            said["seccomp"] = value if value == UNCONFINED else posixpath.normpath(posixpath.join(cwd, value))
        elif key == "apparmor" and value:
            said["apparmor"] = value
        elif key == "label" and value:
            labels.append(value)
        elif key == "systempaths" and value == UNCONFINED:
            said["shows_system_paths"] = True
        else:
            raise UsageError(
                f"unknown security option {word!r}",
                hint="use no-new-privileges, seccomp=FILE|unconfined, apparmor=NAME, label=..., systempaths=unconfined",
            )
    return said | ({"labels": tuple(labels)} if labels else {})


def parse_device_rule(text: str) -> str:
    """``TYPE MAJOR:MINOR ACCESS``, as the device cgroup has it: "c 10:* rwm". Raises UsageError."""
    if not _RULE.fullmatch(text):
        raise UsageError(f"bad device rule {text!r}", hint="use 'c 10:200 rwm'; a and * stand for all")
    return text


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


def is_cdi(text: str) -> bool:
    """Whether this is the name of a device that the Container Device Interface describes: ``vendor.com/class=name``."""
    return _CDI.fullmatch(text) is not None


def parse_cdi(text: str) -> str:
    """Return the name of such a device. Raises UsageError."""
    if not is_cdi(text):
        raise UsageError(f"bad device {text!r}", hint="use vendor.com/class=name, as a file of CDI has it")
    return text


def gpus(count: int | None, ids: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names that GPUs have in the files of their vendor's tool. ``count`` -1: all; None: those of ``ids``.

    Raises UsageError.
    """
    if count is not None and count < 0:
        return (f"{_GPU}=all",)
    return tuple(parse_cdi(f"{_GPU}={each}") for each in (ids if count is None else range(count)))


def parse_gpus(text: str) -> tuple[str, ...]:
    """``all``, ``N``, ``count=N``, ``device=ID``, or ``"device=ID,ID"`` with its quotes. Raises UsageError."""
    found: tuple[str, ...] = ()
    for quoted, plain in _FIELD.findall(text):
        key, equals, value = (quoted or plain).partition("=")
        key, value = (key, value) if equals else ("count", key)
        if key == "device" and value:
            found += gpus(None, value.split(","))
        elif key == "count" and (value == "all" or _COUNT.fullmatch(value)):
            found += gpus(-1 if value == "all" else int(value))
        else:
            raise UsageError(f"bad GPUs {text!r}", hint="use all, a number, device=ID, or '\"device=ID,ID\"'")
    if not found:
        raise UsageError(f"bad GPUs {text!r}", hint="use all, a number, or device=ID")
    return found


def parse_device(text: str) -> Device:
    """``HOST[:DST][:rwm]``. Raises UsageError."""
    host, *rest = text.split(":")
    access = rest.pop() if rest and _ACCESS.fullmatch(rest[-1]) else "rwm"
    path = rest[0] if rest else host
    if len(rest) > 1 or not host.startswith("/") or not path.startswith("/"):
        raise UsageError(
            f"bad device {text!r}",
            hint="use HOST[:DST][:rwm], such as /dev/fuse, /dev/sda:/dev/disk:r, or vendor.com/class=name",
        )
    return Device(host_path=host, path=path, access=access)
