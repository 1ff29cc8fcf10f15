"""``create``: check what was asked for, merge in the image's defaults, write the record."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento import clock, log
from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.engine.base.fd_limits import check_limits
from bento.engine.base.find_image import find_image
from bento.engine.lifecycle import connecting, sandboxing, sharing
from bento.engine.resources import beside, id_ranges, in_pod, logs, mounting, networking, units
from bento.engine.stop.hooks import check_hooks
from bento.errors import Conflict, NotFound, UsageError
from bento.model.container import Container, ContainerSettings, ContainerSpec
from bento.model.create import CreateOptions
from bento.model.health import OnUnhealthy
from bento.model.image import CMD, CMD_SHELL, NO_CHECK, Healthcheck, Image, ImageConfig
from bento.model.stop import StopSettings
from bento.oci import limits, resources
from bento.oci.platform import Platform, host_platform, runs_on
from bento.parse.container import parse_requirement
from bento.parse.environment import merge_env
from bento.parse.mounts import parse_volumes_from
from bento.parse.stop import parse_method
from bento.stop.methods import choose
from bento.units import new_id, parse_name, parse_signal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bento.drivers.runtime.base import RuntimeDriver
    from bento.engine.base.drivers import Drivers

_SYSTEM_COMMAND = "/sbin/init"
_NAME_ATTEMPTS = 8
_FIRST = [
    "brisk",
    "calm",
    "crisp",
    "deft",
    "eager",
    "fresh",
    "glad",
    "keen",
    "lucid",
    "mellow",
    "neat",
    "plain",
    "quick",
    "ready",
    "sharp",
    "tidy",
    "warm",
]
_SECOND = [
    "almond",
    "barley",
    "carrot",
    "daikon",
    "endive",
    "fennel",
    "ginger",
    "kombu",
    "lotus",
    "miso",
    "nori",
    "okra",
    "plum",
    "radish",
    "sesame",
    "tofu",
    "udon",
]


def create(drivers: Drivers, options: CreateOptions, container_id: str = "") -> Container:
    """Make a container that can be started. Nothing runs, nothing is mounted.

    ``container_id``: of ``new_id``, where it must be known before this returns.

    Raises UsageError, NotFound (image), Conflict (name), StorageUnusable, MissingTool (runtime); then nothing is left.
    """
    _check_combinations(options)
    options, pod = in_pod.settle(drivers, options)
    name = parse_name(options.name) if options.name is not None else ""
    image = find_image(drivers, options.image)  # the most likely mistake is reported first
    runtime = drivers.runtime(options.runtime)
    network = drivers.settings.network if runtime.has_networks else "none"
    options, discarded = _without_ports(connecting.settle(drivers, _published(options, image.config, network)))
    networking.check(
        drivers,
        options.network,
        options.ports.published,
        drain=options.stop.drain,
        attachments=options.attachments,
    )
    if options.files.read_only and options.files.read_only_tmpfs:
        options = replace(options, files=replace(options.files, mounts=mounting.with_writable(options.files.mounts)))
    mounting.check(options.files.mounts)
    limits.check(options.limits.ulimits)
    unobeyed = sandboxing.check(options)
    beside.check_devices(drivers, options.sandbox.cdi_devices)
    check_hooks((*options.stop.pre_stop, *options.stop.post_stop))
    options = replace(
        options,
        log=logs.settle(options.log, drivers.settings),
        cgroups=units.settle(drivers, options.cgroups, in_pod=pod is not None),
        namespaces=sharing.resolve(drivers, options.namespaces),
    )
    required = [_required(drivers, ref) for ref in options.requires]
    healthy = tuple(dict.fromkeys(needed_id for needed_id, is_healthy in required if is_healthy))
    shared = map(sharing.container_of, (options.namespaces.pid, options.namespaces.ipc, options.network))
    requires = tuple(dict.fromkeys(filter(None, [*(one for one, _ in required), *shared])))
    givers = [(drivers.store.find(ref).id, ro) for ref, ro in map(parse_volumes_from, options.files.volumes_from)]
    drivers.storage.check()
    with ExitStack() as held:
        # No command can remove them meanwhile; these come before any lock on layers.
        for needed_id in sorted({*requires, *(giver for giver, _ in givers)}):
            held.enter_context(drivers.locks.hold(needed_id, LOCK_TIMEOUT_S))
            drivers.store.get(needed_id)
        held.enter_context(in_pod.held(drivers, pod, runtime, options))
        held.enter_context(id_ranges.held(drivers, options))
        held.enter_context(drivers.images.gc_lock())  # from finding the image to the record that stands on its layers
        options = beside.with_image_ids(drivers, _with_mounts_of(drivers, options, givers))
        container_id = container_id or new_id()
        spec = _merge(options, find_image(drivers, options.image), container_id, str(runtime.path), requires)
        spec = replace(spec, requires_healthy=healthy, notes=(*spec.notes, *discarded, *unobeyed))
        spec = id_ranges.given(drivers, in_pod.placed(_limited(drivers, spec), pod))
        _check_whole(spec, runtime)
        return _make(drivers, name, _record(container_id, spec))


def _check_whole(spec: ContainerSpec, runtime: RuntimeDriver) -> None:
    """Refuse what only shows once all that the image says is known."""
    _check_health(spec)
    runtime.check(spec)
    mounting.check(spec.files.mounts)


def _record(container_id: str, spec: ContainerSpec) -> Container:
    for note in spec.notes:
        log.warning(note)
    return Container(id=container_id, name="", created_unix_ns=clock.wall_ns(), spec=spec, notes=spec.notes)


def _published(options: CreateOptions, config: ImageConfig, network: str) -> CreateOptions:
    """Return the options with all ports to be published, and the network that is meant. Raises UsageError."""
    ports = options.ports
    if ports.publish_all:
        exposed = (*config.exposed_ports, *ports.exposed)
        ports = replace(ports, published=networking.with_exposed(ports.published, exposed))
    return replace(options, ports=ports, network=networking.resolve(options.network, ports.published, network))


def _without_ports(options: CreateOptions) -> tuple[CreateOptions, tuple[str, ...]]:
    """Return the options without ports where the network can publish none, and a note that says so, as Docker does."""
    if options.network not in ("host", "none") or not options.ports.published:
        return options, ()
    reason = "the container's ports are the machine's" if options.network == "host" else "there is no network"
    note = f"no port is published with --network {options.network}: {reason}"
    return replace(options, ports=replace(options.ports, published=(), publish_all=False)), (note,)


def _limited(drivers: Drivers, spec: ContainerSpec) -> ContainerSpec:
    """Return the spec with its limits as they are kept. Raises UsageError for one that cannot be."""
    asked = replace(spec.resources, **resources.normal(spec.resources))
    sandboxing.check_oom_score(spec.limits.oom_score_adj)
    if resources.given(asked):
        host = drivers.processes.host_limits()
        resources.check(asked, host)
        sandboxing.check_blocks(device.path for device in resources.devices(asked))
        asked = replace(asked, memory_swap_bytes=resources.with_swap(asked, host))
    if spec.node.hugepages:
        kept = resources.kept_pages(spec.node.hugepages, drivers.processes.host_limits())
        spec = replace(spec, node=replace(spec.node, hugepages=kept))
    return replace(spec, resources=asked)


def _with_mounts_of(drivers: Drivers, options: CreateOptions, givers: list[tuple[str, bool]]) -> CreateOptions:
    """Return the options with the mounts of other containers, and those by their ids."""
    mounts = options.files.mounts
    for giver, read_only in givers:
        mounts = mounting.inherit(mounts, drivers.store.get(giver), read_only=read_only)
    names = tuple(f"{giver}:ro" if read_only else giver for giver, read_only in givers)
    return replace(options, files=replace(options.files, mounts=mounts, volumes_from=names))


def _check_combinations(options: CreateOptions) -> None:
    check_limits()
    if options.auto_remove and options.restart.name != "no":
        raise UsageError("--rm and --restart exclude each other", hint="omit one of them")
    if options.system and options.init:
        raise UsageError("--system and --init exclude each other", hint="a system container brings its own init")
    if options.stop.method:
        choose(method=parse_method(options.stop.method), command=options.stop.command, is_system=options.system)


def _make(drivers: Drivers, name: str, container: Container) -> Container:
    with drivers.locks.hold(container.id, 0.0):  # a record whose directories are still to come is no leftover
        try:  # Ctrl-C may come as soon as the record is written
            with connecting.held(drivers, container.spec):
                container = _add(drivers, name, container)
            drivers.storage.prepare(container.id)
            mounting.make(drivers, container)
        except BaseException:
            mounting.let_go(drivers, container, remove=True)
            drivers.storage.remove(container.id)
            drivers.store.remove(container.id)
            raise
    return container


def _add(drivers: Drivers, name: str, container: Container) -> Container:
    named = replace(container, name=name or _free_name(drivers, container.id))
    try:
        drivers.store.add(named)
    except Conflict:
        if name:
            raise
        named = replace(
            named, name=f"{named.name}_{container.id[:6]}"
        )  # another command was quicker to take the free one
        drivers.store.add(named)
    return named


def _required(drivers: Drivers, text: str) -> tuple[str, bool]:
    """Return the id, and whether it is to be healthy.

    Only what exists already can be required, so requirements never go round in a circle.
    """
    ref, is_healthy = parse_requirement(text)
    container = drivers.store.find(ref)
    if container.spec.auto_remove:
        raise UsageError(
            f"container {container.name} cannot be required: it was made with --rm", hint="make it without --rm"
        )
    if is_healthy and not container.spec.health.is_checked:
        raise UsageError(
            f"container {container.name} has no health check, and is never healthy", hint="give it a --health-cmd"
        )
    return container.id, is_healthy


def _check_health(spec: ContainerSpec) -> None:
    check = spec.health.check
    if check is not None and not check.test:
        raise UsageError(
            f"there is no health check to have these times: image {spec.image} has none", hint="--health-cmd"
        )
    if spec.sdnotify == "healthy" and not spec.health.is_checked:
        raise UsageError("--sdnotify healthy needs a health check", hint="give a --health-cmd")
    if spec.health.on_failure is not OnUnhealthy.NONE and not spec.health.is_checked:
        raise UsageError("--health-on-failure needs a health check", hint="give a --health-cmd")


def _health(asked: Healthcheck | None, of_image: Healthcheck | None) -> Healthcheck | None:
    """Return the check: what was not asked for is the image's, as in Docker. One that was turned off has no times."""
    if asked is None or of_image is None or asked.test == (NO_CHECK,):
        return asked or of_image
    given = {name: value for name in Healthcheck.__struct_fields__ if (value := getattr(asked, name))}
    return replace(of_image, **given)


def _merge(
    options: CreateOptions, image: Image, container_id: str, runtime: str, requires: tuple[str, ...]
) -> ContainerSpec:
    config = image.config
    entrypoint, command = _program(options, config)
    settings = {name: getattr(options, name) for name in ContainerSettings.__struct_fields__}
    settings["stop"] = _stop(options, config)
    settings["files"] = replace(options.files, mounts=mounting.complete(options.files.mounts, config.volumes))
    exposed = tuple(dict.fromkeys((*config.exposed_ports, *options.ports.exposed)))
    settings["ports"] = replace(options.ports, exposed=exposed)
    settings["health"] = replace(options.health, check=_health(options.health.check, config.healthcheck))
    return ContainerSpec(
        **settings,
        image=options.image_name or options.image,
        image_id=image.id,
        layers=image.layers,
        entrypoint=entrypoint,
        command=command,
        env=merge_env(config.env, options.env),
        workdir=options.workdir or config.workdir or "/",
        user=options.user if options.user is not None else config.user,
        hostname=options.hostname or "",
        network=options.network,
        labels=config.labels | options.labels,
        requires=requires,
        runtime=runtime,
        notes=(
            *_platform_notes(options.image, image),
            *logs.notes(options.log),
            *_health_notes(options.image, config),
        ),
    )


def _program(options: CreateOptions, config: ImageConfig) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return entry point and command. Docker's rule: an entry point that was given resets the image's command."""
    entrypoint = config.entrypoint if options.entrypoint is None else options.entrypoint
    inherited = config.command if options.entrypoint is None else ()
    command = options.command or inherited
    if options.system and not (*entrypoint, *command):
        command = (_SYSTEM_COMMAND,)
    if not (*entrypoint, *command):
        raise UsageError(f"no command given, and image {options.image} has none", hint="name one after the image")
    if "" in (*entrypoint, *command)[:1]:
        raise UsageError("the command is an empty word", hint="name a program")
    return entrypoint, command


def _stop(options: CreateOptions, config: ImageConfig) -> StopSettings:
    asked = options.stop
    return replace(
        asked,
        signal=_stop_signal(options.image, config) if asked.signal is None else asked.signal,
        method=parse_method(asked.method) if asked.method else "",
    )


def _stop_signal(name: str, config: ImageConfig) -> int | None:
    if not config.stop_signal:
        return None
    try:
        return parse_signal(config.stop_signal)
    except UsageError:
        raise UsageError(
            f"image {name} names an unknown stop signal: {config.stop_signal!r}", hint="give one by --stop-signal"
        ) from None


def _platform_notes(name: str, image: Image) -> tuple[str, ...]:
    own, host = Platform(image.os, image.architecture, image.variant), host_platform()
    if runs_on(own, host):
        return ()
    return (f"image {name} is for {own}, and this machine is {host}: its programs may not run",)


def _health_notes(name: str, config: ImageConfig) -> tuple[str, ...]:
    kind = config.healthcheck.test[0] if config.healthcheck and config.healthcheck.test else NO_CHECK
    if kind in (CMD, CMD_SHELL, NO_CHECK):
        return ()
    return (f"the health check of image {name} is of an unknown kind, {kind!r}, and is not carried out",)


def _free_name(drivers: Drivers, container_id: str) -> str:
    """A name people can say; the id decides, so no list of taken names is needed first."""
    for name in drawn_names(container_id):
        try:
            drivers.store.find(name)
        except NotFound:
            break
    return name


def drawn_names(container_id: str) -> Iterator[str]:
    """Yield names, of containers or pods, that people can say; the last one no other id has."""
    digits = int(container_id[:16], 16)
    for attempt in range(_NAME_ATTEMPTS):
        value = digits >> (attempt * 4)
        name = f"{_FIRST[value % len(_FIRST)]}_{_SECOND[value // 64 % len(_SECOND)]}"
        yield name
    yield f"{name}_{container_id[:6]}"
