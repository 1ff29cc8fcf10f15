#!/usr/bin/python3 -BSE
"""give.py KIND PLACE SECONDS [ready=NAME]: the other side of take.py, run outside of the container.

fifo, socket: gives a whole file in three pieces with pauses; lock: holds the lock for so long after
the runner's word.
"""

import fcntl
import os
import socket
import time

from common import gate, touch, words

(kind, place, seconds), options = words()
if kind == "lock":
    with open(place, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        touch(options.get("ready"))
        gate()
        time.sleep(float(seconds))
else:
    if kind == "socket":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(place + ".new")
        listener.listen()
        os.rename(place + ".new", place)
        touch(options.get("ready"))
        connection, _ = listener.accept()
        target = connection.makefile("w")
    else:
        os.mkfifo(place)
        touch(options.get("ready"))
        target = os.fdopen(os.open(place, os.O_WRONLY), "w")
    for piece in ("0\n1\n", "2\n3\n", "4\nwhole 5\n"):
        target.write(piece)
        target.flush()
        gate()
        time.sleep(float(seconds) / 3)
