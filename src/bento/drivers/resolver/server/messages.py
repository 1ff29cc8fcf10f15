"""Messages of DNS: what is asked, and answers that are known here (RFC 1035, RFC 6891). Pure.

What others answer is passed on as it is, and never read beyond the question.
"""

from __future__ import annotations

from _struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = range(6)
UDP_BYTES = 512
"""What every asker takes by UDP."""

_HEADER = Struct("!6H")  # id, flags, and the number of questions, answers, authorities and additional records
_TWO = Struct("!2H")
_RECORD = Struct("!2HIH")  # type, class, seconds to live, length
_IS_RESPONSE, _OPCODES, _IS_CUT, _RECURSES, _CAN_RECURSE = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080
_INTERNET = 1
_TO_QUESTION = b"\xc0\x0c"  # a name that is the one in the question
_TYPE_OF = {4: A, 16: AAAA}
_EDNS_BYTES = 1232  # what is taken here, and what is sent at most: it passes every link in one piece
_LABEL_MAX, _NAME_MAX = 63, 255
_NIBBLES = 32


class Query:
    """A question. ``limit``: bytes that its asker takes by UDP. ``name``: in lower case, without a dot at its end."""

    __slots__ = ("flags", "has_edns", "identifier", "kind", "limit", "name", "question")

    def __init__(self, data: bytes) -> None:
        """Raises ValueError with the code of the error for an answer; with none, where none is to be given."""
        if len(data) < _HEADER.size:
            raise ValueError
        self.identifier, self.flags, questions, answers, authorities, additional = _HEADER.unpack_from(data)
        if self.flags & _IS_RESPONSE:  # to answer an answer may go on for ever
            raise ValueError
        if self.flags & _OPCODES:
            raise ValueError(NOT_IMPLEMENTED)
        if questions != 1 or answers or authorities:
            raise ValueError(FORMAT_ERROR)
        labels, at = _labels(data)
        if at + _TWO.size > len(data):
            raise ValueError(FORMAT_ERROR)
        self.kind, what = _TWO.unpack_from(data, at)
        if what not in (_INTERNET, ANY):
            raise ValueError(REFUSED)
        at += _TWO.size
        self.question = data[_HEADER.size : at]
        self.name = b".".join(labels).decode("latin-1").lower()
        self.has_edns = False
        self.limit = UDP_BYTES
        # Of the additional records OPT alone matters: a root name, its type, and the size in the place of the class.
        if additional and data[at : at + 3] == b"\0\0\x29" and len(data) >= at + 5:
            self.has_edns = True
            self.limit = max(UDP_BYTES, min(_EDNS_BYTES, int.from_bytes(data[at + 3 : at + 5], "big")))

    def is_answered_by(self, data: bytes) -> bool:
        """Whether a message has an answer to this question, whatever its identifier."""
        here = data[_HEADER.size : _HEADER.size + len(self.question)]
        return bool(len(data) > _HEADER.size and data[2] & 0x80 and here.lower() == self.question.lower())

    def reply(self, code: int, records: Sequence[tuple[int, bytes]] = (), limit: int = 0) -> bytes:
        """Return an answer with records of type and data, as many as fit into so many bytes; 0: all of them."""
        end = b"\0" + _RECORD.pack(OPT, _EDNS_BYTES, 0, 0) if self.has_edns else b""
        body = b""
        count = 0
        for kind, data in records:
            record = _TO_QUESTION + _RECORD.pack(kind, _INTERNET, 0, len(data)) + data
            if limit and _HEADER.size + len(self.question) + len(body) + len(record) + len(end) > limit:
                break
            body += record
            count += 1
        flags = _IS_RESPONSE | self.flags & _RECURSES | _CAN_RECURSE | (_IS_CUT if count < len(records) else 0) | code
        header = _HEADER.pack(self.identifier, flags, 1, count, 0, 1 if end else 0)
        return header + self.question + body + end

    def reply_addresses(self, addresses: Sequence[bytes], limit: int = 0) -> bytes:
        """Return an answer with those addresses of a name that were asked for: maybe none."""
        records = [(_TYPE_OF[len(one)], one) for one in addresses]
        return self.reply(NO_ERROR, [one for one in records if self.kind in (one[0], ANY)], limit)

    def reply_name(self, name: str) -> bytes:
        """Return an answer with the name of an address."""
        labels = name.encode("latin-1", "replace").split(b".")
        if not all(0 < len(label) <= _LABEL_MAX for label in labels) or len(name) > _NAME_MAX - 2:
            return self.reply(NAME_ERROR)
        return self.reply(NO_ERROR, [(PTR, b"".join(bytes([len(one)]) + one for one in labels) + b"\0")])


def refusal(data: bytes, code: int) -> bytes:
    """Return an answer to what cannot be read: an error code without the question."""
    identifier, flags = _TWO.unpack_from(data)
    return _HEADER.pack(identifier, _IS_RESPONSE | flags & (_OPCODES | _RECURSES) | code, 0, 0, 0, 0)


def with_identifier(data: bytes, identifier: int) -> bytes:
    """Return a message under another identifier."""
    return identifier.to_bytes(2, "big") + data[2:]


def is_failure(data: bytes) -> bool:
    """Whether an answer says that its server could not or would not do it: another one may."""
    return data[3] & 0xF in (SERVER_FAILURE, NOT_IMPLEMENTED, REFUSED)


def address_of(name: str) -> bytes | None:
    """Return the address that a name stands for in a reverse look-up; None where it stands for none."""
    labels = name.split(".")
    try:
        if labels[-2:] == ["in-addr", "arpa"] and len(labels) == 6:
            return bytes(int(label) for label in reversed(labels[:4]))
        if labels[-2:] == ["ip6", "arpa"] and len(labels) == _NIBBLES + 2 and all(len(one) == 1 for one in labels[:-2]):
            return bytes.fromhex("".join(reversed(labels[:-2])))
    except ValueError:
        pass
    return None


def _labels(data: bytes) -> tuple[list[bytes], int]:
    """Return the labels of the name in a question, and where it ends. Raises ValueError."""
    labels: list[bytes] = []
    at = _HEADER.size
    while True:
        if at >= len(data) or at - _HEADER.size > _NAME_MAX:
            raise ValueError(FORMAT_ERROR)
        length = data[at]
        if not length:
            return labels, at + 1
        if length > _LABEL_MAX:  # a pointer: nothing is before a question that it could point to
            raise ValueError(FORMAT_ERROR)
        labels.append(data[at + 1 : at + 1 + length])
        at += 1 + length
