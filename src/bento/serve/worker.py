"""One job of the server, in a process that outlives it: ``python -m bento.serve.worker FD``.

The job comes over the socket FD as a line, maybe with descriptors (SCM_RIGHTS); nothing comes where the server needs
none any more.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from bento.api_docker import building
from bento.engine.base.worker import be_worker
from bento.serving import jobs
from bento.wiring import Engine, load_for_stop

_READ_BYTES = 1 << 16
_FDS_MAX = 4


def main() -> None:
    """Wait for the job, carry it out, and end the process."""
    os.set_inheritable(int(sys.argv[1]), False)
    server = socket.socket(fileno=int(sys.argv[1]))
    load_for_stop()
    line, fds = b"", []
    while not line.endswith(b"\n"):
        data, given, _, _ = socket.recv_fds(server, _READ_BYTES, _FDS_MAX, socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(0)
        line += data
        fds += given
    be_worker(lambda emit: jobs.carry_out(line, fds, emit, _build), server.detach())


def _build(engine: Engine, job: jobs.Build, fds: Sequence[int]) -> None:
    building.build(engine, job.options, job.auths, *fds, is_quiet=job.quiet)


if __name__ == "__main__":
    main()
