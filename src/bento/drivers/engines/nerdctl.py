"""nerdctl, the command line for containerd that speaks Docker's words."""

from __future__ import annotations

import os

from bento.drivers.engines.client import NEVER_S
from bento.drivers.engines.docker import DockerEngine


class NerdctlEngine(DockerEngine):
    """EngineDriver on nerdctl. A name may begin with its containerd namespace: k8s.io/NAME."""

    name = "nerdctl"
    never = str(NEVER_S)

    def words(self, namespace: str) -> list[str]:
        """See DockerEngine."""
        return [self.name, "--namespace", namespace]

    def split(self, ref: str) -> tuple[str, str]:
        """See DockerEngine."""
        namespace, _, name = ref.rpartition("/")
        return namespace or os.environ.get("CONTAINERD_NAMESPACE") or "default", name

    def inspect_words(self, namespace: str, name: str) -> list[str]:
        """See DockerEngine."""
        return [*self.words(namespace), "inspect", "--mode", "dockercompat", "--type", "container", name]
