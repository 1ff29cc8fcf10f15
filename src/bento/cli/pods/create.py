"""``bento pod create``."""

from __future__ import annotations

import argparse
from typing import Final

from bento.cli.context import Context, end_cleanly, say
from bento.cli.options.refused import Refused
from bento.errors import UsageError
from bento.model.pods import NamespaceMode, PodOptions
from bento.parse import sandbox
from bento.parse.container import parse_hostname, parse_label
from bento.parse.ports import parse_publish
from bento.units import parse_bytes

_KINDS: Final = ("ipc", "net", "pid", "uts")
_NO_PAUSE: Final = "a pod has no container of its own: its namespaces are kept without"
_NOT_HERE: Final = {
    "--infra-image": (1, _NO_PAUSE),
    "--infra-command": (1, _NO_PAUSE),
    "--infra-name": (1, _NO_PAUSE),
    "--userns": (1, "a kubelet alone gives pods user namespaces"),
}
"""Podman's options that mean nothing here."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("--name", dest="pod_name", default="", metavar="N", help="a name for the pod (default: two words, drawn)")
    add("--hostname", metavar="H", help="the host name of its containers (default: its name)")
    add(
        "--network",
        "--net",
        default="",
        metavar="NETWORK",
        help="bridge (default), none, host, one of 'network ls', cni:NAME, or cni: for the first CNI network",
    )
    add(
        "--share",
        default="ipc,net,uts",
        metavar="KINDS",
        help="which namespaces its containers share: of ipc, net, pid and uts, or none (default ipc,net,uts)",
    )
    for option, metavar, about in (
        ("-p, --publish", "[IP:]HOST:CONTAINER[/udp]", "forward a port of the host; without HOST: a free one"),
        ("--dns", "IP", "a name server, in place of the host's"),
        ("--dns-search", "DOMAIN", "a domain that short names are looked up in, in place of the host's"),
        ("--dns-option", "OPT", "an option of the resolver, such as ndots:2, in place of the host's"),
        ("--add-host", "NAME:IP", "a line more in /etc/hosts"),
        ("--sysctl", "K=V", "a setting of the kernel for the namespaces that are shared"),
        ("-l, --label", "K=V", "a label"),
        ("--annotation", "K=V", "an annotation, which inspect shows"),
    ):
        add(*option.split(", "), action="append", default=[], metavar=metavar, help=about)
    add("--shm-size", metavar="BYTES[kmg]", help="the size of the /dev/shm that is shared (default 64m)")
    add("--cgroup-parent", default="", metavar="PATH", help="the cgroup below which those of its containers are")
    add("--runtime", default="", metavar="NAME|PATH", help="the OCI runtime of its containers")
    for option, (nargs, why) in _NOT_HERE.items():
        add(option, action=Refused, why=why, nargs=nargs)
    add("name", nargs="?", default="", help="the same as --name")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out: print the pod's id."""
    if args.name and args.pod_name:
        raise UsageError("pod create: the name is given twice", hint="omit --name")
    shared = _shared(args.share)
    options = PodOptions(
        name=args.pod_name or args.name,
        hostname="" if args.hostname is None else parse_hostname(args.hostname),
        network=args.network or ("" if "net" in shared else "host"),
        pid=NamespaceMode.POD if "pid" in shared else NamespaceMode.CONTAINER,
        ipc=NamespaceMode.POD if "ipc" in shared else NamespaceMode.CONTAINER,
        uts=NamespaceMode.POD if "uts" in shared else NamespaceMode.CONTAINER,
        ports=tuple(port for text in args.publish for port in parse_publish(text)),
        dns=tuple(args.dns),
        dns_search=tuple(args.dns_search),
        dns_options=tuple(args.dns_option),
        extra_hosts=tuple(map(sandbox.parse_host, args.add_host)),
        sysctls=dict(map(sandbox.parse_sysctl, args.sysctl)),
        shm_bytes=None if args.shm_size is None else parse_bytes(args.shm_size),
        cgroup_parent=args.cgroup_parent,
        runtime=args.runtime,
        labels=dict(map(parse_label, args.label)),
        annotations=dict(map(parse_label, args.annotation)),
    )
    end_cleanly()
    with context.engine() as engine:
        say(engine.create_pod(options).id)
    return 0


def _shared(text: str) -> list[str]:
    kinds = [] if text in ("", "none") else text.split(",")
    for kind in kinds:
        if kind not in _KINDS:
            raise UsageError(f"bad namespace {kind!r} to share", hint=f"use some of {', '.join(_KINDS)}, or none")
    if "net" not in kinds:
        raise UsageError(
            "a pod without a network of its own: --share without net",
            hint="use --network host, with which its containers are on the machine's network",
        )
    return kinds
