"""SPDY/3.1, the server's side, as Kubernetes' clients speak it: pure framing. Bytes in, events and bytes out."""
