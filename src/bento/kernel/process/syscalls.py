"""Numbers of system calls by architecture, and which argument of a call is its timeout or what it waits on.

x86_64: arch/x86/entry/syscalls/syscall_64.tbl; aarch64: include/uapi/asm-generic/unistd.h. 32-bit programs have
numbers of their own: they are not read (``table_of``).
"""

from __future__ import annotations

from typing import Final

NAMES: Final = {
    "x86_64": {
        0: "read", 1: "write", 3: "close", 7: "poll", 16: "ioctl", 17: "pread64", 18: "pwrite64", 19: "readv",
        20: "writev", 23: "select", 34: "pause", 35: "nanosleep", 40: "sendfile", 42: "connect", 43: "accept",
        44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 56: "clone", 58: "vfork", 59: "execve", 60: "exit",
        61: "wait4", 65: "semop", 70: "msgrcv", 72: "fcntl", 73: "flock", 74: "fsync", 75: "fdatasync", 82: "rename",
        87: "unlink", 128: "rt_sigtimedwait", 130: "rt_sigsuspend", 162: "sync", 165: "mount", 166: "umount2",
        202: "futex", 208: "io_getevents", 219: "restart_syscall", 220: "semtimedop", 230: "clock_nanosleep",
        231: "exit_group", 232: "epoll_wait", 243: "mq_timedreceive", 247: "waitid", 257: "openat", 270: "pselect6",
        271: "ppoll", 275: "splice", 276: "tee", 281: "epoll_pwait", 288: "accept4", 295: "preadv", 296: "pwritev",
        299: "recvmmsg", 306: "syncfs", 307: "sendmmsg", 426: "io_uring_enter", 435: "clone3", 441: "epoll_pwait2",
        449: "futex_waitv", 455: "futex_wait",
    },
    "aarch64": {
        4: "io_getevents", 22: "epoll_pwait", 25: "fcntl", 29: "ioctl", 32: "flock", 35: "unlinkat", 39: "umount2",
        40: "mount", 56: "openat", 57: "close", 63: "read", 64: "write", 65: "readv", 66: "writev", 67: "pread64",
        68: "pwrite64", 69: "preadv", 70: "pwritev", 71: "sendfile", 72: "pselect6", 73: "ppoll", 76: "splice",
        77: "tee", 81: "sync", 82: "fsync", 83: "fdatasync", 93: "exit", 94: "exit_group", 95: "waitid", 98: "futex",
        101: "nanosleep", 115: "clock_nanosleep", 128: "restart_syscall", 133: "rt_sigsuspend", 137: "rt_sigtimedwait",
        183: "mq_timedreceive", 188: "msgrcv", 192: "semtimedop", 193: "semop", 202: "accept", 203: "connect",
        206: "sendto", 207: "recvfrom", 211: "sendmsg", 212: "recvmsg", 220: "clone", 221: "execve", 242: "accept4",
        243: "recvmmsg", 260: "wait4", 267: "syncfs", 269: "sendmmsg", 426: "io_uring_enter", 435: "clone3",
        441: "epoll_pwait2", 449: "futex_waitv", 455: "futex_wait",
    },
}  # fmt: skip

RESTART: Final = "restart_syscall"
# do_nanosleep is left out of wchan, as all of the scheduler, and a restart jumps to it: what is seen is the entry to
# the kernel, of x86 or arm64. The other calls that are restarted, poll and futex, sleep in functions that are seen.
_ENTRIES: Final = frozenset(
    {"do_syscall_64", "x64_sys_call", "__x64_sys_restart_syscall", "__do_sys_restart_syscall"}
    | {"invoke_syscall", "el0_svc_common", "do_el0_svc", "el0_svc", "__arm64_sys_restart_syscall"}
)
_ELF_CLASS_64: Final = 2
_ELF_LITTLE: Final = 1
_ELF_MACHINES: Final = {62: "x86_64", 183: "aarch64"}  # elf.h: EM_X86_64, EM_AARCH64

RELATIVE_TIMEOUTS: Final = {
    "nanosleep": (0, "timespec"),
    "poll": (2, "ms"),
    "ppoll": (2, "timespec"),
    "select": (4, "timeval"),
    "pselect6": (4, "timespec"),
    "epoll_wait": (3, "ms"),
    "epoll_pwait": (3, "ms"),
    "epoll_pwait2": (3, "timespec"),
    "rt_sigtimedwait": (2, "timespec"),
}
"""The number of the argument from 0, and what it is: milliseconds themselves, or the address of a structure."""

DESCRIPTORS: Final = {
    **dict.fromkeys(("read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "pwritev"), (0,)),
    **dict.fromkeys(("accept", "accept4", "connect", "recvfrom", "recvmsg", "recvmmsg"), (0,)),
    **dict.fromkeys(("sendto", "sendmsg", "sendmmsg"), (0,)),
    "sendfile": (0, 1),
    "splice": (0, 2),
    "tee": (0, 1),
}
"""The arguments that are descriptors, of calls that wait for these alone."""

FUTEXES: Final = ("futex", "futex_wait", "futex_waitv")
EPOLLS: Final = ("epoll_wait", "epoll_pwait", "epoll_pwait2")
POLLS: Final = ("poll", "ppoll")
SELECTS: Final = ("select", "pselect6")

# linux/futex.h
FUTEX_PRIVATE: Final = 128  # FUTEX_PRIVATE_FLAG, and FUTEX2_PRIVATE of the newer calls
FUTEX_CLOCK_REALTIME: Final = 256
_FUTEX_FLAGS: Final = FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME
FUTEX_WAIT: Final = 0
FUTEX_ABSOLUTE: Final = {
    6: True,  # FUTEX_LOCK_PI, always against CLOCK_REALTIME
    9: False,  # FUTEX_WAIT_BITSET
    11: False,  # FUTEX_WAIT_REQUEUE_PI
    13: False,  # FUTEX_LOCK_PI2
}
"""Operations with an absolute timeout: whether the clock is the real-time one whatever the flag says (futex(2))."""

_CLOCKS_BEFORE_NANOSLEEP: Final = 16  # MAX_CLOCKS of linux/time.h: a first argument below it is a clock, no address


def table_of(elf_header: bytes) -> str:
    """Return the name of the table that a program's calls are in, by the first 20 bytes of its file; "" for none.

    elf(5): byte 4 is the class, byte 5 the byte order, bytes 18 and 19 the machine.
    """
    if len(elf_header) < 20 or elf_header[:4] != b"\x7fELF":
        return ""
    if elf_header[4] != _ELF_CLASS_64 or elf_header[5] != _ELF_LITTLE:
        return ""
    return _ELF_MACHINES.get(int.from_bytes(elf_header[18:20], "little"), "")


def parse(text: bytes) -> tuple[int, tuple[int, ...]] | None:
    """Return the number and the arguments in /proc/PID/task/TID/syscall; None for anything but a blocked call.

    proc_pid_syscall(5): "running"; or "-1 SP PC", blocked outside of a call; or the number, six arguments, SP and PC.
    """
    words = text.split()
    if len(words) != 9:
        return None
    return int(words[0]), tuple(int(word, 16) for word in words[1:7])


def futex_command(operation: int) -> int:
    """Return the operation without its flags."""
    return operation & 0x7FFFFFFF & ~_FUTEX_FLAGS


def restarted(wchan: str, first_argument: int) -> str:
    """Return which call restart_syscall(2) has taken up again, by the kernel function that it sleeps in.

    After a stop and SIGCONT, a freeze or a tracer's visit a relative sleep goes on under this number, with the
    registers of the call as it was made, and until the moment that was reckoned then.
    """
    if "nanosleep" in wchan or wchan in _ENTRIES:
        return "clock_nanosleep" if first_argument < _CLOCKS_BEFORE_NANOSLEEP else "nanosleep"
    if "poll" in wchan:
        return "poll"
    return "futex" if "futex" in wchan else RESTART
