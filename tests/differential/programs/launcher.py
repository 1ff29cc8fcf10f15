#!/usr/bin/python3 -BSE
"""launcher.py COMMAND... [action=leave|ignore|drop|pass]: starts one child and does with SIGTERM what such parents do.

leave: ends at once; ignore: ignores it on purpose and waits; drop: has no handler and waits; pass: tells it and waits.
"""

import os
import signal
import subprocess
import sys

action = "drop"
command = sys.argv[1:]
if command[0].startswith("action="):
    action = command.pop(0).removeprefix("action=")
if action == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
# The child starts with the default actions: what a parent ignores is inherited.
child = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
if action == "leave":
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
elif action == "pass":
    signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
sys.exit(child.wait())
