"""SPDY/3.1 frame by frame: what a client sends, what it means, and what is answered."""

from __future__ import annotations

import struct
import zlib

import pytest

from bento.spdy.connection import DATA_MAX_BYTES, STREAMS_MAX, Connection, StreamClosed
from bento.spdy.dictionary import DICTIONARY
from bento.spdy.events import (
    ConnectionFailed,
    DataReceived,
    GoneAway,
    StreamEnded,
    StreamOpened,
    StreamReset,
    WindowOpened,
)
from bento.spdy.frames import CONTROL_MAX_BYTES, GoAway, Status
from bento.spdy.windows import INITIAL, LARGEST

from support import spdy
from support.spdy import FIN, GOAWAY, PING, RST_STREAM, SYN_REPLY, WINDOW_UPDATE, Frame, Frames

UNIDIRECTIONAL = 2


class Pair:
    """A server, and a client's frames for it."""

    def __init__(self) -> None:
        self.server, self.client = Connection(), Frames()

    def get(self, *frames: bytes):
        """Have the server take these; return the events."""
        return self.server.receive_data(b"".join(frames))

    def open(self, *stream_ids: int) -> None:
        for stream_id in stream_ids:
            assert self.get(self.client.syn_stream(stream_id)) == [StreamOpened(stream_id, {})]

    def sent(self) -> list[Frame]:
        """Return what the server has to say."""
        return self.client.feed(self.server.take_output())

    def has_failed(self, *frames: bytes) -> bool:
        """Have the server take what makes no sense: GOAWAY, and nothing is read after it."""
        events = self.get(*frames)
        assert isinstance(events[-1], ConnectionFailed)
        assert self.sent()[-1].payload[4:] == struct.pack(">I", GoAway.PROTOCOL_ERROR)
        assert self.get(spdy.numbers(PING, 1)) == []
        return self.sent() == []


@pytest.fixture
def pair() -> Pair:
    return Pair()


def reset(stream_id: int, status: Status) -> Frame:
    return Frame(RST_STREAM, 0, stream_id, struct.pack(">II", stream_id, status))


def test_the_dictionary_is_the_protocols():
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)  # what a zlib stream names it by


def test_a_stream_is_opened_replied_to_and_ends_in_each_direction_by_itself(pair):
    headers = {"streamtype": "data", "port": "80"}
    assert pair.get(pair.client.syn_stream(1, headers)) == [StreamOpened(1, headers)]
    pair.server.reply(1)
    assert pair.sent() == [Frame(SYN_REPLY, 0, 1, bytes(3) + b"\1" + bytes(4))]
    assert pair.get(spdy.data(1, b"in"), spdy.data(1, b"", FIN)) == [DataReceived(1, b"in"), StreamEnded(1)]
    pair.server.send_data(1, b"out")
    pair.server.end(1)
    assert pair.sent() == [Frame(0, 0, 1, b"out"), Frame(0, FIN, 1, b"")]
    with pytest.raises(StreamClosed):
        pair.server.send_data(1, b"more")


def test_a_stream_is_replied_to_once(pair):
    pair.open(1)
    pair.server.reply(1, {"a": "b"})
    (frame,) = pair.sent()
    assert frame.payload[4:] == struct.pack(">II1sI1s", 1, 1, b"a", 1, b"b")
    with pytest.raises(StreamClosed):
        pair.server.reply(1)


def test_header_blocks_of_a_connection_are_one_compressed_stream(pair):
    for stream_id in (1, 3, 5):
        headers = {"streamtype": "stdout", "x": "é" * stream_id}
        assert pair.get(pair.client.syn_stream(stream_id, headers)) == [StreamOpened(stream_id, headers)]


def test_frames_may_come_in_any_pieces(pair):
    wire = b"".join(
        (
            pair.client.syn_stream(1, {"a": "b"}), spdy.data(1, b"xyz", FIN), spdy.numbers(PING, 7),
            pair.client.syn_stream(3, {"a": "b"}, FIN),
        )
    )  # fmt: skip
    events = [event for at in range(len(wire)) for event in pair.get(wire[at : at + 1])]
    assert [event for event in events if not isinstance(event, DataReceived)] == [
        StreamOpened(1, {"a": "b"}), StreamEnded(1), StreamOpened(3, {"a": "b"}), StreamEnded(3),
    ]  # fmt: skip
    assert b"".join(event.data for event in events if isinstance(event, DataReceived)) == b"xyz"
    assert pair.sent() == [Frame(PING, 0, 0, struct.pack(">I", 7))]


def test_data_is_passed_on_before_its_frame_is_whole(pair):
    pair.open(1)
    assert pair.get(spdy.data(1, bytes(1000), FIN)[:508]) == [DataReceived(1, bytes(500))]
    assert pair.get(bytes(499)) == [DataReceived(1, bytes(499))]
    assert pair.get(bytes(1)) == [DataReceived(1, bytes(1)), StreamEnded(1)]


def test_a_stream_that_is_one_way_takes_no_data(pair):
    assert pair.get(pair.client.syn_stream(1, {}, UNIDIRECTIONAL)) == [StreamOpened(1, {})]
    with pytest.raises(StreamClosed):
        pair.server.room(1)
    assert pair.get(spdy.data(1, b"", FIN)) == [StreamEnded(1)]


def test_a_reset_ends_both_directions(pair):
    pair.open(1, 3)
    assert pair.get(spdy.numbers(RST_STREAM, 1, Status.CANCEL)) == [StreamReset(1, Status.CANCEL)]
    assert pair.get(spdy.numbers(RST_STREAM, 1, Status.CANCEL)) == []
    with pytest.raises(StreamClosed):
        pair.server.end(1)
    pair.server.reset(3)
    pair.server.reset(3)
    assert pair.sent() == [reset(3, Status.CANCEL)]
    assert pair.get(spdy.data(3, b"late")) == []  # was on its way
    assert pair.sent() == []


def test_pings_of_the_client_are_echoed_and_others_are_not(pair):
    assert pair.get(spdy.numbers(PING, 1), spdy.numbers(PING, 2), spdy.numbers(PING, 3)) == []
    assert [frame.numbers for frame in pair.sent()] == [(1,), (3,)]


def test_what_is_unknown_is_left_out(pair):
    assert pair.get(spdy.control(10, b"credentials"), spdy.control(1000, b"")) == []
    assert pair.get(spdy.settings(_4=100, _1=5)) == []
    pair.open(1)
    assert pair.get(pair.client.headers(1, {"more": "headers"}), pair.client.headers(99, {"of": "none"})) == []
    assert pair.get(pair.client.headers(1, {"last": "ones"}, FIN)) == [StreamEnded(1)]


def test_a_client_that_goes_away_keeps_its_streams(pair):
    pair.open(1)
    assert pair.get(spdy.numbers(GOAWAY, 0, 0)) == [GoneAway(0)]
    assert pair.get(spdy.data(1, b"x")) == [DataReceived(1, b"x")]


def test_after_our_goaway_no_stream_is_opened(pair):
    pair.open(1)
    pair.server.go_away()
    pair.server.go_away()
    assert [frame.numbers for frame in pair.sent()] == [(1, 0)]
    assert pair.get(pair.client.syn_stream(3, {"a": "b"})) == []
    assert pair.get(spdy.data(1, b"x")) == [DataReceived(1, b"x")]


@pytest.mark.parametrize("stream_id", [0, 2, 3, 1])
def test_numbers_of_streams_are_odd_and_rise(pair, stream_id):
    pair.open(1, 3)
    assert pair.has_failed(pair.client.syn_stream(stream_id))


@pytest.mark.parametrize("frame", [
    spdy.control(spdy.SYN_STREAM, bytes(9)), spdy.control(spdy.HEADERS, bytes(3)), spdy.control(SYN_REPLY, bytes(4)),
    spdy.numbers(RST_STREAM, 1), spdy.numbers(PING, 1, 1), spdy.numbers(GOAWAY, 0), spdy.numbers(WINDOW_UPDATE, 1),
    spdy.control(spdy.SETTINGS, b""), spdy.numbers(spdy.SETTINGS, 1, 7), spdy.numbers(spdy.SETTINGS, 0, 7, 1),
    spdy.settings(_7=LARGEST + 1), spdy.numbers(WINDOW_UPDATE, 0, 0), spdy.numbers(WINDOW_UPDATE, 0, LARGEST),
    spdy.control(PING, bytes(4), version=2), struct.pack(">HHI", 0x8003, 99, CONTROL_MAX_BYTES + 1),
    b"\xff" * 8,
])  # fmt: skip
def test_what_makes_no_sense_ends_the_connection(frame):
    pair = Pair()
    pair.open(1)
    assert pair.has_failed(frame)
    with pytest.raises(StreamClosed):
        pair.server.room(1)


@pytest.mark.parametrize("block", [b"no zlib at all", zlib.compress(b"with no dictionary")])
def test_a_block_that_cannot_be_read_ends_the_connection(pair, block):
    assert pair.has_failed(spdy.control(spdy.SYN_STREAM, struct.pack(">IIBB", 1, 0, 0, 0) + block))


def test_a_block_that_grows_large_is_not_decompressed(pair):
    bomb = pair.client.deflate(bytes(50_000_000))
    assert len(bomb) < CONTROL_MAX_BYTES
    assert pair.has_failed(spdy.control(spdy.SYN_STREAM, struct.pack(">IIBB", 1, 0, 0, 0) + bomb))


@pytest.mark.parametrize("plain", [
    b"", b"\0\0\0\1", struct.pack(">I", 0xFFFFFFFF), struct.pack(">II", 1, 100), struct.pack(">II1s", 1, 1, b"a"),
    struct.pack(">III", 1, 0, 0), struct.pack(">II1sI", 1, 1, b"A", 0), struct.pack(">II", 0, 0),
    struct.pack(">II1sII1sI", 2, 1, b"a", 0, 1, b"a", 0),
])  # fmt: skip
def test_headers_that_are_not_allowed_cost_their_stream_alone(pair, plain):
    frame = spdy.control(spdy.SYN_STREAM, struct.pack(">IIBB", 1, 0, 0, 0) + pair.client.deflate(plain))
    assert pair.get(frame) == []
    assert pair.sent() == [reset(1, Status.PROTOCOL_ERROR)]
    pair.open(3)
    assert pair.get(spdy.control(spdy.HEADERS, struct.pack(">I", 3) + pair.client.deflate(plain))) == [
        StreamReset(3, Status.PROTOCOL_ERROR)
    ]


def test_there_is_a_limit_of_streams_at_once(pair):
    pair.open(*range(1, 2 * STREAMS_MAX, 2))
    beyond = 2 * STREAMS_MAX + 1
    assert pair.get(pair.client.syn_stream(beyond)) == []
    assert pair.sent() == [reset(beyond, Status.REFUSED_STREAM)]
    pair.server.reset(1)
    pair.open(beyond + 2)


def test_data_for_no_stream_is_refused(pair):
    pair.open(1)
    assert pair.get(spdy.data(7, b"x"), spdy.data(2, b"x")) == []
    assert pair.sent() == [reset(7, Status.INVALID_STREAM), reset(2, Status.INVALID_STREAM)]


def test_data_behind_the_end_of_a_stream_resets_it(pair):
    pair.open(1)
    assert pair.get(spdy.data(1, b"", FIN), spdy.data(1, b"x")) == [
        StreamEnded(1), StreamReset(1, Status.STREAM_ALREADY_CLOSED),
    ]  # fmt: skip
    assert pair.sent() == [reset(1, Status.STREAM_ALREADY_CLOSED)]


# Flow control ---------------------------------------------------------------------------------


def test_a_client_without_flow_control_is_sent_all_there_is(pair):
    pair.open(1)
    assert pair.server.room(1) == DATA_MAX_BYTES
    for _ in range(10):
        pair.server.send_data(1, bytes(INITIAL))
    assert pair.server.room(1) == DATA_MAX_BYTES


def test_a_client_without_flow_control_may_send_all_it_has(pair):
    pair.open(1)
    events = [event for _ in range(10) for event in pair.get(spdy.data(1, bytes(INITIAL)))]
    assert sum(len(event.data) for event in events) == 10 * INITIAL


def test_what_is_sent_keeps_to_the_windows_of_stream_and_connection(pair):
    pair.open(1, 3)
    assert pair.get(spdy.settings(_7=1000)) == [WindowOpened(0)]
    assert pair.server.room(1) == 1000
    pair.server.send_data(1, bytes(1000))
    assert (pair.server.room(1), pair.server.room(3)) == (0, 1000)
    with pytest.raises(ValueError, match="room"):
        pair.server.send_data(1, b"x")
    assert pair.get(spdy.numbers(WINDOW_UPDATE, 1, 100_000)) == [WindowOpened(1)]
    assert pair.server.room(1) == INITIAL - 1000  # of the connection
    pair.server.send_data(1, bytes(INITIAL - 1000))
    assert (pair.server.room(1), pair.server.room(3)) == (0, 0)
    assert pair.get(spdy.numbers(WINDOW_UPDATE, 0, 500)) == [WindowOpened(0)]
    assert (pair.server.room(1), pair.server.room(3)) == (500, 500)


def test_a_smaller_initial_window_may_leave_less_than_nothing(pair):
    pair.open(1)
    pair.server.send_data(1, bytes(5000))
    assert pair.get(spdy.settings(_7=1000)) == [WindowOpened(0)]
    assert pair.server.room(1) == 0
    pair.get(spdy.numbers(WINDOW_UPDATE, 1, 4001))
    assert pair.server.room(1) == 1


def test_a_window_that_is_too_large_resets_its_stream(pair):
    pair.open(1, 3)
    assert pair.get(spdy.numbers(WINDOW_UPDATE, 1, LARGEST)) == [StreamReset(1, Status.FLOW_CONTROL_ERROR)]
    assert pair.get(spdy.settings(_7=LARGEST)) == [WindowOpened(0)]
    assert pair.get(spdy.numbers(WINDOW_UPDATE, 3, 1)) == [StreamReset(3, Status.FLOW_CONTROL_ERROR)]
    assert pair.get(spdy.numbers(WINDOW_UPDATE, 99, 1)) == []


def test_what_was_consumed_may_be_sent_again(pair):
    pair.open(1)
    pair.get(spdy.settings(_7=INITIAL), spdy.data(1, bytes(INITIAL)))
    pair.server.consumed(1, INITIAL // 2 - 1)
    assert pair.sent() == []  # many small updates are none
    pair.server.consumed(1, 1)
    assert [frame.numbers for frame in pair.sent()] == [(1, INITIAL // 2), (0, INITIAL // 2)]
    assert pair.get(spdy.data(1, bytes(INITIAL // 2), FIN))[-1] == StreamEnded(1)
    pair.server.consumed(1, INITIAL)
    assert [frame.stream_id for frame in pair.sent()] == [0]  # an ended stream needs no room


def test_a_client_that_oversteps_a_streams_window_loses_the_stream(pair):
    pair.get(spdy.settings(_7=INITIAL))
    pair.open(1, 3)
    pair.get(spdy.data(1, bytes(INITIAL)))
    pair.server.consumed(3, INITIAL)  # makes room on the connection alone
    assert pair.get(spdy.data(1, b"x")) == [StreamReset(1, Status.FLOW_CONTROL_ERROR)]


def test_a_client_may_overstep_the_connections_window(pair):
    pair.get(spdy.settings(_7=INITIAL))
    pair.open(1, 3)
    pair.get(spdy.data(1, bytes(INITIAL)))
    assert pair.get(spdy.data(3, b"x")) == [DataReceived(3, b"x")]


def test_data_that_nothing_takes_is_given_back_to_the_connection(pair):
    pair.open(1)
    pair.server.reset(1)
    pair.sent()
    pair.get(spdy.data(1, bytes(INITIAL // 2)))
    assert [frame.numbers for frame in pair.sent()] == [(0, INITIAL // 2)]
