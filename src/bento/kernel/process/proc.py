"""What /proc says of one process (proc(5)). Everything may be gone a moment later."""

from __future__ import annotations

import functools
import os
import sys
import time
from contextlib import suppress
from functools import reduce
from operator import and_
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bento.errors import KernelError, is_shortage
from bento.kernel.process import syscalls
from bento.kernel.pseudofile import read_whole

# rt_sigtimedwait by architecture, 32-bit ones with the call for 64-bit time too.
_SIGTIMEDWAIT: Final = {
    "x86_64": (128,),
    "aarch64": (137,),
    "riscv64": (137,),
    "loongarch64": (137,),
    "ppc64le": (176,),
    "s390x": (177,),
    "i686": (177, 421),
    "armv7l": (177, 421),
}

_ENDED: Final = (b"Z", b"X", b"x")  # of a thread
_PF_EXITING: Final = 0x4  # include/linux/sched.h: set at the beginning of do_exit()
_MAX_THREADS: Final = 256  # of a process whose leader has ended: so many are asked


class ProcStatus(Struct, frozen=True, kw_only=True):
    """One look at a process. Masks have bit n-1 set for signal n; ``blocked`` is the leader thread's."""

    pid: int
    ppid: int
    comm: str
    state: str  # one letter: R S D Z T t X I
    start_ticks: int  # clock ticks since boot
    utime_ticks: int  # processor time used, user and system
    threads: int
    tracer_pid: int
    ns_pids: tuple[int, ...]  # as seen from each PID namespace, this one first, its own last
    pending: int
    blocked: int
    ignored: int
    caught: int
    switches: int = 0  # context switches of the leader thread
    live: tuple[ProcStatus, ...] = ()  # its threads that live, where the leader has ended and the process has not
    kept: int = -1  # signals that the kernel does not drop as they are sent; all of them, where the leader lives

    @property
    def is_alive(self) -> bool:
        """Whether it still runs: a zombie has ended."""
        return self.state not in "ZXx"


def all_pids() -> list[int]:
    """Return every process of this PID namespace, as listed now."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children(pid: int) -> list[int]:
    """Return the children of a process, in no order; none when it is gone (proc_pid_task(5), ``children``).

    A kernel without that file (CONFIG_PROC_CHILDREN) has every process looked at.
    """
    try:
        tids = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    if os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):
        return [int(child) for tid in tids for child in _slurp(pid, f"task/{tid}/children").split()]
    return [each for each in all_pids() if (found := read_thread(each)) is not None and found.ppid == pid]


def read(pid: int) -> ProcStatus | None:
    """Return one look at a process, zombies included, or None when there is none.

    Where the leader thread has ended and others live (pthread_exit(3) in main), it shows what these are: state Z of the
    leader alone says nothing about the process.
    """
    found = read_thread(pid)
    return found if found is None or found.is_alive else _by_live_threads(found)


def read_thread(tid: int) -> ProcStatus | None:
    """Return one look at a single thread, or None when there is none: Z of a leader that has ended before others."""
    stat, status = _slurp(tid, "stat"), _slurp(tid, "status")
    return parse(stat, status) if stat and status else None


def live_tid(pid: int) -> int:
    """Return the number by which /proc shows what a process has: its own, or that of a thread that lives.

    Once its leader thread has ended, /proc/PID shows no arguments, descriptors, namespaces or root directory any more,
    and cgroups of version 1 not rightly, while /proc/TID of its other threads does.
    """
    return next(iter(_live_tids(pid)), pid) if _has_leader_ended(pid) else pid


def is_exiting(pid: int) -> bool:
    """Whether a process has begun to exit, with all its threads, and is no zombie yet: nothing stops that any more.

    PID 1 of a PID namespace stays so until all others in it are gone; its namespaces are let go of before.
    """
    try:
        stats = [_slurp(pid, f"task/{tid}/stat") for tid in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return False
    threads = [fields for stat in stats if stat for fields in (_split_stat(stat)[2],) if fields[0] not in _ENDED]
    return bool(threads) and all(int(fields[6]) & _PF_EXITING for fields in threads)


def _has_leader_ended(pid: int) -> bool:
    stat = _slurp(pid, "stat")
    return bool(stat) and _split_stat(stat)[2][0] in _ENDED


def _live_tids(pid: int) -> list[int]:
    """Return the threads that live, beside a leader that does not."""
    try:
        tids = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
    stats = ((tid, _slurp(pid, f"task/{tid}/stat")) for tid in tids[:_MAX_THREADS] if tid != pid)
    return [tid for tid, stat in stats if stat and _split_stat(stat)[2][0] not in _ENDED]


def _by_live_threads(leader: ProcStatus) -> ProcStatus:
    """Return what a process is whose leader has ended: that itself, when no other thread lives.

    Whether a signal is dropped as it is sent the kernel decides by the leader's mask even then; whether it is taken, by
    the masks of those that live (kernel/signal.c, sig_ignored and wants_signal).
    """
    found = (read_thread(tid) for tid in _live_tids(leader.pid))
    live = [thread for thread in found if thread is not None and thread.is_alive]
    if not live:
        return leader
    is_init = len(leader.ns_pids) > 1 and leader.ns_pids[-1] == 1
    kept = leader.blocked | ~(leader.ignored | (~leader.caught if is_init else 0))
    return replace(
        leader,
        state=live[0].state,
        tracer_pid=max(thread.tracer_pid for thread in live),
        blocked=reduce(and_, (thread.blocked for thread in live)) & kept,
        switches=live[0].switches,
        live=tuple(live),
        kept=kept,
    )


def parse(stat: bytes, status: bytes) -> ProcStatus:
    """Combine the texts of /proc/PID/stat and /proc/PID/status."""
    pid, comm, fields = _split_stat(stat)
    status = b"\n" + status
    return ProcStatus(
        pid=pid,
        ppid=int(fields[1]),
        comm=comm,
        state=fields[0].decode(),
        start_ticks=int(fields[19]),
        utime_ticks=int(fields[11]) + int(fields[12]),
        threads=int(fields[17]),
        tracer_pid=int(_value(status, b"\nTracerPid:") or b"0"),
        ns_pids=tuple(int(word) for word in _value(status, b"\nNSpid:").split()) or (pid,),
        pending=int(_value(status, b"\nSigPnd:") or b"0", 16) | int(_value(status, b"\nShdPnd:") or b"0", 16),
        blocked=int(_value(status, b"\nSigBlk:") or b"0", 16),
        ignored=int(_value(status, b"\nSigIgn:") or b"0", 16),
        caught=int(_value(status, b"\nSigCgt:") or b"0", 16),
        switches=int(_value(status, b"\nvoluntary_ctxt_switches:") or b"0")
        + int(_value(status, b"\nnonvoluntary_ctxt_switches:") or b"0"),
    )


def _value(status: bytes, key: bytes) -> bytes:
    """Return what is behind a key, which begins with the end of the line before: a comm may hold \\r."""
    begin = status.find(key)
    if begin < 0:
        return b""
    begin += len(key)
    end = status.find(b"\n", begin)
    return status[begin:end] if end >= 0 else status[begin:]


def start_ticks_if_alive(pid: int) -> int | None:
    """Return when the process started, in clock ticks since boot; None when it is gone or a zombie."""
    stat = _slurp(pid, "stat")
    if not stat:
        return None
    _, _, fields = _split_stat(stat)
    return None if fields[0] in _ENDED and not _live_tids(pid) else int(fields[19])


def session_if_alive(pid: int) -> int | None:
    """Return the session that the process is in (its leader's pid); None when it is gone or a zombie."""
    stat = _slurp(pid, "stat")
    if not stat:
        return None
    _, _, fields = _split_stat(stat)
    return None if fields[0] in _ENDED and not _live_tids(pid) else int(fields[3])


def progress(pid: int) -> tuple[int, bool]:
    """Return how often threads of a process were switched to or from, and whether all of them are stopped.

    The same number at two looks: none has run meanwhile. (0, False) when it is gone.
    """
    switches, states = 0, set()
    try:
        tids = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return 0, False
    for tid in tids:
        stat, status = _slurp(pid, f"task/{tid}/stat"), _slurp(pid, f"task/{tid}/status")
        if stat and status:
            thread = parse(stat, status)
            switches += thread.switches
            states |= {thread.state} if thread.is_alive else set()
    return switches, bool(states) and states <= {"T", "t"}


def zombie_exit_code(pid: int) -> int | None:
    """Return the wait status of a zombie; None for anything else, or without the right to see it."""
    stat = _slurp(pid, "stat")
    if not stat:
        return None
    _, _, fields = _split_stat(stat)
    # Field 52 is 0 for a reader that may not see it (ptrace access, proc(5)); only root's zero is believed.
    return int(fields[49]) if fields[0] == b"Z" and len(fields) > 49 and os.geteuid() == 0 else None


def cmdline(pid: int) -> tuple[str, ...]:
    """Return the arguments as the process shows them; empty when gone, a zombie or a kernel thread."""
    text = _slurp_live(pid, "cmdline").removesuffix(b"\0")
    return tuple(word.decode(errors="replace") for word in text.split(b"\0")) if text else ()


def variable(pid: int, name: str) -> bool:
    """Whether a process was started with this variable in its environment (proc_pid_environ(5))."""
    return any(entry.startswith(f"{name}=".encode()) for entry in _slurp_live(pid, "environ").split(b"\0"))


def pid_namespace(pid: int) -> str:
    """Return what identifies a process's PID namespace (namespaces(7)); empty when it cannot be known."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


@functools.cache
def own_namespaces() -> tuple[int, int]:
    """Return what identifies this process's PID namespace and its time namespace: the inodes (namespaces(7)).

    The second is 0 where the kernel has no time namespaces. Raises KernelError when /proc is of another PID namespace:
    the pids in it are other processes' here.
    """
    if os.readlink("/proc/self") != str(os.getpid()):
        raise KernelError(
            "readlink", 0, "it is of another PID namespace than this process", path="/proc",
            hint="mount one of its own, as unshare --mount-proc does",
        )  # fmt: skip
    time_ns = 0
    with suppress(FileNotFoundError):
        time_ns = os.stat("/proc/self/ns/time").st_ino
    return os.stat("/proc/self/ns/pid").st_ino, time_ns


def exe(pid: int) -> str:
    """Return the path of its program as its own mount namespace names it; empty when that cannot be known."""
    try:
        return os.readlink(f"/proc/{live_tid(pid)}/exe")
    except OSError:
        return ""


def wchan(tid: int) -> str:
    """Return the kernel function a thread sleeps in; empty when it runs or the kernel does not say."""
    # Compilers make variants of a function: do_sigtimedwait.isra.0.
    name = _slurp(tid, "wchan").decode(errors="replace").strip().partition(".")[0]
    return "" if name == "0" else name


def syscall_name(tid: int) -> str:
    """Return the system call a thread is blocked in, for reports: a name, ``syscall N``, or empty."""
    call = parse_syscall(_slurp(tid, "syscall"))
    if call is None or call[0] < 0:
        return ""
    return syscalls.NAMES.get(os.uname().machine, {}).get(call[0], f"syscall {call[0]}")


def sight(pid: int, memory: dict[tuple[int, int], tuple[bytes, float, float]]) -> None:
    """Note for ``threads.examine`` which call the leader thread is blocked in now, unless one was noted before.

    Another call in a later look has begun after this one: so long can its timeout not have run.
    """
    text = _slurp(pid, "syscall")
    if (pid, pid) not in memory and parse_syscall(text) is not None:
        memory[pid, pid] = (text, 0.0, time.clock_gettime(time.CLOCK_BOOTTIME))


def waits_for_signal(tid: int, number: int) -> bool | None:
    """Whether a thread sleeps in sigwait(3) or its kin for this signal; None when that cannot be known.

    The kernel unblocks the awaited signals while it sleeps there, so that the masks of such a
    process look as if no thread received them (kernel/signal.c, do_sigtimedwait). Needs ptrace access.
    """
    before = _slurp(tid, "syscall")
    if not before:
        return None
    call = parse_syscall(before)
    if call is None or call[0] < 0:
        return False  # running, or not blocked in a call
    known = _SIGTIMEDWAIT.get(os.uname().machine)
    if known is None or call[0] not in known:
        # Another architecture, or a 32-bit program with its own numbers: the kernel function's name decides.
        where = wchan(tid)
        if not where and known is None:
            return None
        if where != "do_sigtimedwait":
            return False
    mask = _memory_word(tid, call[1])
    # It may have woken up meanwhile and the word be anything: same call, same stack, or we do not know.
    if mask is None or _slurp(tid, "syscall") != before:
        return None
    return bool(mask >> (number - 1) & 1)


def parse_syscall(text: bytes) -> tuple[int, int] | None:
    """Return (number, first argument) from the text of /proc/PID/syscall; None when it is running."""
    words = text.split()
    if not words or words[0] == b"running":
        return None
    return int(words[0]), int(words[1], 16) if len(words) > 3 else 0


def _memory_word(pid: int, address: int) -> int | None:
    """Return the 8 bytes at an address of the process: a kernel signal set is 64 bits on every architecture."""
    if not 0 < address < 1 << 63:
        return None
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            word = os.pread(memory.fileno(), 8, address)
    except OSError:
        return None
    return int.from_bytes(word, sys.byteorder) if len(word) == 8 else None


def _split_stat(stat: bytes) -> tuple[int, str, list[bytes]]:
    """Return pid, comm and the fields from the state (number 3) on. A comm may hold spaces and parentheses."""
    head, _, tail = stat.rpartition(b")")
    pid, _, comm = head.partition(b" (")
    return int(pid), comm.decode(errors="replace"), tail.split()


def _slurp(pid: int, name: str) -> bytes:
    """Return a whole file of /proc/PID; empty when the process is gone or it may not be read. Raises OSError."""
    try:
        return read_whole(f"/proc/{pid}/{name}")
    except OSError as error:
        if is_shortage(error):  # of a process that lives: it must not be taken for one that has gone
            raise
        return b""


def _slurp_live(pid: int, name: str) -> bytes:
    """Return what ``_slurp`` does; where the leader thread has ended, what a thread that lives shows."""
    text = _slurp(pid, name)
    return text if text or (tid := live_tid(pid)) == pid else _slurp(tid, name)
