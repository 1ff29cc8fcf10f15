#!/usr/bin/python3 -BSE
"""supervisor.py COMMAND... [ready=NAME] [limit=SECONDS] [saves=FILE]: starts commands, ends the last first.

A child that has not gone after ``limit`` is killed. Then the supervisor saves its own state.
"""

import contextlib
import signal
import subprocess
import sys

from common import Signals, ready, write_whole

commands = [word for word in sys.argv[1:] if word.split("=")[0] not in ("ready", "limit", "saves")]
options = dict(word.split("=", 1) for word in sys.argv[1:] if word not in commands)
signals = Signals("TERM")
children = [subprocess.Popen(command, shell=True) for command in commands]
ready(options)
signals.wait()
for child in reversed(children):
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    try:
        child.wait(float(options["limit"]) if "limit" in options else None)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
if "saves" in options:
    with open(options["saves"], "w") as file:
        write_whole(file, 0.2)
