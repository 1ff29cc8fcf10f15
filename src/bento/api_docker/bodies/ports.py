"""Ports: ``ExposedPorts`` and ``PortBindings``."""

from __future__ import annotations

from bento.api_docker.bodies import containers as bodies
from bento.errors import UsageError
from bento.model.container import Ports
from bento.model.network import Port
from bento.parse.ports import parse_expose, parse_publish


def read_ports(body: bodies.Create, host: bodies.Host) -> Ports:
    """Return the ports. Raises UsageError."""
    return Ports(
        published=tuple(
            port
            for inside, bindings in (host.PortBindings or {}).items()
            for binding in bindings or [bodies.PortBinding()]
            for port in _published(inside, binding)
        ),
        publish_all=bool(host.PublishAllPorts),
        exposed=tuple(port for text in body.ExposedPorts or () for port in parse_expose(text)),
    )


def _published(inside: str, binding: bodies.PortBinding) -> list[Port]:
    address, outside = binding.HostIp or "", binding.HostPort or ""
    if ":" in address:
        address = f"[{address}]"
    first, dash, _ = outside.partition("-")
    number = inside.partition("/")[0]
    if dash and "-" not in number:  # any of them, for the one
        outside = first
    try:
        return parse_publish(f"{address}:{outside}:{inside}" if address else f"{outside}:{inside}")
    except UsageError as error:
        raise UsageError(f"invalid port binding for {inside}: {error.message}", hint=error.hint) from None
