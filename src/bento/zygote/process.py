"""The zygote: ``python -m bento.zygote --root DIR --run-root DIR [--keep FD]``.

It has one thread, no database and no lock of any container. A child that it has forked waits at the socket; as soon as
it has taken a command, the next one is forked. Children end by themselves, and tell their callers how. The zygote adds
what they cannot tell: by which signal they were ended. It may be killed at any time.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from bento import packets
from bento.kernel import mountinfo, resident
from bento.kernel.cgroup import locate, write_control
from bento.wiring import standing_database
from bento.zygote import client, handover, worker
from bento.zygote.child import OTHER_CGROUP, TAKEN, WARM_UP, Child
from bento.zygote.code import CodeWatch
from bento.zygote.loading import load
from bento.zygote.worker import Worker

IDLE_S: Final = 60.0
_PACKET_BYTES: Final = 1 << 14
_FAILURES_MAX: Final = 3
_FIRST_FD: Final = 3  # of systemd's (sd_listen_fds(3))


def main(argv: Sequence[str]) -> int:
    """Be the zygote until it has had nothing to do for a minute; return the exit status."""
    parser = argparse.ArgumentParser(prog="bento.zygote", allow_abbrev=False)
    for name in ("--root", "--run-root"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--keep", type=int, default=-1)
    args = parser.parse_args(argv)
    os.umask(0o077)
    os.chdir("/")
    with suppress(OSError):
        os.setsid()
    try:
        listener = Listener(args.run_root)
    except BlockingIOError:
        return 0  # there is one
    except OSError as error:
        sys.stderr.write(f"bento: no zygote: {error}\n")
        return 1
    try:
        load()
        return Zygote(listener, (args.root, args.run_root), args.keep).be()
    finally:
        listener.close()


class Listener:
    """The socket, made here under a lock that goes with this process, or handed over by systemd."""

    def __init__(self, run_root: Path) -> None:
        """Listen. Raises BlockingIOError where another zygote does, OSError."""
        self._path: Path | None = None
        self.lock = -1
        self._directory = run_root / client.DIRECTORY
        run_root.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(self._directory)
        if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
            raise PermissionError(f"{self._directory} is no directory of this user's")
        os.chmod(self._directory, 0o700)  # one that systemd has made is open to others
        self.fd = _handed_over()
        if self.fd < 0:
            self.fd = self._listen()

    def _listen(self) -> int:
        self.lock = os.open(
            self._directory / f"{client.name()}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._path = self._directory / client.name()
        before = os.umask(0o177)
        try:
            return packets.listen(self._directory, client.name())
        finally:
            os.umask(before)

    def close(self) -> None:
        """Remove what was made here; the lock's file stays, for the next one."""
        if self._path is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._path)


def _handed_over() -> int:
    """Return the socket that systemd has handed over; -1: there is none."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or count != "1":
        return -1
    os.set_inheritable(_FIRST_FD, False)
    os.set_blocking(_FIRST_FD, False)
    return _FIRST_FD


def last_words(control: int) -> tuple[bytes, list[int]]:
    """Return a packet of the ready child's, and its descriptors; an empty one at its end.

    A child that has taken a command closes its side, where a word to it may be unread. Of that the kernel tells first
    (ECONNRESET, unix_release_sock in net/unix/af_unix.c), and then what the child has said.
    """
    for _ in range(2):
        try:
            packet, fds, _is_whole = packets.receive(control, _PACKET_BYTES, 1)
        except ConnectionResetError:
            continue
        except OSError:
            break
        return packet, fds
    return b"", []


class Zygote:
    """Forks children, and looks after them."""

    def __init__(self, listener: Listener, roots: tuple[Path, Path], keep: int) -> None:
        self._listener, self._lock, self._roots = listener.fd, listener.lock, roots
        self._keep = keep  # while what has the other end lives, this one stays without work
        if keep >= 0:
            os.set_inheritable(keep, False)
        self._code = CodeWatch()
        self._database = standing_database(roots[0])
        self._text = resident.Text()
        self._running: dict[int, int] = {}  # connections by child
        self._ready, self._control = 0, -1
        self._worker, self._worker_failures = 0, 0
        self._workers, self._queue = worker.queue()
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_ending = False
        self._failures = 0  # of children in a row, before any caller came
        self._idle_since = time.monotonic()

    def be(self) -> int:
        """Work until there has been none for a minute, or the code is another; return the exit status."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        self._fork()
        while not self._is_ending:
            self._turn()
        return int(self._failures >= _FAILURES_MAX)

    def _end(self, *_: object) -> None:
        self._is_ending = True

    def _turn(self) -> None:
        poller = select.poll()
        for fd in (self._woken, self._code.fileno(), self._control, self._keep):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
        left_s = self._left_s()
        ready = [fd for fd, _ in poller.poll(None if left_s is None else left_s * 1000 + 1)]
        if not ready and self._left_s() == 0.0:
            self._end()
        if self._keep in ready:
            os.close(self._keep)
            self._keep, self._idle_since = -1, time.monotonic()
        if self._code.fileno() in ready and self._code.has_changed():
            self._end()
        if self._control in ready:
            self._hear()
        if self._woken in ready:
            os.read(self._woken, _PACKET_BYTES)
            self._reap()

    def _left_s(self) -> float | None:
        """Return how long this process stays without work; None: it has work, or is kept."""
        if self._keep >= 0 or self._running:
            return None
        return max(0.0, self._idle_since + IDLE_S - time.monotonic())

    def _hear(self) -> None:
        """Take in what the ready child says. When it has taken a command, or ended, another one takes its place."""
        packet, fds = last_words(self._control)
        kind, _, text = packet.partition(b" ")
        if kind == OTHER_CGROUP:
            self._follow(os.fsdecode(text))
            return  # it says more, or ends
        if kind == TAKEN and fds:
            self._running[self._ready] = fds[0]
            self._idle_since, self._failures = time.monotonic(), 0
        os.close(self._control)
        self._control = -1
        if self._failures < _FAILURES_MAX:
            self._fork()
        else:
            self._end()

    def _follow(self, cgroup: str) -> None:
        """Go where callers come from, once: each child would need some 15 ms to go there by itself."""
        for path in sorted({*locate(cgroup, mountinfo.mount_table(os.getpid())).values()}):
            write_control(f"{path}/cgroup.procs", "0")

    def _fork(self) -> None:
        ours, theirs = packets.pair()
        pid = os.fork()
        if pid == 0:
            self._be_child(ours, theirs)
        os.close(theirs)
        self._ready, self._control = pid, ours
        self._rest()

    def _rest(self) -> None:
        """When no command is at work, which may need every CPU: have the ready child get warm, and sleep small."""
        if not self._running and self._control >= 0:
            self._database.hold()
            with suppress(OSError):  # it has ended
                packets.send(self._control, WARM_UP)
            if not self._worker and self._worker_failures < _FAILURES_MAX:
                self._fork_worker()
            self._text.forget()

    def _fork_worker(self) -> None:
        self._worker = os.fork()
        if self._worker == 0:
            self._begin_again()
            for fd in (self._listener, self._control, self._workers, self._code.fileno()):
                os.close(fd)
            try:
                Worker(self._queue, self._database.sync).be()
            finally:
                os._exit(1)  # it could not begin

    def _be_child(self, ours: int, control: int) -> NoReturn:
        self._begin_again()
        os.close(ours)
        os.close(self._queue)
        try:
            Child(self._listener, control, self._workers, self._roots, self._code, self._database.sync).be()
        finally:
            os._exit(1)  # it could not begin

    def _begin_again(self) -> None:
        """In a process that was forked: let go of what is the zygote's alone."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for fd in (self._lock, self._woken, self._waker, self._keep, *self._running.values()):
            if fd >= 0:
                os.close(fd)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid == self._worker:
                    self._worker = 0
                    self._worker_failures += os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0
                    worker.forget(self._workers)
                    self._rest()
                    continue
                connection = self._running.pop(pid, -1)
                if connection < 0:
                    self._failures += os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0
                    continue
                self._idle_since = time.monotonic()
                with suppress(OSError):
                    packets.send(connection, b"%s %d" % (handover.END, status))
                os.close(connection)
                self._rest()
