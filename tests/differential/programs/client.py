#!/usr/bin/python3 -BSE
"""client.py SOCKET FILE [ready=NAME] [verdict=FILE] [limit=SECONDS]: keep what a server sends.

``verdict`` is made when the server answers, refuses or hangs up, not when nothing comes for ``limit`` seconds."""

import socket

from common import ready, touch, words

(place, name), options = words()
with open(name, "w") as file, socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(float(options["limit"]) if "limit" in options else None)
    try:
        connection.connect(place)
        first = True
        while data := connection.recv(4096):
            file.write(data.decode())
            file.flush()
            if first:
                ready(options)
                first = False
    except TimeoutError:
        raise SystemExit("nothing came") from None
    except OSError:
        pass
touch(options.get("verdict"))
