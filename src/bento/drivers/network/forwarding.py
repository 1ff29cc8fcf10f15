"""Settings of the kernel that a bridge needs, and how they go back (``ip-sysctl`` in the kernel's documentation).

An engine that turns forwarding on for the whole host marks the bridge: it is known there after a crash, after a
change of firewall rules, and to engines with other roots.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bento.errors import RuntimeFailed
from bento.kernel.net import links

TURNED_ON: Final = "bento turned ip_forward on"
"""The alias of a bridge for which, or beside which, Bento has."""

_FORWARD: Final = Path("/proc/sys/net/ipv4/ip_forward")
_LOCAL: Final = "/proc/sys/net/ipv4/conf/{}/route_localnet"
_IPV6: Final = "/proc/sys/net/ipv6/conf/{}/{}"
_OTHERS: Final = frozenset(
    {"bridge", "tun", "wireguard", "vxlan", "geneve", "gre", "gretap", "ipip", "sit", "vti", "xfrm"}
)
"""Kinds of links by which others forward: containers and machines of other engines, tunnels."""


def is_ours(bridge: links.Link | None) -> bool:
    """Whether this host forwards, or is about to, because of Bento alone."""
    if bridge is not None and bridge.alias == TURNED_ON:
        return True
    if not is_on():
        return True
    return bridge is None and any(link.alias == TURNED_ON for link in links.links())


def turn_on() -> None:
    """Let this host forward. Idempotent."""
    _write(_FORWARD, "1")


def turn_back(bridge: str) -> None:
    """Let this host not forward any more, if it does for this bridge alone. Idempotent."""
    found = links.links()
    if not any(link.name == bridge and link.alias == TURNED_ON for link in found):
        return
    others = [link for link in found if link.name != bridge]
    if not any(link.alias == TURNED_ON or link.kind in _OTHERS for link in others):
        _write(_FORWARD, "0")


def is_on() -> bool:
    """Whether this host forwards."""
    return _FORWARD.read_text(encoding="ascii").strip() != "0"


def route_loopback(bridge: str, *, is_wanted: bool) -> None:
    """Let connections from 127.0.0.0/8 go over the bridge, or not. Idempotent; not an error without the bridge."""
    _write(Path(_LOCAL.format(bridge)), str(int(is_wanted)), may_be_missing=not is_wanted)


def routes_loopback(bridge: str) -> bool:
    """Whether they may."""
    try:
        return Path(_LOCAL.format(bridge)).read_text(encoding="ascii").strip() == "1"
    except OSError:
        return False


def forgo_ipv6(link: str) -> None:
    """Have no IPv6 on a link, nor take a router's word on it. Not an error where the kernel has none."""
    for name, value in (("accept_ra", "0"), ("disable_ipv6", "1")):
        _write(Path(_IPV6.format(link, name)), value, may_be_missing=True)


def forgoes_ipv6(link: str) -> bool:
    """Whether a link has no IPv6. Also where the kernel has none."""
    try:
        return Path(_IPV6.format(link, "disable_ipv6")).read_text(encoding="ascii").strip() == "1"
    except OSError:
        return True


def _write(path: Path, value: str, *, may_be_missing: bool = False) -> None:
    try:
        if path.read_text(encoding="ascii").strip() != value:
            path.write_text(value, encoding="ascii")
    except FileNotFoundError as error:
        if not may_be_missing:
            raise _failed(path, value, error) from error
    except OSError as error:
        raise _failed(path, value, error) from error


def _failed(path: Path, value: str, error: OSError) -> RuntimeFailed:
    return RuntimeFailed(f"cannot set {path} to {value}: {error.strerror}", hint="a bridge needs it")
