"""What a request for a build says: the parameters of ``POST /build``, and the header ``X-Registry-Config``."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from binascii import Error
from pathlib import PurePosixPath
from typing import Final

import msgspec
from msgspec import Struct

from bento.api_docker.bodies.registry import Auth, read_credentials
from bento.api_docker.http.query import Query
from bento.errors import UsageError
from bento.model.transfer import BuildOptions
from bento.parse.images import parse_registry

_NETWORKS: Final = {"": "host", "default": "host", "host": "host", "none": "none"}
_NOTHING: Final = ("", "0", "null", "[]", "{}", "false")
# The steps of a build run in this machine's own cgroup and namespaces, by chroot isolation.
_REFUSED: Final = (
    "remote", "extrahosts", "memory", "memswap", "cpushares", "cpusetcpus", "cpusetmems", "cpuperiod", "cpuquota",
    "cgroupparent", "shmsize", "ulimits", "squash", "outputs", "securityopt", "isolation",
)  # fmt: skip


class BuildAsked(Struct, frozen=True):
    """What is to be built, whether its id alone is printed, and user and password by registry."""

    options: BuildOptions
    quiet: bool
    auths: dict[str, tuple[str, str]]


def read_build(query: Query, registries: str) -> BuildAsked:
    """Return it. ``registries``: the header. Raises UsageError."""
    if query.text("version") == "2":
        raise UsageError("Bento builds by buildah, and not by BuildKit", hint="use the classic builder")
    for name in _REFUSED:
        if query.text(name) not in _NOTHING:
            raise UsageError(f"{name} of a build is not supported", hint="omit it")
    network = query.text("networkmode")
    if network not in _NETWORKS:
        raise UsageError(f"the network of a build is default, host or none, and not {network!r}")
    arguments = query.document("buildargs", dict[str, str | None]) or {}
    options = BuildOptions(
        context="",  # it comes as an archive
        containerfile=_inside(query.text("dockerfile")),
        tags=tuple(tag for tag in query.texts("t") if tag),
        build_args=tuple((key, value) for key, value in arguments.items() if value is not None),
        target=query.text("target"),
        platform=query.text("platform"),
        labels=tuple((query.document("labels", dict[str, str]) or {}).items()),
        network=_NETWORKS[network],
        uses_cache=not query.flag("nocache"),
        pull=query.flag("pull"),
    )
    return BuildAsked(options, query.flag("q"), _auths(registries))


def _inside(name: str) -> str:
    """Return the path of a Dockerfile in the context."""
    path = PurePosixPath(name)
    if ".." in path.parts or path.is_absolute() or "\0" in name or name == "-":
        raise UsageError(f"the Dockerfile {name!r} is not in the context", hint="give its path in the archive")
    return name


def _auths(text: str) -> dict[str, tuple[str, str]]:
    try:
        padded = text + "=" * (-len(text) % 4)
        given = msgspec.json.decode(urlsafe_b64decode(padded) or b"{}", type=dict[str, Auth])
    except (Error, ValueError, msgspec.MsgspecError):
        raise UsageError("bad X-Registry-Config", hint="it is JSON in base64url") from None
    found = {}
    for registry, each in given.items():
        if credentials := read_credentials(each):
            found[parse_registry(registry)] = (credentials.user, credentials.password)
    return found
