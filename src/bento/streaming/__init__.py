"""The streaming server of CRI: exec, attach and port-forward, over SPDY/3.1 and WebSocket, by URLs that work once."""
