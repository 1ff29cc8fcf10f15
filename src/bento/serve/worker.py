"""What forks the workers of a server, and each of them: ``python -m bento.serve.worker FD SERVER``.

The process has one thread, no file open, and the modules of jobs loaded. Over FD the server, process SERVER, sends one
end of a socket pair for each worker. The worker says there that it has begun, gets its job as a line of JSON, maybe
with descriptors (SCM_RIGHTS), and reports of it. It waits for another one where nothing of the first is left in it, and
ends when the server closes the other end.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from typing import Final, NoReturn

from bento import __version__, log, own, packets
from bento.api_docker import jobs as docker_jobs
from bento.engine.base.worker import Emit, be_worker
from bento.kernel.process import surroundings
from bento.kernel.process.leftovers import Held, held
from bento.serve.loading import load
from bento.serving import fetching, jobs

_READ_BYTES: Final = 1 << 16
_FDS_MAX: Final = 4


def main() -> None:
    """Fork workers until the server ends, or has other surroundings: then the next process inherits them."""
    control, server = map(int, sys.argv[1:])
    os.set_inheritable(control, False)
    load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps (wait(2)): the server knows of a worker's end
    born = surroundings.of(server)
    while True:
        _, fds, _ = packets.receive(control, 1, 1)
        if not fds or surroundings.of(server) != born:
            return  # what was asked for sees its socket closed
        try:
            if os.fork() == 0:
                os.close(control)
                _Worker(fds[0], server).be()
        except OSError as error:
            os.write(fds[0], b"%d" % (error.errno or 0))
        os.close(fds[0])


class _Worker:
    """``fd``: its end of the socket."""

    def __init__(self, fd: int, server: int) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        self._socket, self._server = socket.socket(fileno=fd), server

    def be(self) -> NoReturn:
        """Carry out jobs, and end the process."""
        try:
            pidfd = os.pidfd_open(os.getpid())
            socket.send_fds(self._socket, [__version__.encode()], [pidfd])
            os.close(pidfd)
            line, fds = self._next()
        except OSError:  # the server was killed
            os._exit(0)
        if not line:
            os._exit(0)
        be_worker(lambda emit: self._work(line, fds, emit), self._socket.fileno())

    def _next(self) -> tuple[bytes, list[int]]:
        """Return a job and what came with it; b"": there will be none."""
        line, fds = b"", []
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        while not line.endswith(b"\n"):
            poller.poll()
            data, given, _, _ = socket.recv_fds(self._socket, _READ_BYTES, _FDS_MAX, socket.MSG_CMSG_CLOEXEC)
            if not data:
                return b"", []
            line += data
            fds += given
        return line, fds

    def _work(self, line: bytes, fds: list[int], emit: Emit) -> None:
        before: Held | None = None
        while line:
            job = jobs.decode(line)
            if job.tag == fetching.Fetch.__name__:
                fetching.carry_out(job, emit, self._socket.fileno())
                return
            if job.tag not in jobs.TAGS:
                docker_jobs.carry_out(job, fds, emit, self._is_whole)
                return
            own.mark(job.run_root)  # a file that stays open
            before = before or held(self._server)
            log.forget_warnings()
            jobs.carry_out(job, emit)
            if held(self._server) != before:
                return
            self._socket.setblocking(True)  # for what could not be written yet
            emit(jobs.DONE)
            self._socket.setblocking(False)
            line, fds = self._next()

    def _is_whole(self) -> bool:
        """Whether the server has said that it has passed on all of a body."""
        try:
            return bool(self._socket.recv(1, socket.MSG_DONTWAIT))
        except OSError:
            return False


if __name__ == "__main__":
    main()
