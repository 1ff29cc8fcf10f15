"""Containers with IPv6: reached and reaching out by real sockets, as the command line makes them."""

from __future__ import annotations

import socket

from support.netns import HERE, REMOTE, TIMEOUT_S, NetCli, Netns
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
