"""Networks: ``--network`` and what goes with it, and the subnets of ``network create``. Pure."""

from __future__ import annotations

import _socket
import re
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from bento.errors import UsageError
from bento.model.network import BRIDGE, CNI, OF_OTHERS, Attachment, Subnet
from bento.parse.sandbox import is_address
from bento.units import short_id

ALONE: Final = ("none", "host")
"""Networks beside which there is no other."""
_OF_ANOTHER: Final = "container:"
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_ALIAS: Final = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,252}[a-zA-Z0-9_])?")
_ID: Final = re.compile(r"[0-9a-f]{64}")
_HINT: Final = "use NAME, or NAME:ip=A,ip6=A,mac=M,alias=N"
_FIELDS: Final = {"ip": "ipv4", "ip6": "ipv6", "mac": "mac", "mac-address": "mac", "alias": "aliases"}


def parse_networks(
    words: Iterable[str],
    *,
    aliases: Iterable[str] = (),
    ipv4: str | None = None,
    ipv6: str | None = None,
    mac: str | None = None,
) -> tuple[str, tuple[Attachment, ...]]:
    """Return the first of ``--network``, which may be a mode, and each that is a network, in order.

    The rest is of ``--network-alias``, ``--ip``, ``--ip6`` and ``--mac-address``, which are of the only network.
    Nothing was said: ("", ()), or the bridge, where something of the rest is asked for. Raises UsageError.
    """
    given = [_parse_network(text) for text in words]
    for attachment in given:
        is_network = _is_network(attachment.network)
        if not is_network and len(given) > 1:
            raise UsageError(
                f"--network {attachment.network} goes with no other network", hint="give it alone, or networks alone"
            )
        if not is_network and attachment != Attachment(network=attachment.network):
            raise UsageError(f"--network {attachment.network} takes no address and no alias", hint="omit them")
    names = [attachment.network for attachment in given]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"network {name} is given twice", hint="omit one of them")
    asked = Attachment(
        network=names[0] if names else BRIDGE,
        ipv4="" if ipv4 is None else parse_ipv4(ipv4, "--ip"),
        ipv6="" if ipv6 is None else parse_ipv6(ipv6, "--ip6"),
        mac="" if mac is None else parse_mac(mac),
        aliases=tuple(map(parse_alias, aliases)),
    )
    if asked == Attachment(network=asked.network):
        return (names[0] if names else ""), tuple(one for one in given if _is_network(one.network))
    if len(given) > 1:
        raise UsageError(
            "--ip, --ip6, --mac-address and --network-alias are of one network, and there are several", hint=_HINT
        )
    if not _is_network(asked.network):
        raise UsageError(f"--network {asked.network} takes no address and no alias", hint="omit them")
    return asked.network, (_merged(given[0], asked) if given else asked,)


def _is_network(name: str) -> bool:
    return name not in ALONE and not name.startswith((*OF_OTHERS, CNI))


def _merged(given: Attachment, asked: Attachment) -> Attachment:
    for field in ("ipv4", "ipv6", "mac"):
        if getattr(given, field) and getattr(asked, field):
            raise UsageError(f"the {field} address on network {given.network} is given twice", hint="omit one of them")
    return Attachment(
        network=given.network,
        ipv4=given.ipv4 or asked.ipv4,
        ipv6=given.ipv6 or asked.ipv6,
        mac=given.mac or asked.mac,
        aliases=tuple(dict.fromkeys((*given.aliases, *asked.aliases))),
        links=(*given.links, *asked.links),
    )


def _parse_network(text: str) -> Attachment:
    """``NAME``, ``NAME:ip=A,alias=N`` as Podman has it, or ``name=NAME,ip=A,alias=N`` as Docker does."""
    if text.startswith((_OF_ANOTHER, CNI)) and text not in (_OF_ANOTHER, CNI):
        return Attachment(network=text)
    name, colon, rest = text.partition(":")
    pairs = rest.split(",") if colon else []
    if "=" in name:  # no name has one
        colon, pairs = "", text.split(",")
        names = [pair.removeprefix("name=") for pair in pairs if pair.startswith("name=")]
        name = names[0] if len(names) == 1 else ""
        pairs = [pair for pair in pairs if not pair.startswith("name=")]
    if not name or (colon and not rest):
        raise UsageError(f"bad network {text!r}", hint=_HINT)
    attachment = Attachment(network=BRIDGE if name == "default" else name)
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not value or key not in _FIELDS:
            raise UsageError(f"bad network {text!r}: {pair!r}", hint=_HINT)
        attachment = _with(attachment, key, value)
    return attachment


def _with(attachment: Attachment, key: str, value: str) -> Attachment:
    match _FIELDS[key]:
        case "aliases":
            return replace(attachment, aliases=(*attachment.aliases, parse_alias(value)))
        case "ipv4":
            return replace(attachment, ipv4=parse_ipv4(value, "ip="))
        case "ipv6":
            return replace(attachment, ipv6=parse_ipv6(value, "ip6="))
        case _:
            return replace(attachment, mac=parse_mac(value))


def parse_ipv4(text: str, what: str) -> str:
    """Return an IPv4 address. Raises UsageError."""
    if ":" in text or not is_address(text):
        raise UsageError(f"bad address {text!r} of {what}", hint="give an IPv4 address, such as 10.89.3.7")
    return text


def parse_ipv6(text: str, what: str) -> str:
    """Return an IPv6 address in its short form. Raises UsageError."""
    if ":" not in text or not is_address(text):
        raise UsageError(f"bad address {text!r} of {what}", hint="give an IPv6 address, such as fd00:89:3::7")
    return _socket.inet_ntop(_socket.AF_INET6, _socket.inet_pton(_socket.AF_INET6, text))


def parse_mac(text: str) -> str:
    """Return the address of one link, as ``02:be:0a:59:03:02``. Raises UsageError."""
    mac = text.lower().replace("-", ":")
    if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise UsageError(
            f"bad MAC address {text!r}", hint="use six bytes such as 02:42:ac:11:00:02, of which the first is even"
        )
    return mac


def parse_alias(text: str) -> str:
    """Return a name under which other containers find one. Raises UsageError."""
    if not _ALIAS.fullmatch(text):
        raise UsageError(f"bad alias {text!r}", hint="use letters, digits, '-', '_' and '.', 254 at most")
    return text


def parse_link(text: str) -> str:
    """Return a link as ``NAME:ALIAS``: what one container calls another one. Raises UsageError.

    As in Docker: an alias that is left out is the name; one that is a path (``/db:/web/store``) is the last part of it.
    A whole id is found by its first 12 digits.
    """
    name, colon, alias = text.removeprefix("/").partition(":")
    alias = alias.rpartition("/")[2] if colon else name
    if not _ALIAS.fullmatch(name) or not _ALIAS.fullmatch(alias):
        raise UsageError(f"bad link {text!r}", hint="use NAME:ALIAS")
    return f"{short_id(name) if _ID.fullmatch(name) else name}:{alias}"


def parse_subnets(subnets: Sequence[str], gateways: Sequence[str], ranges: Sequence[str]) -> tuple[Subnet, ...]:
    """Return what ``--subnet``, ``--gateway`` and ``--ip-range`` mean together: those of one family belong together.

    What the words are is for the engine to check. Raises UsageError.
    """
    by_family: dict[bool, Subnet] = {}
    for text in subnets:
        if (":" in text) in by_family:
            raise UsageError(
                f"two IPv{6 if ':' in text else 4} subnets: {by_family[':' in text].subnet} and {text}",
                hint="a network has one of each family",
            )
        by_family[":" in text] = Subnet(subnet=text, gateway="")
    for option, words, field in (("--gateway", gateways, "gateway"), ("--ip-range", ranges, "ip_range")):
        for text in words:
            subnet = by_family.get(":" in text)
            if subnet is None:
                raise UsageError(f"{option} {text} has no subnet", hint="give the --subnet that it is in")
            if getattr(subnet, field):
                raise UsageError(f"{option} is given twice for subnet {subnet.subnet}", hint="omit one of them")
            by_family[":" in text] = replace(subnet, **{field: text})
    return tuple(by_family.values())
