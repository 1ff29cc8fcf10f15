"""CNI plugins, with a shell script in their place that writes down what it was given."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bento.drivers.network import cni_lists
from bento.drivers.network.base import Joined
from bento.drivers.network.cni import Cni, place_of
from bento.errors import MissingTool, NotFound, RuntimeFailed, StateCorrupt, UsageError
from bento.model.network import Port

PLUGIN = """#!/bin/sh
log=$(dirname "$0")/../log
{ echo "$CNI_COMMAND $CNI_IFNAME $CNI_NETNS $CNI_ARGS"; cat; echo; } >>"$log"
[ -e "$0.fails" ] && { cat "$0.fails"; exit 7; }
[ "$CNI_COMMAND" = ADD ] && cat "$0.says"
exit 0
"""
RESULT = {
    "cniVersion": "1.0.0",
    "interfaces": [
        {"name": "br0", "mac": "aa:aa:aa:aa:aa:aa"},
        {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/ns"},
    ],
    "ips": [
        {"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1},
        {"address": "fd00::5/64", "gateway": "fd00::1", "interface": 1},
        {"address": "10.2.0.5/16", "interface": 1},
    ],
}  # fmt: skip


class World:
    """A directory of lists, one of plugins, and a log of what they were given."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name in ("lists", "bin"):
            (base / name).mkdir()
        self.cni = Cni(base / "cache", base / "lists", [base / "nowhere", base / "bin"])

    def plugin(self, name: str, says: dict[str, Any] | None = None) -> None:
        path = self.base / "bin" / name
        path.write_text(PLUGIN, encoding="utf-8")
        path.chmod(0o755)
        Path(f"{path}.says").write_text(json.dumps(says) if says else "", encoding="utf-8")

    def fails(self, name: str, words: str) -> None:
        (self.base / "bin" / f"{name}.fails").write_text(words, encoding="utf-8")

    def mends(self, name: str) -> None:
        (self.base / "bin" / f"{name}.fails").unlink()

    def describe(self, **said: Any) -> None:
        (self.base / "lists" / "10-net.conflist").write_text(json.dumps(said), encoding="utf-8")

    def given(self) -> list[tuple[str, dict[str, Any]]]:
        """What the plugins were given since the last time."""
        log = self.base / "log"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [(head, json.loads(body)) for head, body in zip(lines[::2], lines[1::2], strict=True)]

    def remove(self, netns: str = "") -> None:
        for child in self.cni.remove("c1", netns):
            child.finish(20.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path)
    found.plugin("bridge", RESULT)
    found.plugin("portmap")
    ports = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    found.describe(cniVersion="1.0.0", name="net", plugins=[{"type": "bridge", "bridge": "br0"}, ports])
    return found


def joined(world: World, **said: Any) -> Joined:
    return Joined(container_id="c1", network=world.cni.load("net"), netns="/ns", interface="eth0", **said)


def test_add_gives_each_plugin_the_result_of_the_one_before(world: World) -> None:
    place = world.cni.add(joined(world, ports=(Port(container_port=80, host_port=8080),), args={"K8S_POD_NAME": "p"}))
    first, second = world.given()
    assert first == (
        "ADD eth0 /ns K8S_POD_NAME=p",
        {"type": "bridge", "bridge": "br0", "cniVersion": "1.0.0", "name": "net"},
    )
    mappings = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    assert second[1]["runtimeConfig"] == {"portMappings": mappings}
    assert second[1]["prevResult"] == RESULT
    assert "capabilities" not in second[1]
    assert second[1]["snat"] is True
    assert (place.address, place.prefix, place.gateway) == ("10.1.0.5", 16, "10.1.0.1")
    assert (place.address6, place.prefix6, place.gateway6) == ("fd00::5", 64, "fd00::1")
    assert place.mac == "02:00:00:00:00:01"


def test_remove_goes_backwards_with_the_result_and_forgets(world: World) -> None:
    world.cni.add(joined(world))
    world.given()
    world.remove()
    first, second = world.given()
    assert [first[0], second[0]] == ["DEL eth0  ", "DEL eth0  "]
    assert [first[1]["type"], second[1]["type"]] == ["portmap", "bridge"]
    assert first[1]["prevResult"] == second[1]["prevResult"] == RESULT
    assert world.cni.kept() == []
    world.remove()  # again: nothing to do
    assert world.given() == []


def test_what_is_needed_to_take_back_is_kept_before_anything_is_made(world: World) -> None:
    world.fails("bridge", json.dumps({"code": 11, "msg": "no address", "details": "all taken"}))
    with pytest.raises(RuntimeFailed, match="CNI plugin bridge: no address: all taken"):
        world.cni.add(joined(world))
    assert world.cni.kept() == ["c1"]
    world.mends("bridge")
    world.given()
    world.remove("/ns")
    assert [head for head, _ in world.given()] == ["DEL eth0 /ns ", "DEL eth0 /ns "]


def test_a_plugin_that_fails_keeps_none_of_the_others_from_their_end(world: World) -> None:
    world.cni.add(joined(world))
    world.given()
    world.fails("portmap", "killed by a mistake")
    with pytest.raises(RuntimeFailed, match="CNI plugin portmap: killed by a mistake"):
        world.remove()
    assert [body["type"] for _, body in world.given()] == ["portmap", "bridge"]
    assert world.cni.kept() == ["c1"]  # so that it is tried again


def test_each_interface_of_a_container_is_kept_by_itself(world: World) -> None:
    first = joined(world)
    world.cni.add(first)
    world.cni.add(replace(first, interface="eth1"))
    world.given()
    for child in world.cni.remove("c1", "/ns", "eth0"):
        child.finish(20.0)
    assert [head for head, _ in world.given()] == ["DEL eth0 /ns ", "DEL eth0 /ns "]
    assert [one.interface for one in world.cni.find("c1")] == ["eth1"]
    assert world.cni.kept() == ["c1"]


def test_check_asks_only_lists_that_have_it(world: World) -> None:
    world.cni.add(joined(world))
    world.given()
    assert world.cni.check("c1") == []
    assert [head for head, _ in world.given()] == ["CHECK eth0 /ns "]  # none of what publishes ports
    world.fails("bridge", '{"code": 1, "msg": "br0 is gone"}')
    assert world.cni.check("c1") == ["CNI plugin bridge: br0 is gone"]
    assert world.cni.check("another") == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"name": "net", "cniVersion": "0.2.0", "type": "bridge"}, "is of CNI 0.2.0"),
        ({"name": "net", "cniVersion": "1.0.0", "plugins": []}, "names no plugins"),
        ({"name": "net", "cniVersion": "1.0.0", "plugins": [{"type": "../sh"}]}, "names no plugins"),
        ({"name": "net", "cniVersion": "1.0.0", "plugins": "bridge"}, "names no plugins"),
    ],
)
def test_a_list_that_cannot_be_used_is_named(world: World, said: dict[str, Any], words: str) -> None:
    world.describe(**said)
    with pytest.raises(UsageError, match=f"{re.escape(str(world.base))}.*{words}"):
        world.cni.load("net")


def test_lists_of_one_and_the_first_of_a_name_count(tmp_path: Path) -> None:
    (tmp_path / "05-broken.conflist").write_text("{", encoding="utf-8")
    (tmp_path / "06-none.conflist").write_text("[]", encoding="utf-8")
    (tmp_path / "10-a.conf").write_text('{"name": "net", "cniVersion": "0.4.0", "type": "ptp"}', encoding="utf-8")
    (tmp_path / "20-b.conf").write_text('{"name": "net", "cniVersion": "1.0.0", "type": "bridge"}', encoding="utf-8")
    found = cni_lists.load(tmp_path, "net")
    assert (found.plugins[0]["type"], found.has_check) == ("ptp", True)
    os.unlink(tmp_path / "10-a.conf")
    text = '{"name": "net", "cniVersion": "1.0.0", "disableCheck": true, "type": "bridge"}'
    (tmp_path / "20-b.conf").write_text(text, encoding="utf-8")
    assert not cni_lists.load(tmp_path, "net").has_check
    with pytest.raises(NotFound, match="no CNI network 'other'"):
        cni_lists.load(tmp_path, "other")
    with pytest.raises(NotFound, match="No such file or directory"):
        cni_lists.load(tmp_path / "none", "net")


def test_a_plugin_that_is_not_there_is_named(world: World) -> None:
    world.describe(name="net", cniVersion="1.0.0", plugins=[{"type": "calico"}])
    with pytest.raises(MissingTool, match="no CNI plugin 'calico'"):
        world.cni.load("net")


def test_what_is_kept_and_cannot_be_read_is_no_traceback(world: World) -> None:
    (world.base / "cache").mkdir()
    (world.base / "cache" / "c1.eth0.json").write_text("{", encoding="utf-8")
    with pytest.raises(StateCorrupt, match=r"c1\.eth0\.json"):
        world.cni.find("c1")


def test_a_result_without_addresses_is_one() -> None:
    assert place_of({"cniVersion": "1.0.0", "ips": None}, "eth0").address == ""
