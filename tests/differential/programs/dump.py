#!/usr/bin/python3 -BSE
"""dump.py FILE SECONDS [ready=NAME] [pause=SECONDS] [ignore=yes]: a job without a handler that writes a whole file.

``pause`` makes it sleep once in the middle, as batches do; ``ignore=yes`` makes it ignore SIGTERM.
"""

import signal
import time

from common import ready, words, write_whole

(name, seconds), options = words()
if options.get("ignore"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(name, "w") as file:
    file.write("")
    ready(options)
    if "pause" in options:
        time.sleep(float(options["pause"]))
    write_whole(file, float(seconds))
