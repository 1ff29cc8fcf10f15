"""What journalctl prints of a container's output; lines recorded from systemd 252 and conmon 2.1.6."""

from __future__ import annotations

import pytest

from bento.drivers.monitor import journal

LINE = (
    b'{"__CURSOR":"s=ec1b;i=3","__REALTIME_TIMESTAMP":"1796023175856268","PRIORITY":"%s","MESSAGE":%s%s,'
    b'"CONTAINER_ID_FULL":"d497"}'
)
PARTIAL = b',"CONTAINER_PARTIAL_MESSAGE":"true"'


@pytest.mark.parametrize(
    ("message", "more", "text"),
    [
        (b'"out\\n"', b"", b"out\n"),
        (b'"out"', b"", b"out\n"),  # of a monitor that leaves the newline out
        (b'"\\n"', b"", b"\n"),
        (b"null", b"", b"\n"),
        (b'"xxx"', PARTIAL, b"xxx"),
        (b"[98,105,110,1,255,10]", b"", b"bin\x01\xff\n"),  # no text: its bytes
    ],
)
def test_text_of_an_entry(message: bytes, more: bytes, text: bytes) -> None:
    entry = journal.parse(LINE % (b"6", message, more))

    assert entry is not None
    assert (entry.text, entry.is_stderr, entry.cursor) == (text, False, "s=ec1b;i=3")
    assert entry.unix_ns == 1796023175856268000


def test_priority_tells_the_stream() -> None:
    entry = journal.parse(LINE % (b"3", b'"x\\n"', b""))

    assert entry is not None
    assert entry.is_stderr


@pytest.mark.parametrize("line", [b"", b"-- No entries --", b"[]", b'{"MESSAGE":[999]}', b'{"__CURSOR":3}'])
def test_what_is_no_entry_is_left_out(line: bytes) -> None:
    assert journal.parse(line) is None
