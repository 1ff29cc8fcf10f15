"""What Bento writes for a container below /etc: hosts, hostname, resolv.conf. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bento.model.container import Container, ContainerSpec, Sandbox
from bento.model.network import NAME_SERVER
from bento.units import short_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ETC_FILES: Final = ("hosts", "hostname", "resolv.conf")

_CONTAINER: Final = "container:"
HOST_GATEWAY: Final = "host-gateway"
"""An address for /etc/hosts: the host, as the container reaches it."""


def owns_hostname(spec: ContainerSpec) -> bool:
    """Whether its UTS namespace, its own or its pod's, is another than the host's: not on the host's network, unless
    that was asked for.
    """
    return spec.namespaces.uts != "host" and (spec.network != "host" or bool(spec.hostname or spec.namespaces.uts))


def hostname(container: Container) -> str:
    """Return the container's host name: what was asked for, else its short id."""
    return container.spec.hostname or short_id(container.id)


def giver(spec: ContainerSpec) -> str:
    """Return the id of the container whose network it shares, and with it hosts and resolv.conf; "": it has its own."""
    return spec.network.removeprefix(_CONTAINER) if spec.network.startswith(_CONTAINER) else ""


def sources(spec: ContainerSpec, bundle: Path) -> list[Path]:
    """Return the files to bind in /etc. What changes in those of another container has changed for both."""
    shared = bundle.with_name(giver(spec) or bundle.name)
    own = [bundle / "hostname"] if owns_hostname(spec) else []
    return [shared / "hosts", *own, shared / "resolv.conf"]


def names_of(container: Container, aliases: Iterable[str]) -> tuple[str, ...]:
    """Return the names by which a container is found on a network where it has these aliases, its own first."""
    return tuple(dict.fromkeys((container.name, *aliases, short_id(container.id), hostname(container))))


def etc_files(
    container: Container, *, host_hosts: str, host_resolv_conf: str, upstream_resolv_conf: str = ""
) -> dict[str, str]:
    """Return the text of each file of ``ETC_FILES`` to write into the bundle; one left out is not bound, or another's.

    On the host's network a container gets copies of the host's files, with the host's host name left alone; on a
    bridge its own address, and those name servers of the host that can be reached from there; on a network with names
    the resolver, which asks those of the host.

    Args:
        container: the record.
        host_hosts: text of the host's /etc/hosts, "" when there is none.
        host_resolv_conf: text of the host's /etc/resolv.conf, "" when there is none.
        upstream_resolv_conf: the same of those that a resolver on the host itself asks, "" when there is none.
    """
    name = hostname(container)
    if giver(container.spec):
        return {"hostname": f"{name}\n"} if owns_hostname(container.spec) else {}
    asks_resolver = container.run is not None and container.run.asks_resolver
    if container.spec.network == "host":
        files = {"hosts": host_hosts, "resolv.conf": host_resolv_conf}
    else:
        local = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        connections = (container.run.connections or container.run.shared) if container.run else ()
        own_addresses = [one for each in connections for one in (each.address, each.address6) if one] or ["127.0.0.1"]
        files = {"hosts": local + "".join(f"{one}\t{name}\n" for one in own_addresses), "resolv.conf": ""}
        if asks_resolver:
            files["resolv.conf"] = _domains(host_resolv_conf)
        elif connections:
            own, upstream = _reachable(host_resolv_conf), _reachable(upstream_resolv_conf)
            files["resolv.conf"] = upstream if "nameserver" not in own and "nameserver" in upstream else own
    sandbox = container.spec.sandbox
    if sandbox.extra_hosts:
        files["hosts"] = f"{files['hosts'].rstrip()}\n{_extra_hosts(container)}"
    if sandbox.dns or sandbox.dns_search or sandbox.dns_options:
        files["resolv.conf"] = _with_dns(files["resolv.conf"], sandbox)
    if asks_resolver:
        files["resolv.conf"] = _asking_resolver(files["resolv.conf"])
    if owns_hostname(container.spec):
        files["hostname"] = f"{name}\n"
    return files


def _extra_hosts(container: Container) -> str:
    connections = (container.run.connections or container.run.shared) if container.run else ()
    gateway = next((one.gateway or one.gateway6 for one in connections), "127.0.0.1")
    lines = ((gateway if ip == HOST_GATEWAY else ip, name) for name, ip in container.spec.sandbox.extra_hosts)
    return "".join(f"{ip}\t{name}\n" for ip, name in lines)


def _with_dns(resolv_conf: str, asked: Sandbox) -> str:
    """Return a resolv.conf with what was asked for in the place of what it says of the same."""
    replaced = {
        *(("nameserver",) if asked.dns else ()),
        *(("search", "domain") if asked.dns_search else ()),
        *(("options",) if asked.dns_options else ()),
    }
    kept = [line for line in resolv_conf.splitlines() if not replaced.intersection(line.split()[:1])]
    domains = [domain for domain in asked.dns_search if domain != "."]
    kept += [f"search {' '.join(domains)}"] if domains else []
    kept += [f"nameserver {address}" for address in asked.dns]
    kept += [f"options {' '.join(asked.dns_options)}"] if asked.dns_options else []
    return "".join(f"{line}\n" for line in kept)


def _domains(resolv_conf: str) -> str:
    """Leave out all but where names are searched: the rest is about servers that the resolver asks."""
    kept = [line for line in resolv_conf.splitlines() if line.split()[:1] in (["search"], ["domain"])]
    return "".join(f"{line}\n" for line in kept)


def _asking_resolver(resolv_conf: str) -> str:
    """Have the resolver asked, and first for a name as it is, also without a dot: most are containers' (as Docker)."""
    lines = [line.split() for line in resolv_conf.splitlines()]
    kept = [words for words in lines if words[:1] not in (["nameserver"], ["options"])]
    options = [word for words in lines if words[:1] == ["options"] for word in words[1:]]
    if not any(option.startswith("ndots:") for option in options):
        options.append("ndots:0")
    return "".join(f"{' '.join(words)}\n" for words in (["nameserver", NAME_SERVER], *kept, ["options", *options]))


def _reachable(resolv_conf: str) -> str:
    """Leave out the name servers on the host's own loopback: in a container that is its own (resolv.conf(5))."""
    kept = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if words[:1] != ["nameserver"] or not (words[1:] and words[1].startswith(("127.", "::1"))):
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)
