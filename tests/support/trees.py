"""Process trees, callers and accidents for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from bento.model.stop import OnDeaf, StopRequest
from bento.stop.inputs import DeadlineMoved, Input, SignalledExited, StepDone, TimerFired
from bento.stop.states import Step, Timer

from support.sim import Does

needs = st.sampled_from([0.0, 0.03, 0.2, 0.7, 1.5, 3.0, 6.0])
hidden = st.sampled_from([0, 0, 0, 1])
part = st.tuples(
    st.sampled_from(["work", "sleep", "lock", "peer", "pipe", "tty"]), st.sampled_from([0.1, 0.4, 1.0, 2.5, 7.0])
)
jobs = st.builds(Does, kind=st.just("job"), parts=st.lists(part, min_size=1, max_size=3).map(tuple))
servers = st.builds(Does, kind=st.just("works"), needs_s=needs, is_busy=st.booleans(), hidden_looks=hidden)
late = st.builds(Does, kind=st.just("works"), needs_s=needs, handler_after_s=st.sampled_from([0.3, 2.0]))
dump = st.builds(lambda job: Does("shell", runs=(job, Does("move"))), jobs)

leaf = st.one_of(
    jobs,
    servers,
    late,
    st.builds(Does, kind=st.just("drops"), needs_s=needs),
    st.builds(Does, kind=st.sampled_from(["sleep", "blocks", "swallows"]), is_halted=st.booleans()),
    st.builds(Does, kind=st.just("ignores"), parts=st.lists(part, max_size=2).map(tuple)),
    st.builds(Does, kind=st.sampled_from(["prompt", "plain-prompt"]), needs_s=st.sampled_from([0.01, 0.2])),
)


def _inner(children):
    some = st.lists(children, min_size=1, max_size=3).map(tuple)
    few = st.lists(children, max_size=2).map(tuple)
    one = st.tuples(children)
    then = st.sampled_from([(), (Does("move"),)])
    runs = st.builds(lambda first, last: first + last, few, then)
    return st.one_of(
        dump,
        st.builds(Does, kind=st.just("shell"), runs=runs, jobs=few, waits=st.booleans(), loops=st.booleans()),
        st.builds(Does, kind=st.just("shell"), runs=one, jobs=few),
        st.builds(Does, kind=st.just("trap"), runs=one, jobs=few, trap_runs=few),
        st.builds(Does, kind=st.just("trap"), runs=one, loops=st.just(True), trap_exits=st.just(False)),
        st.builds(Does, kind=st.just("trap"), jobs=some, trap_forwards=st.just(True), trap_runs=few),
        st.builds(Does, kind=st.just("supervisor"), runs=some, needs_s=needs),
        st.builds(Does, kind=st.just("works"), runs=some, needs_s=needs),
        st.builds(Does, kind=st.sampled_from(["sleep", "ignores"]), runs=some),
        st.builds(Does, kind=st.just("forwarder"), runs=one, name=st.sampled_from(["tini", "catatonit", "npm"])),
        st.builds(Does, kind=st.just("group"), runs=one),
    )


_short = st.builds(
    Does,
    kind=st.just("job"),
    parts=st.lists(
        st.tuples(st.sampled_from(["work", "sleep"]), st.sampled_from([0.7, 1.6])), min_size=1, max_size=2
    ).map(tuple),
)
_quick = st.builds(Does, kind=st.just("works"), needs_s=st.sampled_from([0.2, 1.5]), is_busy=st.booleans())
_then = st.one_of(_short, _quick).map(lambda first: Does("shell", runs=(first, Does("move"))))
_piece = st.one_of(_then, _then, _short, _quick)
_pieces = st.lists(_piece, min_size=1, max_size=3).map(tuple)
busy = st.one_of(
    st.builds(lambda runs, jobs: Does("shell", runs=(*runs, Does("move")), jobs=jobs), _pieces, _pieces),
    st.builds(Does, kind=st.just("trap"), jobs=_pieces, trap_forwards=st.booleans()),
    st.builds(Does, kind=st.sampled_from(["works", "supervisor", "sleep"]), runs=_pieces, needs_s=needs),
    st.builds(Does, kind=st.just("forwarder"), runs=st.tuples(_then)),
)
"""Containers of the kind that the exit hold and the hold of wrappers are for, just started or a little older."""

trees = st.recursive(leaf, _inner, max_leaves=8)
sessions = st.lists(trees, min_size=1, max_size=2).map(tuple)
ages = st.sampled_from([0.05, 0.5, 1.3, 4.0, 12.0])

requests = st.builds(
    StopRequest,
    grace_s=st.sampled_from([0.0, 0.5, 2.0, 10.0]),
    kill_timeout_s=st.sampled_from([1.0, 30.0]),
    last_call_s=st.sampled_from([None, None, 0.0, 1.0]),
    exit_hold_s=st.sampled_from([None, None, 0.0, 0.3]),
    on_deaf=st.sampled_from(OnDeaf),
)


@st.composite
def joins(draw) -> tuple[float, Input]:
    """A caller that joins at some time; the world's clock says 1000 then."""
    at_s = draw(st.sampled_from([0.0, 0.1, 0.6, 1.5, 4.0]))
    deadline_s = draw(st.one_of(st.none(), st.sampled_from([0.0, 1.0, 5.0, 20.0]).map(lambda s: 1000.0 + at_s + s)))
    return at_s, DeadlineMoved(deadline_s, extend=draw(st.booleans()) and deadline_s is not None)


@st.composite
def noise(draw) -> tuple[float, Input]:
    """What comes at the wrong time."""
    event: Input = draw(
        st.one_of(
            st.sampled_from(Timer).map(TimerFired),
            st.builds(SignalledExited, st.integers(100, 110)),
            st.builds(StepDone, st.sampled_from(Step), st.sampled_from(["", "no"]), st.booleans()),
        )
    )
    return draw(st.sampled_from([0.0, 0.05, 0.3, 1.0, 2.5])), event
