"""Whether an HTTP/1.x answer is whole (RFC 9112, section 6.3). Pure."""

from __future__ import annotations


def is_whole(data: bytes, *, is_closed: bool) -> bool:
    """Whether these bytes are a whole answer to a GET. ``is_closed``: no more will come.

    An error of the server's is an answer, too: the request was not lost.
    """
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator or not head.startswith(b"HTTP/"):
        return False
    status = head.split(b" ", 2)[1:2]
    if status and (status[0].startswith(b"1") or status[0] in (b"204", b"304")):
        return True
    fields = _fields(head)
    if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        return _is_chunked_whole(body)
    length = fields.get(b"content-length", b"")
    if length.isdigit():
        return len(body) >= int(length)
    return is_closed


def _fields(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _is_chunked_whole(body: bytes) -> bool:
    """Whether the last chunk, of size 0, and what follows it are there."""
    while True:
        line, separator, rest = body.partition(b"\r\n")
        if not separator:
            return False
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            return False
        if size == 0:
            return rest.startswith(b"\r\n") or b"\r\n\r\n" in rest
        body = rest[size + 2 :]
