#!/usr/bin/python3 -BSE
"""server.py SOCKET SECONDS [graceful=TERM] [fast=INT] [ready=NAME] [saves=FILE] [door=open]:
each client gets a download so long.

Told by a signal of ``graceful`` it closes its door and finishes the downloads; by one of ``fast``, or a second time, it
drops them. ``graceful=`` is a server without a handler; ``door=open``: it does not close its door.
"""

import os
import socket
import threading

from common import Signals, option, ready, words, write_whole

(place, seconds), options = words()
signals = Signals(*option(options, "graceful", "TERM"), fast=option(options, "fast"))
listener = socket.socket(socket.AF_UNIX)
listener.bind(place)
listener.listen()
downloads = []


def serve():
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        downloads.append(threading.Thread(target=answer, args=(connection,), daemon=True))
        downloads[-1].start()


def answer(connection):
    with connection, connection.makefile("w") as client:
        write_whole(client, float(seconds))


threading.Thread(target=serve, daemon=True).start()
ready(options)
signals.wait()
if "door" not in options:
    os.unlink(place)
    listener.close()
for download in downloads:
    download.join()
if "saves" in options:
    with open(options["saves"], "w") as file:
        write_whole(file, 0.2)
# The accepting thread may still sit in accept(): it holds nothing.
os._exit(0)
