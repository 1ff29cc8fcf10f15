#!/usr/bin/python3 -BSE
"""db.py SOCKET FILE [ready=NAME] [fast=INT]: a database of one table.

Told, it refuses what comes and writes its file at once."""

import socket
import threading

from common import Signals, option, ready, words, write_whole

(place, name), options = words()
signals = Signals("TERM", fast=option(options, "fast"))
listener = socket.socket(socket.AF_UNIX)
listener.bind(place)
listener.listen()


def serve():
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection):
    with connection, connection.makefile("rw") as client:
        for _ in client:
            if signals.told:
                return
            client.write("ok\n")
            client.flush()


threading.Thread(target=serve, daemon=True).start()
ready(options)
signals.wait()
with open(name, "w") as file:
    write_whole(file, 0.1)
