"""The processes of one look as a tree, and their names."""

from __future__ import annotations

import pytest

from bento.stop.rules.tree import Tree, entered, is_shell, named, program

from support.looks import DEFAULT, HANDLED, WAITING, proc


def test_ancestors_come_nearest_first_and_end_where_pids_go_round():
    one, two, three = proc(1, HANDLED), proc(2, DEFAULT, under=1), proc(3, DEFAULT, under=2)
    tree = Tree([one, two, three])
    assert tree.ancestors(three) == [two, one]
    assert tree.children(one) == [two]
    assert tree.main() == one
    assert Tree([two]).main() is None
    assert tree.below([one.key]) == {two.key, three.key}
    odd, other = proc(4, DEFAULT, under=5), proc(5, DEFAULT, under=4)
    assert Tree([odd, other]).ancestors(odd) == [other]
    lone = proc(6, DEFAULT, under=6)
    assert Tree([lone]).ancestors(lone) == []


def test_s13_the_top_most_that_receive_the_signal_answer_for_what_is_below_them():
    one, sh = proc(1, HANDLED), proc(2, DEFAULT, under=1)
    top, worker, other = proc(3, HANDLED, under=2), proc(4, HANDLED, under=3), proc(5, HANDLED, under=1)
    assert Tree([one, sh, top, worker, other]).top_receivers() == [top, other]


def test_s13_what_is_below_one_that_signals_its_group_has_been_signalled():
    init, child = proc(1, WAITING, kills_group=True), proc(2, DEFAULT, under=1)
    assert Tree([init, child]).is_signalled_by_group(child)
    assert not Tree([init, child]).is_signalled_by_group(init)


def test_s16_a_session_is_what_entered_and_all_below_it():
    root = proc(2, DEFAULT, under=77, is_entered=True)
    below = proc(3, DEFAULT, under=2)
    assert entered([proc(1, HANDLED), root, below]) == {root.key, below.key}
    assert entered([proc(1, HANDLED)]) == frozenset()


@pytest.mark.parametrize(
    ("argv", "comm", "name"),
    [
        (("/bin/sh", "-c"), "sh", "sh"),
        (("-bash",), "bash", "bash"),
        (("/bin/busybox", "sh"), "busybox", "sh"),
        (("busybox",), "busybox", "busybox"),
        ((), "kthread", "kthread"),
        (("",), "web", "web"),
        (("nginx: master process nginx -c /etc/nginx.conf",), "nginx", "nginx"),
        (("/opt/my app/server", "-v"), "server", "server"),
    ],
)
def test_programs_have_the_names_that_people_know(argv, comm, name):
    process = proc(7, DEFAULT, comm, under=1, argv=argv)
    assert program(process) == name
    assert is_shell(process) is (name in ("sh", "bash"))
    assert named(process) == f"{name} (7)"
