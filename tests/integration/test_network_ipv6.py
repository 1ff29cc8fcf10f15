"""Containers with IPv6: reached and reaching out by real sockets, as the command line makes them."""

from __future__ import annotations

import json
import os
import signal
import socket

from bento import packets
from bento.kernel.process import pidfd

from support import netns
from support.netns import HERE, REMOTE, TIMEOUT_S, NetCli, Netns, rest_of, serve
from support.workload import ONE_RUNTIME, Share

pytestmark = ONE_RUNTIME

HERE6, REMOTE6 = "fd00:2::1", "fd00:2::2"
SERVER = """
import socket
listener = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    connection, peer = listener.accept()
    connection.sendall(peer[0].encode())
    connection.close()
"""


def told(client: Netns, address: str, port: int) -> str:
    """Return the address that the server sees."""
    with client.connect(address, port) as connection, connection.makefile() as answer:
        return answer.read()


def test_a_container_on_a_network_with_ipv6_is_reached_by_both_families_and_reaches_out(
    net_bento: NetCli, share: Share, host: Netns
) -> None:
    bento, remote = net_bento, Netns()
    try:
        host.join(remote)
        for end, address in ((host, HERE6), (remote, REMOTE6)):
            end("ip", "addr", "add", f"{address}/64", "dev", "wire", "nodad")
        bento("network", "create", "--ipv6", "six")
        script = share.script("server6.py", SERVER)
        flags = ("--network", "six", "-p", "18999:80", "-p", "[::]::81")
        bento.run("--name", "web", *share.flags, *flags, "host", "python3", script)
        for _ in range(2):
            bento.wait_for_log("web", "ready")
            assert told(remote, HERE, 18999) == f"::ffff:{REMOTE}"
            assert told(remote, HERE6, 18999) == REMOTE6
            assert told(host, "127.0.0.1", 18999).startswith("::ffff:")
            assert host.is_refused("::1", 18999)
            lines = bento("port", "web").stdout.splitlines()
            assert lines[:2] == ["80/tcp -> 0.0.0.0:18999", "80/tcp -> [::]:18999"]
            assert lines[2].startswith("81/tcp -> [::]:")
            bento("restart", "-t", "0", "web")
        with remote.inside(lambda: socket.create_server((REMOTE6, 0), family=socket.AF_INET6)) as listener:
            listener.settimeout(TIMEOUT_S)
            client = f"import socket; socket.create_connection(({REMOTE6!r}, {listener.getsockname()[1]})).close()"
            bento("run", "--rm", "--network", "six", "host", "python3", "-c", client)
            connection, peer = listener.accept()
            connection.close()
            assert peer[0] == HERE6
        host("nft", "flush", "ruleset")
        assert "wall: rules in nftables table" in bento("doctor", check=False).stdout
        bento("doctor", "--fix", check=False)
        assert told(remote, HERE6, 18999) == REMOTE6
        bento("rm", "-f", "-t", "0", "web")
        bento("network", "rm", "six")
        host("ip", "link", "del", "wire")
        assert "bento" not in host.state()
        assert host.setting("ipv6/conf/all/forwarding") == "0"
    finally:
        remote.close()


def test_a_port_on_the_loopback_of_ipv6_reaches_a_container_of_either_family_and_ends_with_it(
    net_bento: NetCli, share: Share, host: Netns
) -> None:
    bento = net_bento
    bento("network", "create", "--ipv6", "six")
    script = share.script("server6.py", SERVER)
    flags = ("-p", "[::1]:18998:80", "-p", "[::1]::80", "-p", "[::1]:7000-7002:7000-7002/udp")
    bento.run("--name", "web", *share.flags, *flags, "host", "python3", script)
    bento.run("--name", "web6", *share.flags, "--network", "six", "-p", "[::1]::80", "host", "python3", script)
    bento.wait_for_log("web", "ready")
    bento.wait_for_log("web6", "ready")
    lines = bento("port", "web").stdout.splitlines()
    assert lines[0] == "80/tcp -> [::1]:18998"
    free = int(lines[1].rpartition(":")[2])
    assert lines[2:] == [f"{number}/udp -> [::1]:{number}" for number in (7000, 7001, 7002)]
    assert "[::1]:18998->80/tcp" in bento("ps").stdout
    assert bento.network("web")["Ports"]["80/tcp"][0] == {"HostIp": "::1", "HostPort": "18998"}
    gateway = f"::ffff:{bento.network('web')['Networks']['bridge']['Gateway']}"
    gateway6 = bento.network("web6")["Networks"]["six"]["IPv6Gateway"]
    assert told(host, "::1", 18998) == told(host, "::1", free) == gateway
    assert told(host, "::1", bento.port("web6")) == gateway6
    assert host.is_refused("127.0.0.1", 18998)

    taken = bento("run", "-d", "-p", "[::1]:18998:80", "host", "true", check=False)
    assert (taken.returncode, taken.stderr.strip().count("\n")) == (125, 0)
    assert "port [::1]:18998/tcp is taken by container web" in taken.stderr
    fd = proxy(bento, "web")
    signal.pidfd_send_signal(fd, signal.SIGKILL)
    assert pidfd.wait(fd, TIMEOUT_S)
    os.close(fd)
    bento("ps")
    assert told(host, "::1", 18998) == gateway
    bento("network", "connect", "six", "web")
    bento("network", "disconnect", "bridge", "web")
    assert told(host, "::1", 18998) == gateway6

    fds = [proxy(bento, "web"), proxy(bento, "web6")]
    bento("restart", "-t", "0", "web")
    bento.wait_for_log("web", "ready")
    assert pidfd.has_exited(fds[0])
    assert told(host, "::1", 18998) == gateway6
    bento("kill", "web6")
    fds.append(proxy(bento, "web"))
    bento("rm", "-f", "-t", "0", "web", "web6")
    bento("network", "rm", "six")
    for fd in fds:
        assert pidfd.has_exited(fd)
        os.close(fd)
    host.inside(lambda: socket.create_server(("::1", 18998), family=socket.AF_INET6)).close()


def proxy(bento: NetCli, name: str) -> int:
    """Return a pidfd of the process that passes on what comes to a container by [::1]."""
    connection = packets.connect(bento.roots.run_root / "containers" / bento.inspect(name)["Id"], "proxy")
    try:
        packets.send(connection, b"hello")
        assert os.read(connection, 64) == b"ok"
        return os.pidfd_open(packets.peer_pid(connection))
    finally:
        os.close(connection)


def test_s17a_a_drain_lets_a_request_by_the_loopback_of_ipv6_finish_and_refuses_new_ones(
    net_bento: NetCli, share: Share, host: Netns
) -> None:
    serve(net_bento, share, "-p", "[::1]:18998:80")
    slow = host.connect("::1", 18998)
    slow.sendall(b"slow")
    assert slow.recv(6) == b"begun\n"
    with net_bento.start("stop", "-t", "60", "--drain", "web") as stopping:
        net_bento.wait_for_log("web", "told", timeout_s=TIMEOUT_S)
        assert host.is_refused("::1", 18998)
        (share.path / "finish").touch()
        assert rest_of(slow).startswith("done ")
        assert stopping.wait(TIMEOUT_S) == 0


def test_a_network_may_be_routed_for_one_family_and_have_nat_for_the_other(
    net_bento: NetCli, share: Share, host: Netns
) -> None:
    bento, remote = net_bento, Netns()
    mode = "com.docker.network.bridge.gateway_mode_ipv"
    try:
        host.join(remote)
        for end, address in ((host, HERE6), (remote, REMOTE6)):
            end("ip", "addr", "add", f"{address}/64", "dev", "wire", "nodad")
        remote("ip", "-6", "route", "add", "fd00:77::/64", "via", HERE6)
        bento("network", "create", "--subnet", "fd00:77::/64", "-o", f"{mode}4=nat", "-o", f"{mode}6=routed", "six")
        script = share.script("server6.py", SERVER)
        bento.run("--name", "web", *share.flags, "--network", "six", "-p", "18999:80", "host", "python3", script)
        bento.wait_for_log("web", "ready")
        address = bento.network("web")["Networks"]["six"]["GlobalIPv6Address"]
        assert told(remote, address, 80) == REMOTE6
        assert told(remote, HERE, 18999) == f"::ffff:{REMOTE}"
        assert host.is_refused(HERE6, 18999)
        assert bento.network("web")["Ports"]["80/tcp"] == [
            {"HostIp": "0.0.0.0", "HostPort": "18999"},
            {"HostIp": "::", "HostPort": ""},
        ]
        assert bento("port", "web").stdout.splitlines() == ["80/tcp -> 0.0.0.0:18999", "80/tcp -> [::]:"]
        assert "80/tcp, 0.0.0.0:18999->80/tcp" in bento("ps").stdout
        assert bento("doctor").returncode == 0
        bento("rm", "-f", "-t", "0", "web")
        bento("network", "rm", "six")
        host("ip", "link", "del", "wire")
    finally:
        remote.close()


def test_a_network_of_ipv6_alone_has_names_published_ports_and_a_drain(
    net_bento: NetCli, share: Share, host: Netns
) -> None:
    bento, remote = net_bento, Netns()
    try:
        host.join(remote)
        for end, address in ((host, HERE6), (remote, REMOTE6)):
            end("ip", "addr", "add", f"{address}/64", "dev", "wire", "nodad")
        bento("network", "create", "--ipv6", "--ipv4=false", "six")
        found = json.loads(bento("network", "inspect", "six").stdout)[0]
        assert (found["EnableIPv4"], found["EnableIPv6"], len(found["IPAM"]["Config"])) == (False, True, 1)
        script = share.script("server6.py", SERVER)
        flags = ("--network", "six", "-p", "18999:80", "-p", "[::1]:18999:80")
        bento.run("--name", "web", *share.flags, *flags, "host", "python3", script)
        bento.wait_for_log("web", "ready")
        place = bento.network("web")["Networks"]["six"]
        assert (place["IPAddress"], place["IPPrefixLen"], place["Gateway"]) == ("", 0, "")
        assert bento("port", "web").stdout.splitlines() == ["80/tcp -> [::]:18999", "80/tcp -> [::1]:18999"]
        assert told(remote, HERE6, 18999) == REMOTE6
        assert told(host, "::1", 18999) == place["IPv6Gateway"]
        assert host.is_refused("127.0.0.1", 18999)
        bento.run(
            "--name",
            "asker",
            "--network",
            "six",
            "--dns-search",
            ".",
            "--add-host",
            "up:host-gateway",
            "host",
            "sleep",
            "1000",
        )
        script = 'getent ahostsv6 web | cut -d" " -f1 | head -1; getent ahostsv4 web; getent hosts up asker'
        lines = bento("exec", "asker", "sh", "-c", script, check=False).stdout.splitlines()
        assert lines[0] == place["GlobalIPv6Address"]
        assert [line.split() for line in lines[-2:]] == [
            [place["IPv6Gateway"], "up"],
            [bento.network("asker")["Networks"]["six"]["GlobalIPv6Address"], *lines[-1].split()[1:]],
        ]
        for words, reason in (
            (("-p", "127.0.0.1:1:80"), "the container has no IPv4"),
            (("--ip", "10.0.0.9"), "network six has no IPv4"),
        ):
            assert reason in bento.fails("run", "--network", "six", *words, "host", "true", code=125)
        assert bento("doctor").returncode == 0
        bento("rm", "-f", "-t", "0", "web", "asker")
        (share.path / "server.py").write_text(
            netns.SERVER.replace('server(("", 80))', 'server(("::", 80), family=socket.AF_INET6)')
        )
        bento.run("--name", "web", *share.flags, *flags, "host", "python3", "/s/server.py")
        bento.wait_for_log("web", "ready")
        under_way = [remote.connect(HERE6, 18999), host.connect("::1", 18999)]
        for one in under_way:
            one.sendall(b"slow")
            assert one.recv(6) == b"begun\n"
        with bento.start("stop", "-t", "60", "--drain", "web") as stopping:
            bento.wait_for_log("web", "told", timeout_s=TIMEOUT_S)
            assert remote.is_refused(HERE6, 18999)
            assert host.is_refused("::1", 18999)
            (share.path / "finish").touch()
            for one in under_way:
                assert rest_of(one).startswith("done ")
            assert stopping.wait(TIMEOUT_S) == 0
        bento("rm", "web")
        bento("network", "rm", "six")
        host("ip", "link", "del", "wire")
        assert "bento" not in host.state()
    finally:
        remote.close()
