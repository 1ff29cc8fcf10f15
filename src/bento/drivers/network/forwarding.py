"""Settings of the kernel that a bridge needs, and how they go back (``ip-sysctl`` in the kernel's documentation).

An engine that turns forwarding on for the whole host marks the bridge: it is known there after a crash, after a
change of firewall rules, and to engines with other roots. There, too, stand the numbers of the links that went on to
take a router's word only because their ``accept_ra`` was raised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from bento.errors import RuntimeFailed
from bento.kernel.net import links
from bento.kernel.net.nftables import INET, IPV6

TURNED_ON: Final = "bento turned ip_forward on"
TURNED_ON6: Final = "bento turned IPv6 forwarding on"
"""Both together are the alias of a bridge for which, or beside which, Bento has."""
_RAISED: Final = "accept_ra raised of"
"""Behind them, with the numbers of links."""
_LONGEST_ALIAS: Final = 255  # IFALIASZ (linux/if.h)

_SWITCHES: Final = {
    INET: (Path("/proc/sys/net/ipv4/ip_forward"), TURNED_ON),
    IPV6: (Path("/proc/sys/net/ipv6/conf/all/forwarding"), TURNED_ON6),
}
_GROUP_SHIFT: Final = 30  # see ``names.Names.group``
_LOCAL: Final = "/proc/sys/net/ipv4/conf/{}/route_localnet"
_IPV6: Final = "/proc/sys/net/ipv6/conf/{}/{}"
_LINKS6: Final = Path("/proc/sys/net/ipv6/conf")
_OTHERS: Final = frozenset(
    {"bridge", "tun", "wireguard", "vxlan", "geneve", "gre", "gretap", "ipip", "sit", "vti", "xfrm"}
)
"""Kinds of links by which others forward: containers and machines of other engines, tunnels."""


def is_ours(bridges: Collection[links.Link], family: int = INET) -> bool:
    """Whether this host forwards, or is about to, because of Bento alone. ``bridges``: looked at first."""
    word = _SWITCHES[family][1]
    if any(word in bridge.alias for bridge in bridges):
        return True
    return not is_on(family) or any(word in link.alias for link in links.links("bridge"))


def mark(bridge: links.Link, families: Iterable[int]) -> None:
    """Write on a bridge that this host forwards because of Bento. Idempotent."""
    words = {_SWITCHES[family][1] for family in families} - set(bridge.alias.split(", "))
    if words:
        links.set_alias(bridge.index, ", ".join(filter(None, [bridge.alias, *sorted(words)])))


def turn_on(family: int, bridge: str) -> None:
    """Let this host forward. Idempotent. Where it takes a router's word about IPv6, it goes on to.

    ``bridge``: on which it is written what is set back later.
    """
    if family == IPV6 and not is_on(IPV6):
        names = [path.parent.name for path in _LINKS6.glob("*/accept_ra")]
        found = {name: links.index_of(name) for name in names if _setting6(name, "accept_ra") == "1"}
        found = {name: number for name, number in found.items() if number}  # neither "all" nor "default"
        marked = links.find(bridge)
        if found and marked is not None:
            _write_raised(marked, {*_raised(marked), *found.values()})
        for name in found:
            # Else the kernel takes none, and forgets what it was told.
            _write(Path(_IPV6.format(name, "accept_ra")), "2", may_be_missing=True)
    _write(_SWITCHES[family][0], "1")


def _raised(bridge: links.Link) -> set[int]:
    words = next((one for one in bridge.alias.split(", ") if one.startswith(_RAISED)), "")
    return {int(word) for word in words.removeprefix(_RAISED).split() if word.isdigit()}


def _write_raised(bridge: links.Link, numbers: Iterable[int]) -> None:
    """Of more than there is room for, the last ones stay as they are."""
    rest = [one for one in bridge.alias.split(", ") if one and not one.startswith(_RAISED)]
    alias = ", ".join([*rest, _RAISED])
    for number in sorted(numbers):
        if len(alias) + len(str(number)) < _LONGEST_ALIAS:
            alias += f" {number}"
    if alias != bridge.alias:
        links.set_alias(bridge.index, alias)


def _set_back(numbers: Collection[int]) -> None:
    """Put what was raised back, unless another program has changed it since."""
    for link in links.links() if numbers else ():
        if link.index in numbers and _setting6(link.name, "accept_ra") == "2":
            _write(Path(_IPV6.format(link.name, "accept_ra")), "1", may_be_missing=True)


def turn_back(bridge: str, heir: links.Link | None) -> None:
    """Let this host not forward any more, if it does for a bridge alone that goes. Idempotent.

    ``heir``: another bridge of the engine, on which it is written from now on.
    """
    found = links.links()
    gone = next((link for link in found if link.name == bridge), None)
    families = [family for family, (_, word) in _SWITCHES.items() if gone is not None and word in gone.alias]
    raised = _raised(gone) if gone is not None else set()
    if heir is not None:
        mark(heir, families)
        _leave(raised, [heir.index])
        return
    others = [link for link in found if link.name != bridge]
    for family in families:
        path, word = _SWITCHES[family]
        marked = [link.index for link in others if word in link.alias]
        if family == IPV6:
            _leave(raised, marked[:1])
        if marked or any(link.kind in _OTHERS and not is_bentos(link) for link in others):
            continue
        if is_on(family):
            _write(path, "0")
        if family == IPV6:
            _set_back(raised)


def _leave(raised: set[int], heirs: Iterable[int]) -> None:
    """Write it on another bridge, be it of an engine with another root."""
    for link in links.links("bridge") if raised else ():
        if link.index in heirs:
            _write_raised(link, raised | _raised(link))


def is_bentos(link: links.Link) -> bool:
    """Whether a bridge is one of an engine of this kind: those that forward are marked."""
    return link.group >> _GROUP_SHIFT == 1


def is_on(family: int = INET) -> bool:
    """Whether this host forwards."""
    try:
        return _SWITCHES[family][0].read_text(encoding="utf-8").strip() != "0"
    except FileNotFoundError:  # a kernel without IPv6
        return False


def route_loopback(bridge: str, *, is_wanted: bool) -> None:
    """Let connections from 127.0.0.0/8 go over the bridge, or not. Idempotent; not an error without the bridge."""
    _write(Path(_LOCAL.format(bridge)), str(int(is_wanted)), may_be_missing=not is_wanted)


def routes_loopback(bridge: str) -> bool:
    """Whether they may."""
    try:
        return Path(_LOCAL.format(bridge)).read_text(encoding="utf-8").strip() == "1"
    except OSError:
        return False


def forgo_ipv6(link: str) -> None:
    """Have no IPv6 on a link, nor take a router's word on it. Not an error where the kernel has none."""
    for name, value in (("accept_ra", "0"), ("disable_ipv6", "1")):
        _write(Path(_IPV6.format(link, name)), value, may_be_missing=True)


def have_ipv6(link: str) -> None:
    """Have IPv6 on a link, whose addresses are given: none is made of a router's word, none is asked for first."""
    wanted = {"accept_ra": "0", "autoconf": "0", "accept_dad": "0", "addr_gen_mode": "0", "disable_ipv6": "0"}
    for name, value in wanted.items():
        _write(Path(_IPV6.format(link, name)), value)


def has_ipv6(link: str) -> bool:
    """Whether a link has IPv6, and takes no router's word."""
    return (_setting6(link, "disable_ipv6"), _setting6(link, "accept_ra")) == ("0", "0")


def forgoes_ipv6(link: str) -> bool:
    """Whether a link has no IPv6. Also where the kernel has none."""
    return _setting6(link, "disable_ipv6") in ("1", "")


def kernel_has_ipv6() -> bool:
    """Whether this kernel has IPv6 at all."""
    return _LINKS6.exists()


def _setting6(link: str, name: str) -> str:
    try:
        return Path(_IPV6.format(link, name)).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _write(path: Path, value: str, *, may_be_missing: bool = False) -> None:
    try:
        if path.read_text(encoding="utf-8").strip() != value:
            path.write_text(value, encoding="utf-8")
    except FileNotFoundError as error:
        if not may_be_missing:
            raise _failed(path, value, error) from error
    except OSError as error:
        raise _failed(path, value, error) from error


def _failed(path: Path, value: str, error: OSError) -> RuntimeFailed:
    return RuntimeFailed(f"cannot set {path} to {value}: {error.strerror}", hint="a bridge needs it")
