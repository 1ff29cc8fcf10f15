"""Networks with names: their records, and which of them a container is on."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from bento.drivers.state.base import StateStore
from bento.engine.lifecycle import connecting
from bento.engine.resources import networks
from bento.errors import BentoError, Conflict, MissingTool, NotFound, RuntimeFailed, UsageError, WrongState
from bento.model.container import Ports, Sandbox, Status
from bento.model.create import CreateOptions
from bento.model.network import Attachment, Connection, Network, NetworkOptions, Port, Subnet
from bento.testing.drivers import FakeDrivers


def make(drivers: FakeDrivers, name: str, **asked: Any) -> Network:
    return networks.create(drivers, NetworkOptions(name=name, **asked))


def on(*names: str) -> tuple[Attachment, ...]:
    return tuple(Attachment(network=name) for name in names)


def logged(store: StateStore) -> list[tuple[str, str]]:
    """Action and name of each event of a network."""
    return [(one.action, one.attributes.get("name", "")) for one in store.events() if one.type == "network"]


class TestRecords:
    def test_what_was_asked_for_is_kept(self, drivers: FakeDrivers) -> None:
        subnet = Subnet(subnet="10.9.0.0/24", gateway="10.9.0.1")
        options = {"com.docker.network.driver.mtu": "1400", "com.docker.network.bridge.name": "web0"}
        words: dict[str, Any] = {"internal": True, "attachable": True, "labels": {"a": "b"}, "options": options}
        made = make(drivers, "web", subnets=(subnet,), **words)
        assert made == drivers.store.find_network(made.id[:8])
        assert (made.name, made.mtu, made.bridge, made.subnets) == ("web", 1400, "web0", (subnet,))
        assert {name: getattr(made, name) for name in words} == words
        assert "web0" in drivers.network.raised

    @pytest.mark.parametrize(
        ("asked", "error", "said"),
        [
            ({"name": "web"}, Conflict, "network with name web already exists"),
            ({"name": "a b"}, UsageError, "invalid name 'a b'"),
            ({"name": ""}, UsageError, "invalid name"),
            ({"name": "bridge"}, Conflict, "not permitted on predefined bridge network"),
            ({"name": "default"}, Conflict, "not permitted on predefined"),
            ({"name": "container"}, Conflict, "not permitted on predefined"),
            ({"options": {"icc": "false"}}, UsageError, "unknown option 'icc'"),
            ({"options": {"mtu": "x"}}, UsageError, "bad MTU 'x'"),
            ({"options": {"mtu": "67"}}, UsageError, "bytes from 68"),
            ({"options": {"mtu": "1279"}, "ipv6": True}, UsageError, "bytes from 1280"),
            ({"options": {"mtu": "65536"}}, UsageError, "bad MTU"),
            ({"options": {"mtu": "9", "com.docker.network.driver.mtu": "8"}}, UsageError, "two MTUs"),
            ({"options": {"com.docker.network.bridge.name": "a/b"}}, UsageError, "bad name 'a/b' of a bridge"),
            ({"options": {"com.docker.network.bridge.name": "b" * 16}}, UsageError, "1 to 15"),
            ({"options": {"com.docker.network.bridge.name": "default"}}, UsageError, "neither all nor default"),
        ],
        ids=str,
    )
    def test_what_is_refused_leaves_nothing(
        self, drivers: FakeDrivers, asked: dict[str, Any], error: type[BentoError], said: str
    ) -> None:
        made = make(drivers, "web")
        with pytest.raises(error) as caught:
            networks.create(drivers, NetworkOptions(**{"name": "other", **asked}))
        assert said in str(caught.value)
        assert caught.value.hint
        assert drivers.store.list_networks() == [made]
        assert drivers.network.raised == {made.bridge}

    def test_a_bridge_that_cannot_be_made_leaves_no_record(self, drivers: FakeDrivers) -> None:
        drivers.network.raise_errors.append(RuntimeFailed("the kernel refuses"))
        with pytest.raises(RuntimeFailed):
            make(drivers, "web")
        assert drivers.store.list_networks() == []
        make(drivers, "web")

    def test_those_that_are_always_there(self, drivers: FakeDrivers) -> None:
        assert [network.name for network in networks.list_all(drivers)] == ["bridge", "host", "none"]
        for name in ("bridge", "host", "none"):
            found = networks.find(drivers, name)
            assert networks.find(drivers, found.id) == networks.find(drivers, found.id[:12]) == found
            with pytest.raises(Conflict, match=f"{name} is a pre-defined network and cannot be removed"):
                networks.remove(drivers, name)
        assert networks.find(drivers, "default").name == "bridge"
        with pytest.raises(NotFound, match="network nosuch not found"):
            networks.find(drivers, "nosuch")

    def test_filters(self, drivers: FakeDrivers) -> None:
        web = make(drivers, "web", labels={"tier": "front"})
        make(drivers, "data")
        drivers.add("box", None, network="web", attachments=on("web"))

        def names(*filters: str) -> list[str]:
            return [network.name for network in networks.list_all(drivers, filters)]

        assert names() == ["bridge", "data", "host", "none", "web"]
        assert names("type=custom") == ["data", "web"]
        assert names("type=builtin") == ["bridge", "host", "none"]
        assert names("dangling=true") == ["data"]
        assert names("dangling=false") == ["bridge", "host", "none", "web"]
        assert names("driver=null") == ["none"]
        assert names("driver=bridge", "name=^d") == ["data"]
        assert names(f"id={web.id[:10]}") == ["web"]
        assert names("label=tier") == names("label=tier=front") == ["web"]
        assert names("label!=tier", "type=custom") == ["data"]
        assert names("scope=swarm") == []
        for bad in ("x=y", "dangling=maybe", "type=other", "name=[", "label"):
            with pytest.raises(UsageError, match="bad filter"):
                names(bad)

    def test_one_that_a_container_has_stays(self, drivers: FakeDrivers) -> None:
        for name in ("web", "data", "idle"):
            make(drivers, name)
        box = drivers.add("box", None, network="web", attachments=on("web", "data"), status=Status.STOPPED)
        drivers.add("two", None, network="data", attachments=on("data"), status=Status.CREATED)
        with pytest.raises(Conflict, match="network web is used by box"):
            networks.remove(drivers, "web")
        with pytest.raises(Conflict, match="network data is used by box, two"):
            networks.remove(drivers, "data")
        assert networks.prune(drivers).networks == ("idle",)
        drivers.store.remove(box.id)
        assert networks.remove(drivers, "web").name == "web"
        assert [network.name for network in drivers.store.list_networks()] == ["data"]
        assert logged(drivers.store)[3:] == [("destroy", "idle"), ("prune", ""), ("destroy", "web")]
        assert len(drivers.network.raised) == 1

    def test_prune_takes_filters(self, drivers: FakeDrivers) -> None:
        make(drivers, "web", labels={"keep": ""})
        make(drivers, "data")
        with pytest.raises(UsageError):
            networks.prune(drivers, filters=["name=web"])
        assert networks.prune(drivers, filters=["until=1h"]).networks == ()
        assert networks.prune(drivers, filters=["label!=keep"]).networks == ("data",)

    def test_one_that_cannot_be_removed_ends_no_prune(self, drivers: FakeDrivers, monkeypatch) -> None:
        for name in ("web", "data"):
            make(drivers, name)
        lower = drivers.network.lower_network

        def fail_once(network):
            monkeypatch.setattr(drivers.network, "lower_network", lower)
            raise MissingTool("nft is missing")

        monkeypatch.setattr(drivers.network, "lower_network", fail_once)
        pruned = networks.prune(drivers)
        assert [error.message for error in pruned.errors] == ["nft is missing"]
        assert len(pruned.networks) == 1
        assert len(networks.prune(drivers).networks) == 1

    def test_inspect_names_those_that_run_on_it(self, drivers: FakeDrivers) -> None:
        web = make(drivers, "web", ipv6=True)
        place = Connection(
            network="web", network_id=web.id, bridge="x", address="10.0.2.7", prefix=24, gateway="10.0.2.1",
            mac="02:00:00:00:00:07", address6="fd00:2::7", prefix6=64, gateway6="fd00:2::1",
        )  # fmt: skip
        box = drivers.add("box", None, network="web", attachments=on("web"), connections=(place,))
        drivers.add("past", None, network="web", attachments=on("web"), status=Status.STOPPED, connections=(place,))
        described = networks.inspect(drivers, "web")
        assert described["EnableIPv6"] is True
        assert [one["Subnet"] for one in described["IPAM"]["Config"]] == [one.subnet for one in web.subnets]
        assert list(described["Containers"]) == [box.id]
        member = described["Containers"][box.id]
        assert len(member.pop("EndpointID")) == 64
        assert member == {
            "Name": "box", "MacAddress": "02:00:00:00:00:07",
            "IPv4Address": "10.0.2.7/24", "IPv6Address": "fd00:2::7/64",
        }  # fmt: skip


class TestAskedFor:
    def settle(self, drivers: FakeDrivers, **asked: Any) -> CreateOptions:
        return connecting.settle(drivers, CreateOptions(image="host", **asked))

    def test_networks_by_id_and_name_become_names(self, drivers: FakeDrivers) -> None:
        web, _ = make(drivers, "web"), make(drivers, "data")
        settled = self.settle(drivers, network=web.id[:12], attachments=on(web.id[:12], "data"))
        assert (settled.network, settled.attachments) == ("web", on("web", "data"))
        settled = self.settle(drivers, network="web")
        assert (settled.network, settled.attachments) == ("web", on("web"))
        for name in ("none", "host", "bridge"):
            assert self.settle(drivers, network=name).attachments == ()
        settled = self.settle(drivers, network="bridge", attachments=on("bridge"))
        assert (settled.network, settled.attachments) == ("bridge", ())
        settled = self.settle(drivers, network="bridge", attachments=on("bridge", "web"))
        assert (settled.network, settled.attachments) == ("bridge", on("bridge", "web"))

    @pytest.mark.parametrize(
        ("asked", "error", "said"),
        [
            ({"network": "nosuch"}, NotFound, "network nosuch not found"),
            ({"network": "web", "attachments": on("web", "web")}, UsageError, "network web is given twice"),
            ({"network": "web", "attachments": on("web", "host")}, UsageError, "goes with no other"),
            ({"network": "none", "attachments": on("web")}, UsageError, "goes with no other"),
            (
                {"network": "bridge", "attachments": (Attachment(network="bridge", aliases=("a",)),)},
                UsageError,
                "no names on network bridge",
            ),
            (
                {"network": "web", "attachments": (Attachment(network="web", aliases=("a b",)),)},
                UsageError,
                "bad alias",
            ),
            ({"network": "web", "attachments": (Attachment(network="web", mac="1"),)}, UsageError, "bad MAC"),
            ({"network": "container:"}, UsageError, "bad network"),
            ({"network": "container:nosuch"}, NotFound, "no such container"),
            ({"network": "container:on-host"}, UsageError, "use --network host"),
            ({"network": "container:guest"}, UsageError, "has no network of its own"),
            ({"network": "container:box", "hostname": "x"}, UsageError, "--hostname does not go with"),
            ({"network": "container:box", "ports": Ports(publish_all=True)}, UsageError, "--publish does not go with"),
            ({"network": "container:box", "sandbox": Sandbox(dns=("1.1.1.1",))}, UsageError, "--dns does not go"),
            ({"network": "container:box", "attachments": on("web")}, UsageError, "other networks"),
        ],
        ids=str,
    )
    def test_what_cannot_be_had(
        self, drivers: FakeDrivers, asked: dict[str, Any], error: type[BentoError], said: str
    ) -> None:
        make(drivers, "web")
        box = drivers.add("box", None)
        drivers.add("on-host", None, network="host")
        drivers.add("guest", None, network=f"container:{box.id}")
        with pytest.raises(error) as caught:
            self.settle(drivers, **asked)
        assert said in str(caught.value)
        assert caught.value.hint

    def test_a_container_that_shares_has_the_others_host_name(self, drivers: FakeDrivers) -> None:
        box = drivers.add("box", None, hostname="web.example", status=Status.CREATED)
        settled = self.settle(drivers, network="container:box")
        assert (settled.network, settled.hostname) == (f"container:{box.id}", "web.example")


class TestConnecting:
    def test_one_that_does_not_run_has_it_from_its_next_start_on(self, drivers: FakeDrivers) -> None:
        web = make(drivers, "web")
        box = drivers.add("box", None, status=Status.CREATED)
        asked = Attachment(network="", ipv4="10.0.2.9", aliases=("db", "db"))
        connecting.connect(drivers, web.id, "box", asked)
        spec = drivers.store.get(box.id).spec
        assert spec.network == "web"
        assert spec.attachments == (Attachment(network="web", ipv4="10.0.2.9", aliases=("db",)),)
        connecting.connect(drivers, "bridge", "box")
        assert drivers.store.get(box.id).spec.network == "web"
        with pytest.raises(Conflict, match="container box is on network web already"):
            connecting.connect(drivers, "web", "box")
        connecting.disconnect(drivers, "web", "box")
        spec = drivers.store.get(box.id).spec
        assert (spec.network, spec.networks) == ("bridge", on("bridge"))
        connecting.disconnect(drivers, "bridge", "box")
        spec = drivers.store.get(box.id).spec
        assert (spec.network, spec.networks) == ("none", ())
        with pytest.raises(Conflict, match="container box is not on network web"):
            connecting.disconnect(drivers, "web", "box")
        connecting.disconnect(drivers, "web", "box", force=True)
        connecting.disconnect(drivers, "web", "nosuch", force=True)
        assert drivers.network.interfaces == []
        assert [action for action, _ in logged(drivers.store)] == ["create"]

    def test_one_that_runs_has_it_at_once(self, drivers: FakeDrivers) -> None:
        web = make(drivers, "web")
        box, _ = drivers.server("box")
        connecting.connect(drivers, "web", "box")
        after = drivers.store.get(box.id)
        assert after.run is not None
        (made,) = after.run.connections
        assert (made.network, made.network_id, made.interface) == ("web", web.id, "eth0")
        assert drivers.network.calls[-1] == ("announce", made.address)
        assert (after.spec.network, after.spec.attachments) == ("web", on("web"))
        connecting.connect(drivers, "bridge", "box")
        assert drivers.network.interfaces == [(box.id, "eth0"), (box.id, "eth1")]
        connecting.disconnect(drivers, "web", "box")
        after = drivers.store.get(box.id)
        assert after.run is not None
        assert [(one.network, one.interface) for one in after.run.connections] == [("bridge", "eth1")]
        assert after.spec.network == "bridge"
        connecting.connect(drivers, "web", "box")
        assert drivers.network.interfaces == [(box.id, "eth1"), (box.id, "eth0")]
        assert logged(drivers.store)[1:] == [
            ("connect", "web"), ("connect", "bridge"), ("disconnect", "web"), ("connect", "web"),
        ]  # fmt: skip
        assert "update" not in [event.action for event in drivers.store.events()]

    def test_a_connection_that_fails_leaves_nothing(self, drivers: FakeDrivers) -> None:
        make(drivers, "web")
        box, _ = drivers.server("box")
        drivers.network.connect_errors.append(RuntimeFailed("no link"))
        with pytest.raises(RuntimeFailed, match="no link"):
            connecting.connect(drivers, "web", "box")
        assert drivers.store.get(box.id) == box
        connecting.connect(drivers, "web", "box")
        assert drivers.network.interfaces == [(box.id, "eth0")]

    def test_what_a_killed_call_has_left_is_taken_away_first(self, drivers: FakeDrivers) -> None:
        make(drivers, "web")
        box, _ = drivers.server("box")
        connecting.connect(drivers, "web", "box")

        def forget(container: Any) -> Any:
            return replace(container, spec=box.spec)  # it was killed before it said that the network is the container's

        drivers.store.modify(box.id, forget)
        connecting.connect(drivers, "web", "box")
        after = drivers.store.get(box.id)
        assert after.run is not None
        assert [one.network for one in after.run.connections] == ["web"]
        assert drivers.network.interfaces == [(box.id, "eth0")]
        assert after.spec.attachments == on("web")

    def test_one_that_ends_meanwhile_is_left_as_it_was(self, drivers: FakeDrivers) -> None:
        make(drivers, "web")
        box, _ = drivers.server("box")
        drivers.network.connect_errors.append(FileNotFoundError(2, "gone", "/proc/1/ns/net"))
        with pytest.raises(WrongState, match="container box has just ended"):
            connecting.connect(drivers, "web", "box")
        assert drivers.store.get(box.id) == box

    def test_published_ports_move_to_the_next_network(self, drivers: FakeDrivers) -> None:
        for name in ("web", "inner", "data"):
            make(drivers, name, internal=name == "inner")
        box, _ = drivers.server("box")
        for name in ("web", "inner", "data"):
            connecting.connect(drivers, name, "box")
        port = Port(container_port=80, host_port=8080)

        def publish(container: Any) -> Any:
            first, *others = container.run.connections
            return replace(container, run=replace(container.run, connections=(replace(first, ports=(port,)), *others)))

        drivers.store.modify(box.id, publish)
        connecting.disconnect(drivers, "web", "box")
        run = drivers.store.get(box.id).run
        assert run is not None
        assert [(one.network, one.ports) for one in run.connections] == [("inner", ()), ("data", (port,))]
        connecting.disconnect(drivers, "data", "box")
        run = drivers.store.get(box.id).run
        assert run is not None
        assert (run.ports, run.idle_ports) == ((), (port,))
        drivers.network.connect_errors.append(RuntimeFailed("no link"))
        with pytest.raises(RuntimeFailed):
            connecting.connect(drivers, "web", "box")
        connecting.connect(drivers, "web", "box")
        run = drivers.store.get(box.id).run
        assert run is not None
        assert (run.ports, run.idle_ports) == ((port,), ())

    def test_not_while_it_is_stopped(self, drivers: FakeDrivers) -> None:
        make(drivers, "web")
        main = drivers.processes.add("server")
        box = drivers.add("box", main, status=Status.STOPPING)
        for act in (connecting.connect, connecting.disconnect):
            with pytest.raises(WrongState, match="container box is stopping"):
                act(drivers, "web", "box")
        assert drivers.store.get(box.id) == box

    def test_not_while_it_runs_in_a_sandbox_that_reads_its_links_once(self, drivers: FakeDrivers) -> None:
        make(drivers, "web")
        box, _ = drivers.server("box")

        def virtual(container: Any) -> Any:
            return replace(container, run=replace(container.run, shows_processes=False))

        drivers.store.modify(box.id, virtual)
        for act in (connecting.connect, connecting.disconnect):
            with pytest.raises(WrongState, match="has a network stack of its own"):
                act(drivers, "web", "box")

    def test_what_has_no_network_of_its_own_is_refused(self, drivers: FakeDrivers) -> None:
        make(drivers, "web")
        box, _ = drivers.server("box")
        drivers.add("on-host", None, network="host", status=Status.CREATED)
        drivers.add("guest", None, network=f"container:{box.id}", status=Status.CREATED)
        for name in ("on-host", "guest"):
            for act in (connecting.connect, connecting.disconnect):
                with pytest.raises(Conflict, match=f"container {name} "):
                    act(drivers, "web", name)
        for name in ("host", "none"):
            with pytest.raises(Conflict, match=f"network {name} "):
                connecting.connect(drivers, name, "box")
        with pytest.raises(NotFound):
            connecting.connect(drivers, "nosuch", "box")
        with pytest.raises(NotFound):
            connecting.connect(drivers, "web", "nosuch")


@pytest.mark.parametrize(
    ("version", "mode", "more", "words"),
    [
        (4, "bridged", {}, "bad mode 'bridged'"),
        (4, "routed", {"internal": True}, "an internal network is not routed"),
        (6, "routed", {}, "which the network does not have"),
    ],
)
def test_a_mode_that_cannot_be_is_refused(drivers, version, mode, more, words):
    options = {f"com.docker.network.bridge.gateway_mode_ipv{version}": mode}
    with pytest.raises(UsageError, match=words):
        networks.create(drivers, NetworkOptions(name="web", options=options, **more))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "IPv4, or IPv6, or both"),
        ({"ipv6": True, "subnets": (Subnet(subnet="10.1.0.0/24", gateway=""),)}, "has no subnet of it"),
        ({"ipv6": True, "options": {"com.docker.network.bridge.gateway_mode_ipv4": "nat"}}, "is of IPv4"),
    ],
)
def test_a_network_without_ipv4_has_ipv6_and_nothing_of_ipv4(drivers, more, words):
    with pytest.raises(UsageError, match=words):
        networks.create(drivers, NetworkOptions(name="six", ipv4=False, **more))
    made = networks.create(drivers, NetworkOptions(name="six", ipv4=False, ipv6=True))
    assert [":" in one.subnet for one in made.subnets] == [True]
    assert networks.inspect(drivers, "six")["EnableIPv4"] is False
