"""What the zygote has ready: the modules that the verbs of daily use need, and what makes the first use of them slow.

Other verbs work, too; their child imports the rest when it is forked. What is listed here is in memory for as long as
the zygote is, so that is not everything.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec

from bento.cli import main as command_line
from bento.config import Settings
from bento.engine.base.worker import Message
from bento.kernel import resident
from bento.model.container import Container
from bento.model.image import Image
from bento.serving import jobs
from bento.wiring import Engine

VERBS: Final = (
    "run", "start", "stop", "restart", "exec", "kill", "rm", "wait", "ps", "inspect", "logs", "port", "top", "images",
    "network ls",
)  # fmt: skip
_LATER: Final = (
    "bento.cli.output.progress", "bento.drivers.image.base", "bento.drivers.image.store.image_store",
    "bento.drivers.monitor.conmon", "bento.drivers.monitor.conmon_exec", "bento.drivers.network.bridge",
    "bento.drivers.network.choosing", "bento.drivers.network.raising", "bento.drivers.network.reserving",
    "bento.drivers.processes.linux", "bento.drivers.runtime.bundle", "bento.drivers.runtime.detect",
    "bento.drivers.state.derived", "bento.drivers.state.sqlite", "bento.drivers.storage.overlay",
    "bento.drivers.tracer.process", "bento.drivers.tracer.tracer", "bento.drivers.usage.linux",
    "bento.engine.images.image_list", "bento.engine.images.pull", "bento.engine.lifecycle.create",
    "bento.engine.lifecycle.exec_", "bento.engine.lifecycle.remove", "bento.engine.lifecycle.signals",
    "bento.engine.lifecycle.start", "bento.engine.stop.stop", "bento.engine.views.inspect",
    "bento.engine.views.listing", "bento.engine.views.log_streams", "bento.engine.views.top",
    "bento.kernel.process.births", "bento.locks", "bento.parse.networks",
)  # fmt: skip
"""Modules that these verbs import when they first use them."""
_DECODED: Final = (Container, Image, Message, jobs.Job, jobs.Task)
"""Records whose decoder is made here: msgspec keeps what it has found out of a type, which takes ms."""


def load() -> None:
    """Import all of it, and let go of what was needed for that alone."""
    for verb in VERBS:
        command_line.parser_of(verb)
    for name in _LATER:
        import_module(name)
    for kind in _DECODED:
        msgspec.json.Decoder(kind)
    resident.settle()


def warm_up(directory: Path) -> None:
    """Do before a caller waits what makes the first command slow: pages become this process's own when written to.

    That is the way of ``ps``, with an empty engine below this directory.
    """
    command_line.prepare({}, "ps", [])
    scratch = directory / "warm"
    with Engine(Settings(root=scratch / "root", run_root=scratch / "run")) as engine:
        engine.containers(all=True)
