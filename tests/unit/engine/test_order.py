"""Rule S27: the order of stops, and how one budget is shared."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bento.engine.base import order
from bento.units import NO_LIMIT

CHAIN = {"web": ("app",), "app": ("db",), "db": (), "job": ("db",), "alone": ()}


def schedule(total_s: float | None, requires=CHAIN) -> order.Schedule:
    return order.Schedule(requires, total_s=total_s, now_s=100.0)


def test_s27_dependants_end_first_and_independent_ones_at_once():
    plan = schedule(None)
    assert plan.first() == ["web", "job", "alone"]
    assert plan.after("job") == []
    assert plan.after("web") == ["app"]
    assert plan.after("app") == ["db"]
    assert plan.after("app") == []  # one that was given twice ends twice


def test_s27_what_is_not_stopped_is_not_waited_for():
    plan = schedule(None, {"app": ("db",), "web": ("gone",)})
    assert plan.first() == ["app", "web"]
    assert plan.after("app") == []
    assert plan.after("nobody") == []


def test_s28_what_is_refused_before_its_turn_lets_no_other_overtake():
    plan = schedule(None)
    assert plan.after("job") == []
    assert plan.after("app") == []
    assert plan.after("web") == ["db"]
    assert plan.after("web") == []


def test_s27_without_a_budget_each_has_its_own_grace():
    assert schedule(None).grace_s("db", 10.0, 999.0) == 10.0


def test_s27_every_round_keeps_a_fair_share():
    plan = schedule(9.0)
    assert plan.grace_s("web", 100.0, 100.0) == 3.0
    assert plan.grace_s("web", 1.0, 100.0) == 1.0
    assert plan.grace_s("app", 100.0, 100.5) == 5.5  # what the first has left over
    assert plan.grace_s("db", NO_LIMIT, 103.0) == 6.0
    assert plan.grace_s("alone", NO_LIMIT, 100.0) == 9.0


def test_s27_what_is_late_because_of_others_gets_its_share_all_the_same():
    assert schedule(9.0).grace_s("db", 100.0, 150.0) == 3.0
    assert schedule(0.0).grace_s("db", 100.0, 100.0) == 0.0


def test_required_first():
    assert order.required_first("web", lambda one: CHAIN[one]) == ["db", "app", "web"]
    assert order.required_first("db", lambda one: CHAIN[one]) == ["db"]


def test_dependants_first_keeps_the_order_otherwise():
    assert order.dependants_first({"db": (), "alone": (), "app": ("db",), "web": ("app",)}) == [
        "web",
        "app",
        "db",
        "alone",
    ]


def test_long_chains_and_circles_are_no_problem():
    chain = {str(number): (str(number - 1),) for number in range(5000)}
    assert order.rounds_after(chain)["4999"] == 4999
    circle = {"a": ("b",), "b": ("a",), "c": ("c",)}
    assert set(order.rounds_after(circle)) == set(circle)
    assert order.dependants(circle)["c"] == set()


@given(
    links=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=25),
    total_s=st.floats(0.1, 100.0),
)
def test_s27_each_is_stopped_after_its_dependants_and_within_the_budget(links, total_s):
    """Each takes all of its grace: the worst case."""
    requires: dict[str, tuple[str, ...]] = {str(number): () for number in range(10)}
    for younger, older in links:
        if younger > older:
            requires[str(younger)] += (str(older),)
    plan = schedule(total_s, requires)
    ends: dict[str, float] = {}
    ready = plan.first()
    while ready:
        name = ready.pop(0)
        begun = max((ends[other] for other in order.dependants(requires)[name]), default=100.0)
        ends[name] = begun + plan.grace_s(name, NO_LIMIT, begun)
        ready += plan.after(name)
    assert ends.keys() == requires.keys()
    assert max(ends.values()) <= 100.0 + total_s + 1e-6
