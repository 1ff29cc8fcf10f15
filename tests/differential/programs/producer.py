#!/usr/bin/python3 -BSE
"""producer.py SECONDS [ready=NAME] [receives=yes]: prints a whole file; ``receives``: only when it is told."""

import sys

from common import Signals, ready, words, write_whole

(seconds,), options = words()
signals = Signals("TERM") if options.get("receives") else None
ready(options)
if signals is not None:
    signals.wait()
write_whole(sys.stdout, float(seconds))
