"""Pods by the command line: containers that share a network, and what becomes of it at their end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import Roots
from support.netns import NetCli, Netns, ask, serve
from support.workload import ONE_RUNTIME, Share

PLUGINS = "/usr/lib/cni"
CRASH_POD = Path(__file__).parent.parent / "support" / "crash_pod.py"


def namespaces_of(bento: NetCli, name: str) -> dict[str, str]:
    pid = bento.state(name)["Pid"]
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "ipc", "uts", "pid", "mnt")}


def mounts_of_monitor(bento: NetCli, name: str) -> str:
    return Path(f"/proc/{bento.inspect(name)['Monitor']['Pid']}/mountinfo").read_text(encoding="utf-8")


def test_containers_of_a_pod_share_a_network_until_it_is_stopped(net_bento: NetCli, share: Share) -> None:
    bento = net_bento
    before = bento.host.state()
    pod = bento(
        *("pod", "create", "--name", "web", "--share", "net,ipc,uts,pid", "-p", "8080:80", "--dns", "192.0.2.53"),
        *("--sysctl", "net.core.somaxconn=77", "--cgroup-parent", f"/bento-test-{os.getpid()}-pod/below", "-l", "a=b"),
    ).stdout.strip()
    serve(bento, share, "--pod", "web", name="server")
    bento.run("--pod", "web", "--name", "two", "host", "sleep", "1000")

    own, other = namespaces_of(bento, "server"), namespaces_of(bento, "two")
    assert {kind for kind in own if own[kind] == other[kind]} == {"net", "ipc", "uts", "pid"}
    assert ask(bento.host.connect("127.0.0.1", 8080)).startswith("begun")
    words = "hostname; cat /etc/hosts /etc/resolv.conf /proc/sys/net/core/somaxconn"
    said = bento("exec", "two", "sh", "-c", words).stdout
    address = bento.listing("pod", "ls")[0]["IPs"]
    assert said.startswith("web\n")
    assert f"{address}\tweb" in said
    assert "nameserver 192.0.2.53\n77\n" in said
    bento("exec", "two", "touch", "/dev/shm/seen")
    assert bento("exec", "server", "ls", "/dev/shm").stdout == "seen\n"
    assert "/init -P" in bento("exec", "two", "ps", "-p", "1", "-o", "args=").stdout
    assert bento("exec", "two", "readlink", "/proc/1/root", check=False).returncode == 1  # it is not to be seen
    assert str(bento.roots.run_root / "pods") not in mounts_of_monitor(bento, "two")

    assert bento("ps", "-q", "--no-trunc", "--filter", "pod=web", "--filter", "name=two").stdout.strip() != ""
    assert [row["Pod"] for row in bento.listing("ps", "--no-trunc")] == [pod, pod]
    assert json.loads(bento("pod", "inspect", "web").stdout)[0]["NumContainers"] == 2
    assert bento("doctor").stdout == "nothing is left over\n"
    assert "run: " in bento.fails("pod", "rm", "web")
    assert "--pod web" in bento.fails("run", "--pod", "web", "--network", "none", "host", "true", code=125)

    assert bento("pod", "stop", "-t", "20", "web").stdout == "web\n"
    assert bento.state("server")["ExitCode"] == 0  # it has ended as it wanted to
    assert bento.host.is_refused("127.0.0.1", 8080)
    assert bento.listing("pod", "ls")[0]["Status"] == "not-ready"
    assert bento("pod", "stop", "web").stdout == "web\n"
    assert "pod start web" in bento.fails("start", "two")
    assert not (bento.roots.run_root / "pods").exists()

    assert bento("pod", "start", "web").stdout == "web\n"
    bento.wait_for_log("server", "ready")
    assert ask(bento.host.connect("127.0.0.1", 8080)).startswith("begun")
    assert bento("pod", "rm", "-f", "web").stdout == "web\n"
    assert bento("ps", "-aq").stdout == bento("pod", "ls", "-q").stdout == ""
    assert bento("doctor").stdout == "nothing is left over\n"
    assert bento.host.state() == before
    assert not Path(f"/sys/fs/cgroup/pids/bento-test-{os.getpid()}-pod").exists()


@ONE_RUNTIME
def test_plugins_take_back_what_a_pod_had_that_has_lost_its_namespaces(
    roots: Roots, runtime: str, host: Netns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bento, addresses = NetCli(roots, runtime, host), tmp_path / "addresses"
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}]], "dataDir": str(addresses)}
    plugin = {"type": "bridge", "bridge": "pods0", "isGateway": True, "ipMasq": False, "ipam": ipam}
    (lists := tmp_path / "lists").mkdir()
    document = {"cniVersion": "1.0.0", "name": "pods", "plugins": [plugin]}
    (lists / "10-pods.conflist").write_text(json.dumps(document), encoding="utf-8")
    monkeypatch.setenv("BENTO_CNI_DIRECTORY", str(lists))
    monkeypatch.setenv("BENTO_CNI_PLUGINS", PLUGINS)

    def handed_out() -> list[str]:
        return sorted(name for name in os.listdir(addresses / "pods") if name[0].isdigit())

    bento("pod", "create", "--network", "cni:", "web")  # the first list that is there
    assert handed_out() == ["10.77.0.2"]
    assert bento.listing("pod", "ls")[0]["IPs"] == "10.77.0.2"
    shown = bento("run", "--rm", "--pod", "web", "host", "ip", "-br", "-4", "addr", "show", "eth0").stdout
    assert shown.split()[2] == "10.77.0.2/24"
    assert bento("doctor").stdout == "nothing is left over\n"
    place = next((roots.run_root / "pods").iterdir())
    for pin in ("net", "ipc", "uts", "shm"):  # as a reboot does
        subprocess.run(["umount", place / pin], check=True)
    assert bento.listing("pod", "ls")[0]["Status"] == "not-ready"
    assert handed_out() == []
    bento("pod", "start", "web")
    assert handed_out() == ["10.77.0.3"]
    bento("pod", "rm", "web")
    assert handed_out() == []


@ONE_RUNTIME
def test_a_verb_that_is_killed_at_any_step_is_finished_or_undone(roots: Roots, runtime: str, host: Netns) -> None:
    said = host(sys.executable, str(CRASH_POD), str(roots.root), str(roots.run_root), runtime)
    killed = {line.split()[0]: int(line.split()[1]) for line in said.splitlines()}
    assert set(killed) == {"create", "stop", "remove"}
    assert min(killed.values()) > 5
