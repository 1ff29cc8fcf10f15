"""The process that carries out health checks: not for people; Bento starts it, with its roots as arguments.

It stays for as long as a container with a check runs, so it loads no more than it needs, and all of that at once: the
package may be replaced by another version meanwhile. It lets go of what belongs to the command that has started it.
"""

from __future__ import annotations

import os
import sys

from bento import own
from bento.config import Settings
from bento.engine.health.keeper import keep
from bento.errors import BentoError
from bento.kernel import libc, resident
from bento.kernel.monitor_cgroup import MonitorCgroup
from bento.wiring import HostDrivers, load_for_keeper

VERB = "health"


def main() -> None:
    """Be the keeper of the roots that are named in the arguments; end the process."""
    _, root, run_root, *runtime_args = sys.argv
    os.chdir("/")
    os.umask(0o077)
    libc.one_arena()
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    status = 0
    try:
        _leave_cgroup()
        drivers = HostDrivers(Settings(root=root, run_root=run_root, runtime_args=tuple(runtime_args)))
        drivers.verb = VERB
        load_for_keeper()
        resident.settle()
        own.mark(drivers.run_root)
        keep(drivers, resident.Text().forget)
    except (BentoError, OSError):
        status = 1  # nothing reads what it says; the next command that meets a container starts another one
    os._exit(status)


def _leave_cgroup() -> None:
    """Be in no cgroup of the command that has started this process, as monitors are not (``kernel.monitor_cgroup``)."""
    cgroup = MonitorCgroup()
    cgroup.enter(os.getpid())
    cgroup.close()
