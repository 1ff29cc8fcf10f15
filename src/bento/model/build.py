"""What ``build`` is asked for."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

NETWORKS: Final = ("host", "none")
"""What the commands of a build may reach: what this machine reaches, or nothing."""


class BuildOptions(Struct, frozen=True, kw_only=True):
    """How an image is built.

    ``context``: a directory; "" where a Containerfile, or a tar archive of the context, comes on ``stdin_fd``.
    ``containerfile``: a path; "" is Containerfile or Dockerfile in the context; ``-`` is ``stdin_fd``. ``build_args``
    are the values of ARG. ``target``: the stage that is the last one; "" is that of the file. ``platform``: "" is this
    machine's. ``pull``: base images are fetched although they are here.
    """

    context: str
    containerfile: str = ""
    tags: tuple[str, ...] = ()
    build_args: tuple[tuple[str, str], ...] = ()
    target: str = ""
    platform: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    network: str = "host"
    uses_cache: bool = True
    pull: bool = False
    stdin_fd: int = 0
