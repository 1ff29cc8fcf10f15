"""nerdctl, the command line for containerd that speaks Docker's words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from bento.drivers.engines import client
from bento.drivers.engines.client import NEVER_S, SIGNAL_LABEL
from bento.drivers.engines.docker import DockerEngine

if TYPE_CHECKING:
    from bento.drivers.engines.base import ForeignContainer

_GRACE_LABEL: Final = "nerdctl/stop-timeout"
_POLICY_LABEL: Final = "containerd.io/restart.policy"
_GRACE_S: Final = 10.0


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

    def read(self, found: dict[str, Any], namespace: str) -> ForeignContainer:
        """See DockerEngine. What Docker has as fields of its own is among the labels here (nerdctl's dockercompat)."""
        labels = client.part(client.part(found, "Config"), "Labels")
        grace = client.text(labels, _GRACE_LABEL)
        return replace(
            super().read(found, namespace),
            image=client.text(found, "Image"),
            signal=client.signal_of(labels, SIGNAL_LABEL),
            grace_s=float(grace) if grace.isdigit() else _GRACE_S,
            restarts=client.text(labels, _POLICY_LABEL),
        )
