"""What is loaded where workers are forked: what they need to stop containers, start them again, and delete them.

Nothing of that is read from the files later: an upgrade may have replaced them. Other jobs import the rest themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import msgspec

from bento.kernel import resident
from bento.model.container import Container
from bento.model.pods import Pod
from bento.serving import jobs
from bento.wiring import load_for_keeper

_LATER: Final = (
    "bento.drivers.monitor.conmon", "bento.drivers.network.bridge", "bento.drivers.network.choosing",
    "bento.drivers.network.looking", "bento.drivers.network.raising", "bento.drivers.network.reserving",
    "bento.drivers.resolver.process", "bento.drivers.resolver.sockets", "bento.drivers.runtime.bundle",
    "bento.drivers.runtime.filters", "bento.drivers.state.derived", "bento.drivers.storage.overlay",
    "bento.engine.base.happened", "bento.engine.lifecycle.reconcile", "bento.engine.lifecycle.remove",
    "bento.engine.lifecycle.start", "bento.engine.pods.stop", "bento.engine.resources.default_network",
    "bento.engine.stop.stop", "bento.kernel.net.redirect", "bento.kernel.process.births", "bento.oci.seccomp",
)  # fmt: skip
"""Modules that the engine imports when it first uses them."""
_DECODED: Final = (Container, Pod, jobs.Job, jobs.Task)
"""Records whose decoder is made here: msgspec keeps what it has found out of a type, which takes as long as a stop."""


def load() -> None:
    """Import all of it, and let go of what was needed for that alone."""
    load_for_keeper()
    for name in _LATER:
        import_module(name)
    for kind in _DECODED:
        msgspec.json.Decoder(kind)
    resident.settle()
