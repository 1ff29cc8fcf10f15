"""What the programs of the workloads share. A file is whole when its last line counts the lines before it."""

import os
import signal
import sys
import time

PIECES = 30


def words():
    """Split the command line into its plain words and its NAME=VALUE options."""
    plain = [word for word in sys.argv[1:] if "=" not in word]
    return plain, dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)


def touch(name):
    """Make an empty file; no name, no file."""
    if name:
        open(name, "w").close()


def gate():
    """Wait for the runner's word: work begins when the runner is prepared to stop it, however busy the machine is."""
    while not os.path.exists("go"):
        time.sleep(0.01)


def ready(options):
    """Say that this program is ready, and wait for the runner's word."""
    if "ready" in options:
        touch(options["ready"])
        gate()


def write_whole(file, seconds, pieces=PIECES):
    """Write a whole file piece by piece, so that it can be cut at any time."""
    for number in range(pieces):
        file.write(f"{number}\n")
        file.flush()
        gate()
        time.sleep(seconds / pieces)
    file.write(f"whole {pieces}\n")
    file.flush()


class Signals:
    """Handlers for signals, as programs have them; the second signal is an abort, as in many real ones."""

    def __init__(self, *names, fast=()):
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        self.told = 0
        for name in names:
            signal.signal(signal.Signals["SIG" + name], self._hear)
        for name in fast:
            signal.signal(signal.Signals["SIG" + name], self._abort)

    def wait(self):
        """Return when the first signal has come."""
        while not self.told:
            os.read(self._reader, 1)

    def _hear(self, number, frame):
        self.told += 1
        if self.told > 1:
            os._exit(3)

    def _abort(self, number, frame):
        os._exit(4)


def option(options, name, default=""):
    """One option's comma-separated values."""
    return tuple(value for value in options.get(name, default).split(",") if value)
