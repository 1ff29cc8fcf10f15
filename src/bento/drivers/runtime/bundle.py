"""The files a container is created from: config.json and what is bound over the image's /etc."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Struct

from bento import command
from bento.drivers.runtime import destinations, executable, nodes
from bento.drivers.runtime.filters import Filters
from bento.errors import KernelError, StorageUnusable, UsageError
from bento.files import owner, rootfs
from bento.files.smallfile import read_small
from bento.kernel import cgroup, mount, mountinfo
from bento.model.container import UNCONFINED, Container, ContainerSpec
from bento.model.exec import ExecOptions
from bento.model.namespaces.mapping import IdMapping
from bento.model.terminal import WindowSize
from bento.oci import capabilities, config, confinement, defaults, etc, limits, process, resources, seccomp
from bento.oci.user import ResolvedUser, resolve, with_groups

_INIT: Final = "catatonit"
_UPSTREAM: Final = "/run/systemd/resolve/resolv.conf"  # systemd-resolved(8), where /etc's names only itself
_NO_DEVICES: Final = "no device filter: this runtime may not load one here; no device nodes but /dev's work instead"
_NO_FILTER: Final = "no seccomp filter: this runtime was built without it"


def write(
    container: Container,
    *,
    bundle: Path,
    root: Path,
    namespaces: list[dict[str, str]],
    masked: tuple[str, ...],
    has_seccomp: bool,
    filters_devices: bool,
    knows_rro: bool,
    filters: Filters | None = None,
    size: WindowSize | None = None,
    hooks: Mapping[str, list[dict[str, Any]]] | None = None,
    place: Callable[[str, bool], str] | None = None,
) -> tuple[str, ...]:
    """Write the bundle's files for a root filesystem mounted at ``root``; return notes on what was clamped or left out.

    Run it in the mount namespace the runtime will see. Idempotent: files of an earlier run are replaced.

    Raises:
        UsageError: unknown user, a mount source that is not there, or one that nothing can be mounted below later; a
            mount or working directory that the links of the image lead where nothing is to be.
        MissingTool: no seccomp profile, or no init for ``--init``.
        StorageUnusable: the files cannot be written.
    """
    container = nodes.with_expanded(container)
    spec, own = container.spec, capabilities.own()
    clamped = _checked(spec)
    is_filtered = has_seccomp and _wants_filter(spec)
    held = process.capabilities(spec, filters_devices=filters_devices, has_filter=is_filtered, own=own)
    user = _user(spec.user, _accounts(root), spec)
    document = config.build(
        container,
        rootfs=root,
        bundle=bundle,
        user=user,
        namespaces=namespaces,
        seccomp=_filter(spec.sandbox.seccomp, held) if is_filtered else None,
        limits=clamped,
        init_path=command.find_program(_INIT, package=_INIT) if spec.init else None,
        masked=masked,
        cgroups_mode=cgroup.mode(),
        has_cgroup2=cgroup.has_version2(),
        kernel=seccomp.kernel_version(),
        filters_devices=filters_devices,
        knows_rro=knows_rro,
        files=frozenset(m.source for m in spec.files.mounts if m.kind == "bind" and not os.path.isdir(m.source)),
        devices=[nodes.describe(one, user) for one in (*nodes.of_host(spec), *spec.sandbox.devices)],
        blocks={one.path: nodes.number(nodes.status_of(one.path)) for one in resources.devices(spec.resources)},
        own=own,
        confined=confinement.words(spec.sandbox),
    )
    _take_compiled(document, container.id, filters)
    _write_etc(container, bundle)
    mounts, notes = destinations.check(document["mounts"], root=root, asked=spec.files.mounts, workdir=spec.workdir)
    _give_mounts(spec, user)
    document["process"] |= process.console_size(size)
    document |= {"hooks": hooks or {}, "mounts": _placed(mounts, place)}
    _write(bundle / "config.json", _encode(document), 0o600)  # it holds the environment: passwords, often
    return (*clamped.notes, *_left_out(spec, root, has_seccomp=has_seccomp, filters_devices=filters_devices), *notes)


def _placed(mounts: list[dict[str, Any]], place: Callable[[str, bool], str] | None) -> list[dict[str, Any]]:
    """Return the mounts with each bind made from where the runtime finds its source."""
    return [
        one | {"source": place(one["source"], "rbind" in one["options"])}
        if place is not None and one["type"] == "bind"
        else one
        for one in mounts
    ]


def _take_compiled(document: dict[str, Any], container_id: str, filters: Filters | None) -> None:
    """Have the runtime take a filter that it has compiled before, where there is one."""
    wanted = document["linux"].get("seccomp")
    if filters is not None and wanted is not None:
        document.setdefault("annotations", {}).update(filters.annotations(container_id, wanted))


def _left_out(spec: ContainerSpec, root: Path, *, has_seccomp: bool, filters_devices: bool) -> Iterator[str]:
    """Yield what the container has to do without, once the root filesystem has been made to refuse devices, too."""
    if not has_seccomp and _wants_filter(spec):
        yield _NO_FILTER
    if not (filters_devices or spec.sandbox.privileged):
        mount.refuse_devices(root)
        yield _NO_DEVICES


def _wants_filter(spec: ContainerSpec) -> bool:
    """Whether its system calls are to be filtered: of a privileged container only by what was named."""
    return bool(spec.sandbox.seccomp != UNCONFINED and (spec.sandbox.seccomp or not spec.sandbox.privileged))


def _give_mounts(spec: ContainerSpec, user: ResolvedUser) -> None:
    for mount_point in spec.files.mounts:
        if mount_point.kind == "bind" and mount_point.chown:
            ids = spec.namespaces.ids
            whose = (user.uid, user.gid) if ids is None else ids.to_machine((user.uid, user.gid))
            owner.give(mount_point.source, *whose)


def _checked(spec: ContainerSpec) -> limits.Limits:
    """Return the limits as they can be had. Raises UsageError for a mount source that is not there."""
    _check_sources(spec)
    wanted = limits.merge(spec.limits.ulimits)
    return limits.clamp(wanted, limits.allowance(limit.name for limit in wanted))


def _write_etc(container: Container, bundle: Path) -> None:
    for name, text in _etc_files(container).items():
        _write(bundle / name, text.encode(), 0o644)


def rewrite_etc(before: Container, after: Container, bundle: Path) -> None:
    """See ``RuntimeDriver.rewrite_etc``. Each file stays the one that is bound: it is written, and not replaced."""
    old, new = _etc_files(before), _etc_files(after)
    for name, text in new.items():
        with suppress(OSError):  # a file that cannot be read is none that was written here
            if text != old.get(name) and read_small(bundle / name) == old.get(name, "").encode():
                _write(bundle / name, text.encode(), 0o644)


def _etc_files(container: Container) -> dict[str, str]:
    return etc.etc_files(
        container,
        host_hosts=_host_file("/etc/hosts"),
        host_resolv_conf=_host_file("/etc/resolv.conf"),
        upstream_resolv_conf=_host_file(_UPSTREAM),
    )


def write_process(container: Container, extra: ExecOptions, *, bundle: Path, root: Path | None, path: Path) -> None:
    """Write the process that ``extra`` asks for, with the limits and rights that the container was created with.

    See ``RuntimeDriver.write_process``.
    """
    running = _read_process(bundle / "config.json")
    if root is not None and extra.workdir is not None:
        with destinations.Tree(root) as tree:
            tree.mount("/proc", None)
            destinations.check_workdir(tree, extra.workdir)
    accounts = None if root is None else _accounts(root)  # also where no user was named: runc reads them inside
    user = None
    if extra.user is not None:
        if accounts is None:
            raise UsageError(f"cannot look up user {extra.user!r}: the container's files cannot be seen")
        user = _user(extra.user, accounts, container.spec)
    _write(path, _encode(process.of_exec(container.spec, running, extra, user, capabilities.own())), 0o600)


def check_program(document: Path, root: Path, *, sees_mounts: bool) -> None:
    """See ``RuntimeDriver.check_program``. ``sees_mounts``: ``root`` has what the runtime has mounted in it."""
    entry = _read_process(document)
    words, variables = entry["args"], dict(each.partition("=")[::2] for each in entry["env"])
    has_init = words[0] in process.INIT_PATHS
    if not has_init and not sees_mounts:
        return  # such a runtime loads programs itself, and says what is wrong
    executable.check(
        words[2] if has_init else words[0],
        workdir=entry["cwd"],
        path=variables.get("PATH", ""),
        root=root,
        says_absent=has_init,
        hidden=() if sees_mounts else _destinations(document),
    )


class _Capabilities(Struct):
    bounding: list[str]


class _Process(Struct):
    """What is used of ``process`` (runtime-spec, config.md)."""

    args: Annotated[list[str], msgspec.Meta(min_length=1)]
    env: list[str]
    cwd: str
    capabilities: _Capabilities


class _Mount(Struct):
    destination: str


class _Document(Struct):
    process: _Process
    mounts: list[_Mount]


def _read_process(document: Path) -> dict[str, Any]:
    """Return the process of a config.json, or what is one alone, in a shape that can be relied on."""
    content = _content(document)
    try:
        whole = msgspec.json.decode(content, type=dict[str, Any])
        process: dict[str, Any] = whole.get("process", whole)
        msgspec.convert(process, _Process)
    except msgspec.DecodeError as error:
        raise _misshapen(document, error) from error
    return process


def _destinations(document: Path) -> list[str]:
    try:
        return [mount.destination for mount in msgspec.json.decode(_content(document), type=_Document).mounts]
    except msgspec.DecodeError as error:
        raise _misshapen(document, error) from error


def _content(document: Path) -> bytes:
    try:
        return read_small(document)
    except OSError as error:
        raise StorageUnusable(f"cannot read {document}: {error.strerror}", hint="start the container again") from error


def _misshapen(document: Path, error: msgspec.DecodeError) -> StorageUnusable:
    return StorageUnusable(f"cannot read {document}: {error}", hint="start the container again")


def _check_sources(spec: ContainerSpec) -> None:
    for asked in spec.files.mounts:
        if asked.kind == "bind" and not os.path.exists(asked.source):
            raise UsageError(f"cannot mount {asked.source}: no such file or directory", hint="make it first")
        if config.is_slave(asked) and not mountinfo.of_path(asked.source).receives:
            raise UsageError(
                f"{asked.source} is on a mount that is private on the host: later mounts do not reach the container",
                hint="mount --make-shared it, or omit rslave",
            )


def _mode(root: Path, path: str) -> int | None:
    try:
        fd = rootfs.open_in_root(root, path, os.O_PATH)
    except KernelError:
        return None
    try:
        return os.fstat(fd).st_mode
    finally:
        os.close(fd)


def _accounts(root: Path) -> tuple[str, str]:
    """Return the texts of the container's /etc/passwd and /etc/group, "" of one that is not there.

    Raises UsageError for what is no file: runc, which reads them inside, would wait for a FIFO's other end.
    """
    texts = []
    for path in ("/etc/passwd", "/etc/group"):
        mode = _mode(root, path)
        if mode is not None and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise UsageError(
                f"{path} in the container is a device node, a FIFO or a socket", hint="it has to be a file"
            )
        texts.append((rootfs.read_in_root(root, path) or b"").decode(errors="replace"))
    return texts[0], texts[1]


def _user(user: str, accounts: tuple[str, str], spec: ContainerSpec) -> ResolvedUser:
    passwd, group = accounts
    found = resolve(user, passwd=passwd, group=group, policy=spec.node.group_policy)
    found = with_groups(found, spec.sandbox.group_add, group=group)
    _check_mapped(found, spec.namespaces.ids)
    return found


def _check_mapped(user: ResolvedUser, ids: IdMapping | None) -> None:
    if ids is None:
        return
    try:
        for gid in user.groups:
            ids.to_machine((user.uid, gid))
    except ValueError as error:
        raise UsageError(
            f"the user cannot be had: the user namespace of the container has no id {error}",
            hint="give it more: --userns auto:size=N",
        ) from None


def _filter(profile: str, held: list[str]) -> dict[str, Any]:
    filtered = seccomp.of_user(profile, held) if profile else seccomp.for_capabilities(held)
    return seccomp.without_kexec(filtered) if profile and defaults.REBOOT in held else filtered


def _host_file(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:  # a host without one gives its containers an empty one
        return ""


def _encode(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document)


def _write(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with open(os.open(path, flags, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the caller's umask
            file.write(content)
    except OSError as error:
        raise StorageUnusable(f"cannot write {path}: {error.strerror}", hint="is the disk full?") from error
