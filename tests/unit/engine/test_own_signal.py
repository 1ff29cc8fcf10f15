"""Rule S30 in the engine: the program of a container chooses its stop signal, and the report says so; and what the
report advises where another signal would have been better."""

from __future__ import annotations

import pytest

from bento.engine.lifecycle.explain import explain
from bento.engine.stop.request import StopOptions
from bento.model.stop import Occasion, SignalFrom, StopRules, StopSettings, Verdict
from bento.stop.process import Disposition

from support.stopping import report_of, stop

AUTO = StopOptions(signal_from=SignalFrom.AUTO)


def server(drivers, comm="nginx", *, executable="/usr/sbin/nginx", **spec):
    """A container whose PID 1 ends by any signal; return the numbers of those that it gets."""
    main = drivers.processes.add(comm)
    container = drivers.add("web", main, **spec)
    drivers.processes.executables[main.identity.pid] = executable
    got: list[int] = []

    def take(number):
        got.append(number)
        main.end(0)

    main.on_signal = take
    return container, got


def test_s30_a_call_may_have_the_program_choose(drivers):
    _, got = server(drivers)
    stop(drivers, options=AUTO)
    report = report_of(drivers)
    assert got == [3]
    assert report.signal == "SIGQUIT"
    assert report.verdict is Verdict.GRACEFUL
    assert any("nginx" in note and "SIGQUIT, at which it takes no new connection" in note for note in report.notes)
    assert report.remedy == ""


@pytest.mark.parametrize(
    ("options", "own", "number"),
    [
        (StopOptions(), StopSettings(rules=StopRules(signal_from=SignalFrom.AUTO)), 3),
        (StopOptions(signal=2), StopSettings(rules=StopRules(signal_from=SignalFrom.AUTO)), 2),
        (AUTO, StopSettings(signal=10), 10),  # the container, or its image, names it
        (AUTO, StopSettings(signal=15), 3),
        (StopOptions(), StopSettings(), 15),
    ],
)
def test_s30_what_was_named_stays(drivers, options, own, number):
    _, got = server(drivers, stop=own)
    stop(drivers, options=options)
    assert got == [number]


def test_s30_an_unknown_program_gets_what_it_gets_today(drivers):
    _, got = server(drivers, "server", executable="/usr/bin/server")
    stop(drivers, options=AUTO)
    assert got == [15]
    assert "stop signal auto: SIGTERM: the program is not known" in report_of(drivers).notes


def test_s30_it_gets_the_other_signal_when_the_grace_is_nearly_over(drivers):
    main = drivers.processes.add("nginx")
    drivers.add("web", main)
    drivers.processes.executables[main.identity.pid] = "/usr/sbin/nginx"
    got: list[int] = []

    def take(number):
        got.append(number)
        if number == 15:
            main.end(0)

    main.on_signal = take
    stop(drivers, options=StopOptions(signal_from=SignalFrom.AUTO, grace_s=0.5))
    report = report_of(drivers)
    assert got == [3, 15]
    assert (report.verdict, report.exit_code) == (Verdict.LAST_CALL, 0)
    assert [(one.signal, one.occasion) for one in report.signalled] == [
        ("SIGQUIT", Occasion.INIT),
        ("SIGTERM", Occasion.LAST_SIGNAL),
    ]


def test_s30_explain_says_what_would_be_chosen(drivers):
    container, got = server(drivers)
    found = explain(drivers, container.id, AUTO)
    assert found.signal == "SIGQUIT"
    assert "nginx" in found.choice
    assert found.processes[0].known.startswith("nginx, web server and proxy: at SIGQUIT it takes no new connection")
    plain = explain(drivers, container.id, StopOptions())
    assert plain.choice == ""
    assert any("STOPSIGNAL SIGQUIT" in text for text in plain.advice)
    assert got == []


@pytest.mark.parametrize(
    ("comm", "options", "advice"),
    [
        ("nginx", StopOptions(), "at SIGTERM nginx closes all connections at once"),
        ("php-fpm8.2", StopOptions(), "STOPSIGNAL SIGQUIT"),
        ("nginx", StopOptions(signal=3), ""),
        ("redis-server", StopOptions(), ""),
        ("server", StopOptions(), ""),
    ],
)
def test_s24_a_report_names_the_better_signal_of_a_program_that_got_sigterm(drivers, comm, options, advice):
    server(drivers, comm)
    stop(drivers, options=options)
    report = report_of(drivers)
    assert report.verdict is Verdict.GRACEFUL
    assert advice in report.remedy
    assert bool(advice) == bool(report.remedy)


def test_s24_a_small_init_has_passed_it_on(drivers):
    init = drivers.processes.add("tini", Disposition.WAITING)
    main = drivers.processes.add("nginx", under=init)
    worker = drivers.processes.add("nginx", under=main)
    drivers.add("web", init)

    def pass_on(number):
        worker.end(0)
        main.end(0)
        init.end(0)

    init.on_signal = pass_on
    stop(drivers)
    assert report_of(drivers).remedy.count("STOPSIGNAL SIGQUIT") == 1
