#!/usr/bin/python3 -BSE
"""saver.py FILE SECONDS [ready=NAME] [on=TERM] [fast=INT] [needs=SOCKET]: a service that saves its data when told.

Told twice, or by a signal of ``fast``, it ends at once and the file stays cut. ``needs``: what it saves goes through a
database (db.py) on this socket, which has to be alive until the end.
"""

import socket
import time

from common import PIECES, Signals, option, ready, words, write_whole

(name, seconds), options = words()
signals = Signals(*option(options, "on", "TERM"), fast=option(options, "fast"))
connection = None
if "needs" in options:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(options["needs"])
ready(options)
signals.wait()
if connection is None:
    with open(name, "w") as file:
        write_whole(file, float(seconds))
else:
    # The database answers each piece; when it has gone, this file stays cut.
    with open(name, "w") as file, connection.makefile("rw") as database:
        for number in range(PIECES):
            time.sleep(float(seconds) / PIECES)
            database.write(f"{number}\n")
            database.flush()
            if database.readline() != "ok\n":
                raise SystemExit("the database has gone")
            file.write(f"{number}\n")
            file.flush()
        file.write(f"whole {PIECES}\n")
