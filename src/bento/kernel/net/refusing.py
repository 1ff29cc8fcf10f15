"""New connections, refused within a network namespace."""

from __future__ import annotations

import _socket
import struct
from typing import Final

from bento.kernel.net.expressions import (
    META_IIF,
    META_L4PROTO,
    NOT_EQUAL,
    TRANSPORT_HEADER,
    compare,
    expression,
    masked,
    meta,
    number,
    payload,
    set_chain,
)
from bento.kernel.net.nftables import INET

_LOCAL_IN: Final = (1, 0)
_LOOPBACK: Final = struct.pack("=I", 1)  # the first link of each namespace
_FLAGS_AT: Final = 13
_FLAGS, _SYN = bytes([0x17]), bytes([0x02])  # of SYN, ACK, FIN and RST that one alone
_WITH_A_RESET: Final = 1


def refuse_connections() -> None:
    """Answer each new connection of TCP from outside with a reset; those under way live on, and the loopback is let be.

    In the calling thread's network namespace. Connections are not tracked for it. Idempotent. Raises KernelError.
    """
    rule = [
        meta(META_IIF),
        compare(_LOOPBACK, NOT_EQUAL),
        meta(META_L4PROTO),
        compare(bytes([_socket.IPPROTO_TCP])),
        payload(TRANSPORT_HEADER, _FLAGS_AT, 1),
        masked(_FLAGS),
        compare(_SYN),
        expression("reject", [number(1, _WITH_A_RESET)]),
    ]
    set_chain(INET, "bento-drain", "refuse", "filter", _LOCAL_IN, [rule])
