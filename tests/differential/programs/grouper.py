#!/usr/bin/python3 -BSE
"""grouper.py COMMAND how=group|tree: a process manager that tells whatever it has started by itself.

group: the child's process group, in one kill (supervisord with stopasgroup, foreman, honcho); tree: each process below,
one after the other, the youngest first (pm2, nodemon). Then it waits for its child.
"""

import contextlib
import os
import signal
import subprocess
import sys

from common import Signals

command, how = sys.argv[1:]
signals = Signals("TERM")
child = subprocess.Popen(command, shell=True, start_new_session=True)


def below(pid):
    """Every process below one, the deepest first."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
            if int(file.read().rpartition(")")[2].split()[1]) == pid:
                found += [*below(int(name)), int(name)]
    return found


signals.wait()
if how == "how=group":
    os.killpg(child.pid, signal.SIGTERM)
else:
    for pid in [*below(child.pid), child.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
child.wait()
