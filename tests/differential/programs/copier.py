#!/usr/bin/python3 -BSE
"""copier.py FROM TO SECONDS [ready=NAME]: a slow copy of a file; it has no handler."""

import os
import time

from common import touch, words

(source, target, seconds), options = words()
with open(source) as file:
    lines = file.readlines()
os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
with open(target, "w") as file:
    touch(options.get("ready"))
    for line in lines:
        time.sleep(float(seconds) / len(lines))
        file.write(line)
        file.flush()
