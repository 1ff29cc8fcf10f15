"""Processes that SIGKILL does not end, and where in the kernel they hang."""

from __future__ import annotations

import os

from bento.kernel.cgroup import Cgroups
from bento.kernel.process import proc
from bento.model.container import Run


def name_stuck(run: Run) -> list[str]:
    """See ProcessDriver. PID 1 has left the cgroup when it waits for the last of its namespace."""
    pids = Cgroups(run.cgroups).pids()
    if run.init and run.init.pid not in pids:
        pids.insert(0, run.init.pid)
    found = [line for pid in pids if (line := _name(run, pid))]
    return [*found, *(_name_unreaped(run.init.pid) if found and run.init else ())]


def _name_unreaped(main_pid: int) -> list[str]:
    """Return a line for each process of PID 1's namespace that has ended, and that a parent outside does not reap.

    PID 1 cannot end before that (kernel/pid_namespace.c, zap_pid_ns_processes).
    """
    namespace = proc.pid_namespace(main_pid)
    if not namespace or namespace == proc.pid_namespace(os.getpid()):
        return []
    found = []
    for pid in proc.all_pids():
        status = proc.read(pid)
        if status is None or status.state != "Z" or pid == main_pid or proc.pid_namespace(pid) != namespace:
            continue
        parent = proc.read(status.ppid)
        if proc.pid_namespace(status.ppid) != namespace:
            named = f"{status.ppid} {parent.comm} (state {parent.state})" if parent else f"{status.ppid}"
            found.append(
                f"PID 1 waits for {pid} {status.comm}, which has ended: its parent {named}, outside of the"
                " container, does not reap it"
            )
    return found


def _name(run: Run, pid: int) -> str:
    status = proc.read(pid)
    is_other = run.init is not None and pid == run.init.pid and status and status.start_ticks != run.init.start_ticks
    if status is None or status.state in "ZX" or is_other:
        return ""
    tid = status.live[0].pid if status.live else pid
    where = proc.wchan(tid) or "?"
    return f"{pid} {status.comm} (state {status.state}, in {where}, {proc.syscall_name(tid)})"
