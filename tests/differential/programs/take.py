#!/usr/bin/python3 -BSE
"""take.py KIND PLACE FILE [ready=NAME]: a job without a handler that waits for something from outside.

fifo, socket: copies what comes to FILE; lock: waits for the lock PLACE, then writes FILE.
"""

import fcntl
import os
import socket
import sys

from common import ready, words, write_whole

(kind, place, name), options = words()
with open(name, "w") as file:
    if kind == "lock":
        with open(place, "w") as lock:
            ready(options)
            fcntl.flock(lock, fcntl.LOCK_EX)
            write_whole(file, 0.5)
        sys.exit(0)
    if kind == "socket":
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(place)
        source = peer.makefile("r")
    else:
        source = os.fdopen(os.open(place, os.O_RDONLY))
    ready(options)
    for line in source:
        file.write(line)
        file.flush()
