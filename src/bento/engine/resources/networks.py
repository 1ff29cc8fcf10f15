"""``network create|ls|inspect|rm|prune``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from bento import clock
from bento.engine.base.happened import tell_of_prune
from bento.engine.resources import networking
from bento.errors import BentoError, Conflict, NotFound, StateCorrupt, UsageError
from bento.lazy import LazyModule
from bento.model.disk import Pruned
from bento.model.event import NETWORK
from bento.model.network import BRIDGE, BUILTIN, GATEWAY_MODE, ROUTED, Connection, Network, NetworkOptions, builtin_id
from bento.units import new_id, parse_name

if TYPE_CHECKING:
    from bento.docker import network as docker_network
    from bento.engine.base import filters as filter_words
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container
else:  # a container that is started asks for none of it
    docker_network, filter_words = LazyModule("bento.docker.network"), LazyModule("bento.engine.base.filters")

_RESERVED: Final = (*BUILTIN, "default", "container")
"""Names that ``--network`` takes for something else."""
_BRIDGE_NAME: Final = "com.docker.network.bridge.name"
_MTU: Final = ("mtu", "com.docker.network.driver.mtu")
_MODES: Final = tuple(f"{GATEWAY_MODE}{version}" for version in (4, 6))
_OPTIONS: Final = (*_MTU, _BRIDGE_NAME, *_MODES)
# The kernel takes more, some of it for patterns, and gives two names to what its settings say of every link.
_LINK: Final = re.compile(r"(?!(?:all|default)$)[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}")
_MTU_MIN, _MTU_MIN6, _MTU_MAX = 68, 1280, 65535


def create(drivers: Drivers, options: NetworkOptions) -> Network:
    """Make a network, its record and its bridge, which is there until it is removed, or the machine goes down.

    Raises UsageError, Conflict (name, subnet or link is taken; no subnet is free), MissingTool, RuntimeFailed.
    """
    name = parse_name(options.name)
    if name in _RESERVED:
        raise Conflict(f"operation is not permitted on predefined {name} network", hint="choose another name")
    drivers.network.check(BRIDGE, ())
    for key in options.options:
        if key not in _OPTIONS:
            raise UsageError(f"unknown option {key!r} of a network", hint=f"use {', '.join(_OPTIONS)}")
    _check_families(options)
    _check_modes(options)
    asked = Network(
        id=new_id(),
        name=name,
        created_unix_ns=clock.wall_ns(),
        bridge=_bridge(options.options),
        subnets=options.subnets,
        internal=options.internal,
        attachable=options.attachable,
        mtu=_mtu(options),
        options=options.options,
        labels=options.labels,
    )
    with drivers.network.locked():  # no other command chooses the same
        others = drivers.store.list_networks()
        if any(other.name == name for other in others):
            raise Conflict(
                f"network with name {name} already exists",
                hint=f"choose another, or remove it: bento network rm {name}",
            )
        network = drivers.network.plan(
            asked, [drivers.network.default(), *others], ipv4=options.ipv4, ipv6=options.ipv6
        )
        drivers.store.put_network(network)
    try:
        # Also so that engines with other roots see what it takes.
        drivers.network.raise_network(network, lambda: networking.running(drivers))
    except BaseException:
        networking.finish(lambda: drivers.network.lower_network(network))
        drivers.store.remove_network(network.id)
        raise
    return network


def _bridge(options: Mapping[str, str]) -> str:
    """Return the name of its link that was asked for; "": none. Raises UsageError."""
    if _BRIDGE_NAME not in options:
        return ""
    name = options[_BRIDGE_NAME]
    if not _LINK.fullmatch(name):
        hint = "use 1 to 15 letters, digits, '-', '_' and '.', but neither all nor default"
        raise UsageError(f"bad name {name!r} of a bridge", hint=hint)
    return name


def _check_families(options: NetworkOptions) -> None:
    if options.ipv4:
        return
    if not _has_ipv6(options):
        raise UsageError("a network has IPv4, or IPv6, or both", hint="add --ipv6, or omit --ipv4=false")
    if any(":" not in subnet.subnet for subnet in options.subnets):
        raise UsageError("a network without IPv4 has no subnet of it", hint="omit --ipv4=false, or the --subnet")
    if f"{GATEWAY_MODE}4" in options.options:
        raise UsageError(f"{GATEWAY_MODE}4 is of IPv4, which the network does not have", hint="omit it")


def _check_modes(options: NetworkOptions) -> None:
    for key in (key for key in _MODES if key in options.options):
        mode = options.options[key]
        if mode not in ("nat", ROUTED):
            raise UsageError(f"bad mode {mode!r} of {key}", hint=f"use nat or {ROUTED}")
        if mode == ROUTED and options.internal:
            raise UsageError("an internal network is not routed: nothing leads into it", hint=f"omit -o {key}")
        if key.endswith("6") and not _has_ipv6(options):
            raise UsageError(f"{key} is of IPv6, which the network does not have", hint="add --ipv6, or omit it")


def _has_ipv6(options: NetworkOptions) -> bool:
    return options.ipv6 or any(":" in subnet.subnet for subnet in options.subnets)


def _mtu(options: NetworkOptions) -> int:
    given = [options.options[key] for key in _MTU if key in options.options]
    if not given:
        return 0
    if len(set(given)) > 1:
        raise UsageError(f"two MTUs: {given[0]} and {given[1]}", hint="give one")
    text, least = given[0], _MTU_MIN6 if _has_ipv6(options) else _MTU_MIN
    if not (text.isascii() and text.isdigit() and least <= int(text[:6]) <= _MTU_MAX):
        raise UsageError(f"bad MTU {text!r}", hint=f"give bytes from {least} to {_MTU_MAX}")
    return int(text)


def find(drivers: Drivers, ref: str) -> Network:
    """Return the network of this name, id, or unambiguous id prefix; a name wins. Raises NotFound, Conflict."""
    always = builtin(drivers)
    for network in always:
        if ref in (network.name, network.id):
            return network
    if ref == "default":
        return always[0]
    try:
        return drivers.store.find_network(ref)
    except NotFound:
        alike = [network for network in always if ref and network.id.startswith(ref)]
        if len(alike) != 1:
            raise
        return alike[0]


def builtin(drivers: Drivers) -> list[Network]:
    """Return the networks that are always there, the default one first."""
    others = [
        Network(id=builtin_id(name), name=name, created_unix_ns=0, bridge="", names=False) for name in BUILTIN[1:]
    ]
    return [drivers.network.default(), *others]


def list_all(drivers: Drivers, filters: Iterable[str] = ()) -> list[Network]:
    """Return the networks that pass all filters, by name. Raises UsageError for a bad filter."""
    passes = _parse_filters(filters)
    users = _pods_on(drivers, None) | _users(drivers.store.list())
    found = sorted([*builtin(drivers), *drivers.store.list_networks()], key=lambda network: network.name)
    return [network for network in found if passes(network, bool(users.get(network.name)))]


def inspect(drivers: Drivers, ref: str) -> dict[str, Any]:
    """Return a network in Docker's words, with the containers that run on it. Raises NotFound, Conflict."""
    network = find(drivers, ref)
    on_it = [
        (container, connection)
        for container in drivers.store.list()
        for connection in _connections(container)
        if connection.network == network.name
    ]
    return docker_network.describe(network, on_it)


def remove(drivers: Drivers, ref: str) -> Network:
    """Remove a network that no container has. Return it. Raises NotFound, Conflict, RuntimeFailed."""
    network = find(drivers, ref)
    if network.name in BUILTIN:
        raise Conflict(f"{network.name} is a pre-defined network and cannot be removed", hint="it takes no room")
    with drivers.network.locked():
        _check_unused(drivers, network)
    # Before it is forgotten: what is interrupted here, or fails, is done by the next try.
    networking.finish(lambda: drivers.network.lower_network(network))
    with drivers.network.locked():
        _check_unused(drivers, network)  # a container that came meanwhile raises it again
        drivers.store.remove_network(network.id)
    return network


def _check_unused(drivers: Drivers, network: Network) -> None:
    drivers.store.find_network(network.id)
    unknown: list[StateCorrupt] = []
    users = _users(drivers.store.list(on_unreadable=unknown.append)).get(network.name, [])
    users += _pods_on(drivers, unknown.append).get(network.name, [])
    if users:
        raise Conflict(
            f"network {network.name} is used by {', '.join(users)}", hint="remove these containers, or disconnect them"
        )
    if unknown:
        raise Conflict(
            f"network {network.name} may be used by {unknown[0].record_id[:12]}, whose record cannot be read",
            hint="remove that container first: bento rm -f",
        )


def prune(drivers: Drivers, *, filters: Iterable[str] = ()) -> Pruned:
    """Remove the networks that no container has. Raises UsageError for a bad filter; other errors are in the result."""
    passes = filter_words.parse_prune(filters)
    gone: list[str] = []
    errors: list[BentoError] = []
    for network in drivers.store.list_networks():
        if not passes(network.labels, network.created_unix_ns):
            continue
        try:
            remove(drivers, network.id)
        except (Conflict, NotFound):  # a container has it, or another command was quicker
            continue
        except BentoError as error:
            errors.append(error)
            continue
        gone.append(network.name)
    tell_of_prune(drivers, NETWORK, 0)
    return Pruned(networks=tuple(gone), errors=tuple(errors))


def _users(containers: Iterable[Container]) -> dict[str, list[str]]:
    """Return the names of the containers that have each network."""
    found: dict[str, list[str]] = {}
    for container in containers:
        asked = [attachment.network for attachment in container.spec.networks]
        for name in dict.fromkeys(asked or [container.spec.network]):
            found.setdefault(name, []).append(container.name)
    return found


def _pods_on(drivers: Drivers, on_unreadable: Callable[[StateCorrupt], None] | None) -> dict[str, list[str]]:
    """Return the pods that have each network, or will have it when they are started again."""
    found: dict[str, list[str]] = {}
    for pod in drivers.store.list_pods(on_unreadable=on_unreadable):
        found.setdefault(pod.settings.network, []).append(f"pod {pod.name}")
    return found


def _connections(container: Container) -> Iterator[Connection]:
    if container.run is not None and container.status.is_live:
        yield from container.run.connections


_Test = Callable[[Network, bool, str], bool]  # a network, whether a container has it, and the filter's value


def _is_dangling(network: Network, is_used: bool, value: str) -> bool:
    if value not in ("true", "1", "false", "0"):
        raise UsageError(f"bad filter 'dangling={value}'", hint="use dangling=true or dangling=false")
    is_dangling = not is_used and network.name not in BUILTIN
    return is_dangling == (value in ("true", "1"))


def _is_type(network: Network, _: bool, value: str) -> bool:
    if value not in ("custom", "builtin"):
        raise UsageError(f"bad filter 'type={value}'", hint="use type=custom or type=builtin")
    return (network.name in BUILTIN) == (value == "builtin")


def _is_called(network: Network, _: bool, value: str) -> bool:
    try:
        return re.search(value, network.name) is not None
    except re.error as error:
        raise UsageError(f"bad filter 'name={value}': {error}", hint="it is a regular expression") from None


_FILTERS: Final[dict[str, _Test]] = {
    "dangling": _is_dangling,
    "driver": lambda network, _, value: docker_network.driver_of(network.name) == value,
    "id": lambda network, _, value: network.id.startswith(value),
    "label": lambda network, _, value: filter_words.has_label(network.labels, value),
    "label!": lambda network, _, value: not filter_words.has_label(network.labels, value),
    "name": _is_called,
    "scope": lambda network, _, value: value == docker_network.SCOPE,
    "type": _is_type,
}


def _parse_filters(filters: Iterable[str]) -> Callable[[Network, bool], bool]:
    """Return a test of whether a network passes; values of one key are alternatives, but labels. Raises UsageError."""
    wanted = filter_words.split(filters, _FILTERS)
    for key, values in wanted.items():
        for value in values:
            _FILTERS[key](
                Network(id="", name="", created_unix_ns=0, bridge=""), False, value
            )  # a value that means nothing is refused now

    def passes(network: Network, is_used: bool) -> bool:
        return all(
            (all if key.startswith("label") else any)(_FILTERS[key](network, is_used, value) for value in values)
            for key, values in wanted.items()
        )

    return passes
