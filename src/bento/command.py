"""The only place that starts processes.

posix_spawn(3) instead of a fork: it copies no memory, may be called from any thread, and the
child gets the calling *thread's* mount namespace. A child starts with default signals, an
empty signal mask, a clean environment and /dev/null unless more is asked for.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
import resource
import select
import shlex
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from bento.errors import DeadlineExceeded, KernelError, MissingTool
from bento.kernel.process import pidfd as pidfds

OUTPUT_LIMIT_BYTES: Final = 64 * 1024
"""Kept of each stream: the last ones, because reasons come last."""

_EXTRA_DIRECTORIES: Final = (
    "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin",
    "/usr/libexec/podman", "/usr/lib/podman", "/usr/libexec/catatonit", "/usr/libexec",
)  # fmt: skip

# Ignored signals stay ignored over exec. Python ignores two itself, nohup(1) and shells others; a container inherits
# them through monitor and runtime. KILL and STOP cannot be changed; 32 and 33 are the C library's own.
_RESET: Final = frozenset(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}

_REAP_LIMIT_S: Final = 5.0

_DETACH_LIMIT_S: Final = 10.0  # for a shell that starts one program


class _Own(Struct):
    """What ``own_process`` has changed; None: this process is another program's."""

    nofile: tuple[int, int] | None = None  # the limits children get


_own = _Own()


def own_process() -> None:
    """For a process that is Bento's own and has no other threads: make room for many descriptors. Idempotent.

    The soft limit of open files is raised to the hard one; children get the old one. Nothing that is open is inherited
    any more, which is then not looked for at every start of a child: that would take longer the more is open.
    """
    if _own.nofile is not None:
        return
    for fd in _inheritable_fds():
        os.set_inheritable(fd, False)
    _own.nofile = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Completed(Struct, frozen=True):
    """How a program ended. A negative ``returncode`` is the signal that ended it."""

    argv: list[str]
    returncode: int
    stdout: str
    stderr: str


class Child:
    """A running child process. Its owner calls ``finish`` or ``kill``, or it stays a zombie."""

    __slots__ = ("_completed", "_output", "argv", "pid", "pidfd", "stderr_fd", "stdout_fd")

    def __init__(self, argv: list[str], pid: int, stdout_fd: int | None, stderr_fd: int | None) -> None:
        self.argv = argv
        self.pid = pid
        self.stdout_fd = stdout_fd
        self.stderr_fd = stderr_fd
        try:
            self.pidfd = os.pidfd_open(pid)  # not reaped yet, so the number is its own
        except ProcessLookupError as error:
            for fd in (stdout_fd, stderr_fd):
                if fd is not None:
                    os.close(fd)
            raise _reaped_by_others(argv) from error
        self._output: dict[int, bytearray] = {fd: bytearray() for fd in (stdout_fd, stderr_fd) if fd is not None}
        self._completed: Completed | None = None

    def fileno(self) -> int:
        """Return the pidfd: it polls readable when the process has ended."""
        return self.pidfd

    def finish(self, timeout_s: float) -> Completed:
        """Wait for the end, reap, and return the result; again when called again.

        What the child wrote before it ended is read; not what a daemon it left behind may still
        write. Blocks for ``timeout_s`` at most; then kills the child and raises DeadlineExceeded.
        """
        if self._completed is not None:
            return self._completed
        if not self._read_until_exit(time.monotonic() + timeout_s):
            self.kill()
            raise DeadlineExceeded(
                f"{os.path.basename(self.argv[0])} did not end within {timeout_s:g} s and was killed",
                hint=f"to see what it does, run: {replay_line(self.argv)}",
            )
        return self._reap()

    def kill(self) -> None:
        """Kill the process, if it runs, reap it, and close the descriptors. Idempotent. Blocks for 5 s at most."""
        if self._completed is not None:
            return
        pidfds.send(self.pidfd, signal.SIGKILL)
        if pidfds.wait(self.pidfd, _REAP_LIMIT_S):
            self._reap()
        else:
            # In an uninterruptible sleep. It will be a zombie of ours; nothing else can be done about it.
            self._close(Completed(self.argv, -signal.SIGKILL, "", "still alive after SIGKILL"))

    def _read_until_exit(self, deadline_mono_s: float) -> bool:
        poller = select.poll()
        for fd in (self.pidfd, *self._output):
            poller.register(fd, select.POLLIN)
        while True:
            left_s = max(0.0, deadline_mono_s - time.monotonic())
            ready = [fd for fd, _ in poller.poll(math.ceil(min(left_s, 3600.0) * 1000))]
            for fd in ready:
                if fd != self.pidfd and not self.drain(fd):
                    poller.unregister(fd)
            if self.pidfd in ready:
                return True
            if not ready and time.monotonic() >= deadline_mono_s:
                return False

    def drain(self, fd: int) -> bool:
        """Keep what the child has written to this stream so far, without waiting; return False at its end.

        For callers that wait for the child elsewhere: it stands still when a pipe of its is full (pipe(7)).
        """
        kept = self._output[fd]
        for _ in range(64):  # a child that writes without end must not hold us here
            try:
                chunk = os.read(fd, OUTPUT_LIMIT_BYTES)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            kept += chunk
            del kept[:-OUTPUT_LIMIT_BYTES]
        return True

    def _reap(self) -> Completed:
        try:
            ended = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
            assert ended is not None  # None is only for WNOHANG
            returncode = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
        except ChildProcessError as error:
            status = pidfds.exit_status(self.pidfd)  # newer kernels remember
            if status is None:
                self._close(Completed(self.argv, 255, "", "exit status lost"))
                raise _reaped_by_others(self.argv) from error
            returncode = os.waitstatus_to_exitcode(status)
        for fd in self._output:
            self.drain(fd)
        out, err = (
            self._output[fd].decode(errors="replace") if fd is not None else ""
            for fd in (self.stdout_fd, self.stderr_fd)
        )
        completed = Completed(self.argv, returncode, out, err)
        self._close(completed)
        return completed

    def _close(self, completed: Completed) -> None:
        self._completed = completed
        for fd in (self.pidfd, *self._output):
            os.close(fd)
        self._output = {}


def spawn(
    argv: Sequence[str],
    *,
    env: dict[str, str] | None = None,
    capture: bool = True,
    stdin_fd: int | None = None,
    stdout_fd: int | None = None,
    stderr_fd: int | None = None,
    pass_fds: tuple[int, ...] = (),
    new_session: bool = False,
) -> Child:
    """Start a program in the calling thread's namespaces; return at once.

    Args:
        argv: the program, absolute or found like ``find_program`` does, and its arguments.
        env: the whole environment; None is ``clean_environment()``.
        capture: read stdout and stderr through pipes; otherwise they are /dev/null.
        stdin_fd: its standard input; None is /dev/null.
        stdout_fd, stderr_fd: its outputs, in place of a pipe or /dev/null.
        pass_fds: descriptors above 2 that it gets under the same numbers; no others are inherited.
        new_session: make it the leader of a new session, without a terminal.

    Raises:
        MissingTool: there is no such program, or it cannot be executed.
        KernelError: it cannot be started for another reason.
    """
    words = list(argv)
    if "/" not in words[0]:
        words[0] = str(find_program(words[0], package=words[0]))
    given = {0: stdin_fd, 1: stdout_fd, 2: stderr_fd}
    pipes = {number: _pipe() for number in (1, 2) if capture and given[number] is None}
    try:
        given |= {number: writer for number, (_, writer) in pipes.items()}
        # What the caller gives may be one of the three itself, where its own caller has closed them.
        order = (1, 2, 0) if stdin_fd is None else (0, 1, 2)
        actions = [_standard(number, given[number]) for number in order]
        # Onto itself: only the child's copy loses close-on-exec (POSIX.1-2024; glibc 2.29, musl 1.1.24).
        actions.extend((os.POSIX_SPAWN_DUP2, fd, fd) for fd in pass_fds)
        if _own.nofile is None:
            actions.extend((os.POSIX_SPAWN_CLOSE, fd) for fd in _closable_fds() if fd not in pass_fds)
        pid = _spawn(words, clean_environment() if env is None else env, actions, new_session)
    except BaseException:
        for reader, _ in pipes.values():
            os.close(reader)
        raise
    finally:
        for _, writer in pipes.values():
            os.close(writer)
    return Child(words, pid, *(pipes[number][0] if number in pipes else None for number in (1, 2)))


def feed(argv: Sequence[str], text: str, *, env: dict[str, str] | None = None) -> Child:
    """Start a program that reads ``text`` from its standard input; see ``spawn``. It is never waited for to read."""
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        os.write(fd, text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        return spawn(argv, env=env, stdin_fd=fd)
    finally:
        os.close(fd)


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: dict[str, str] | None = None,
    stdin_fd: int | None = None,
    pass_fds: tuple[int, ...] = (),
) -> Completed:
    """Run a program to its end; see ``spawn`` and ``Child.finish``. Any return code is a result, not an error."""
    child = spawn(argv, env=env, stdin_fd=stdin_fd, pass_fds=pass_fds)
    try:
        return child.finish(timeout_s)
    except BaseException:
        child.kill()
        raise


def spawn_detached(argv: Sequence[str], *, pass_fds: tuple[int, ...] = ()) -> None:
    """Start a program in a session of its own that outlives this process, which does not wait for it.

    The shell between is reaped here, the program by init. ``pass_fds`` and errors: see ``spawn``.
    """
    words = ("/bin/sh", "-c", '"$@" &', "sh", *argv)
    spawn(words, capture=False, pass_fds=pass_fds, new_session=True).finish(_DETACH_LIMIT_S)


def clean_environment() -> dict[str, str]:
    """Return the environment children get: nothing of the caller's but PATH and HOME."""
    return {
        "PATH": ":".join(_search_path()),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
    }


def find_program(name: str, *, package: str) -> Path:
    """Return the absolute path of a program: on PATH, or where distributions keep such programs.

    A name with a slash is only checked. Raises MissingTool, which says what Debian package has it.
    """
    candidates = [os.path.abspath(name)] if "/" in name else [f"{directory}/{name}" for directory in _search_path()]
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return Path(candidate)
    raise MissingTool(f"the program {name} is missing", hint=f"on Debian: apt-get install {package}")


def above_standard(fd: int) -> int:
    """Return the descriptor, moved out of the place of a standard stream that our own caller has closed."""
    if fd > 2:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def replay_line(argv: Sequence[str]) -> str:
    """Return the command as a line to paste into a shell."""
    return shlex.join(argv)


def _reaped_by_others(argv: list[str]) -> KernelError:
    """Another thread's waitpid(-1), or a SIGCHLD that was ignored when this process began (wait(2))."""
    reason = f"other code in this process has reaped {os.path.basename(argv[0])}"
    return KernelError(
        "waitid",
        errno.ECHILD,
        reason,
        hint="do not ignore SIGCHLD, nor wait for any child, in a program that uses Bento",
    )


def _search_path() -> list[str]:
    # A relative entry would mean another program in every directory.
    given = [entry for entry in os.environ.get("PATH", "").split(":") if entry.startswith("/")]
    return list(dict.fromkeys([*given, *_EXTRA_DIRECTORIES]))


def _pipe() -> tuple[int, int]:
    """Return (read end, write end). The write end is above 2, lest a later dup2 onto 0-2 overwrite it."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    return reader, above_standard(writer)


def _standard(number: int, fd: int | None) -> tuple[object, ...]:
    """Return the action that gives a child its standard stream: this descriptor, or /dev/null."""
    if fd is not None:
        return (os.POSIX_SPAWN_DUP2, fd, number)
    return (os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_WRONLY if number else os.O_RDONLY, 0)


def _inheritable_fds() -> list[int]:
    """Return what a child would inherit above 2.

    Python opens everything close-on-exec, but our own caller may have left descriptors open: a
    shell's pipe that a monitor holds for days keeps that shell's other end waiting for days.
    """
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # closed meanwhile, as the one that listed them
            continue
    return found


def _closable_fds() -> list[int]:
    """Return what a child would inherit above 2, and is to close.

    What is open above the soft limit of open files posix_spawn refuses to close (EBADF): it is kept from being
    inherited at all.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = _inheritable_fds()
    for fd in found:
        if fd >= limit:
            os.set_inheritable(fd, False)
    return [fd for fd in found if fd < limit]


def _spawn(argv: list[str], env: dict[str, str], actions: Sequence[tuple[object, ...]], new_session: bool) -> int:
    try:
        pid = os.posix_spawn(
            argv[0], argv, env, file_actions=actions, setsid=new_session, setsigmask=(), setsigdef=_RESET
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise MissingTool(
            f"cannot run {argv[0]}: {error.strerror}", hint="install it, or give the path of another"
        ) from error
    except OSError as error:
        raise KernelError(
            "posix_spawn", error.errno or 0, error.strerror or str(error), path=argv[0],
            hint=f"run: {replay_line(argv)}",
        ) from error  # fmt: skip
    if _own.nofile is not None:
        # Not ours lowered meanwhile: posix_spawn takes no descriptor above it. Not reaped: the number is its own.
        with suppress(OSError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _own.nofile)
    return pid
