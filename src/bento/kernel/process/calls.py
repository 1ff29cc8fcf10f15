"""What a blocked call waits for: its arguments, and the structures in its process's memory that they point to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from bento.kernel.process import syscalls
from bento.kernel.process.descriptors import MAX_OF_A_CALL, Look, link, slurp
from bento.kernel.process.mappings import Mappings
from bento.model.waits import Descriptor, ThreadWait

_UNKNOWN: Final = (Descriptor("unknown"),)
_OUTSIDE: Final = (Descriptor("memory"),)
_WNOHANG: Final = 1
_P_PID, _P_PIDFD = 1, 3  # waitid(2)
_TIMER_ABSTIME: Final = 1
_CLONE_VFORK: Final = 0x4000
_VFORK_WAITS: Final = ("kernel_clone", "_do_fork", "do_fork", "wait_for_vfork_done")
_REALTIME, _MONOTONIC, _BOOTTIME = 0, 1, 7
# The clock to ask for each clock that a call may name: an _ALARM one shows the same time (clock_getres(2)).
_CLOCKS: Final = {0: 0, 1: 1, 7: 7, 8: 0, 9: 7, 11: 11}
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_MAX_SELECT: Final = 1 << 16
_WAITER_SIZE: Final = 24  # struct futex_waitv: value, address, 4 bytes of flags, 4 reserved


class CallReader:
    """Reads the calls of one process's threads."""

    def __init__(
        self, task: str, look: Look, child_of: Callable[[int], int | None], mappings: Mappings | None = None
    ) -> None:
        """``task``: the directory of a live thread; ``child_of``: the host's number of a child by the process's own."""
        self._task = task
        self._mappings = mappings or Mappings()
        self._look = look
        self._child_of = child_of
        self._table = syscalls.NAMES.get(_architecture(task), {})
        self._memory_fd: int | None = None

    def __enter__(self) -> CallReader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._memory_fd is not None and self._memory_fd >= 0:
            os.close(self._memory_fd)

    def name(self, number: int) -> str:
        """Return the name of a call, or what a report says of one without a name."""
        return self._table.get(number, f"syscall {number}")

    def read(self, task: str, state: str, number: int, arguments: tuple[int, ...], *, since_s: float) -> ThreadWait:
        """Return what a thread in this call waits for; ``since_s`` is CLOCK_BOOTTIME: it had not begun before that."""
        call = self.name(number)
        if call == syscalls.RESTART:
            call = syscalls.restarted(_wchan(task), arguments[0])
        if call in ("vfork", "clone", "clone3"):
            call = self._forking(task, call, arguments)
        timeout_s, period_s = self._timeout(call, arguments)
        if period_s is not None:
            timeout_s = self._left(task, period_s, since_s)
        is_blocking = True
        child = None
        if call == "wait4":
            is_blocking, child = not arguments[2] & _WNOHANG, self._child_of(_signed(arguments[0]))
        elif call == "waitid":
            is_blocking, child = not arguments[3] & _WNOHANG, self._waitid_child(arguments)
        return ThreadWait(
            tid=int(task.rpartition("/")[2]),
            state=state,
            call=call,
            timeout_s=timeout_s,
            period_s=period_s,
            child=child,
            is_blocking=is_blocking,
            size=arguments[2] if call == "read" else 0,
            fds=self._descriptors(task, call, arguments),
        )

    def _forking(self, task: str, call: str, arguments: tuple[int, ...]) -> str:
        flags = self._word(arguments[0], 8) if call == "clone3" else arguments[0]
        if call != "vfork" and not (flags or 0) & _CLONE_VFORK:
            return call
        # Before the child is there, the same call waits for memory or the disk, in other functions.
        return "vfork" if _wchan(task) in _VFORK_WAITS else f"{call} (beginning)"

    # Timeouts ----------------------------------------------------------------------------

    def _timeout(self, call: str, arguments: tuple[int, ...]) -> tuple[float | None, float | None]:
        """Return the seconds until the call times out, and a relative timeout as it was given, to be reckoned with."""
        if call in syscalls.RELATIVE_TIMEOUTS:
            number, kind = syscalls.RELATIVE_TIMEOUTS[call]
            if kind == "ms":
                milliseconds = _signed(arguments[number])
                return None, milliseconds / 1e3 if milliseconds >= 0 else None
            return self._relative(arguments[number], 1e6 if kind == "timeval" else 1e9)
        if call == "clock_nanosleep":
            if arguments[1] & _TIMER_ABSTIME:
                return self._until(arguments[0], arguments[2]), None
            return self._relative(arguments[2], 1e9) if arguments[0] in _CLOCKS else (0.0, None)
        if call == "futex":
            return self._futex(arguments)
        if call in ("futex_wait", "futex_waitv"):
            at = 3 if call == "futex_waitv" else 4
            return (self._until(arguments[at + 1], arguments[at]) if arguments[at] else None), None
        return None, None

    def _futex(self, arguments: tuple[int, ...]) -> tuple[float | None, float | None]:
        command = syscalls.futex_command(arguments[1])
        if command == syscalls.FUTEX_WAIT:
            return self._relative(arguments[3], 1e9)
        if command not in syscalls.FUTEX_ABSOLUTE:
            return 0.0, None
        if not arguments[3]:
            return None, None
        is_real = syscalls.FUTEX_ABSOLUTE[command] or arguments[1] & syscalls.FUTEX_CLOCK_REALTIME
        return self._until(_REALTIME if is_real else _MONOTONIC, arguments[3]), None

    def _relative(self, address: int, parts: float) -> tuple[float | None, float | None]:
        if not address:
            return None, None
        period_s = self._time(address, parts)
        return (0.0, None) if period_s is None else (None, period_s)

    def _until(self, clock: int, address: int) -> float:
        """Return the seconds until a moment of a clock; 0 when the moment or the clock is not known."""
        moment_s = self._time(address, 1e9)
        if moment_s is None or clock not in _CLOCKS or (clock != _REALTIME and self._has_own_time()):
            return 0.0
        return max(moment_s - time.clock_gettime(_CLOCKS[clock]), 0.0)

    def _has_own_time(self) -> bool:
        # time_namespaces(7): clocks that are not the wall's have offsets there.
        return link(f"{self._task}/ns/time") != link("/proc/self/ns/time")

    def _left(self, task: str, period_s: float, since_s: float) -> float:
        """Return what is left at least of a sleep that began after the thread did, and after ``since_s``."""
        _, _, tail = slurp(f"{task}/stat").rpartition(b")")
        fields = tail.split()
        started_s = int(fields[19]) / _TICKS_PER_S if len(fields) > 19 else 0.0
        return max(max(started_s, since_s) + period_s - time.clock_gettime(_BOOTTIME), 0.0)

    # Children ----------------------------------------------------------------------------

    def _waitid_child(self, arguments: tuple[int, ...]) -> int | None:
        if arguments[0] == _P_PID:
            return self._child_of(_signed(arguments[1])) or None
        if arguments[0] == _P_PIDFD:
            return self._look.process_of(self._task, _signed(arguments[1])) or None
        return 0

    # Descriptors -------------------------------------------------------------------------

    def _descriptors(self, task: str, call: str, arguments: tuple[int, ...]) -> tuple[Descriptor, ...]:
        if call in syscalls.DESCRIPTORS:
            fds: Iterable[int] | None = [_signed(arguments[at]) for at in syscalls.DESCRIPTORS[call]]
        elif call in syscalls.EPOLLS:
            fds = [_signed(arguments[0])]
        elif call in syscalls.POLLS:
            fds = self._polled(arguments)
        elif call in syscalls.SELECTS:
            fds = self._selected(arguments)
        elif call in syscalls.FUTEXES:
            addresses = self._shared_words(call, arguments)
            is_outside = addresses is None or any(self._mappings.reach_outside(self._task, at) for at in addresses)
            return _OUTSIDE if is_outside else ()
        else:
            return ()
        if fds is None:
            return _UNKNOWN
        found = [descriptor for fd in fds for descriptor in self._look.describe(self._task, fd)]
        if len(found) > MAX_OF_A_CALL:
            return _UNKNOWN
        if found and found[0].kind == "file" and "pipe" in _wchan(task):
            found[0] = Descriptor("fifo")
        return tuple(found)

    def _polled(self, arguments: tuple[int, ...]) -> list[int] | None:
        """Return the descriptors of an array of struct pollfd: 4 bytes each of descriptor and events (poll(2))."""
        count = arguments[1] & 0xFFFFFFFF
        if count > MAX_OF_A_CALL:
            return None
        array = self._bytes(arguments[0], 8 * count) if count else b""
        if array is None:
            return None
        numbers = (int.from_bytes(array[at : at + 4], "little", signed=True) for at in range(0, len(array), 8))
        return [number for number in numbers if number >= 0]

    def _selected(self, arguments: tuple[int, ...]) -> list[int] | None:
        """Return the descriptors whose bit is set in any of three sets (select(2))."""
        count = max(_signed(arguments[0]), 0)
        size = (min(count, _MAX_SELECT) + 63) // 64 * 8
        bits = 0
        for address in arguments[1:4]:
            part = self._bytes(address, size) if address and size else b""
            if part is None:
                return None
            bits |= int.from_bytes(part, "little")
        found = list(_set_bits(bits & (1 << count) - 1))
        return found if len(found) <= MAX_OF_A_CALL else None

    # Memory ------------------------------------------------------------------------------

    def _shared_words(self, call: str, arguments: tuple[int, ...]) -> list[int] | None:
        """Return the addresses that a futex call waits at and that other processes may have; None: not to be read."""
        if call == "futex":
            return [] if arguments[1] & syscalls.FUTEX_PRIVATE else [arguments[0]]
        if call == "futex_wait":
            return [] if arguments[3] & syscalls.FUTEX_PRIVATE else [arguments[0]]
        count = arguments[1] & 0xFFFFFFFF
        array = self._bytes(arguments[0], _WAITER_SIZE * count) if 0 < count <= MAX_OF_A_CALL else None
        if array is None:
            return None
        found = [
            (int.from_bytes(array[at + 8 : at + 16], "little"), int.from_bytes(array[at + 16 : at + 20], "little"))
            for at in range(0, len(array), _WAITER_SIZE)
        ]
        return [address for address, flags in found if not flags & syscalls.FUTEX_PRIVATE]

    def _bytes(self, address: int, size: int) -> bytes | None:
        """Return what lies at an address of the process; None when it cannot be read."""
        if not 0 < address < 1 << 63:
            return None
        try:
            if self._memory_fd is None:
                self._memory_fd = -1
                self._memory_fd = os.open(f"{self._task}/mem", os.O_RDONLY | os.O_CLOEXEC)
            data = os.pread(self._memory_fd, size, address)
        except OSError:  # EBADF too, after a failure to open
            return None
        return data if len(data) == size else None

    def _word(self, address: int, size: int) -> int | None:
        data = self._bytes(address, size)
        return None if data is None else int.from_bytes(data, "little")

    def _time(self, address: int, parts: float) -> float | None:
        """Return a struct timespec or timeval, 8 bytes each of seconds and parts of them, in seconds."""
        data = self._bytes(address, 16)
        if data is None:
            return None
        return int.from_bytes(data[:8], "little", signed=True) + int.from_bytes(data[8:], "little") / parts


def _architecture(task: str) -> str:
    try:
        with open(f"{task}/exe", "rb", buffering=0) as file:
            return syscalls.table_of(file.read(20))
    except OSError:
        return ""


def _wchan(task: str) -> str:
    # Compilers make variants of a function: do_nanosleep.isra.0.
    return slurp(f"{task}/wchan").decode(errors="replace").strip().partition(".")[0]


def _signed(argument: int) -> int:
    """Return a register's lower 32 bits as the int that the call takes."""
    value = argument & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _set_bits(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
