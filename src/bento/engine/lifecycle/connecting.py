"""Which networks a container is on: as it is asked for, and by ``network connect`` and ``disconnect`` later."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.lifecycle import reconcile, sharing
from bento.engine.resources import default_network, networking
from bento.errors import BentoError, Conflict, NotFound, UsageError, WrongState
from bento.lazy import LazyModule
from bento.model.container import Container, ContainerSpec, ProcessIdentity, Status
from bento.model.network import BRIDGE, CNI, POD, Attachment, Connection, Network
from bento.oci import etc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from bento.engine.base.drivers import Drivers
    from bento.engine.resources import names, networks, proxies
    from bento.model.create import CreateOptions
    from bento.parse import networks as network_words
else:  # only for networks with names
    names, networks = LazyModule("bento.engine.resources.names"), LazyModule("bento.engine.resources.networks")
    proxies = LazyModule("bento.engine.resources.proxies")
    network_words = LazyModule("bento.parse.networks")

_WITHOUT: Final = ("none", "host")
"""What takes the place of networks."""


def settle(drivers: Drivers, options: CreateOptions) -> CreateOptions:
    """Return the options with networks by their names, and another container by its id; refuse what cannot be had.

    Raises UsageError, NotFound, Conflict.
    """
    if options.network.startswith(POD):  # in_pod has looked at the rest
        return options
    mode, other = sharing.resolve_network(drivers, options.network)
    if other is not None:
        return replace(options, network=mode, hostname=_hostname_of(options, other))
    if mode in _WITHOUT or mode.startswith(CNI):
        if options.attachments:
            raise UsageError(f"--network {mode} goes with no other network", hint="omit it")
        return options
    asked = options.attachments or (Attachment(network=mode),)
    if asked == (Attachment(network=BRIDGE),):  # the most common, of which nothing is to be looked up
        return replace(options, network=BRIDGE, attachments=())
    found = [_normal(networks.find(drivers, one.network), one) for one in asked]
    names = [one.network for one in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"network {name} is given twice", hint="omit one of them")
    return replace(options, network=names[0], attachments=tuple(found))


def _hostname_of(options: CreateOptions, other: Container) -> str:
    """Return the other one's host name, which is shared. Raises UsageError for what is that one's, too."""
    for is_given, what in (
        (options.attachments, "other networks"),
        (options.hostname, "--hostname"),
        (options.ports.published or options.ports.publish_all, "--publish"),
        (options.sandbox.extra_hosts, "--add-host"),
        (options.sandbox.dns or options.sandbox.dns_search or options.sandbox.dns_options, "--dns"),
        (options.stop.drain, "--drain"),
    ):
        if is_given:
            raise UsageError(
                f"{what} does not go with --network container:{other.name}", hint="say it of that container instead"
            )
    return etc.hostname(other)


def _normal(network: Network, asked: Attachment) -> Attachment:
    """Return what is asked of a network, by its name, each thing said in one way. Raises UsageError."""
    if network.name in _WITHOUT:
        raise UsageError(f"--network {network.name} goes with no other network", hint="give it alone")
    if (asked.aliases or asked.links) and not network.names:
        raise UsageError(
            f"there are no names on network {network.name}",
            hint="make one by bento network create, or omit the aliases and links",
        )
    return replace(
        asked,
        network=network.name,
        mac=network_words.parse_mac(asked.mac) if asked.mac else "",
        aliases=tuple(dict.fromkeys(map(network_words.parse_alias, asked.aliases))),
        links=tuple(dict.fromkeys(map(network_words.parse_link, asked.links))),
    )


def held(drivers: Drivers, spec: ContainerSpec) -> AbstractContextManager[None]:
    """Have the networks stay until the record says that a container has them. Raises NotFound: one has gone."""
    names = [asked.network for asked in spec.attachments if asked.network != BRIDGE]
    return _held(drivers, names) if names else nullcontext()


@contextmanager
def _held(drivers: Drivers, names: list[str]) -> Iterator[None]:
    with drivers.network.locked():
        for name in names:
            drivers.store.find_network(name)
        yield


def connect(drivers: Drivers, ref: str, container_ref: str, asked: Attachment | None = None) -> None:
    """Put a container on one more network. See ``Engine.connect_network``."""
    network = networks.find(drivers, ref)
    if network.name in _WITHOUT:
        raise Conflict(f"network {network.name} is what a container has instead of others", hint="name another network")
    wanted = _normal(network, replace(asked or Attachment(network=ref), network=network.name))
    drivers.network.check_attachment(network, wanted)
    container = reconcile.find(drivers, container_ref)
    with drivers.locks.hold(container.id, LOCK_TIMEOUT_S):
        before = _changeable(drivers, container.id)
        if _asked_of(before, network.name) is not None:
            raise Conflict(f"container {before.name} is on network {network.name} already", hint="disconnect it first")
        init = before.run.init if before.run and before.status.is_live else None
        if init is None:
            with _held(drivers, [network.name] if network.name != BRIDGE else []):
                drivers.store.modify(before.id, lambda c: _with(c, (*c.spec.networks, wanted)))
            return
        _connect_running(drivers, before, init, network, wanted)


def _connect_running(
    drivers: Drivers, before: Container, init: ProcessIdentity, network: Network, wanted: Attachment
) -> None:
    had = before.run.connections if before.run else ()
    for left in (one for one in had if one.network == network.name):  # of a call that was killed
        had = _take_away(drivers, before, init, left, had)
    with _held(drivers, [network.name] if network.name != BRIDGE else []):
        taken = networking.addresses_of_others(drivers, before.id)
        taken.update(address for one in had for address in (one.address, one.address6) if address)
        made = networking.choose(drivers, before.id, taken, wanted, _free_interface(had))
        # Recorded first: whatever comes, it can be taken away.
        connected = drivers.store.modify(before.id, lambda c: _with_one_more(c, had, made))
    all_of_it = connected.run.connections if connected.run else ()
    made = all_of_it[-1]
    try:
        netns = f"/proc/{init.pid}/ns/net"
        drivers.network.connect(before.id, all_of_it, netns, lambda: networking.running(drivers), only=made.interface)
        names.follow(drivers, before, connected)
        proxies.publish(drivers, connected)
        networking.announce(drivers, connected)
    except BaseException as error:
        with suppress(BentoError):  # the error that led here is the one to report
            _take_away(drivers, before, init, made, all_of_it)
        if isinstance(error, FileNotFoundError):  # its namespace
            raise _ended(before) from error
        raise
    drivers.store.modify(before.id, lambda c: _with(c, (*c.spec.networks, wanted)))


def disconnect(drivers: Drivers, ref: str, container_ref: str, *, force: bool = False) -> None:
    """Take a container off a network. See ``Engine.disconnect_network``."""
    try:
        container = reconcile.find(drivers, container_ref)
        name = _name_of(drivers, ref, container)
    except NotFound:
        if force:
            return
        raise
    with drivers.locks.hold(container.id, LOCK_TIMEOUT_S):
        before = _changeable(drivers, container.id)
        had = before.run.connections if before.run and before.status.is_live else ()
        found = next((one for one in had if one.network == name), None)
        asked = _asked_of(before, name)
        if found is None and asked is None:
            if force:
                return
            raise Conflict(f"container {before.name} is not on network {name}", hint="see bento inspect")
        if found is not None and before.run and before.run.init:
            _take_away(drivers, before, before.run.init, found, had, forgotten=asked)
        else:
            drivers.store.modify(before.id, lambda c: _without(c, name))
    if name == BRIDGE:
        default_network.lower_default(drivers)


def _name_of(drivers: Drivers, ref: str, container: Container) -> str:
    """Return the name of a network, which may be gone by now. Raises NotFound, Conflict."""
    names = [one.network for one in container.spec.networks]
    return ref if ref in names else networks.find(drivers, ref).name


def _changeable(drivers: Drivers, container_id: str) -> Container:
    """Return the record of a container whose networks can change now. Raises Conflict, WrongState."""
    container = drivers.store.get(container_id)
    mode = container.spec.network
    if mode == "host":
        raise Conflict(f"container {container.name} is on the host's network", hint="create it with other networks")
    if mode.startswith(CNI):
        raise Conflict(f"container {container.name} is on network {mode} alone", hint="create it with other networks")
    if mode.startswith(POD):
        raise Conflict(
            f"container {container.name} has the network of pod {mode.removeprefix(POD)[:12]}",
            hint="that has one for its life",
        )
    if sharing.container_of(mode):
        raise Conflict(
            f"container {container.name} has the network of container {sharing.container_of(mode)[:12]}",
            hint="connect or disconnect that one",
        )
    if container.status in (Status.STARTING, Status.STOPPING):
        raise WrongState(
            f"container {container.name} is {container.status.value}", hint="wait until that is done, and try again"
        )
    if container.status.is_live and container.run and not container.run.shows_processes:
        raise WrongState(
            f"container {container.name} has a network stack of its own, which reads its links when it starts",
            hint="stop it first",
        )
    if container.status.is_live and not reconcile.is_alive(drivers, container.run):  # its pid may be another's soon
        raise _ended(container)
    return container


def _ended(container: Container) -> WrongState:
    return WrongState(f"container {container.name} has just ended", hint="try again")


def _asked_of(container: Container, name: str) -> Attachment | None:
    return next((one for one in container.spec.networks if one.network == name), None)


def _free_interface(connections: Sequence[Connection]) -> str:
    taken = {one.interface for one in connections}
    return next(name for number in range(len(taken) + 1) if (name := f"eth{number}") not in taken)


def _take_away(
    drivers: Drivers,
    container: Container,
    init: ProcessIdentity,
    gone: Connection,
    had: Sequence[Connection],
    *,
    forgotten: Attachment | None = None,
) -> tuple[Connection, ...]:
    """Take a connection of one that runs away, and what was asked of that network; return those that are left.

    Ports that were published by it are published by the next one that is not internal. Where there is none, they wait
    for one: the monitor keeps them as long as it lives.
    """
    left = [one for one in had if one is not gone]
    heir = next((number for number, one in enumerate(left) if not one.internal), None)
    if gone.ports and heir is not None:
        left[heir] = replace(left[heir], ports=gone.ports)
    networking.finish(lambda: drivers.network.disconnect(container.id, gone, left, init.pid))

    def change(record: Container) -> Container:
        record = _with_run(record, tuple(left))
        if record.run and gone.ports and heir is None:
            record = replace(record, run=replace(record.run, idle_ports=gone.ports))
        return _without(record, forgotten.network) if forgotten is not None else record

    after = drivers.store.modify(container.id, change)
    if gone.ports and heir is not None:
        drivers.network.mend({**networking.running(drivers), container.id: left})
    names.follow(drivers, _with_run(container, tuple(had)), after)
    proxies.publish(drivers, after)
    return tuple(left)


def _with_run(container: Container, connections: tuple[Connection, ...]) -> Container:
    return replace(container, run=replace(container.run, connections=connections)) if container.run else container


def _with_one_more(container: Container, had: Sequence[Connection], made: Connection) -> Container:
    """Return the record with a connection more, which publishes the ports that have waited for one."""
    run = container.run
    if run is None or made.internal or not run.idle_ports:
        return _with_run(container, (*had, made))
    made = replace(made, ports=run.idle_ports)
    return replace(container, run=replace(run, connections=(*had, made), idle_ports=()))


def _with(container: Container, asked: tuple[Attachment, ...]) -> Container:
    """Return the record with these networks; the first one's name is what the container's network is called."""
    network = asked[0].network if asked else "none"
    return replace(container, spec=replace(container.spec, network=network, attachments=asked))


def _without(container: Container, name: str) -> Container:
    return _with(container, tuple(one for one in container.spec.networks if one.network != name))
