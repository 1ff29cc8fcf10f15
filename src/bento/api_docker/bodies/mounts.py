"""Mounts: ``Binds``, ``Mounts``, ``Tmpfs`` and ``Volumes``."""

from __future__ import annotations

from msgspec.structs import replace

from bento.api_docker.bodies import containers as bodies
from bento.errors import UsageError
from bento.model.container import PROPAGATIONS, VOLUME, Mount
from bento.parse.mounts import parse_tmpfs, parse_volume


def read_mounts(body: bodies.Create, host: bodies.Host) -> tuple[Mount, ...]:
    """Return all that is to be mounted; a volume of the body that is mounted otherwise already is left out.

    Raises UsageError.
    """
    found = [_bound(parse_volume(text)) for text in host.Binds or ()]
    found += [_mount(each) for each in host.Mounts or ()]
    found += [parse_tmpfs(f"{path}:{options}" if options else path) for path, options in (host.Tmpfs or {}).items()]
    taken = {mount.destination for mount in found}
    found += [parse_volume(path) for path in body.Volumes or () if path not in taken]
    return tuple(found)


def _bound(mount: Mount) -> Mount:
    """Return what ``-v`` asks for: by Docker's daemon the directory on the host is made where it is missing."""
    return replace(mount, make_source=True) if mount.kind == "bind" else mount


def _mount(asked: bodies.Mount) -> Mount:
    kind, source, target = asked.Type or "", asked.Source or "", asked.Target or ""
    if not target.startswith("/"):
        raise UsageError(f"invalid mount config for type {kind!r}: invalid mount path: {target!r}: it must be absolute")
    if asked.ClusterOptions or kind in ("cluster", "npipe", "image"):
        raise UsageError(f"mounts of type {kind!r} are not supported", hint="use bind, volume or tmpfs")
    match kind:
        case "bind":
            return _bind(asked, source, target)
        case "volume":
            return _volume(asked, source, target)
        case "tmpfs":
            return _tmpfs(asked, source, target)
        case _:
            raise UsageError(f"mount type {kind!r} unknown", hint="use bind, volume or tmpfs")


def _bind(asked: bodies.Mount, source: str, target: str) -> Mount:
    if not source.startswith("/"):
        raise UsageError(f"invalid mount config for type 'bind': {source!r} is no absolute path")
    options = asked.BindOptions or bodies.BindWords()
    propagation = options.Propagation or ""
    if propagation and propagation not in PROPAGATIONS:
        raise UsageError(f"invalid propagation mode: {propagation}", hint=f"use {', '.join(sorted(PROPAGATIONS))}")
    if options.ReadOnlyForceRecursive:
        raise UsageError("ReadOnlyForceRecursive is not supported", hint="mount what is below read-only, too")
    words = (propagation,) if propagation else ()
    return Mount(
        kind="bind",
        source=source,
        destination=target,
        read_only=bool(asked.ReadOnly),
        read_only_flat=bool(asked.ReadOnly and options.ReadOnlyNonRecursive),
        make_source=bool(options.CreateMountpoint),
        options=(*words, "bind") if options.NonRecursive else words,
    )


def _volume(asked: bodies.Mount, source: str, target: str) -> Mount:
    options = asked.VolumeOptions or bodies.VolumeWords()
    driver = options.DriverConfig or bodies.DriverWords()
    if (driver.Name or "local") != "local":
        raise UsageError(f"volume driver {driver.Name!r} is not supported", hint="use local")
    if options.Subpath or driver.Options:
        raise UsageError(
            "a mount's own Subpath and DriverConfig.Options are not supported", hint="make the volume first"
        )
    return Mount(
        kind=VOLUME,
        source=source,
        destination=target,
        read_only=bool(asked.ReadOnly),
        no_copy=bool(options.NoCopy),
    )


def _tmpfs(asked: bodies.Mount, source: str, target: str) -> Mount:
    if source:
        raise UsageError("invalid mount config for type 'tmpfs': a source must not be given")
    options = asked.TmpfsOptions or bodies.TmpfsWords()
    words = [f"size={options.SizeBytes}"] if options.SizeBytes else []
    words += [f"mode={options.Mode:o}"] if options.Mode else []
    words += ["=".join(pair) for pair in options.Options or ()]
    return Mount(kind="tmpfs", destination=target, read_only=bool(asked.ReadOnly), options=tuple(words))
