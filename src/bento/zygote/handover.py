"""How a command is handed over: the side of the command line, a process with next to nothing in it.

    command line                                zygote's child
    request: surroundings, words, descriptors ->
                                              <- ``yes`` and its pidfd, or ``no`` and why
    ``go``                                    ->
                                              <- ``exit`` and its status, when it has done its work; this is the end
                                              <- ``end`` and how it was ended before, from the zygote, its parent

Until ``go`` is sent nothing is done with the command, and the plain way is open. After that there is none.

The child has a pipe of which this process alone has the other end: the kernel kills the child when this process dies,
as a process that is killed does no more on the plain way either.
"""

import _signal  # type: ignore[import-not-found]  # what signal is made of, which takes ms to import
import _socket
import posix
import sys

TAG = b"bento 1"
YES, NO, GO, EXIT, END = b"yes", b"no", b"go", b"exit", b"end"
STANDARD = (0, 1, 2)
REQUEST_FDS = len(STANDARD) + 2
"""The standard streams, the working directory, the end of the pipe."""
PATIENCE_S = 0.005
_FOREIGN = (b"PYTHON", b"LD_", b"GLIBC_TUNABLES", b"MALLOC_", b"GCONV_PATH", b"LOCPATH", b"NOTIFY_SOCKET")
"""What the interpreter or the C library reads when a process starts; a child of the zygote starts no more. And where
systemd listens to the processes of a service alone (sd_notify(3)): the child is one of another."""
_ANSWER_BYTES = 4096
_INT_BYTES = 4

# KILL and STOP cannot be caught. What else is not here tells of this process itself (CHLD, faults), or would end it at
# once on the plain way, too, as the child is ended then.
_RELAYED = (1, 2, 3, 10, 12, 14, 15, 18, 28)  # HUP INT QUIT USR1 USR2 ALRM TERM CONT WINCH
_OF_TERMINAL = frozenset((1, 2, 3, 18, 28))  # the programs that the child has started get these, too
_STOP, _TSTP, _CONT = 19, 20, 18
_KILL = 9
_IGNORED = 1
_TO_GROUP = 1 << 2  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
_ERROR = 125
_WORD_OF_PARENT_S = 1.0


def hand_over(path: str) -> None:
    """Have a child of the zygote carry the command out, and end as that does; return for the plain way to be taken."""
    if any(name.startswith(_FOREIGN) for name in posix.environ):
        return
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    fds: list[int] = []
    try:
        pidfd = _agreed(sock, path, fds)
    except (OSError, ValueError, AttributeError):  # no answer in time; a stream that is closed; too many words
        pidfd = -1
    if pidfd < 0:
        sock.close()
        for fd in fds:
            posix.close(fd)
        return
    relay = _Relay(pidfd)
    try:
        sock.send(GO)
    except OSError:
        _fail("the process that was to carry out the command was killed before it began (repeat the command)")
    _Ending(sock, pidfd, relay).follow()


def identity() -> bytes:
    """Return what must be the same here and there for the same code to be run."""
    import bento

    place = posix.stat(bento.__path__[0])
    flags = f"{sys.flags.isolated}{sys.flags.optimize}{sys.flags.dev_mode}"
    encoding = f"{sys.getfilesystemencoding()} {sys.getfilesystemencodeerrors()}"
    return f"{sys.hexversion} {sys.executable} {flags} {encoding} {place.st_dev} {place.st_ino}".encode()


def _agreed(sock: _socket.socket, path: str, fds: list[int]) -> int:
    """Return a pidfd of the child that waits for the word to begin; -1: it refuses. Raises OSError and others."""
    sock.settimeout(PATIENCE_S)
    sock.connect(path)
    if sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)[4:8] != _int(posix.geteuid()):
        return -1
    fds.append(posix.open(".", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC))
    reader, writer = posix.pipe2(posix.O_CLOEXEC)
    fds += [reader, writer]  # the last one stays open for as long as this process lives
    rights = b"".join(map(_int, (*STANDARD, fds[0], reader)))
    sock.sendmsg([_request()], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    answer, extra, _, _ = sock.recvmsg(_ANSWER_BYTES, _socket.CMSG_SPACE(_INT_BYTES), _socket.MSG_CMSG_CLOEXEC)
    if not extra:
        return -1
    pidfd = int.from_bytes(extra[0][2][:_INT_BYTES], sys.byteorder)
    fds.append(pidfd)
    if answer != YES:
        return -1
    sock.settimeout(None)
    return pidfd


def _request() -> bytes:
    streams = [text for each in (sys.stdin, sys.stdout, sys.stderr) for text in (each.encoding, each.errors)]
    words = [word.encode(sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()) for word in sys.argv[1:]]
    variables = [b"%s=%s" % pair for pair in posix.environ.items()]
    head = [TAG, identity(), " ".join(map(str, streams)).encode(), b"%d" % len(words)]
    return b"\0".join([*head, *words, *variables])


def _int(number: int) -> bytes:
    return number.to_bytes(_INT_BYTES, sys.byteorder)


def _fail(text: str) -> None:
    """End because of what became of the child, of which nothing is known."""
    posix.write(2, f"bento: {text}\n".encode())
    posix._exit(_ERROR)


class _Relay:
    """Passes signals on to the child. ``reader``: becomes readable with each."""

    def __init__(self, pidfd: int) -> None:
        self._pidfd = pidfd
        self.reader, writer = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in _RELAYED:
            if _signal.getsignal(number) != _IGNORED:
                _signal.signal(number, self._pass_on)
        if _signal.getsignal(_TSTP) != _IGNORED:
            _signal.signal(_TSTP, self._stop)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())

    def _pass_on(self, number: int, _: object) -> None:
        self._send(number, to_group=number in _OF_TERMINAL)

    def _stop(self, *_: object) -> None:
        """Stop the child, then this process as the terminal wants it, for the shell to see; and go on with both.

        Where no shell looks after this process, the kernel does not stop it (setpgid(2), orphaned process groups), and
        the child goes on at once.
        """
        self._send(_STOP, to_group=True)
        _signal.signal(_TSTP, _signal.SIG_DFL)
        posix.kill(posix.getpid(), _TSTP)
        _signal.signal(_TSTP, self._stop)
        self._send(_CONT, to_group=True)

    def _send(self, number: int, *, to_group: bool) -> None:
        for flags in (_TO_GROUP, 0) if to_group else (0,):
            try:
                _signal.pidfd_send_signal(self._pidfd, number, None, flags)
            except ProcessLookupError:
                return
            except OSError:  # a kernel that knows no groups here
                continue
            return


class _Ending:
    """What becomes known of the child's end."""

    def __init__(self, sock: _socket.socket, pidfd: int, relay: _Relay) -> None:
        self._sock, self._pidfd, self._relay = sock, pidfd, relay

    def follow(self) -> None:
        """Wait until the child has done its work, or was ended, and end this process as that did."""
        import select  # while the child is at work

        poller = select.poll()
        for fd in (self._sock.fileno(), self._relay.reader, self._pidfd):
            poller.register(fd, select.POLLIN)
        wait_ms = None
        while True:
            ready = [fd for fd, _ in poller.poll(wait_ms)]
            if not ready and wait_ms is not None:
                break
            if self._relay.reader in ready:
                posix.read(self._relay.reader, _ANSWER_BYTES)  # the handlers have run
            if self._sock.fileno() in ready and not self._hear():
                break
            if self._pidfd in ready:
                poller.unregister(self._pidfd)
                wait_ms = int(_WORD_OF_PARENT_S * 1000)  # how it has ended its parent knows
        _fail("the process that carried out the command was killed, and so was the zygote (look before you repeat it)")

    def _hear(self) -> bool:
        """Take in what was said; False when nothing more will be."""
        try:
            kind, _, number = self._sock.recv(_ANSWER_BYTES).partition(b" ")
        except OSError:  # it was reset
            kind, number = b"", b""
        if kind == EXIT:
            posix._exit(int(number))
        elif kind == END:
            self._end_as(int(number))
        return bool(kind)

    def _end_as(self, status: int) -> None:
        if posix.WIFEXITED(status):
            posix._exit(posix.WEXITSTATUS(status))
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the child has made the one that was wanted
        number = posix.WTERMSIG(status)
        if number != _KILL:
            _signal.signal(number, _signal.SIG_DFL)
        posix.kill(posix.getpid(), number)
        posix._exit(128 + number)
