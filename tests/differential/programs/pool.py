#!/usr/bin/python3 -BSE
"""pool.py DIRECTORY SECONDS [ready=NAME] [receives=yes]: a multiprocessing pool; told, it finishes what is under way.

Without ``receives`` it has no handler and ends when its items are done.
"""

import multiprocessing
import os
import signal
import time

from common import Signals, ready, touch, words, write_whole

(place, seconds), options = words()


def item(number):
    with open(f"{place}/{number:04d}", "w") as file:
        write_whole(file, float(seconds))


def reset():
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


if __name__ == "__main__":
    os.makedirs(place, exist_ok=True)
    signals = Signals("TERM") if options.get("receives") else None
    with multiprocessing.get_context("fork").Pool(2, reset) as pool:
        results = [pool.apply_async(item, (number,)) for number in (1, 2)]
        time.sleep(0.1)
        ready(options)
        if signals is not None:
            signals.wait()
        for result in results:
            result.get()
        pool.close()
        pool.join()
    touch("pool.done")
