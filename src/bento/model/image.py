"""An image: a stack of root filesystem layers and the defaults of the containers made from it."""

from __future__ import annotations

from msgspec import Struct


class ImageConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of an OCI image configuration that a container inherits."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    stop_signal: str = ""
    labels: dict[str, str] = {}
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


class Image(Struct, frozen=True, kw_only=True):
    """``id`` is ``sha256:HEX`` of the content; ``layers`` are directories, topmost first."""

    id: str
    name: str
    layers: tuple[str, ...]
    config: ImageConfig
    created_unix_ns: int
    size_bytes: int
