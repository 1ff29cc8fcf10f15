#!/usr/bin/python3 -BSE
"""handler.py WHAT FILE SECONDS [ready=NAME]: programs with a special handler.

fork-wait: the handler forks a worker that saves, and waits for it; fork-leave: and does not wait; crash: it saves, then
crashes; exit: it saves in the handler; thread: a thread saves.
"""

import ctypes
import os
import signal
import sys
import threading

from common import ready, words, write_whole

(what, name, seconds), options = words()


def save():
    with open(name, "w") as file:
        write_whole(file, float(seconds))


def handle(number, frame):
    if what.startswith("fork"):
        child = os.fork()
        if child == 0:
            save()
            os._exit(0)
        if what == "fork-wait":
            os.waitpid(child, 0)
    elif what == "thread":
        thread = threading.Thread(target=save)
        thread.start()
        return
    else:
        save()
    if what == "crash":
        ctypes.string_at(0)
    sys.exit(0)


signal.signal(signal.SIGTERM, handle)
ready(options)
while True:
    signal.pause()
    if what == "thread":
        sys.exit(0)
