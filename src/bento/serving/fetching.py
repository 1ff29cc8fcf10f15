"""A pull for a caller that waits for its end, and for nothing else: it is broken off with that."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from bento.engine.base.worker import Emit, Message
from bento.model.transfer import Access
from bento.serving.breaking import break_off_without, may_be_broken_off
from bento.serving.jobs import Job


class Fetch(Struct, frozen=True, kw_only=True, tag=True):
    """Fetch an image. The message of its end has the image's id."""

    name: str
    access: Access = Access()


def carry_out(job: Job, emit: Emit, server_fd: int) -> None:
    """Do it; report by ``emit``. Blocks; KeyboardInterrupt breaks it off: nothing half made is left."""
    task = msgspec.json.decode(job.task, type=Fetch)
    may_be_broken_off()
    break_off_without(server_fd)
    with job.engine() as engine:
        engine.drivers.verb = "pull"
        pulled = engine.pull(task.name, access=task.access)
        emit(Message(kind="ended", id=pulled.image.id))
