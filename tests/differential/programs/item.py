#!/usr/bin/python3 -BSE
"""item.py DIRECTORY SECONDS [ready=NAME]: one item of work, a whole file with the next number; it has no handler."""

import os

from common import ready, words, write_whole

(place, seconds), options = words()
os.makedirs(place, exist_ok=True)
with open(f"{place}/{len(os.listdir(place)) + 1:04d}", "w") as file:
    ready(options)
    write_whole(file, float(seconds))
