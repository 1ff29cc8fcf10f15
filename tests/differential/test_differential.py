"""Rule S0, never worse than the plain stop: the short run. ``make differential`` stops all workloads, thrice each."""

from __future__ import annotations

from differential import runner, workloads

from support import leaks


def test_s00_nothing_is_lost_that_the_plain_stop_saves(leak_check: leaks.LeakWatch) -> None:
    cases = runner.plan([workload for workload in workloads.load_all() if workload.is_short], moments=1)
    suite = runner.Suite(leak_check.base)
    leak_check.roots += suite.roots
    # They sleep most of the time, so all are stopped at once.
    outcomes = suite.run(cases, jobs=len(cases))
    report = runner.table(outcomes)
    assert not runner.has_failed(outcomes), report
