"""The raw states of all processes of a PID namespace, zombies too. For checks; a stop looks at the living alone."""

from __future__ import annotations

from bento.kernel.process import proc
from bento.model.waits import ProcessState


def read_states(first: int) -> tuple[ProcessState, ...]:
    """Return the state of every process in the PID namespace of process ``first``, nested ones left out."""
    namespace = proc.pid_namespace(first)
    if not namespace:
        return ()
    looked = {pid: status for pid in proc.all_pids() if (status := proc.read(pid)) is not None}
    members = {pid for pid in looked if proc.pid_namespace(pid) == namespace}
    # A zombie has no namespace to be read any more, but a parent that has, and a number of its own there.
    members |= {pid for pid, one in looked.items() if not one.is_alive and one.ppid in members and len(one.ns_pids) > 1}
    return tuple(
        ProcessState(
            pid=pid,
            ppid=one.ppid,
            comm=one.comm,
            state=one.state,
            start_ticks=one.start_ticks,
            session=proc.session_if_alive(pid) or 0,
            blocked=one.blocked,
            ignored=one.ignored,
            caught=one.caught,
        )
        for pid, one in looked.items()
        if pid in members
    )
