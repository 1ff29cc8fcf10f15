#!/usr/bin/python3 -BSE
"""copier.py FROM TO SECONDS [ready=NAME] [aborts=yes]: a slow copy of a file.

It has no handler; with ``aborts`` it has one that removes what is incomplete and fails, as in rsync."""

import os
import signal
import time

from common import gate, ready, words

(source, target, seconds), options = words()
with open(source) as file:
    lines = file.readlines()
os.makedirs(os.path.dirname(target) or ".", exist_ok=True)


def abort(number, frame):
    os.unlink(target)
    os._exit(20)


if options.get("aborts"):
    signal.signal(signal.SIGTERM, abort)
with open(target, "w") as file:
    ready(options)
    for line in lines:
        time.sleep(float(seconds) / len(lines))
        file.write(line)
        file.flush()
        gate()
