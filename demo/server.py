"""A small web server that shuts down properly: on SIGTERM it stops listening, tells so, and ends with 0."""

import http.server
import signal
import threading

server = http.server.ThreadingHTTPServer(("127.0.0.1", 18999), http.server.SimpleHTTPRequestHandler)


def shut_down(number: int, frame: object) -> None:
    """serve_forever must not be stopped from the thread it runs in."""
    print("closing connections", flush=True)
    threading.Thread(target=server.shutdown).start()


signal.signal(signal.SIGTERM, shut_down)
print("serving on 127.0.0.1:18999", flush=True)
server.serve_forever()
server.server_close()
print("bye", flush=True)
