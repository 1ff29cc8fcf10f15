"""Containers on CNI networks, by the real plugins, in a network namespace of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.cli import Roots
from support.netns import NetCli, Netns, ask, serve
from support.workload import ONE_RUNTIME, Share

PLUGINS = "/usr/lib/cni"


@pytest.fixture
def addresses(tmp_path: Path) -> Path:
    return tmp_path / "addresses"


@pytest.fixture
def bento(roots: Roots, runtime: str, host: Netns, tmp_path: Path, addresses: Path, monkeypatch) -> NetCli:
    """The command line with a network ``pods``: bridge and portmap, whose addresses are handed out in ``addresses``."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}]], "dataDir": str(addresses)}
    bridge = {"type": "bridge", "bridge": "pods0", "isGateway": True, "ipMasq": False, "ipam": ipam}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    (lists := tmp_path / "lists").mkdir()
    document = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}
    (lists / "10-pods.conflist").write_text(json.dumps(document), encoding="utf-8")
    monkeypatch.setenv("BENTO_CNI_DIRECTORY", str(lists))
    monkeypatch.setenv("BENTO_CNI_PLUGINS", PLUGINS)
    return NetCli(roots, runtime, host)


def handed_out(addresses: Path) -> list[str]:
    return sorted(name for name in os.listdir(addresses / "pods") if name[0].isdigit())


@ONE_RUNTIME
def test_plugins_make_a_network_and_take_it_back(bento: NetCli, share: Share, addresses: Path) -> None:
    serve(bento, share, "--network", "cni:pods", "-p", "8080:80")
    found = bento.network("web")["Networks"]["cni:pods"]
    assert (found["IPAddress"], found["IPPrefixLen"], found["Gateway"]) == ("10.77.0.2", 24, "10.77.0.1")
    assert found["MacAddress"] in bento("exec", "web", "ip", "link", "show", "eth0").stdout
    assert "10.77.0.2\t" in bento("exec", "web", "cat", "/etc/hosts").stdout
    assert ask(bento.host.connect("10.77.0.2", 80)).startswith("begun")
    assert ask(bento.host.connect("10.77.0.1", 8080)).startswith("begun")  # by portmap
    assert "is on network cni:pods alone" in bento.fails("network", "connect", "bridge", "web")
    assert handed_out(addresses) == ["10.77.0.2"]
    assert bento("doctor").stdout == "nothing is left over\n"
    bento("exec", "--privileged", "web", "ip", "addr", "flush", "dev", "eth0")
    assert "of the network of web: CNI plugin bridge" in bento("doctor", check=False).stdout
    bento("stop", "web")
    assert handed_out(addresses) == []
    assert "8080" not in bento.host("nft", "list", "ruleset")
    bento("start", "web")
    assert handed_out(addresses) == ["10.77.0.3"]
    bento("rm", "-f", "web")
    assert handed_out(addresses) == []


@ONE_RUNTIME
def test_what_was_left_by_a_crash_is_taken_back_by_the_next_command(bento: NetCli, addresses: Path) -> None:
    """As after a reboot: nothing of the container runs, and only what is below the root is there."""
    identifier = bento.run("--name", "w", "--network", "cni:pods", "host", "sleep", "1000")
    pids = [bento.inspect("w")["State"]["Pid"], int(bento.inspect("w")["State"].get("ConmonPid") or 0)]
    os.kill(pids[0], 9)
    bento("rm", "-f", "w")
    assert handed_out(addresses) == []
    assert not (bento.roots.root / "cni" / f"{identifier}.eth0.json").exists()


@ONE_RUNTIME
def test_a_plugin_that_fails_leaves_nothing(bento: NetCli, addresses: Path, tmp_path: Path) -> None:
    bad = {"type": "portmap", "conditionsV4": ["--no-such-option"], "capabilities": {"portMappings": True}}
    path = tmp_path / "lists" / "10-pods.conflist"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["plugins"][1] = bad
    path.write_text(json.dumps(document), encoding="utf-8")
    said = bento.fails("run", "-d", "-p", "8080:80", "--network", "cni:pods", "host", "sleep", "1000", code=125)
    assert "CNI plugin portmap" in said
    assert handed_out(addresses) == []
    assert bento("ps", "-aq").stdout == ""


@ONE_RUNTIME
def test_what_cannot_be_had_is_one_line(bento: NetCli, tmp_path: Path) -> None:
    assert "there is no CNI network 'nets'" in bento.fails("run", "--network", "cni:nets", "host", "true", code=125)
    drained = bento.fails("run", "--network", "cni:pods", "-p", "80:80", "--drain", "host", "true", code=125)
    assert "--drain does not go with" in drained
    assert "goes with no other" in bento.fails(
        "run", "--network", "cni:pods", "--network", "bridge", "host", "true", code=125
    )
    text = json.dumps({"cniVersion": "1.0.0", "name": "odd", "type": "calico"})
    (tmp_path / "lists" / "20-odd.conf").write_text(text, encoding="utf-8")
    assert "no CNI plugin 'calico'" in bento.fails("run", "--network", "cni:odd", "host", "true", code=125)
    assert bento("ps", "-aq").stdout == ""
