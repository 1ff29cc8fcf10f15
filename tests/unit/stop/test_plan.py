"""Rule S13: who is told, from the process tree and the masks alone. Rule S15: who is left for the last call."""

from __future__ import annotations

import pytest

from bento.stop.plan import is_forwarder, is_shell, last_call_targets, make_plan, program, tells_only_its_child

from support.looks import BLOCKED, DEAF, DEFAULT, HANDLED, IGNORED, UNKNOWN, WAITING, proc

CASES = {
    # name: (processes, told in wave 1, told in wave 2, looked through)
    "nothing is left": ([], [], [], []),
    "a server": ([proc(1, HANDLED)], [1], [], []),
    "a server that reads signals": ([proc(1, BLOCKED)], [1], [], []),
    "a traced server": ([proc(1, UNKNOWN)], [1], [], []),
    "sleep": ([proc(1, DEAF)], [], [], [1]),
    "a program that ignores it": ([proc(1, IGNORED)], [], [], [1]),
    "a supervisor answers for its children": ([proc(1, HANDLED), proc(2, HANDLED, under=1)], [1], [], []),
    "a supervisor's plain children are left too": ([proc(1, HANDLED), proc(2, DEFAULT, under=1)], [1], [], []),
    "a shell script over sleep": ([proc(1, DEAF, "sh"), proc(2, DEFAULT, "sleep", under=1)], [], [2], [1]),
    "a shell script over a server": ([proc(1, DEAF, "sh"), proc(2, HANDLED, under=1)], [2], [], [1]),
    "a shell script over a nested one": (
        [proc(1, DEAF, "sh"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2)],
        [3],
        [],
        [1, 2],
    ),
    "whoever ignores it shields nobody": (
        [proc(1, IGNORED), proc(2, IGNORED, under=1), proc(3, HANDLED, under=2)],
        [3],
        [],
        [1],
    ),
    "a producer and its reader": (
        [proc(1, DEAF, "sh"), proc(2, HANDLED, under=1), proc(3, DEFAULT, "tee", under=1)],
        [2],
        [3],
        [1],
    ),
    "tini over a shell script": (
        [proc(1, WAITING, "tini"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2)],
        [3],
        [],
        [1, 2],
    ),
    "dumb-init over a shell script over sleep": (
        [proc(1, HANDLED, "dumb-init"), proc(2, DEFAULT, "bash", under=1), proc(3, DEFAULT, "sleep", under=2)],
        [],
        [3],
        [1, 2],
    ),
    "catatonit over a server is told itself": (
        [proc(1, BLOCKED, "catatonit"), proc(2, HANDLED, under=1)],
        [1],
        [],
        [],
    ),
    "tini over a plain program is told itself": (
        [proc(1, WAITING, "tini"), proc(2, DEFAULT, "sleep", under=1)],
        [1],
        [],
        [],
    ),
    "tini over a shell that has nothing under it": (
        [proc(1, WAITING, "tini"), proc(2, DEFAULT, "sh", under=1)],
        [1],
        [],
        [],
    ),
    "tini over a shell with a trap": (
        [proc(1, WAITING, "tini"), proc(2, HANDLED, "sh", under=1), proc(3, HANDLED, under=2)],
        [1],
        [],
        [],
    ),
    "tini over su over a shell over a server": (
        [
            proc(1, WAITING, "tini"),
            proc(2, HANDLED, "su", under=1),
            proc(3, DEFAULT, "bash", under=2),
            proc(4, HANDLED, under=3),
        ],
        [4],
        [],
        [1, 2, 3],
    ),
    "npm over a shell over node": (
        [proc(1, HANDLED, "npm"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, "node", under=2)],
        [3],
        [],
        [1, 2],
    ),
    "a shell with a trap is told first": ([proc(1, HANDLED, "bash"), proc(2, HANDLED, under=1)], [1], [], []),
    "a shell without a child below another program": (
        [proc(1, DEAF), proc(2, DEFAULT, "sh", under=1)],
        [],
        [2],
        [1],
    ),
    "a plain program and what it runs": (
        [proc(1, DEAF, "sh"), proc(2, DEFAULT, "xargs", under=1), proc(3, HANDLED, under=2)],
        [3],
        [2],
        [1],
    ),
    "two ways down": (
        [proc(1, DEAF, "sh"), proc(2, HANDLED, under=1), proc(3, DEFAULT, "sh", under=1), proc(4, HANDLED, under=3)],
        [2, 4],
        [],
        [1, 3],
    ),
    "whoever was started from outside is not on a way down": (
        [proc(1, HANDLED), proc(9, HANDLED, "sh", under=4711)],
        [1],
        [],
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_s13_whom_the_plan_names(name):
    processes, hearing, plain, wrappers = CASES[name]
    plan = make_plan(processes)
    assert [p.pid for p in plan.hearing] == hearing
    assert [p.pid for p in plan.plain] == plain
    assert [p.pid for p in plan.wrappers] == wrappers


def test_s13_what_a_shell_with_a_trap_waits_for_is_told_by_the_same_rules():
    shell, child, job = proc(1, HANDLED, "sh"), proc(2, DEFAULT, "sh", under=1), proc(4, HANDLED, under=1)
    server = proc(3, HANDLED, under=2)
    plan = make_plan([shell, child, server, job], opened=frozenset({child.key}))
    assert [p.pid for p in plan.hearing] == [1, 3]
    assert [p.pid for p in plan.wrappers] == [2]


def test_s13_the_way_to_it_may_lead_through_an_init_that_was_told():
    tini, shell, server = proc(1, WAITING, "tini"), proc(2, HANDLED, "sh", under=1), proc(3, HANDLED, under=2)
    plan = make_plan([tini, shell, server], opened=frozenset({server.key}))
    assert [p.pid for p in plan.hearing] == [1, 2, 3]


def test_s13_parents_that_seem_to_go_round_in_a_circle_end_nothing():
    """A look is not one moment, and pids are used again."""
    one, two = proc(1, DEAF, under=2, start_ticks=1), proc(2, HANDLED, under=1)
    looped = [
        proc(1, DEAF, "tini", argv=("tini",)),
        proc(2, WAITING, "tini", under=3),
        proc(3, WAITING, "tini", under=2),
        proc(4, HANDLED, under=3),
    ]
    make_plan([one, two])
    assert last_call_targets([one, two], frozenset()) == (two,)
    assert {p.pid for p in last_call_targets(looped, frozenset())} == set()


def test_s13_a_circle_that_holds_pid_1_is_walked_once():
    main = proc(1, DEAF, "sh")
    processes = [
        type(main)(**{name: getattr(main, name) for name in main.__struct_fields__} | {"ppid": 2}),
        proc(2, DEFAULT, "sh", under=1),
    ]
    assert [p.pid for p in make_plan(processes).wrappers] == [1, 2]


@pytest.mark.parametrize(
    ("comm", "argv", "expected"),
    [
        ("sh", ("/bin/sh", "-c", "x"), "sh"),
        ("bash", ("-bash",), "bash"),
        ("busybox", ("busybox", "sh", "start.sh"), "sh"),
        ("busybox", ("/bin/toybox", "/bin/ash"), "ash"),
        ("busybox", ("busybox",), "busybox"),
        ("kworker", (), "kworker"),
        ("odd", ("",), "odd"),
        ("nginx", ("nginx:", "master"), "nginx:"),
    ],
)
def test_s13_the_name_of_a_program(comm, argv, expected):
    assert program(proc(1, DEAF, comm, argv=argv)) == expected


@pytest.mark.parametrize(
    ("comm", "argv", "shell", "forwarder"),
    [
        ("start.sh", ("/bin/sh", "/start.sh"), True, False),  # a script with #!/bin/sh
        ("sh", ("whatever",), True, False),  # argv0 set by exec -a
        ("busybox", ("busybox", "ash"), True, False),
        ("tini", ("/sbin/docker-init", "--", "x"), False, True),
        ("dumb-init", ("/usr/bin/dumb-init", "x"), False, True),
        ("npm start", ("npm",), False, True),
        ("python3", ("python3", "sh"), False, False),
    ],
)
def test_s13_shells_and_forwarders_are_known_by_name(comm, argv, shell, forwarder):
    process = proc(1, DEAF, comm, argv=argv)
    assert is_shell(process) is shell
    assert is_forwarder(process) is forwarder


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("tini", "sh"), True),
        (("tini", "--", "grep", "-g"), True),
        (("/sbin/docker-init", "-g", "--", "sh"), False),
        (("tini", "-vg", "sh"), False),
        (("catatonit", "sh"), True),
        (("dumb-init", "sh"), False),
        (("sudo", "sh"), False),
    ],
)
def test_s13_which_inits_tell_their_child_alone(argv, expected):
    assert tells_only_its_child(proc(1, WAITING, "x", argv=argv)) is expected


LAST_CALLS = {
    # name: (processes, already told, told by the last call)
    "everybody was told": ([proc(1, HANDLED)], [1], []),
    "below a program with a handler": ([proc(1, HANDLED), proc(2, DEFAULT, under=1)], [1], []),
    "far below it": ([proc(1, HANDLED), proc(2, DEFAULT, under=1), proc(3, HANDLED, under=2)], [1], []),
    "who would not notice": ([proc(1, DEAF), proc(2, IGNORED, under=1)], [], []),
    "the clean-up of a shell": ([proc(1, DEAF, "sh"), proc(2, DEFAULT, under=1)], [], [2]),
    "a reader that was waited for": (
        [proc(1, DEAF, "sh"), proc(2, HANDLED, under=1), proc(3, DEFAULT, "tee", under=1)],
        [2],
        [3],
    ),
    "wrappers over somebody busy are left": (
        [proc(1, WAITING, "tini"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2)],
        [3],
        [],
    ),
    "an init over a shell over who ignores it": (
        [proc(1, WAITING, "tini"), proc(2, DEFAULT, "sh", under=1), proc(3, IGNORED, under=2)],
        [],
        [2],
    ),
    "an init over a shell over a newcomer": (
        [proc(1, WAITING, "tini"), proc(2, DEFAULT, "sh", under=1), proc(3, HANDLED, under=2)],
        [],
        [3],
    ),
    "an init answers for nobody": (
        [
            proc(1, WAITING, "tini"),
            proc(2, DEFAULT, "sh", under=1),
            proc(3, HANDLED, under=2),
            proc(4, DEFAULT, "tee", under=2),
        ],
        [3],
        [4],
    ),
    "from outside the container's init": ([proc(1, HANDLED), proc(9, DEFAULT, "sh", under=4711)], [1], [9]),
}


@pytest.mark.parametrize("name", LAST_CALLS)
def test_s15_whom_the_last_call_tells(name):
    processes, told, expected = LAST_CALLS[name]
    keys = frozenset((pid, 7) for pid in told)
    assert [p.pid for p in last_call_targets(processes, keys)] == expected
