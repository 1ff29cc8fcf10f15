"""What the threads of a process wait for, as read from the kernel at one moment (rule S14).

Records alone: ``bento.kernel.process.threads`` fills them, ``bento.stop.rules.wake`` judges them. The defaults are
those of a thing of which nothing is known, so that a field left out never makes a process look idle.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal[
    "pipe",  # without a name (pipe(2))
    "fifo",  # with a name (fifo(7))
    "listen",  # a socket in listen(2): TCP, or UNIX
    "socket",  # any other
    "eventfd",
    "signalfd",
    "timerfd",
    "inotify",
    "pidfd",
    "epoll",  # nested deeper than is read: what it holds is not known
    "tty",
    "memory",  # that processes outside of the container may share, where a futex(2) is waited for
    "file",  # has a path: a file, a directory, a device, or a named pipe that was not distinguished from them
    "unknown",
]
"""What a descriptor is of, by its link in /proc/PID/fd (proc_pid_fd(5)). An epoll stands for what it holds."""

TerminalMode = Literal["", "lines", "keys", "edited"]
"""How a terminal gives what is typed: in lines, which it edits itself; key by key; or to a line editor.

A line editor takes each key, writes it to the screen itself, and has the keys that the terminal would act upon as well
(termios(3): no ICANON, no ECHO, and no ISIG or no VLNEXT). "": not known.
"""


class Descriptor(Struct, frozen=True):
    """One descriptor that a call waits on."""

    kind: Kind
    is_inside: bool = False
    """Only the container itself makes it ready.

    A pipe: the other end is open inside and none outside. An eventfd: no ring of the process (io_uring(7), io_setup(2))
    lets the kernel write to it. A pidfd: of a process of the container. A socket: of a pair that was made inside.
    """
    is_own: bool = False
    """A pipe of which no other process has an end, such as one that a program writes to in its signal handlers."""
    terminal: TerminalMode = ""
    """Of a pseudo-terminal."""
    wakes_in_s: float | None = None
    """A timerfd: seconds until it expires (``it_value`` in its fdinfo); None when it is not armed."""


class ThreadWait(Struct, frozen=True, kw_only=True):
    """One live thread, and the system call that it is blocked in."""

    tid: int
    state: str
    """One letter, as in proc_pid_stat(5): R S D T t, or another."""
    call: str = ""
    """The call's name; "syscall N" where the number says nothing here; "" when it runs or has moved under the reader.

    "vfork" is every call that waits until a child has begun its own program or ended: vfork(2), and clone(2) with
    CLONE_VFORK, which posix_spawn(3) uses.
    """
    timeout_s: float | None = None
    """Seconds from the reading before which the call cannot time out (0: at any moment); None: it has no timeout."""
    period_s: float | None = None
    """The relative timeout as it was given to the call, in seconds; None: there is none, or an absolute one."""
    child: int | None = None
    """wait4(2), waitid(2): the awaited process as the host numbers it; 0: any child; None: not known, or no wait."""
    is_blocking: bool = True
    """False for a wait with WNOHANG, which only seems to wait."""
    size: int = 0
    """read(2): so many bytes at the most; 0: not known, or another call."""
    is_held: bool = False
    """State t by a tracer of Bento's own: it goes on when Bento lets it."""
    fds: tuple[Descriptor, ...] = ()
    """What the call waits on; where there was too much to read, or nothing could be read, one of the kind unknown."""


class Evidence(Struct, frozen=True, kw_only=True):
    """One process at one moment."""

    threads: tuple[ThreadWait, ...] = ()
    """Its live threads. A leader that has ended before its threads (state Z) is not among them."""
    listening: int = 0
    """How many of its sockets listen."""
    connected: int = 0
    """How many others have a peer, or may have one.

    Sockets without one are in neither count: netlink, and datagram sockets that were never connected. They exchange
    single messages; nothing is under way on them when all threads sleep. Raw, packet and unknown ones are connected.
    """
    switches: int = 0
    """Context switches of all its threads, voluntary and not: the same number twice, and none has run meanwhile."""
    stdin: str = ""
    """What descriptor 0 is, for what it was opened and on which mount: ``/dev/null rw 94``. "" when not known.

    It is the same for a child that has inherited it.

    A shell without job control gives what it starts with ``&`` a /dev/null of its own (POSIX, 2.9.3.1), and what it
    starts in the foreground its own standard input.
    """
    unreaped: bool = False
    """Whether a child of it has ended and it has not taken note of that yet (a zombie)."""
    feeds: bool = False
    """Whether its standard output is a pipe that another process of the container reads."""
    alarm_s: float | None = None
    """Seconds before which no timer of its own can send it a signal (setitimer(2), alarm(2), timer_create(2)).

    0 also where it waits for signals and a descriptor of its own may send one (O_ASYNC). None: no such timer is armed.
    A signal ends any wait, also one without a timeout. The kernel does not say whose an interval timer is: it may be
    another container's, or the host's.
    """
    is_ended_by_alarm: bool = False
    """That signal would end it (signal(7)): there is no handler by which it would go on with anything."""


class ProcessState(Struct, frozen=True, kw_only=True):
    """What the kernel says of one process, a zombie too; masks have bit n-1 set for signal n (proc_pid_status(5))."""

    pid: int
    ppid: int
    comm: str
    state: str  # as in ThreadWait; Z: a zombie
    start_ticks: int
    session: int  # the process that leads its session (setsid(2)); 0 of a zombie
    blocked: int
    ignored: int
    caught: int
