"""Where this host has a way to."""

from __future__ import annotations

from pathlib import Path

from bento.drivers.network import subnets


def of_host() -> list[subnets.Route]:
    """Return where packets have a way to."""
    found = subnets.parse_routes(Path("/proc/thread-self/net/route").read_text(encoding="utf-8"))
    try:
        return found + subnets.parse_routes6(Path("/proc/thread-self/net/ipv6_route").read_text(encoding="utf-8"))
    except FileNotFoundError:  # a kernel without IPv6
        return found
