"""User namespaces in which nothing runs: made by a process that ends as soon as there is a descriptor (IdMaps)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

from bento import command
from bento.errors import KernelError, StorageUnusable
from bento.kernel import idmapped, libc
from bento.kernel.mountinfo import of_path
from bento.model.namespaces.mapping import IdMapping, IdRange

ANYBODYS: Final = 0o666
_TIMEOUT_S: Final = 10.0


class UserNamespaces:
    """Implements ``IdMaps``. Keeps nothing."""

    def namespace(self, mapping: IdMapping) -> int:
        """See IdMaps."""
        return self.namespaces(mapping, ())["user"]

    def namespaces(self, mapping: IdMapping, kinds: Collection[str]) -> dict[str, int]:
        """See IdMaps. A thread cannot leave the user namespace of its process, and Bento does not fork: unshare(1).

        That makes the user namespace first, whatever the order of its options: the others belong to it (unshare(2)).
        """
        wanted = ("user", *kinds)
        argv = [str(command.find_program("unshare", package="util-linux")), *(f"--{kind}" for kind in wanted), "--"]
        argv.append(str(command.find_program("cat", package="coreutils")))
        input_fd, to_child = os.pipe2(os.O_CLOEXEC)
        from_child, output_fd = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                child = command.spawn(argv, stdin_fd=input_fd, stdout_fd=output_fd)
            finally:
                os.close(input_fd)
                os.close(output_fd)
            try:
                return _mapped(child.pid, mapping, wanted, to_child, from_child)
            except EOFError:
                reason = child.finish(_TIMEOUT_S).stderr.strip()
                raise KernelError(
                    "unshare", errno.EPERM, reason or "it ended", hint="see user.max_user_namespaces (sysctl)"
                ) from None
            finally:
                child.kill()
        finally:
            os.close(to_child)
            os.close(from_child)

    def open_tree(self, path: str, namespace_fd: int, *, recursive: bool) -> int:
        """See IdMaps."""
        try:
            return idmapped.open_tree(path, namespace_fd, recursive=recursive)
        except KernelError as error:
            if error.call != "mount_setattr" or error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
                raise
            where = of_path(path)
            below = " or below" if recursive else ""
            raise StorageUnusable(f"the ids of files at {path} cannot be mapped: {where.fstype}{below}") from error

    def open_streams(self, pidfd: int) -> None:
        """See IdMaps. runc 1.1 would give them to the process's user, and may not, from inside of the namespace."""
        for number in (0, 1, 2):
            with suppress(KernelError):  # it has ended, or has no such stream
                fd = libc.pidfd_getfd(pidfd, number)
                try:
                    if stat.S_ISFIFO(os.fstat(fd).st_mode):
                        os.fchmod(fd, ANYBODYS)
                finally:
                    os.close(fd)

    def making_files_as(self, owner: tuple[int, int]) -> AbstractContextManager[None]:
        """See IdMaps."""
        return idmapped.making_files_as(owner)


def _mapped(pid: int, mapping: IdMapping, kinds: Iterable[str], to_child: int, from_child: int) -> dict[str, int]:
    """Return namespaces of the child, that of users with its ids. Raises EOFError: it has ended."""
    try:
        os.write(to_child, b"\n")  # cat answers once it is in the namespace
    except BrokenPipeError:
        raise EOFError from None
    if not os.read(from_child, 1):
        raise EOFError
    for name, ranges in (("uid_map", mapping.uids), ("gid_map", mapping.gids)):
        _write_map(Path(f"/proc/{pid}/{name}"), ranges)
    found: dict[str, int] = {}
    try:
        for kind in kinds:
            found[kind] = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
    except BaseException:
        for fd in found.values():
            os.close(fd)
        raise
    return found


def _write_map(path: Path, ranges: Iterable[IdRange]) -> None:
    text = "".join(f"{one.inside} {one.outside} {one.size}\n" for one in ranges)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())  # all at once, or not at all (user_namespaces(7))
        finally:
            os.close(fd)
    except OSError as error:
        number = error.errno or 0
        raise KernelError("write", number, f"ids cannot be mapped: {error.strerror}", path=str(path)) from error
