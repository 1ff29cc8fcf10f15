"""What Docker's API has done by a process of its own: builds, and images on their way, which a signal breaks off when
their client leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from bento.api_docker import building, transferring
from bento.api_docker.transferring import Import, Load, Pull, Push, Transfer
from bento.api_docker.uploads import Upload
from bento.engine.base.worker import Emit, Message
from bento.model.transfer import BuildOptions
from bento.serving.breaking import may_be_broken_off
from bento.serving.jobs import Job


class Build(Struct, frozen=True, kw_only=True, tag=True):
    """Build an image. Two descriptors go with it: the context, a tar archive, and what gets the lines of the answer.

    ``auths``: user and password by registry.
    """

    options: BuildOptions
    quiet: bool = False
    auths: dict[str, tuple[str, str]] = {}


Task = Build | Transfer
_VERBS: Final = {Build: "build", Pull: "pull", Push: "push", Load: "load", Import: "import"}


def carry_out(job: Job, fds: Sequence[int], emit: Emit, is_whole: Callable[[], bool]) -> None:
    """Do a job, with the descriptors that came with it; report by ``emit``. Blocks.

    ``is_whole`` says of a body that is at its end whether all of it has come.
    """
    task: Task = msgspec.json.decode(job.task, type=Task)
    may_be_broken_off()
    if len(fds) > 1:
        fds = (Upload(fds[0], is_whole).fd, *fds[1:])
    with job.engine() as engine:
        engine.drivers.verb = _VERBS[type(task)]
        match task:
            case Build(options=asked, quiet=quiet, auths=auths):
                building.build(engine, asked, auths, *fds, is_quiet=quiet)
            case Pull() | Push() | Load() | Import():
                transferring.carry_out(engine, task, *fds)
        emit(Message(kind="ended"))
