"""The mounts and devices of the interface as Bento's."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import Final

from bento.api_cri.bodies.ids import read_mapping
from bento.api_cri.messages import Message, pb
from bento.errors import UsageError
from bento.model.container import IMAGE, Mount
from bento.model.namespaces.mapping import NOT_MAPPED, IdMapping
from bento.model.resources import Device
from bento.parse.sandbox import parse_cdi

_CDI: Final = "cdi.k8s.io/"
"""How keys of annotations begin whose values are names of devices, with commas between them."""


def read_mounts(mounts: Iterable[Message], ids: IdMapping | None) -> tuple[Mount, ...]:
    """Return the mounts of a container. ``ids``: of its user namespace. Raises UsageError for what does not fit."""
    return tuple(_read(mount, ids) for mount in mounts)


def _read(mount: Message, ids: IdMapping | None) -> Mount:
    place = mount.container_path
    if mount.HasField("image"):
        return _image(mount)
    if mount.recursive_read_only and not mount.readonly:
        raise UsageError(f"mount at {place}: recursive_read_only needs readonly")
    if mount.recursive_read_only and mount.propagation != pb.PROPAGATION_PRIVATE:
        raise UsageError(f"mount at {place}: recursive_read_only needs a propagation of its own (private)")
    is_mapped = bool(mount.uidMappings or mount.gidMappings)
    if is_mapped and read_mapping(mount.uidMappings, mount.gidMappings, f"mount at {place}") != ids:
        raise UsageError(f"mount at {place}: its ids are not those of the user namespace of the pod")
    options = {
        pb.PROPAGATION_PRIVATE: (),
        pb.PROPAGATION_HOST_TO_CONTAINER: ("rslave",),
        pb.PROPAGATION_BIDIRECTIONAL: (),
    }
    return Mount(
        kind="bind",
        source=mount.host_path,
        destination=_absolute(place),
        read_only=mount.readonly,
        read_only_flat=mount.readonly and not mount.recursive_read_only,
        options=(*options[mount.propagation], *(() if is_mapped or ids is None else (NOT_MAPPED,))),
        reaches_host=mount.propagation == pb.PROPAGATION_BIDIRECTIONAL,
    )


def _image(mount: Message) -> Mount:
    if not mount.readonly:
        raise UsageError(f"mount at {mount.container_path}: an image is mounted read-only alone", hint="set readonly")
    if mount.host_path:
        raise UsageError(f"mount at {mount.container_path}: an image and a path of the host exclude each other")
    return Mount(
        kind=IMAGE,
        source=mount.image.image,
        destination=_absolute(mount.container_path),
        read_only=True,
        sub_path=mount.image_sub_path,
    )


def _absolute(path: str) -> str:
    return posixpath.join("/", path)


def read_cdi(config: Message) -> tuple[str, ...]:
    """Return the devices of CDI, of the field and of the annotations that came before it. Raises UsageError."""
    said = [device.name for device in config.CDI_devices]
    keys = sorted(key for key in config.annotations if key.startswith(_CDI))
    said += [name for key in keys for name in config.annotations[key].split(",")]
    return tuple(dict.fromkeys(map(parse_cdi, said)))


def read_devices(devices: Iterable[Message]) -> tuple[Device, ...]:
    """Return the devices of a container."""
    return tuple(
        Device(
            host_path=device.host_path,
            path=device.container_path or device.host_path,
            access=device.permissions or "rwm",
        )
        for device in devices
    )
