"""One job of the server, in a process that outlives it: ``python -m bento.serve.worker FD``.

The job comes over the socket FD as a line, maybe with descriptors (SCM_RIGHTS); nothing comes where the server needs
none any more.
"""

from __future__ import annotations

import os
import socket
import sys

from bento.api_docker import jobs as docker_jobs
from bento.engine.base.worker import Emit, be_worker
from bento.serving import jobs
from bento.wiring import load_for_stop

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
    be_worker(lambda emit: _carry_out(line, fds, emit, server), server.fileno())


def _is_whole(server: socket.socket) -> bool:
    """Whether the server has said that it has passed on all of a body."""
    try:
        return bool(server.recv(1, socket.MSG_DONTWAIT))
    except OSError:
        return False


def _carry_out(line: bytes, fds: list[int], emit: Emit, server: socket.socket) -> None:
    job = jobs.decode(line)
    if job.tag in jobs.TAGS:
        jobs.carry_out(job, emit)
    else:
        docker_jobs.carry_out(job, fds, emit, lambda: _is_whole(server))


if __name__ == "__main__":
    main()
