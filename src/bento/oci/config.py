"""A container's ``config.json`` (runtime-spec 1.0: config.md, config-linux.md). Pure: a record in, a document out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bento.errors import UsageError
from bento.model.container import PROPAGATIONS, Container, ContainerSpec, Mount
from bento.model.namespaces.mapping import NOT_MAPPED, IdMapping
from bento.model.network import OF_OTHERS, POD
from bento.oci import defaults, etc, process, resources
from bento.oci.capabilities import NAMES
from bento.oci.limits import Limits
from bento.oci.user import ResolvedUser

SPEC_VERSION: Final = "1.0.2"
"""The oldest that has everything used here: crun 1.0 and runc 1.0 both accept it."""

SHM: Final = "/dev/shm"

SLAVES: Final = frozenset({"slave", "rslave"})
_TMPFS_OPTIONS: Final = ("noexec", "nosuid", "nodev", "mode=1777")
_OPPOSITES: Final = {"exec": "noexec", "suid": "nosuid", "dev": "nodev", "rw": "ro"}
"""Of two that contradict each other runc takes the last one, crun both: it is to get one."""
_MASK_OPTIONS: Final = ("nosuid", "noexec", "nodev", "ro", "mode=700", "size=4k")
_OPEN_TREE_KERNEL: Final = (5, 12)  # mount_setattr(2), which "rro" needs


def build(
    container: Container,
    *,
    rootfs: Path,
    bundle: Path,
    user: ResolvedUser,
    namespaces: list[dict[str, str]],
    seccomp: dict[str, Any] | None,
    limits: Limits,
    init_path: Path | None,
    masked: Sequence[str] = (),
    cgroups_mode: str = "v2",
    has_cgroup2: bool = True,
    kernel: tuple[int, int] = (5, 10),
    filters_devices: bool = True,
    knows_rro: bool = True,
    files: frozenset[str] = frozenset(),
    devices: Sequence[dict[str, Any]] = (),
    blocks: Mapping[str, tuple[int, int]] | None = None,
    own: frozenset[str] = frozenset(NAMES),
    confined: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return config.json's content.

    Args:
        container: the record; its spec already has the image's configuration merged in.
        rootfs: where the root filesystem will be mounted, absolute.
        bundle: directory that holds ``hosts``, ``hostname`` and ``resolv.conf`` (see ``etc_files``).
        user: the user that the process runs as, looked up in the root filesystem.
        namespaces: those of ``linux.namespaces`` that are not decided on here: the network's, and other containers'.
        seccomp: ``linux.seccomp``, or None for no filter.
        limits: what ``limits.clamp`` allowed.
        init_path: the init to put in front, on the host; None without ``--init``.
        masked: directories of the host's own userland to hide, for an image whose only layer is ``/``.
        cgroups_mode: v1, v2 or hybrid, as the runtime will see the host.
        has_cgroup2: whether the host has that hierarchy, visible to the runtime or not. A system container gets it.
        kernel: the running kernel; since 5.12 read-only bind mounts are read-only all the way down.
        filters_devices: whether the runtime can load the device cgroup's rules. Where it cannot, device nodes do not
            work on what the user mounts either, and none can be made; the root filesystem is for the caller.
        knows_rro: whether the runtime has that option; one that has not makes all below read-only by itself.
        files: the sources of bind mounts that are no directories: nothing is mounted below them, and crun 1.8
            opens the target of a recursive option as a directory.
        devices: ``linux.devices``, one for each that the spec has; of a privileged container all of the host.
        blocks: major and minor of each block device that the limits name, by its path.
        own: the capabilities that there are to give.
        confined: what ``confinement.words`` says.
    """
    spec = container.spec
    has_own_cgroup2 = spec.system and has_cgroup2
    held = process.capabilities(spec, filters_devices=filters_devices, has_filter=seccomp is not None, own=own)
    document: dict[str, Any] = {
        "ociVersion": SPEC_VERSION,
        "process": process.build(container, user, limits, held, confined or {}, has_init=init_path is not None),
        "root": {"path": str(rootfs), "readonly": spec.files.read_only},
        "mounts": _mounts(
            spec,
            bundle,
            init_path=init_path,
            masked=masked,
            is_rro=knows_rro and kernel >= _OPEN_TREE_KERNEL,
            has_devices=filters_devices or spec.sandbox.privileged,
            files=files,
            is_v1=cgroups_mode != "v2",
            system=defaults.system_mounts(has_cgroup2=has_own_cgroup2) if spec.system else [],
        ),
    }
    document["linux"] = _asked_of_linux(spec, seccomp, devices) | {
        "namespaces": [*_own_namespaces(spec), *namespaces],
        "cgroupsPath": (container.run.scope if container.run else "") + cgroups_path(container.id, spec.cgroup_parent),
        "rootfsPropagation": _propagation(spec),
        "resources": (_device_rules(spec, devices) if filters_devices else {}) | _kept(spec, blocks, cgroups_mode),
        "maskedPaths": masked_paths(spec),
        "readonlyPaths": _read_only_paths(spec, "v2" if has_own_cgroup2 else cgroups_mode),
    }
    return document | ({"hostname": etc.hostname(container)} if _has_own_uts(spec) else {})


def _kept(spec: ContainerSpec, blocks: Mapping[str, tuple[int, int]] | None, cgroups_mode: str) -> dict[str, Any]:
    """Return the limits, and what is asked of version 2 of cgroups by files. Raises UsageError: it is not there."""
    if spec.node.unified and cgroups_mode != "v2":
        raise UsageError("files of version 2 of cgroups are asked for, and this machine has version 1")
    unified = {"unified": spec.node.unified} if spec.node.unified else {}
    pages = [{"pageSize": size, "limit": limit_bytes} for size, limit_bytes in spec.node.hugepages.items()]
    return resources.build(spec.resources, blocks) | unified | ({"hugepageLimits": pages} if pages else {})


def _propagation(spec: ContainerSpec) -> str:
    """A root that is private cuts all below it off from the host, whatever a mount has asked for."""
    if any(mount.reaches_host for mount in spec.files.mounts):
        return "rshared"
    return "rslave" if any(is_slave(mount) for mount in spec.files.mounts) else "rprivate"


def is_slave(mount: Mount) -> bool:
    """Whether what the host mounts later below the source of a bind mount is to be seen in the container, too."""
    return not SLAVES.isdisjoint(mount.options)


def masked_paths(spec: ContainerSpec) -> list[str]:
    """Return what of /proc and /sys shows nothing."""
    if spec.node.masked_paths is not None and not spec.sandbox.privileged:
        return list(spec.node.masked_paths)
    return [] if shows_system_paths(spec) else list(defaults.MASKED_PATHS)


def shows_system_paths(spec: ContainerSpec) -> bool:
    """Whether nothing of /proc and /sys is hidden, or read-only, but by its own mode."""
    return spec.sandbox.privileged or spec.sandbox.shows_system_paths


def read_only_paths(spec: ContainerSpec) -> list[str]:
    """Return what of /proc and /sys is read-only."""
    if spec.node.read_only_paths is not None and not spec.sandbox.privileged:
        return list(spec.node.read_only_paths)
    return [] if shows_system_paths(spec) else list(defaults.READ_ONLY_PATHS)


def _read_only_paths(spec: ContainerSpec, cgroups_mode: str) -> list[str]:
    paths = read_only_paths(spec)
    if spec.sandbox.privileged:
        return paths
    if cgroups_mode == "hybrid":
        paths.append(defaults.HYBRID_READ_ONLY_PATH)
    return paths


def _own_namespaces(spec: ContainerSpec) -> list[dict[str, str]]:
    shared = {"pid": spec.namespaces.pid, "ipc": shares_ipc(spec), "cgroup": spec.namespaces.cgroup == "host"}
    kinds = [kind for kind in defaults.NAMESPACES if not shared.get(kind)]
    has_own_ids = spec.namespaces.ids is not None and not spec.namespaces.user.startswith(POD)
    own = (*(["user"] if has_own_ids else []), *kinds, *(["uts"] if _has_own_uts(spec) else []))
    return [{"type": kind} for kind in own]


def mappings(ids: IdMapping | None) -> dict[str, Any]:
    """Return the ids of a user namespace, also of one that is there already: runc 1.1 wants them of it, too."""
    if ids is None:
        return {}
    return {
        key: [{"containerID": one.inside, "hostID": one.outside, "size": one.size} for one in ranges]
        for key, ranges in (("uidMappings", ids.uids), ("gidMappings", ids.gids))
    }


def shares_ipc(spec: ContainerSpec) -> bool:
    """Whether the container is in an IPC namespace, and has a /dev/shm, that is another's."""
    return spec.namespaces.ipc == "host" or spec.namespaces.ipc.startswith(OF_OTHERS)


def _has_own_uts(spec: ContainerSpec) -> bool:
    return etc.owns_hostname(spec) and not spec.namespaces.uts.startswith(POD)


def _asked_of_linux(
    spec: ContainerSpec, seccomp: dict[str, Any] | None, devices: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    asked = mappings(spec.namespaces.ids) | ({} if seccomp is None else {"seccomp": seccomp})
    if devices:
        asked["devices"] = list(devices)
    if spec.sandbox.sysctls:
        asked["sysctl"] = {key.replace("/", "."): value for key, value in spec.sandbox.sysctls.items()}
    return asked


def _device_rules(spec: ContainerSpec, devices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if spec.sandbox.privileged:
        return {"devices": [{"allow": True, "access": "rwm"}]}
    asked = [
        {"allow": True, "access": device.access, **{key: node[key] for key in ("type", "major", "minor")}}
        for device, node in zip(spec.sandbox.devices, devices, strict=True)
        if device.access
    ]
    return {"devices": defaults.device_rules() + asked + list(map(_rule, spec.sandbox.device_rules))}


def _rule(text: str) -> dict[str, Any]:
    """Return an entry of the device cgroup's rules; all is left out (config-linux.md, "Allowed Device list")."""
    kind, numbers, access = text.split(" ")
    major, minor = numbers.split(":")
    said: dict[str, Any] = {"type": kind, **{k: int(v) for k, v in (("major", major), ("minor", minor)) if v != "*"}}
    return {"allow": True, "access": access, **said}


def cgroups_path(container_id: str, parent: str = "") -> str:
    """Return the container's cgroup below every hierarchy's root: flat, so that no parent is left over.

    ``parent``: of what is in a pod, whose it is. Where systemd has made a scope for it, it is below that.
    """
    return f"{parent}/bento-{container_id}"


def mount_points(container: Container) -> set[str]:
    """Return where the runtime makes an empty file or directory when the image has none, parents included."""
    spec = container.spec
    paths = [mount["destination"] for mount in (*defaults.mounts(), *defaults.system_mounts(has_cgroup2=True))]
    paths += [f"/etc/{name}" for name in etc.ETC_FILES]
    paths += [process.INIT_PATH_ON_ROOT, *(mount.destination for mount in spec.files.mounts)]
    paths += ["/run/notify"] if spec.sdnotify == "container" else []
    points = set()
    for path in paths:
        while path.strip("/"):
            points.add(path.rstrip("/"))
            path = path.rstrip("/").rpartition("/")[0]
    return points


def _mounts(
    spec: ContainerSpec,
    bundle: Path,
    *,
    init_path: Path | None,
    masked: Sequence[str],
    is_rro: bool,
    has_devices: bool,
    files: frozenset[str],
    system: list[dict[str, Any]],
    is_v1: bool,
) -> list[dict[str, Any]]:
    destinations = [mount.destination for mount in spec.files.mounts]
    replaced = {mount["destination"] for mount in system}
    shm_bytes = defaults.SHM_BYTES if spec.sandbox.shm_bytes is None else spec.sandbox.shm_bytes
    own = defaults.mounts(shm_bytes, is_open=spec.sandbox.privileged and not spec.files.read_only)
    mounts = [mount for mount in _with_shm(spec, bundle, own) if mount["destination"] not in replaced] + system
    # A system container's init makes what it needs there itself; and a mount of the user's below needs a mount point.
    if (
        is_v1
        and not (spec.system or spec.sandbox.privileged)
        and not any(_is_below(path, defaults.CGROUP) for path in destinations)
    ):
        mounts.append(defaults.read_only_hierarchies())
    if init_path is not None:
        mounts.append(
            _bind(str(init_path), process.init_destination(spec), "bind", "ro", "nosuid", "nodev", "rprivate")
        )
    if spec.layers == ("/",) and "/run" not in replaced:
        mounts.append(_tmpfs("/run", ("nosuid", "nodev", "mode=755")))
    if spec.layers == ("/",):
        # Not below a mount the user asked for: making the mount point would write into the user's directory.
        hidden = [path for path in _outermost(masked) if not any(_is_below(path, d) for d in ("/run", *destinations))]
        mounts += [_tmpfs(path, _MASK_OPTIONS) for path in hidden]
    mounts += [_bind(str(path), f"/etc/{path.name}", "bind", "rprivate") for path in etc.sources(spec, bundle)]
    mounts = [mount for mount in mounts if mount["destination"] not in destinations]
    mounts += [_asked(m, is_rro=is_rro and m.source not in files, has_devices=has_devices) for m in spec.files.mounts]
    # The shallow ones first: /data must not bury /data/cache. The user's stay behind ours where equally deep.
    mounts.sort(key=lambda mount: mount["destination"].rstrip("/").count("/"))
    return mounts


def _with_shm(spec: ContainerSpec, bundle: Path, mounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mounts with the shared memory that the container is to have: its own, another's, or none."""
    ipc = spec.namespaces.ipc
    if ipc != "none" and not shares_ipc(spec):
        return mounts
    kept = [mount for mount in mounts if mount["destination"] != SHM]
    source = SHM if ipc == "host" else str(bundle / "shm")
    return kept + ([] if ipc == "none" else [_bind(source, SHM, "bind", "rprivate", "nosuid", "noexec", "nodev")])


def _asked(mount: Mount, *, is_rro: bool, has_devices: bool) -> dict[str, Any]:
    if mount.kind == "tmpfs":
        options = [*_TMPFS_OPTIONS, *(("ro",) if mount.read_only else ()), *mount.options]
        return _tmpfs(mount.destination, _without_contradiction(options))
    asked = (option for option in mount.options if option != NOT_MAPPED)
    options = [*(() if "bind" in mount.options else ("rbind",)), *asked, *(() if has_devices else ("nodev",))]
    if mount.reaches_host:
        options.append("rshared")
    elif PROPAGATIONS.isdisjoint(mount.options):
        # With "rprivate" crun takes the bind itself for recursive.
        options.append("private" if "bind" in mount.options else "rprivate")
    if mount.read_only:
        options += ["ro", "rro"] if is_rro and not mount.read_only_flat else ["ro"]
    return _bind(mount.source, mount.destination, *options)


def _bind(source: str, destination: str, *options: str) -> dict[str, Any]:
    return {"destination": destination, "type": "bind", "source": source, "options": list(options)}


def _tmpfs(destination: str, options: Iterable[str]) -> dict[str, Any]:
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def _without_contradiction(options: Sequence[str]) -> list[str]:
    """Drop each option that a later one takes back, or gives another value."""
    last = {_topic(option): option for option in options}
    return [option for option in dict.fromkeys(options) if last[_topic(option)] == option]


def _topic(option: str) -> str:
    return _OPPOSITES.get(option, option).partition("=")[0]


def _is_below(path: str, parent: str) -> bool:
    return path == parent or path.startswith(parent + "/")


def _outermost(paths: Sequence[str]) -> list[str]:
    """Drop what lies below another one of the list: its mount point would be gone already."""
    ordered = sorted(set(paths))
    return [path for path in ordered if not any(_is_below(path, other) for other in ordered if other != path)]
