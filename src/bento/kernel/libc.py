"""The only door to the C library: one thin typed function per system call.

A failure raises KernelError with the call's name, errno and path. Nothing here decides
anything. Numbers and flags are from linux/mount.h, linux/sched.h, linux/prctl.h; calls
younger than Linux 5.1 have the same number on every architecture but alpha.
"""

from __future__ import annotations

import _socket
import ctypes
import errno
import os
import struct
import sys
import time
from typing import Final

from bento.errors import KernelError

AT_FDCWD: Final = -100

CLONE_FS: Final = 0x00000200
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_SLAVE: Final = 0x80000
MS_SHARED: Final = 0x100000
MNT_DETACH: Final = 0x2
UMOUNT_NOFOLLOW: Final = 0x8

FSCONFIG_SET_STRING: Final = 1
FSCONFIG_CMD_CREATE: Final = 6
_FSOPEN_CLOEXEC: Final = 1
_FSMOUNT_CLOEXEC: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4

_OPEN_TREE_CLONE: Final = 1
_AT_RECURSIVE: Final = 0x8000
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_NO_AUTOMOUNT: Final = 0x800
_AT_EMPTY_PATH: Final = 0x1000
_STATX_MNT_ID: Final = 0x1000
_MOUNT_ATTR_IDMAP: Final = 0x00100000
_CAPABILITY_VERSION_3: Final = 0x20080522

_NR_OPEN_TREE: Final = 428
_NR_MOVE_MOUNT: Final = 429
_NR_FSOPEN: Final = 430
_NR_FSCONFIG: Final = 431
_NR_FSMOUNT: Final = 432
_NR_OPENAT2: Final = 437
_NR_PIDFD_GETFD: Final = 438
_NR_MOUNT_SETATTR: Final = 442
_NR_SETRESUID: Final = {"x86_64": 117, "aarch64": 147}
_NR_IOPRIO_GET: Final = {"x86_64": 252, "aarch64": 31}  # ioprio_set is the number before it

_IOPRIO_PROCESS: Final = 1

RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10

_PR_SET_CHILD_SUBREAPER: Final = 36
_SOL_SOCKET, _SO_ATTACH_FILTER = _socket.SOL_SOCKET, 26  # asm-generic/socket.h
_M_ARENA_MAX: Final = -8
_MADV_DONTNEED: Final = 4

_HINTS: Final = {
    errno.EPERM: "this needs root with CAP_SYS_ADMIN",
    errno.ENOSYS: "this needs Linux 5.10 or newer, and no seccomp filter in the way",
}

_lib = ctypes.CDLL(None, use_errno=True)
_long = ctypes.c_long
# syscall(2) takes everything as a register's width; ctypes would pass bare integers as 32 bits.
_lib.syscall.restype = _long
_lib.ptrace.restype = _long


def _checked(result: int, call: str, path: str = "", log: str = "") -> int:
    if result == -1:
        number = ctypes.get_errno()
        reason = os.strerror(number) + (f": {log}" if log else "")
        raise KernelError(call, number, reason, path=path, hint=_HINTS.get(number, ""))
    return result


def unshare(flags: int) -> None:
    """Give the calling *thread* namespaces of its own (unshare(2)). CLONE_NEWNS implies CLONE_FS."""
    _checked(_lib.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    """Move the calling *thread* into namespaces; ``fd`` may be a pidfd since Linux 5.8 (setns(2))."""
    _checked(_lib.setns(fd, flags), "setns")


def timer(after_s: float) -> int:
    """Return a descriptor, the caller's to close, that polls readable once so much time has passed (timerfd_create(2)).

    ``os`` has it from Python 3.13 on.
    """
    fd = _checked(_lib.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC), "timerfd_create")
    whole = int(after_s)
    spec = struct.pack("@llll", 0, 0, whole, int((after_s - whole) * 1e9))
    try:
        _checked(_lib.timerfd_settime(fd, 0, spec, None), "timerfd_settime")
    except BaseException:
        os.close(fd)
        raise
    return fd


def attach_filter(fd: int, program: bytes) -> None:
    """Have a socket take only what a classic BPF program lets through (socket(7), SO_ATTACH_FILTER)."""
    steps = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))
    _checked(_lib.setsockopt(fd, _SOL_SOCKET, _SO_ATTACH_FILTER, described, len(described)), "setsockopt")


def mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    """The classic mount(2). ``data`` is cut by the kernel at one page."""
    encoded = [os.fsencode(text) for text in (source, target, fstype, data)]
    _checked(_lib.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]), "mount", target)


def umount2(target: str, flags: int) -> None:
    """umount2(2)."""
    _checked(_lib.umount2(os.fsencode(target), flags), "umount", target)


def fsopen(fstype: str) -> int:
    """Return a descriptor to configure a new superblock with; the caller closes it."""
    return _checked(_lib.syscall(_long(_NR_FSOPEN), fstype.encode(), _long(_FSOPEN_CLOEXEC)), "fsopen", fstype)


def fsconfig_set(fs_fd: int, key: str, value: str) -> None:
    """Set one option. The kernel takes at most 255 bytes of ``value``."""
    result = _lib.syscall(
        _long(_NR_FSCONFIG), _long(fs_fd), _long(FSCONFIG_SET_STRING), key.encode(), os.fsencode(value), _long(0)
    )
    _checked(result, f"fsconfig {key}", value, "" if result == 0 else _fs_log(fs_fd))


def fsconfig_create(fs_fd: int) -> None:
    """Make the superblock from what was set."""
    result = _lib.syscall(_long(_NR_FSCONFIG), _long(fs_fd), _long(FSCONFIG_CMD_CREATE), None, None, _long(0))
    _checked(result, "fsconfig create", "", "" if result == 0 else _fs_log(fs_fd))


def fsmount(fs_fd: int, attributes: int = 0) -> int:
    """Return a detached mount of the superblock; the caller closes it."""
    result = _lib.syscall(_long(_NR_FSMOUNT), _long(fs_fd), _long(_FSMOUNT_CLOEXEC), _long(attributes))
    return _checked(result, "fsmount")


def move_mount(mount_fd: int, target: str) -> None:
    """Attach a detached mount at ``target``; a symbolic link there is not followed."""
    result = _lib.syscall(
        _long(_NR_MOVE_MOUNT),
        _long(mount_fd),
        b"",
        _long(AT_FDCWD),
        os.fsencode(target),
        _long(_MOVE_MOUNT_F_EMPTY_PATH),
    )
    _checked(result, "move_mount", target)


def open_tree(path: str, *, recursive: bool) -> int:
    """Return a detached copy of the mount at ``path``, and of those below it when ``recursive``; the caller closes it.

    ``path`` is in the calling thread's mount namespace. A process that holds the descriptor holds the filesystems, in
    any namespace.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return _checked(
        _lib.syscall(_long(_NR_OPEN_TREE), _long(AT_FDCWD), os.fsencode(path), _long(flags)), "open_tree", path
    )


def map_ids(mount_fd: int, user_namespace_fd: int, *, recursive: bool) -> None:
    """Have a detached mount show the ids of files as those of a user namespace (mount_setattr(2), MOUNT_ATTR_IDMAP).

    EINVAL: a filesystem there has no idmapped mounts; ENOSYS: the kernel is older than Linux 5.12.
    """
    attributes = struct.pack("@QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, user_namespace_fd)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    result = _lib.syscall(
        _long(_NR_MOUNT_SETATTR), _long(mount_fd), b"", _long(flags), attributes, _long(len(attributes))
    )
    _checked(result, "mount_setattr")


def set_file_ids(uid: int, gid: int) -> None:
    """Have the calling *thread* make files as this user and group (setfsuid(2)). Its capabilities stay as they are."""
    header = struct.pack("@Ii", _CAPABILITY_VERSION_3, 0)
    capabilities = ctypes.create_string_buffer(24)
    _checked(_lib.capget(header, capabilities), "capget")
    _lib.setfsgid(ctypes.c_uint32(gid))
    _lib.setfsuid(ctypes.c_uint32(uid))  # which takes those of files away, but from root
    _checked(_lib.capset(header, capabilities), "capset")
    now = (_lib.setfsuid(ctypes.c_uint32(-1)), _lib.setfsgid(ctypes.c_uint32(-1)))  # what they are: no error is told
    if tuple(ctypes.c_uint32(one).value for one in now) != (uid, gid):
        raise KernelError("setfsuid", errno.EPERM, os.strerror(errno.EPERM), hint=_HINTS[errno.EPERM])


def set_effective_uid(uid: int) -> None:
    """Have the calling *thread* act as this user, which may be root again later (setresuid(2)).

    Without any capability, unless it is root.
    """
    number = _NR_SETRESUID.get(os.uname().machine)
    if number is None:
        raise KernelError("setresuid", errno.ENOSYS, os.strerror(errno.ENOSYS))
    _checked(_lib.syscall(_long(number), _long(-1), _long(uid), _long(-1)), "setresuid")


class _OpenHow(ctypes.Structure):
    """struct open_how, linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(dir_fd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Return a descriptor of ``path`` below ``dir_fd`` by the rules of ``resolve``; the caller closes it."""
    how = _OpenHow(flags, mode, resolve)
    size = _long(ctypes.sizeof(how))
    result = _lib.syscall(_long(_NR_OPENAT2), _long(dir_fd), os.fsencode(path), ctypes.byref(how), size)
    return _checked(result, "openat2", path)


def pidfd_getfd(pidfd: int, number: int) -> int:
    """Return a copy of another process's descriptor, close-on-exec; the caller closes it (pidfd_getfd(2), Linux 5.6).

    Needs the right to trace that process.
    """
    return _checked(_lib.syscall(_long(_NR_PIDFD_GETFD), _long(pidfd), _long(number), _long(0)), "pidfd_getfd")


def statx_mount_id(dir_fd: int, name: str) -> int:
    """Return the id of the mount that ``name`` in a directory is on; a link itself, "" the directory (Linux 5.8)."""
    answer = ctypes.create_string_buffer(256)  # struct statx, linux/stat.h
    flags = _AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT | (0 if name else _AT_EMPTY_PATH)
    result = _lib.statx(dir_fd, os.fsencode(name), flags, ctypes.c_uint(_STATX_MNT_ID), answer)
    _checked(result, "statx", name)
    return int.from_bytes(answer.raw[144:152], sys.byteorder)


def fstatfs_type(fd: int) -> int:
    """Return the magic number of the filesystem that an open file is on (statfs(2)); O_PATH will do."""
    answer = ctypes.create_string_buffer(256)  # struct statfs begins with it, as a long
    _checked(_lib.fstatfs(fd, answer), "fstatfs")
    return _long.from_buffer(answer).value & 0xFFFFFFFF


def inotify_init(flags: int = 0) -> int:
    """Return a close-on-exec inotify descriptor; the caller closes it (inotify(7))."""
    return _checked(_lib.inotify_init1(os.O_CLOEXEC | flags), "inotify_init1")


def inotify_rm_watch(fd: int, watch: int) -> None:
    """Remove a watch; EINVAL when the kernel has done so already."""
    _checked(_lib.inotify_rm_watch(fd, watch), "inotify_rm_watch")


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """Watch a file; return the watch's number."""
    return _checked(_lib.inotify_add_watch(fd, os.fsencode(path), ctypes.c_uint32(mask)), "inotify_add_watch", path)


def one_arena() -> None:
    """Have all threads take memory from one place (mallopt(3), M_ARENA_MAX), where there is such a call."""
    if hasattr(_lib, "mallopt"):
        _lib.mallopt(_M_ARENA_MAX, 1)


def trim_heap() -> None:
    """Give back to the kernel what malloc(3) keeps and nothing uses (malloc_trim(3)), where there is such a call."""
    if hasattr(_lib, "malloc_trim"):
        _lib.malloc_trim(0)


def forget_pages(address: int, length: int) -> None:
    """Have no page of a mapping in memory until it is touched again (madvise(2), MADV_DONTNEED).

    Of a file that is only read; what was written is lost.
    """
    _checked(_lib.madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), _MADV_DONTNEED), "madvise")


def set_child_subreaper() -> None:
    """Make orphaned descendants children of this process instead of init's (prctl(2)). Idempotent."""
    _checked(_lib.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), _long(0), _long(0), _long(0)), "prctl")


def io_priority(pid: int) -> int:
    """Return class and level of a process's I/O in one number (ioprio_set(2)); 0, "not set", where it is not known."""
    number = _NR_IOPRIO_GET.get(os.uname().machine)
    return max(0, _lib.syscall(_long(number), _long(_IOPRIO_PROCESS), _long(pid))) if number else 0


def set_io_priority(priority: int) -> None:
    """Give this thread, and what it starts, a priority that ``io_priority`` has returned."""
    number = _long(_NR_IOPRIO_GET[os.uname().machine] - 1)
    _checked(_lib.syscall(number, _long(_IOPRIO_PROCESS), _long(0), _long(priority)), "ioprio_set")


def ptrace(request: int, tid: int, address: int = 0, data: int | bytearray = 0) -> int:
    """ptrace(2), but for the requests that peek. The kernel reads, or fills, a ``data`` that is a buffer."""
    last = (ctypes.c_char * len(data)).from_buffer(data) if isinstance(data, bytearray) else ctypes.c_void_p(data)
    return _checked(_lib.ptrace(_long(request), _long(tid), ctypes.c_void_p(address), last), "ptrace", str(tid))


def _fs_log(fs_fd: int) -> str:
    """Return what the filesystem had to say: one message per read, ENODATA at the end. Keeps errno."""
    number = ctypes.get_errno()
    lines = []
    try:
        while message := os.read(fs_fd, 4096):
            lines.append(message.decode(errors="replace").strip()[2:])  # "e ", "w " or "i " in front
    except OSError:
        pass
    ctypes.set_errno(number)
    return "; ".join(lines)
