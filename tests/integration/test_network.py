"""Bridges, published ports, and rule S17a (drain), with real servers, in network namespaces of the tests' own."""

from __future__ import annotations

import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import procs
from support.cli import Roots
from support.netns import HERE, REMOTE, TIMEOUT_S, NetCli, Netns, ask, quick, rest_of, serve
from support.workload import (
    ONE_RUNTIME,
    Share,
    assert_released,
    busybox_rootfs,
    engine_processes,
    kill_pid,
    stop_report,
    wait_for_status,
)

AT_HOME = """
import socket
with socket.create_connection(("127.0.0.1", 80)) as made:
    made.sendall(b"quick")
    print(made.recv(64))
"""


@pytest.fixture
def bento(net_bento: NetCli) -> NetCli:
    return net_bento


def test_published_ports_are_reached_from_everywhere(bento: NetCli, share: Share, host: Netns) -> None:
    remote = Netns()
    try:
        host.join(remote)
        identifier = serve(bento, share, "-p", "18999:80", "-p", ":80/udp")
        network = bento.network("web")
        assert quick(host, "127.0.0.1", 18999) == network["Gateway"]
        assert quick(host, network["IPAddress"], 80) == network["Gateway"]
        assert quick(remote, HERE, 18999) == REMOTE  # from elsewhere nothing hides the client's address

        datagrams = host.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with datagrams:
            datagrams.settimeout(TIMEOUT_S)
            datagrams.sendto(b"x", ("127.0.0.1", bento.port("web", "80/udp")))
            assert datagrams.recv(64) == b"echo x"

        client = f"import socket; s = socket.create_connection(({HERE!r}, 18999)); s.send(b'q'); " \
            "print(s.makefile().read())"  # fmt: skip
        said = bento("run", "--rm", "--network", "bridge", "host", "python3", "-c", client).stdout
        assert said.startswith("begun\ndone ")
        with remote.listen(REMOTE) as listener:  # the way out: as the host itself
            listener.settimeout(TIMEOUT_S)
            port = listener.getsockname()[1]
            client = f"import socket; socket.create_connection(({REMOTE!r}, {port})).close()"
            bento("run", "--rm", "--network", "bridge", "host", "python3", "-c", client)
            connection, peer = listener.accept()
            connection.close()
            assert peer[0] == HERE

        bento("stop", "web")
        assert host.is_refused("127.0.0.1", 18999)
        assert_released(bento, identifier)
        assert not host.pairs()
        bento("rm", "web")
        assert "bento" not in host.state()
    finally:
        remote.close()
        host("ip", "link", "del", "wire", check=False)  # gone with the other end


def test_what_is_told_of_a_network(bento: NetCli, share: Share) -> None:
    identifier = serve(bento, share, "-p", "18999:80", "-p", "127.0.0.1:17000-17001:90-91/udp")
    network = bento.network("web")
    assert network["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "18999"}],
        "90/udp": [{"HostIp": "127.0.0.1", "HostPort": "17000"}],
        "91/udp": [{"HostIp": "127.0.0.1", "HostPort": "17001"}],
    }
    assert network["Networks"]["bridge"]["IPAddress"] == network["IPAddress"]
    assert "0.0.0.0:18999->80/tcp, 127.0.0.1:17000->90/udp" in bento("ps").stdout
    assert bento.listing("ps")[0]["Ports"].startswith("0.0.0.0:18999->80/tcp")
    assert bento("port", "web").stdout.splitlines() == [
        "80/tcp -> 0.0.0.0:18999",
        "90/udp -> 127.0.0.1:17000",
        "91/udp -> 127.0.0.1:17001",
    ]
    assert bento("port", "web", "91/udp").stdout == "127.0.0.1:17001\n"
    assert "not published" in bento.fails("port", "web", "81")
    script = "cat /etc/hosts /etc/resolv.conf; ip -o -4 addr show dev eth0; ip route"
    said = bento("run", "--rm", "--network", "bridge", "--hostname", "box", "host", "/bin/sh", "-c", script).stdout
    address = next(line.split()[0] for line in said.splitlines() if line.endswith("\tbox"))
    assert f"inet {address}/20" in said
    assert f"default via {network['Gateway']}" in said
    assert address != network["IPAddress"]
    bento("stop", "web")
    assert bento.network("web")["Ports"] == {}
    assert "does not run" in bento.fails("port", "web")
    bento("start", "web")
    assert bento.network("web")["IPAddress"] == network["IPAddress"]
    bento("kill", "web")
    assert_released(bento, identifier)


@pytest.mark.parametrize("is_asked_at_stop", [False, True])
def test_s17a_drain_lets_a_request_under_way_finish_and_refuses_new_ones(
    bento: NetCli, share: Share, host: Netns, is_asked_at_stop: bool
) -> None:
    flags, words = ((), ("--drain",)) if is_asked_at_stop else (("--drain",), ())
    identifier = serve(bento, share, "-p", ":80", "-p", ":80/udp", "--stop-timeout", "60", *flags)
    port, address = bento.port("web"), bento.network("web")["IPAddress"]
    assert quick(host, "127.0.0.1", port)
    under_way = host.connect("127.0.0.1", port)
    under_way.sendall(b"slow")
    assert under_way.recv(6) == b"begun\n"
    stopping = bento.start("stop", *words, "web")
    with stopping:
        bento.wait_for_log("web", "told", timeout_s=TIMEOUT_S)
        assert host.is_refused("127.0.0.1", port)
        assert host.is_refused(bento.network("web")["Gateway"], port)
        udp = host.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        with udp:
            udp.settimeout(TIMEOUT_S)
            udp.connect(("127.0.0.1", bento.port("web", "80/udp")))
            udp.send(b"x")
            with pytest.raises(ConnectionRefusedError):
                udp.recv(64)
        assert host.is_refused(address, 80)
        assert "begun" in bento("exec", "web", "python3", "-c", AT_HOME).stdout, "the program itself still answers"
        assert stopping.poll() is None
        (share.path / "finish").touch()
        assert rest_of(under_way).startswith("done")
        assert stopping.wait(TIMEOUT_S) == 0
    report = bento.inspect("web")["Stop"]
    assert (report["verdict"], report["exit_code"], report["notes"]) == ("graceful", 0, [])
    assert [phase["name"] for phase in report["phases"]][:2] == ["drain", "signal"]
    assert_released(bento, identifier)
    assert not host.pairs()
    bento("rm", "web")
    assert "bento" not in host.state()


@ONE_RUNTIME
def test_s17a_a_drain_that_fails_is_noted_and_cancels_nothing(bento: NetCli, share: Share, host: Netns) -> None:
    serve(bento, share, "-p", ":80")
    table = next(line.split()[-1] for line in host("nft", "list", "tables").splitlines() if "bento" in line)
    host("nft", "delete", "table", "inet", table)
    report = stop_report(bento, "--drain", "web")
    assert report["verdict"] == "graceful"
    assert len(report["notes"]) == 1
    assert report["notes"][0].startswith("drain: nft: ")


@ONE_RUNTIME
def test_s17a_without_a_network_there_is_nothing_to_drain(bento: NetCli, share: Share) -> None:
    serve(bento, share, "--network", "none")
    assert "refused" not in bento("explain", "--drain", "web").stdout
    assert stop_report(bento, "--drain", "web")["phases"][0]["name"] == "signal"


@ONE_RUNTIME
def test_s17a_explain_says_that_connections_are_refused_first(bento: NetCli, share: Share) -> None:
    serve(bento, share, "-p", ":80", "--drain")
    steps = bento("explain", "web").stdout.split("what a stop would do")[1].splitlines()
    assert "new connections are refused" in steps[1]


@ONE_RUNTIME
def test_s17a_a_stop_whose_worker_was_killed_still_has_its_ports_closed(
    bento: NetCli, share: Share, host: Netns
) -> None:
    serve(bento, share, "-p", ":80", "--drain", "--stop-timeout", "60")
    port = bento.port("web")
    under_way = host.connect("127.0.0.1", port)
    under_way.sendall(b"slow")
    assert under_way.recv(6) == b"begun\n"
    with bento.start("stop", "web"):
        bento.wait_for_log("web", "told", timeout_s=TIMEOUT_S)
        for process in engine_processes(bento, "stop"):
            kill_pid(process.pid)
    assert host.is_refused("127.0.0.1", port)
    with bento.start("stop", "web") as stopping:
        (share.path / "finish").touch()
        assert rest_of(under_way).startswith("done")
        assert stopping.wait(TIMEOUT_S) == 0
    report = bento.inspect("web")["Stop"]
    assert [phase["name"] for phase in report["phases"]].count("drain") == 1
    assert report["verdict"] == "graceful"


def refused(bento: NetCli, *flags: str, code: int = 125) -> str:
    """Run what must fail, and leave no trace; return the line."""
    before = bento.host.state()
    ids = bento("ps", "-aq").stdout
    line = bento.fails("run", "-d", *flags, "host", "sleep", "1000", code=code)
    assert bento.host.state() == before
    assert bento("ps", "-aq").stdout == ids
    return line


@ONE_RUNTIME
def test_a_port_that_is_taken_is_named_with_the_process_that_has_it(bento: NetCli, share: Share, host: Netns) -> None:
    with host.listen("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        line = refused(bento, "-p", f"{port}:80")
        assert f"port 0.0.0.0:{port}/tcp is taken by " in line
        assert f"({os.getpid()})" in line
    serve(bento, share, "-p", f"{port}:80")  # as soon as it is free, connections in TIME_WAIT or not
    assert f"port 0.0.0.0:{port}/tcp is taken by container web" in refused(bento, "-p", f"{port}:80")
    with pytest.raises(OSError, match="in use"):
        host.listen("0.0.0.0", port)
    bento("rm", "-f", "web")
    host.listen("0.0.0.0", port).close()


@ONE_RUNTIME
def test_a_thousand_ports_are_published_as_quickly_kept_and_given_back(
    bento: NetCli, share: Share, host: Netns
) -> None:
    serve(bento, share, "-p", "20000-20999:80-1079")
    assert quick(host, "127.0.0.1", 20000)
    assert host.is_refused("127.0.0.1", 20999)  # by the container, in which nothing listens
    assert "port 0.0.0.0:20999/tcp is taken by container web" in refused(bento, "-p", "20999:80")
    with pytest.raises(OSError, match="in use"):
        host.listen("127.0.0.1", 20500)
    bento("stop", "--drain", "web")
    host.listen("127.0.0.1", 20500).close()
    bento("rm", "web")
    assert "bento" not in host.state()


@ONE_RUNTIME
def test_exposed_ports_are_published_on_free_ones(bento: NetCli, tmp_path: Path) -> None:
    bento("import", "-c", "EXPOSE 80 53/udp", busybox_rootfs(tmp_path / "fs"), "bb")
    bento.run("--name", "w", "-P", "--expose", "90-91", "-p", "18999:90", "bb", "/bin/sleep", "1000")
    ports = bento.network("w")["Ports"]
    assert set(ports) == {"80/tcp", "53/udp", "90/tcp", "91/tcp"}
    assert ports["90/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "18999"}]
    assert bento.port("w", "91") > 0
    document = bento.inspect("w")
    assert document["HostConfig"]["PublishAllPorts"]
    assert set(document["Config"]["ExposedPorts"]) == set(ports)
    bento("rm", "-f", "w")
    bento("create", "--name", "w", "--expose", "90", "bb", "/bin/true")  # exposed alone is not published
    assert set(bento.inspect("w")["Config"]["ExposedPorts"]) == {"80/tcp", "53/udp", "90/tcp"}
    assert bento.inspect("w")["HostConfig"]["NetworkMode"] == "bridge"


@ONE_RUNTIME
def test_what_cannot_be_published_is_refused(bento: NetCli) -> None:
    for words, flags in {
        "bad port '80:0'": ("-p", "80:0"),
        "passed on by a process, as TCP or UDP": ("-p", "[::1]:80:80/sctp"),
        "the container has no IPv6": ("-p", "[::]:80:80"),
        "no free one is found for SCTP": ("-p", "80/sctp"),
        "an address of this host": ("-p", "elsewhere:80:80"),
        "address of this host": ("-p", "203.0.113.9:80:80"),
        "published twice": ("-p", "81:80", "-p", "81:82"),
        "network nosuch not found": ("--network", "nosuch"),
        "without a network there is none": ("--network", "none", "--drain"),
    }.items():
        assert words in refused(bento, *flags)
    bento.run("--name", "w", "-p", "80", "host", "sleep", "1000")
    assert bento.port("w") > 0


@ONE_RUNTIME
def test_restarts_and_deaths_keep_the_ports_right(bento: NetCli, share: Share, host: Netns) -> None:
    serve(bento, share, "-p", "18999:80", "--restart", "always")
    first = bento.inspect("web")
    kill_pid(first["State"]["Pid"])
    procs.wait_until(
        lambda: bento.inspect("web")["Run"] == 2 and bento.state("web")["Status"] == "running",
        timeout_s=TIMEOUT_S, what="the restart", every_s=0.1,
    )  # fmt: skip
    procs.wait_until(lambda: not host.is_refused("127.0.0.1", 18999), timeout_s=TIMEOUT_S, what="the server")
    assert quick(host, "127.0.0.1", 18999)
    bento("pause", "web")
    waiting = host.connect("127.0.0.1", 18999)
    bento("unpause", "web")
    assert ask(waiting).startswith("begun\ndone ")
    kill_pid(bento.inspect("web")["Monitor"]["Pid"])
    assert quick(host, "127.0.0.1", 18999)
    bento("kill", "web")  # without its monitor the program cannot say a word any more
    assert not host.pairs()
    bento("start", "web")
    bento("rm", "-f", "web")
    assert "bento" not in host.state()


def hanging(host: Netns) -> list[int]:
    """Return the nft that hangs."""
    here = os.readlink(f"/proc/{host.pid}/ns/net")
    found = [process.pid for process in procs.descendants() if procs.cmdline(process.pid) == "sleep 1000"]
    return [pid for pid in found if os.readlink(f"/proc/{pid}/ns/net") == here]


@ONE_RUNTIME
def test_a_start_that_was_killed_half_way_leaves_no_network(
    bento: NetCli, tmp_path: Path, host: Netns, roots: Roots
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nft").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tools / "nft").chmod(0o755)
    env = os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}
    with bento.start("run", "-d", "--name", "w", "-p", "18999:80", "host", "sleep", "1000", env=env) as starting:
        procs.wait_until(lambda: bool(hanging(host)), timeout_s=TIMEOUT_S, what="the rules")
        for process in engine_processes(bento, "run"):
            kill_pid(process.pid)
        starting.wait(TIMEOUT_S)
        for pid in hanging(host):
            kill_pid(pid)
    wait_for_status(bento, "w", "stopped")
    assert "bento" not in host.state()
    bento("rm", "w")
    host.listen("0.0.0.0", 18999).close()


@ONE_RUNTIME
def test_many_at_once_get_addresses_of_their_own_and_leave_nothing(bento: NetCli, host: Netns) -> None:
    names = [f"w{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bento.run("--name", name, "-p", ":80", "host", "sleep", "1000"), names))
    assert len({bento.network(name)["IPAddress"] for name in names}) == len(names)
    assert len({bento.port(name) for name in names}) == len(names)
    assert sorted(bento("stop", "-t", "0", "--all").stdout.split()) == names
    assert not host.pairs()
    bento("rm", *names)
    assert "bento" not in host.state()


@ONE_RUNTIME
def test_engines_with_different_roots_have_networks_of_their_own(
    bento: NetCli, roots: Roots, runtime: str, host: Netns
) -> None:
    other = NetCli(Roots(roots.root.with_name("l2"), roots.run_root.with_name("r2")), runtime, host)
    try:
        for cli in (bento, other):
            cli.run("--name", "w", "--network", "bridge", "host", "sleep", "1000")
        mine, others = bento.network("w"), other.network("w")
        assert mine["Bridge"] != others["Bridge"]
        assert mine["Gateway"] != others["Gateway"]
        bento("rm", "-f", "w")
        assert other.network("w")["Bridge"] in host.state()
        assert bento("doctor").stdout == "nothing is left over\n"
    finally:
        other.remove_all()


@ONE_RUNTIME
def test_doctor_finds_and_removes_what_is_left_of_a_network(bento: NetCli, host: Netns) -> None:
    bento.run("--name", "w", "-p", ":80", "host", "sleep", "1000")
    bridge = bento.network("w")["Bridge"]
    key = bridge.removeprefix("bento-")
    bento("rm", "-f", "w")
    closed = f"inet bento-{key} closed"
    host("nft", f"add table inet bento-{key}; add set {closed} {{ type inet_proto . inet_service; }}")
    host("nft", f'add element {closed} {{ tcp . 80 comment "0123456789ab" }}')
    host("ip", "link", "add", f"b{key[:6]}01234567", "type", "veth")
    host("ip", "link", "add", bridge, "type", "bridge")
    found = bento("doctor", check=False)
    assert found.returncode == 1
    assert f"nftables table bento-{key} of 0123456789ab" in found.stdout
    bento("doctor", "--fix", check=False)
    bento("doctor", "--fix", check=False)  # the bridge is no container's once the link is gone
    assert bento("doctor").stdout == "nothing is left over\n"
    assert "bento" not in host.state()


@pytest.mark.skipif(shutil.which("runsc") is None, reason="runsc is not installed")
def test_a_runtime_without_a_network_says_so(roots: Roots, host: Netns) -> None:
    bento = NetCli(roots, "runsc", host)
    assert "has no network" in bento.fails("run", "-p", ":80", "host", "true", code=125)
