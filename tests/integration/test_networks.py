"""Networks with names: made, joined by containers in any state, and removed, in network namespaces of the tests."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing, suppress

import pytest

from support import procs
from support.netns import TIMEOUT_S, NetCli, Netns, quick, serve
from support.workload import ONE_RUNTIME, Share, assert_released, ended


def kill_after(bento: NetCli, delay_s: float, *words: str) -> None:
    """Start a command, and end it by SIGKILL after so long."""
    with ended(bento.start(*words)) as process:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=delay_s)
        process.kill()
        process.communicate()


def mistake(host: Netns, address: str) -> None:
    """Have the host take another MAC for that of this address, as of a container that had it a moment ago."""
    bridge = host("ip", "-o", "route", "get", address).split(" dev ")[1].split()[0]
    host("ip", "neigh", "replace", address, "lladdr", "02:00:00:00:00:09", "dev", bridge, "nud", "reachable")


@pytest.fixture
def bento(net_bento: NetCli) -> NetCli:
    return net_bento


@ONE_RUNTIME
def test_a_network_from_its_creation_to_its_removal(bento: NetCli, host: Netns) -> None:
    before = host.state()
    words = (
        "--subnet",
        "10.77.0.0/24",
        "--ip-range",
        "10.77.0.128/25",
        "--ipv6",
        "--label",
        "tier=front",
        "-o",
        "mtu=1400",
    )
    identifier = bento("network", "create", *words, "web").stdout.strip()
    assert bento("network", "ls", "--no-trunc", "-q", "-f", "type=custom").stdout.strip() == identifier
    assert bento("network", "ls", "-f", "label=tier", "--format", "{{.Name}} {{.IPv6}}").stdout == "web true\n"
    assert bento("ps", "-q", "-f", "network=web").stdout == ""
    config = json.loads(bento("network", "inspect", "-f", "{{json .IPAM.Config}}", identifier[:10]).stdout)
    assert config[0] == {"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": "10.77.0.1"}
    assert config[1]["Subnet"].endswith("::/64")

    box = bento.run("--name", "box", "--network", f"{identifier[:12]}:ip=10.77.0.9,alias=db", "host", "sleep", "1000")
    place = bento.network("box")["Networks"]["web"]
    assert (place["IPAddress"], place["NetworkID"], place["Aliases"]) == ("10.77.0.9", identifier, ["db"])
    assert bento.network("box")["IPAddress"] == "", "as in Docker: it is the default network's alone"
    assert place["GlobalIPv6Address"] in bento("exec", "box", "ip", "-6", "addr").stdout
    assert "mtu 1400" in bento("exec", "box", "ip", "link", "show", "eth0").stdout
    inside = bento("network", "inspect", "-f", "{{json .Containers}}", "web").stdout
    assert json.loads(inside)[box]["IPv4Address"] == "10.77.0.9/24"
    assert "address 10.77.0.9 of network web is taken" in bento.fails(
        "run", "--rm", "--network", "web", "--ip", "10.77.0.9", "host", "true", code=125
    )
    assert "network web is used by box" in bento.fails("network", "rm", "web")
    assert bento("network", "prune", "-f").stdout == ""
    bento("stop", "-t", "0", "box")
    assert bento("network", "ls", "-q", "-f", "dangling=true").stdout == ""
    bento("start", "box")
    assert bento.network("box")["Networks"]["web"]["IPAddress"] == "10.77.0.9"
    bento("rm", "-f", "box")
    assert_released(bento, box)
    assert bento("network", "rm", "web").stdout == "web\n"
    bento("network", "exists", "bridge")
    assert bento("network", "exists", "web", check=False).returncode == 1
    assert host.state() == before


@ONE_RUNTIME
def test_containers_are_put_on_networks_and_taken_off_while_they_run(bento: NetCli, share: Share, host: Netns) -> None:
    for name in ("web", "data"):
        bento("network", "create", name)
    serve(bento, share, "--network", "web", "-p", "18999:80")
    bento.run("--name", "client", "--network", "data", "host", "sleep", "1000")
    ask = "import socket, sys; s = socket.socket(); s.settimeout(1); sys.exit(bool(s.connect_ex((sys.argv[1], 80))))"

    def reaches(network: str) -> bool:
        address = bento.network("web")["Networks"][network]["IPAddress"]
        return bento("exec", "client", "python3", "-c", ask, address, check=False).returncode == 0

    assert not reaches("web")
    bento("network", "connect", "--alias", "front", "data", "web")
    assert reaches("data")
    assert "is on network data already" in bento.fails("network", "connect", "data", "web")
    assert bento("ps", "-f", "name=web", "--format", "{{.Networks}}").stdout == "web,data\n"
    assert quick(host, "127.0.0.1", 18999)
    bento("network", "disconnect", "web", "web")
    assert quick(host, "127.0.0.1", 18999)  # by the network that is left
    assert "eth0" not in bento("exec", "web", "ip", "-o", "link").stdout
    hosts = bento("exec", "web", "cat", "/etc/hosts").stdout.splitlines()
    assert [line.split()[0] for line in hosts[2:]] == [bento.network("web")["Networks"]["data"]["IPAddress"]]
    assert reaches("data")
    assert "is not on network web" in bento.fails("network", "disconnect", "web", "web")
    address = bento.network("web")["Networks"]["data"]["IPAddress"]
    bento("network", "disconnect", "data", "web")
    assert bento("port", "web").stdout == ""
    assert host.is_refused("127.0.0.1", 18999)
    mistake(host, address)
    bento("network", "connect", "data", "web")
    assert quick(host, "127.0.0.1", 18999)  # the monitor has kept the port

    bento("create", "--name", "later", "--network", "none", "host", "sleep", "1000")
    bento("network", "connect", "data", "later")
    bento("network", "connect", "web", "later")
    bento("start", "later")
    assert list(bento.network("later")["Networks"]) == ["data", "web"]
    place = bento.network("later")["Networks"]["data"]
    mistake(host, place["IPAddress"])
    bento("restart", "-t", "0", "later")
    procs.wait_until(
        lambda: place["MacAddress"] in host("ip", "neigh", "show", place["IPAddress"]), timeout_s=TIMEOUT_S, what="it"
    )
    bento.run("--name", "guest", "--network", "container:later", "host", "sleep", "1000")
    ends = [bento("exec", name, "readlink", "/proc/self/ns/net").stdout for name in ("later", "guest")]
    assert ends[0] == ends[1]
    files = [bento("exec", name, "cat", "/etc/hosts", "/etc/hostname").stdout for name in ("later", "guest")]
    assert files[0] == files[1]
    assert "guest" in bento.fails("rm", "-f", "later")  # it stands on that one's network
    bento("rm", "-f", "-a")
    bento("network", "prune", "-f")
    assert "bento" not in host.state()


@ONE_RUNTIME
def test_a_network_whose_record_cannot_be_read_hides_no_other(bento: NetCli, host: Netns) -> None:
    for name in ("bad", "good"):
        bento("network", "create", name)
    with closing(sqlite3.connect(bento.roots.root / "bento.db", isolation_level=None)) as connection:
        connection.execute("UPDATE networks SET document = x'5b5d' WHERE name = 'bad'")
    shown = bento("network", "ls", "--format", "{{.Name}}", "-f", "type=custom")
    assert shown.stdout == "good\n"
    assert "cannot be read" in shown.stderr
    assert "doctor --fix" in bento.fails("network", "rm", "bad")
    for _ in range(2):  # its bridge is a stray at the next look
        bento("doctor", "--fix", check=False)
    bento("network", "create", "bad")
    assert bento("network", "prune", "-f").stdout == "Deleted Networks:\nbad\ngood\n"
    assert "bento" not in host.state()


@ONE_RUNTIME
def test_what_is_killed_at_any_time_can_be_done_again(bento: NetCli, host: Netns) -> None:
    bento("network", "create", "kept")
    box = bento.run("--name", "box", "--network", "kept", "host", "sleep", "1000")
    before = host.state()
    for point_ms in range(40, 200, 20):
        name = f"n{point_ms}"
        for words in (
            ("network", "create", name), ("network", "connect", name, "box"),
            ("network", "disconnect", name, "box"), ("network", "rm", name),
        ):  # fmt: skip
            kill_after(bento, point_ms / 1000, *words)
            if "rm" in words:
                bento("network", "rm", "-f", name)
            elif "create" in words:
                bento(*words, check=False)
                bento("network", "exists", name)
            else:  # where it had been done already, that is said
                done = bento(*words, check=False)
                assert done.returncode == 0 or "is on network" in done.stderr or "is not on" in done.stderr, done
                assert (name in bento.network("box")["Networks"]) == ("connect" in words)
    links = bento("exec", "box", "ip", "-o", "link").stdout.splitlines()
    assert len(links) == 2, links
    bento("doctor", "--fix", check=False)  # the bridge of a network whose removal was killed after its record went
    assert host.state() == before
    bento("rm", "-f", "box")
    assert_released(bento, box)
    bento("network", "rm", "kept")


BAD = [
    ("network create", 2),
    ("network create -d overlay x", 2),
    ("network create --subnet 10.1.0.0 x", 2),
    ("network create --subnet 10.1.0.5/24 x", 2),
    ("network create --subnet 10.1.0.0/24 --subnet 10.2.0.0/24 x", 2),
    ("network create --subnet 10.1.0.0/24 --gateway 10.2.0.1 x", 2),
    ("network create --subnet 10.1.0.0/24 --gateway 10.1.0.0 x", 2),
    ("network create --subnet 10.1.0.0/24 --gateway 10.1.0.255 x", 2),
    ("network create --subnet 10.1.0.0/24 --ip-range 10.2.0.0/25 x", 2),
    ("network create --gateway 10.1.0.1 x", 2),
    ("network create --subnet 127.0.0.0/8 x", 2),
    ("network create --subnet fe80::/64 x", 2),
    ("network create --subnet 192.0.2.0/25 x", 1),
    ("network create --subnet 10.77.0.0/16 x", 1),
    ("network create -o mtu=1 x", 2),
    ("network create -o color=red x", 2),
    ("network create -o com.docker.network.bridge.name=lo x", 1),
    ("network create -o com.docker.network.bridge.name=a/b x", 2),
    ("network create --ingress x", 2),
    ("network create --scope swarm x", 2),
    ("network create --config-from y x", 2),
    ("network create web", 1),
    ("network create bridge", 1),
    ("network create -x", 2),
    ("network create a/b", 2),
    ("network rm nosuch", 1),
    ("network rm bridge", 1),
    ("network inspect nosuch", 1),
    ("network ls -f x=y", 2),
    ("network prune -f --filter dangling=true", 2),
    ("network connect nosuch box", 1),
    ("network connect web nosuch", 1),
    ("network connect host box", 1),
    ("network connect --ip 10.9.0.1 web box", 2),
    ("network connect --ip x web box", 2),
    ("network connect --ip6 fd00::7 web box", 2),
    ("network connect --ip 10.77.0.1 web box", 2),
    ("network connect --mac-address 1 web box", 2),
    ("network connect --link y web box", 2),
    ("network disconnect web box", 1),
    ("create --network nosuch host true", 1),
    ("create --network web --network web host true", 2),
    ("create --network web --network host host true", 2),
    ("create --network web:ip=10.78.0.1 host true", 2),
    ("create --network bridge --network-alias x host true", 2),
    ("create --network bridge --ip 10.177.0.9 host true", 2),
    ("create --network container:nosuch host true", 1),
    ("create --network container:box -p 80 host true", 2),
    ("create --network container:box -h x host true", 2),
    ("create --mac-address 01:00:00:00:00:01 host true", 2),
    ("create --dns-option a\\nb host true", 2),
]


@ONE_RUNTIME
def test_bad_words_are_one_line_each_and_make_nothing(bento: NetCli, host: Netns) -> None:
    host("ip", "link", "add", "up0", "type", "bridge")
    host("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
    host("ip", "link", "set", "up0", "up")
    bento("network", "create", "--subnet", "10.77.0.0/24", "web")
    bento("create", "--name", "box", "host", "true")
    before = host.state(), bento("network", "ls").stdout, bento("ps", "-aq").stdout, bento("inspect", "box").stdout
    for words, code in BAD:
        done = bento(*words.replace("\\n", "\n").split(" "), check=False, timeout_s=TIMEOUT_S)
        assert (done.returncode, done.stdout.strip("[]\n")) == (code, ""), done
        assert done.stderr.startswith("bento: "), done
        assert done.stderr.count("\n") == 1, done
    after = host.state(), bento("network", "ls").stdout, bento("ps", "-aq").stdout, bento("inspect", "box").stdout
    assert after == before
    bento("rm", "box")
    bento("network", "rm", "web")
    host("ip", "link", "del", "up0")
