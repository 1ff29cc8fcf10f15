"""Podman, by its command line. It has no daemon: each command works on the container itself."""

from __future__ import annotations

from bento.drivers.engines.client import NEVER_S
from bento.drivers.engines.docker import DockerEngine


class PodmanEngine(DockerEngine):
    """EngineDriver on Podman."""

    name = "podman"
    never = str(NEVER_S)  # before Podman 5 it took no number below 0
