"""One connection, the server's side of it. No I/O: what is to be sent is taken from it by ``take_output``.

A client takes part in flow control once it has sent a window's size or an update of one. Kubernetes' clients never do
(docs/decisions/0047-streaming.md): they are sent data as the connection takes it, and theirs is held against no window.
"""

from __future__ import annotations

from typing import Final

from bento.spdy.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoneAway,
    Headers,
    StreamEnded,
    StreamOpened,
    StreamReset,
    WindowOpened,
)
from bento.spdy.frames import (
    FLAG_FIN,
    FLAG_UNIDIRECTIONAL,
    ID_MASK,
    INITIAL_WINDOW_SIZE,
    ControlFrame,
    DataChunk,
    GoAway,
    Kind,
    Parser,
    ProtocolError,
    Status,
    control,
    data_frame,
    numbers,
    read_settings,
    unpack,
)
from bento.spdy.headers import BadBlock, Reader, Writer
from bento.spdy.windows import INITIAL, LARGEST, Incoming, Outgoing

STREAMS_MAX: Final = 512
"""That are open at once; more are refused."""
DATA_MAX_BYTES: Final = 0xFFFFFF
"""Of one frame."""


class StreamClosed(Exception):
    """Nothing can be sent on a stream: it was never opened, is over, or was ended by us."""


class _Stream:
    __slots__ = ("id", "incoming", "is_ended_by_client", "is_ended_by_us", "is_replied", "outgoing")

    def __init__(self, stream_id: int, window: int) -> None:
        self.id = stream_id
        self.outgoing, self.incoming = Outgoing(window), Incoming()
        self.is_replied = self.is_ended_by_client = self.is_ended_by_us = False


class Connection:
    """See above. Not for several threads. Only the client opens streams."""

    def __init__(self) -> None:
        self._parser, self._reader, self._writer = Parser(), Reader(), Writer()
        self._streams: dict[int, _Stream] = {}
        self._last_id = 0
        self._initial_window = INITIAL
        self._outgoing, self._incoming = Outgoing(INITIAL), Incoming()  # of the whole connection
        self._has_flow_control = False
        self._has_gone_away = self._has_failed = False
        self._output = bytearray()
        self._events: list[Event] = []

    # -- what has come -----------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> list[Event]:
        """Take what the client has sent; return what it means. Replies that need no decision are in the output."""
        self._events = []
        try:
            if not self._has_failed:
                for frame in self._parser.feed(data):
                    self._take(frame)
        except ProtocolError as error:
            self._has_failed = True
            self._streams.clear()
            self.go_away(GoAway.PROTOCOL_ERROR)
            self._events.append(ConnectionFailed(str(error)))
        return self._events

    def _take(self, frame: ControlFrame | DataChunk) -> None:
        if isinstance(frame, DataChunk):
            self._take_data(frame)
        elif frame.kind == Kind.SYN_STREAM:
            self._take_syn_stream(frame)
        elif frame.kind == Kind.SYN_REPLY:
            raise ProtocolError("a reply to a stream that was never opened")
        elif frame.kind == Kind.RST_STREAM:
            stream_id, status = unpack(frame.payload, 2, "RST_STREAM")
            if self._streams.pop(stream_id & ID_MASK, None) is not None:
                self._events.append(StreamReset(stream_id & ID_MASK, status))
        elif frame.kind == Kind.SETTINGS:
            self._take_settings(frame)
        elif frame.kind == Kind.PING:
            (number,) = unpack(frame.payload, 1, "PING")
            if number % 2:  # the others are replies to ours, and there are none
                self._output += numbers(Kind.PING, number)
        elif frame.kind == Kind.GOAWAY:
            _, status = unpack(frame.payload, 2, "GOAWAY")
            self._events.append(GoneAway(status))
        elif frame.kind == Kind.HEADERS:
            self._take_headers(frame)
        elif frame.kind == Kind.WINDOW_UPDATE:
            self._take_window_update(frame)

    def _take_syn_stream(self, frame: ControlFrame) -> None:
        if len(frame.payload) < 10:
            raise ProtocolError(f"SYN_STREAM of {len(frame.payload)} bytes")
        stream_id = int.from_bytes(frame.payload[:4], "big") & ID_MASK
        headers = self._read_block(frame.payload[10:])
        if not stream_id % 2 or stream_id <= self._last_id:
            raise ProtocolError(f"stream {stream_id} after stream {self._last_id}")
        self._last_id = stream_id
        if self._has_gone_away:
            return
        if headers is None or len(self._streams) >= STREAMS_MAX:
            self._send_reset(stream_id, Status.PROTOCOL_ERROR if headers is None else Status.REFUSED_STREAM)
            return
        stream = self._streams[stream_id] = _Stream(stream_id, self._initial_window)
        stream.is_ended_by_us = bool(frame.flags & FLAG_UNIDIRECTIONAL)
        self._events.append(StreamOpened(stream_id, headers))
        if frame.flags & FLAG_FIN:
            self._end_by_client(stream)

    def _take_headers(self, frame: ControlFrame) -> None:
        if len(frame.payload) < 4:
            raise ProtocolError(f"HEADERS of {len(frame.payload)} bytes")
        headers = self._read_block(
            frame.payload[4:]
        )  # more headers mean nothing here, but the next block leans on them
        stream = self._streams.get(int.from_bytes(frame.payload[:4], "big") & ID_MASK)
        if stream is None:
            return
        if headers is None:
            self._fail(stream, Status.PROTOCOL_ERROR)
        elif frame.flags & FLAG_FIN:
            self._end_by_client(stream)

    def _read_block(self, block: bytes) -> Headers | None:
        """Return headers; None: they are not as they should be."""
        try:
            return self._reader.read(block)
        except BadBlock:
            return None

    def _take_data(self, chunk: DataChunk) -> None:
        count = len(chunk.data)
        self._incoming.received(count)  # npm's spdy-transport oversteps the connection's window by a frame: let it
        stream = self._streams.get(chunk.stream_id)
        if stream is None or stream.is_ended_by_client:
            self._give_back(count)
            if stream is not None:
                self._fail(stream, Status.STREAM_ALREADY_CLOSED)
            elif chunk.stream_id > self._last_id or not chunk.stream_id % 2:
                self._send_reset(chunk.stream_id, Status.INVALID_STREAM)
            return  # else it was on its way when its stream was reset
        if not stream.incoming.received(count) and self._has_flow_control:
            self._give_back(count)
            self._fail(stream, Status.FLOW_CONTROL_ERROR)
            return
        if chunk.data:
            self._events.append(DataReceived(stream.id, chunk.data))
        if chunk.is_final:
            self._end_by_client(stream)

    def _take_settings(self, frame: ControlFrame) -> None:
        size = read_settings(frame.payload).get(INITIAL_WINDOW_SIZE)
        if size is None:
            return
        if size > LARGEST:
            raise ProtocolError(f"a window of {size} bytes")
        self._has_flow_control = True
        change, self._initial_window = size - self._initial_window, size
        for stream in tuple(self._streams.values()):
            if not stream.outgoing.open(change):
                self._fail(stream, Status.FLOW_CONTROL_ERROR)
        self._events.append(WindowOpened(0))

    def _take_window_update(self, frame: ControlFrame) -> None:
        stream_id, delta = (number & ID_MASK for number in unpack(frame.payload, 2, "WINDOW_UPDATE"))
        self._has_flow_control = True
        if not delta:
            raise ProtocolError("an update of a window by nothing")
        stream = self._streams.get(stream_id)
        if stream_id == 0:
            if not self._outgoing.open(delta):
                raise ProtocolError("a window of the connection that is too large")
            self._events.append(WindowOpened(0))
        elif stream is not None:
            if stream.outgoing.open(delta):
                self._events.append(WindowOpened(stream_id))
            else:
                self._fail(stream, Status.FLOW_CONTROL_ERROR)

    def _end_by_client(self, stream: _Stream) -> None:
        stream.is_ended_by_client = True
        self._events.append(StreamEnded(stream.id))
        self._forget_if_over(stream)

    def _fail(self, stream: _Stream, status: Status) -> None:
        del self._streams[stream.id]
        self._send_reset(stream.id, status)
        self._events.append(StreamReset(stream.id, status))

    def _forget_if_over(self, stream: _Stream) -> None:
        if stream.is_ended_by_client and stream.is_ended_by_us:
            self._streams.pop(stream.id, None)

    # -- what is to be sent ------------------------------------------------------------------------

    def take_output(self) -> bytes:
        """Return what is to be sent now, and forget it."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def reply(self, stream_id: int, headers: Headers | None = None) -> None:
        """Accept a stream. Raises StreamClosed, also where it was replied to."""
        stream = self._open(stream_id)
        if stream.is_replied:
            raise StreamClosed(stream_id)
        stream.is_replied = True
        self._output += control(Kind.SYN_REPLY, stream_id.to_bytes(4, "big") + self._writer.write(headers or {}))

    def room(self, stream_id: int) -> int:
        """Return how many bytes may be sent on a stream now. Raises StreamClosed."""
        stream = self._open(stream_id)
        if not self._has_flow_control:
            return DATA_MAX_BYTES
        return max(0, min(stream.outgoing.room, self._outgoing.room, DATA_MAX_BYTES))

    def send_data(self, stream_id: int, data: bytes | memoryview) -> None:
        """Send data, no more than there is room for. Raises StreamClosed, ValueError."""
        if len(data) > self.room(stream_id):
            raise ValueError("more data than there is room for")
        stream = self._streams[stream_id]
        stream.outgoing.sent(len(data))
        self._outgoing.sent(len(data))
        self._output += data_frame(stream_id, data)

    def end(self, stream_id: int) -> None:
        """Send no more on a stream; the client may. Raises StreamClosed."""
        stream = self._open(stream_id)
        stream.is_ended_by_us = True
        self._output += data_frame(stream_id, b"", fin=True)
        self._forget_if_over(stream)

    def reset(self, stream_id: int, status: Status = Status.CANCEL) -> None:
        """End a stream in both directions. Idempotent."""
        if self._streams.pop(stream_id, None) is not None:
            self._send_reset(stream_id, status)

    def consumed(self, stream_id: int, count: int) -> None:
        """Note that data of a stream needs no room any more, also of one that is over: the client may send more."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.is_ended_by_client and (told := stream.incoming.consumed(count)):
            self._output += numbers(Kind.WINDOW_UPDATE, stream_id, told)
        self._give_back(count)

    def go_away(self, status: GoAway = GoAway.OK) -> None:
        """Accept no more streams. Idempotent."""
        if not self._has_gone_away:
            self._has_gone_away = True
            self._output += numbers(Kind.GOAWAY, self._last_id, status)

    def _open(self, stream_id: int) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None or stream.is_ended_by_us:
            raise StreamClosed(stream_id)
        return stream

    def _send_reset(self, stream_id: int, status: Status) -> None:
        self._output += numbers(Kind.RST_STREAM, stream_id, status)

    def _give_back(self, count: int) -> None:
        if told := self._incoming.consumed(count):
            self._output += numbers(Kind.WINDOW_UPDATE, 0, told)
