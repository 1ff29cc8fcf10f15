"""The owner of a container's exit: the process that does what is to follow it, its deletion or its next start.

There must be one: the foreground ``run`` that waits for it, the stop that ends it, or, without either of these,
the helper that the container's monitor runs at the exit. An owner claims the exit by writing its identity into a file
of the container's run directory: pid and start time, since pids are used again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from bento.files.smallfile import read_small, write_small
from bento.files.tree import remove_tree
from bento.model.container import Container, ProcessIdentity, Status

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_HAS_OWNER = (
    'is_there() { [ -f "$0" ] && read -r pid ticks rest <"$0" && read -r stat <"/proc/$pid/stat" || return 1;'
    ' set -- ${stat##*) }; [ "${20}" = "$ticks" ] || return 1; [ "$1" = Z ] || return 0;'
    ' for file in "/proc/$pid/task"/*/stat; do'
    ' read -r stat <"$file" && set -- ${stat##*) } && case $1 in [ZXx]) ;; *) return 0 ;; esac; done; return 1; }; '
)
"""For /bin/sh, with the file as $0. The program's name, in brackets, may hold anything; after it the state is the first
word and the start time the 20th (proc_pid_stat(5)). Z may be its leader thread alone: then others are asked."""


def exit_owner_path(drivers: Drivers, container_id: str) -> str:
    """The file that names the owner of the container's exit."""
    return str(drivers.run_dir(container_id) / "exit-owner")


def has_exit_owner(drivers: Drivers, container_id: str) -> bool:
    """Whether a living process owns the container's exit."""
    owner = _owner(drivers, container_id)
    fd = drivers.processes.open(owner) if owner is not None else None
    if fd is None:
        return False
    os.close(fd)
    return True


def may_have_owner_elsewhere(drivers: Drivers, container_id: str) -> bool:
    """Whether the owner is a process of another PID namespace: whether it lives cannot be known here."""
    owner = _owner(drivers, container_id)
    if owner is None or owner.boot_id != drivers.processes.boot_id():
        return False
    return owner.pid_ns not in (0, drivers.processes.namespaces()[0])


def _owner(drivers: Drivers, container_id: str) -> ProcessIdentity | None:
    try:
        text = read_small(exit_owner_path(drivers, container_id)).decode("ascii")
        pid, ticks, boot_id, *more = text.split()
        return ProcessIdentity(int(pid), int(ticks), boot_id, *map(int, more[:1]))
    except (OSError, ValueError):
        return None


def claim(drivers: Drivers, container_id: str) -> bool:
    """Become the owner of the container's exit. False: a living process is already, maybe this one."""
    path = exit_owner_path(drivers, container_id)
    own = drivers.processes.own()
    whole = f"{path}.{own.pid}"  # others see it whole or not at all
    try:
        write_small(whole, f"{own.pid} {own.start_ticks} {own.boot_id} {own.pid_ns}\n".encode())
    except FileNotFoundError:  # no run directory: nothing runs, no other process can be the owner
        return True
    try:
        for _ in range(2):
            try:
                os.link(whole, path)
                return True
            except FileExistsError:
                if has_exit_owner(drivers, container_id):
                    return False
                release(drivers, container_id)
        return False
    finally:
        with suppress(FileNotFoundError):
            os.unlink(whole)


def release(drivers: Drivers, container_id: str) -> None:
    """Give up the container's exit; from now on the monitor's helper owns it. Idempotent."""
    with suppress(FileNotFoundError):
        os.unlink(exit_owner_path(drivers, container_id))


def leave_run_dir(drivers: Drivers, container: Container) -> None:
    """Delete the run directory of a run whose end is recorded. Idempotent.

    The mark of a process that is about to delete the container, or to start it again, stays: should it die before that
    is done, the mark names no living process, and the next command that meets the container deletes it.
    """
    mark = exit_owner_path(drivers, container.id)
    is_kept = (
        container.spec.auto_remove and container.status is Status.STOPPED and has_exit_owner(drivers, container.id)
    )
    if not is_kept:
        remove_tree(drivers.run_dir(container.id))
        return
    for path in drivers.run_dir(container.id).iterdir():
        if str(path) != mark:
            remove_tree(path)


def is_followed(container: Container) -> bool:
    """Whether something is to follow a container's end: its deletion, or its next start, as a system may ask for it."""
    spec = container.spec
    return spec.auto_remove or spec.restart.name != "no" or spec.system


def exit_script(drivers: Drivers, container: Container) -> tuple[str, ...]:
    """What the monitor runs at the exit of a container that something is to follow: a helper, unless it has an owner.

    The monitor ends only after this command, and a stop waits for the monitor: so where there is an
    owner, all that is run is a shell that reads two files.
    """
    if not is_followed(container):
        return ()
    script = _HAS_OWNER + 'is_there 2>/dev/null || exec "$@"'
    path = exit_owner_path(drivers, container.id)
    number = str(container.run.number if container.run else 0)
    return ("/bin/sh", "-c", script, path, *drivers.helper_argv, "after-exit", container.id, number)
