#!/usr/bin/python3 -BSE
"""epoller.py FILE SECONDS ready=NAME: waits in epoll for a signalfd, leaves SIGCHLD alone, takes EINTR for fatal.

A child of it ends every 0.1 s. Nothing can interrupt its calls unless something outside changes what it sees.
"""

import ctypes
import os
import signal
import time

from common import PIECES, ready, words

(name, seconds), options = words()
libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


class Event(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("events", ctypes.c_uint32), ("data", ctypes.c_uint64)]


mask = (ctypes.c_ulong * 16)()
mask[0] = 1 << (signal.SIGTERM - 1)
told = libc.signalfd(-1, mask, 0)
poll = libc.epoll_create1(0)
libc.epoll_ctl(poll, 1, told, ctypes.byref(Event(1, 0)))


def wait(timeout_ms):
    count = libc.epoll_wait(poll, ctypes.byref(Event()), 1, timeout_ms)
    if count < 0:
        os._exit(5)  # fatal, also EINTR
    return count


ticker = os.fork()
if ticker == 0:
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    while os.getppid() == parent:
        time.sleep(0.1)
        os.kill(parent, signal.SIGCHLD)
ready(options)
while not wait(-1):
    pass
os.read(told, 128)
libc.epoll_ctl(poll, 2, told, None)
with open(name, "w") as file:
    for number in range(PIECES):
        wait(int(float(seconds) * 1000 / PIECES))
        file.write(f"{number}\n")
        file.flush()
    file.write(f"whole {PIECES}\n")
os.kill(ticker, signal.SIGKILL)
