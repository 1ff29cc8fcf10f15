"""Containers find each other by name, and no longer than these run, in network namespaces of the tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bento import packets
from bento.kernel.process import pidfd

from support import dns
from support.netns import TIMEOUT_S, NetCli, Netns
from support.workload import ONE_RUNTIME, busybox_rootfs

OUTSIDE = "192.0.2.9"


@pytest.fixture
def bento(net_bento: NetCli) -> NetCli:
    for name, *more in (("front",), ("back", "--internal")):
        net_bento("network", "create", *more, name)
    return net_bento


def run(bento: NetCli, name: str, *words: str) -> str:
    return bento.run("--name", name, "--dns-search", ".", *words, "host", "sleep", "1000")


def find(bento: NetCli, asker: str, *names: str) -> list[str]:
    """Return the address that glibc finds in a container for each name; "": none."""
    script = 'for name; do set -- $(getent ahostsv4 "$name"); echo "$1"; done'
    return bento("exec", asker, "sh", "-c", script, "sh", *names).stdout.splitlines()


def address(bento: NetCli, name: str, network: str) -> str:
    found: str = bento.network(name)["Networks"][network]["IPAddress"]
    return found


def resolver(bento: NetCli) -> int:
    """Return a pidfd of the process."""
    connection = packets.connect(bento.roots.run_root / "resolver", "control")
    fd = os.pidfd_open(packets.peer_pid(connection))
    os.close(connection)
    return fd


@ONE_RUNTIME
def test_names_follow_starts_stops_and_renames_and_a_killed_resolver_comes_back(
    bento: NetCli, host: Netns, tmp_path: Path
) -> None:
    with dns.Server(host, "127.0.0.53", dns.answering(OUTSIDE)) as server:
        run(bento, "web", "--network", "front", "--dns", "127.0.0.53", "--dns-option", "ndots:1")
        identifier = run(bento, "db", "--network", "front", "--network-alias", "store", "-h", "db.example")
        files = bento("exec", "web", "cat", "/etc/resolv.conf").stdout
        assert files == "nameserver 127.0.0.11\noptions ndots:1\n"
        there = address(bento, "db", "front")
        names = ("db", "store", "DB", identifier[:12], "db.example", "db.front")
        assert find(bento, "web", *names, "www.example.org") == [there] * len(names) + [OUTSIDE]
        assert bento("exec", "web", "getent", "hosts", there).stdout.split() == [there, "db.front"]
        assert len(server.asked) == 1

        first = resolver(bento)
        signal.pidfd_send_signal(first, signal.SIGKILL)
        assert pidfd.wait(first, TIMEOUT_S)
        os.close(first)
        bento("ps")
        assert find(bento, "web", "db") == [there]
        bento("stop", "-t", "0", "db")
        assert find(bento, "web", "db", "store") == ["", ""]
        bento("run", "-d", "--network", f"front:ip={there}", "--name", "other", "host", "sleep", "1000")
        bento("start", "db")
        bento("rename", "db", "data")
        again = address(bento, "data", "front")
        assert again != there
        assert find(bento, "web", "data", "store", "db", "other") == [again, again, "", there]

    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    said = bento("run", "--rm", "--network", "front", "bb", "/bin/busybox", "nslookup", "data").stdout
    assert f"Address: {again}" in said
    last = resolver(bento)
    bento("rm", "-f", "-a", "-t", "0")
    assert pidfd.wait(last, TIMEOUT_S), "the resolver outlives the containers"
    os.close(last)
    assert os.listdir(bento.roots.run_root / "resolver") == ["control"]
    bento("network", "prune", "-f")


@ONE_RUNTIME
def test_names_follow_connects_and_disconnects_while_all_run(bento: NetCli, host: Netns) -> None:
    run(bento, "web", "--network", "bridge")
    run(bento, "db", "--network", "back")
    hosts = bento("exec", "web", "cat", "/etc/hosts").stdout
    assert "127.0.0.11" not in bento("exec", "web", "cat", "/etc/resolv.conf").stdout
    bento("network", "connect", "--alias", "www", "back", "web")
    assert find(bento, "web", "db") == [address(bento, "db", "back")]
    own = address(bento, "web", "back")
    assert find(bento, "db", "www", "web") == [own, own]
    assert own in bento("exec", "web", "cat", "/etc/hosts").stdout
    bento("network", "connect", "front", "db")
    run(bento, "late", "--network", "front")
    assert find(bento, "late", "db", "web") == [address(bento, "db", "front"), ""], "web is on another network"
    bento("network", "disconnect", "back", "web")
    assert find(bento, "db", "web", "www", "late") == ["", "", address(bento, "late", "front")]
    assert bento("exec", "web", "cat", "/etc/hosts").stdout == hosts

    with dns.Server(host, "127.0.0.53", dns.answering(OUTSIDE)) as server:
        run(bento, "inner", "--network", "back", "--dns", "127.0.0.53")
        assert find(bento, "inner", "www.example.org") == [""]
        assert server.asked == []
        bento("exec", "db", "sh", "-c", "echo nameserver 192.0.2.53 > /etc/resolv.conf")
        bento("network", "disconnect", "back", "db")
        assert "192.0.2.53" in bento("exec", "db", "cat", "/etc/resolv.conf").stdout, "what it has written stays"
    assert bento("doctor").stdout == "nothing is left over\n"
    bento("rm", "-f", "-a", "-t", "0")
    bento("network", "prune", "-f")
