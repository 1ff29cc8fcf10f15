"""Whether an HTTP answer is whole."""

from __future__ import annotations

import pytest

from bento.check.answers import is_whole

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("data", "while_open", "once_closed"),
    [
        (b"", False, False),
        (HEAD, False, False),
        (b"SSH-2.0\r\n\r\n", False, False),
        (HEAD + b"\r\n", False, True),
        (HEAD + b"Content-Length: 2\r\n\r\no", False, False),
        (HEAD + b"content-length: 2\r\n\r\nok", True, True),
        (HEAD + b"Content-Length: x\r\n\r\nok", False, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True, True),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", True, True),
        (b"HTTP/1.0 503\r\nContent-Length: 0\r\n\r\n", True, True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", False, False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n", True, True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: 1\r\n\r\n", True, True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n", False, False),
        (b"HTTP/1.1\r\n\r\n", False, True),
    ],
)
def test_an_answer_is_whole_when_all_that_it_announced_is_there(data, while_open, once_closed):
    assert (is_whole(data, is_closed=False), is_whole(data, is_closed=True)) == (while_open, once_closed)
