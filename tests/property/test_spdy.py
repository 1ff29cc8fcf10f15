"""What a client sends is a stranger's: whatever it is, and however it is cut, SPDY's framing keeps its promises."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bento.spdy.connection import Connection, StreamClosed
from bento.spdy.events import ConnectionFailed, DataReceived, StreamEnded, StreamOpened, StreamReset
from bento.spdy.windows import INITIAL

from support import spdy
from support.spdy import Frames

IDS = st.one_of(st.sampled_from([1, 3, 5, 7]), st.sampled_from([0, 2, 9, 2**31 - 1]))
COUNTS = st.one_of(st.sampled_from([0, 1, INITIAL - 1, INITIAL, INITIAL + 1]), st.integers(0, 2**32 - 1))
FLAGS = st.sampled_from([0, 0, 0, spdy.FIN, 2, 3, 255])
HEADERS = st.dictionaries(st.sampled_from(["streamtype", "port", "A", ""]), st.text("abc\0", max_size=5), max_size=3)
SIZES = st.sampled_from([0, 1, 10, 1000, 40_000, 70_000])

STEPS = st.one_of(
    st.tuples(st.just("open"), IDS, HEADERS, FLAGS),
    st.tuples(st.just("open"), IDS, HEADERS, FLAGS),
    st.tuples(st.just("headers"), IDS, HEADERS, FLAGS),
    st.tuples(st.just("data"), IDS, SIZES, FLAGS),
    st.tuples(st.just("data"), IDS, SIZES, FLAGS),
    st.tuples(st.just("numbers"), st.integers(0, 12), st.lists(COUNTS, max_size=3), FLAGS),
    st.tuples(st.just("update"), IDS, COUNTS),
    st.tuples(st.just("settings"), COUNTS),
    st.tuples(st.just("bytes"), st.binary(max_size=30)),
)
ACTIONS = st.one_of(
    st.tuples(st.just("reply"), IDS),
    st.tuples(st.just("send"), IDS, SIZES),
    st.tuples(st.just("end"), IDS),
    st.tuples(st.just("reset"), IDS),
    st.tuples(st.just("consumed"), IDS, st.integers(0, INITIAL)),
    st.tuples(st.just("go_away")),
)


def on_the_wire(frames: Frames, step: Any) -> bytes:
    match step:
        case ("open", stream_id, headers, flags):
            return frames.syn_stream(stream_id, headers, flags)
        case ("headers", stream_id, headers, flags):
            return frames.headers(stream_id, headers, flags)
        case ("data", stream_id, size, flags):
            return spdy.data(stream_id, bytes(size), flags)
        case ("numbers", kind, values, flags):
            return spdy.numbers(kind, *values, flags=flags)
        case ("update", stream_id, delta):
            return spdy.numbers(spdy.WINDOW_UPDATE, stream_id, delta)
        case ("settings", size):
            return spdy.settings(_7=size)
        case ("bytes", plain):
            return plain
        case _:
            raise AssertionError(step)


def act(server: Connection, action: Any) -> None:
    try:
        match action:
            case ("reply", stream_id):
                server.reply(stream_id, {"a": "b"})
            case ("send", stream_id, size):
                server.send_data(stream_id, bytes(min(size, server.room(stream_id))))
            case ("end", stream_id):
                server.end(stream_id)
            case ("reset", stream_id):
                server.reset(stream_id)
            case ("consumed", stream_id, count):
                server.consumed(stream_id, count)
            case _:
                server.go_away()
    except StreamClosed:
        pass


def merged(events: list[Any]) -> list[Any]:
    """Return events with data put together, as how it was cut means nothing."""
    found: list[Any] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, DataReceived) and isinstance(last, DataReceived) and last.stream_id == event.stream_id:
            found[-1] = DataReceived(event.stream_id, last.data + event.data)
        else:
            found.append(event)
    return found


@given(st.lists(st.one_of(STEPS, ACTIONS), max_size=30))
def test_events_of_a_stream_make_sense_whatever_is_sent(steps):
    server, client = Connection(), Frames()
    opened: set[int] = set()
    ended: set[int] = set()
    gone: set[int] = set()
    for step in steps:
        if step[0] in ("reply", "send", "end", "reset", "consumed", "go_away"):
            act(server, step)
            if step[0] == "reset":
                gone.add(step[1])
        else:
            for event in server.receive_data(on_the_wire(client, step)):
                if isinstance(event, StreamOpened):
                    assert event.stream_id not in opened
                    assert event.stream_id % 2
                    opened.add(event.stream_id)
                elif isinstance(event, DataReceived | StreamEnded | StreamReset):
                    assert event.stream_id in opened - gone
                    assert event.stream_id not in ended or isinstance(event, StreamReset)
                    (
                        ended if isinstance(event, StreamEnded) else gone if isinstance(event, StreamReset) else set()
                    ).add(event.stream_id)
        for frame in client.feed(server.take_output()):  # asserts the version, and that header blocks can be read
            assert len(frame.payload) <= 0xFFFFFF


@given(st.lists(STEPS, max_size=15), st.lists(st.integers(1, 5000), min_size=1, max_size=20))
def test_how_bytes_are_cut_means_nothing(steps, cuts):
    client = Frames()
    wire = b"".join(on_the_wire(client, step) for step in steps)
    whole, cut = Connection(), Connection()
    events = whole.receive_data(wire)
    found, at, turn = [], 0, 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        found += cut.receive_data(wire[at : at + size])
        at, turn = at + size, turn + 1
    if not any(isinstance(event, ConnectionFailed) for event in events):  # a frame that is refused may be cut before
        assert merged(found) == merged(events)


@given(st.binary(max_size=3000))
def test_bytes_are_read_or_refused(plain):
    server = Connection()
    server.receive_data(plain)
    server.receive_data(plain)
    server.take_output()
