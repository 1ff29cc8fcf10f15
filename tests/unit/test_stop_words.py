"""The line of ``stop -v`` and the drawing of ``report``, from reports that the machine itself has written."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.cli.containers.stop import describe
from bento.cli.views import report as report_verb
from bento.engine.stop.report import make_report
from bento.model.container import Container, ContainerSpec
from bento.model.stop import HookResult, StopReport, StopRequest
from bento.model.waits import Descriptor, Evidence, ThreadWait
from bento.stop.forecast.rehearsal import rehearse
from bento.stop.process import Disposition, Process

CONTAINER = Container(
    id="a" * 64, name="w", created_unix_ns=0, spec=ContainerSpec(image="host", image_id="", layers=())
)  # fmt: skip


def waits(call: str, *kinds: str, state: str = "S", listening: int = 0, child: int | None = None) -> Evidence:
    fds = tuple(Descriptor(kind) for kind in kinds)  # type: ignore[arg-type]
    return Evidence(threads=(ThreadWait(tid=1, state=state, call=call, fds=fds, child=child),), listening=listening)


def proc(pid: int, disposition: Disposition, comm: str, evidence: Evidence, *, under: int = 0) -> Process:
    return Process(
        pid=pid, start_ticks=7, ppid=under, comm=comm, disposition=disposition, argv=(comm,), is_main=not under,
        is_namespace_init=not under, evidence=evidence,
    )  # fmt: skip


SLEEPER = (proc(1, Disposition.DROPPED, "sleep", waits("pause")),)
SERVER = (proc(1, Disposition.DROPPED, "server", waits("accept4", "listen", listening=1)),)
WRAPPED = (
    proc(1, Disposition.DROPPED, "sh", waits("wait4", child=2)),
    proc(2, Disposition.HANDLED, "web", waits("pause"), under=1),
    proc(3, Disposition.DEFAULT, "job", waits("", state="R"), under=1),
)
LEAVING = (
    proc(1, Disposition.HANDLED, "sh", waits("rt_sigsuspend")),
    proc(2, Disposition.HANDLED, "web", waits("pause"), under=1),
)


def report(*processes: Process, **request) -> StopReport:
    shown = rehearse(StopRequest(**request), processes, age_s=100.0)
    return make_report(
        shown.state, container=CONTAINER, exit_code=shown.exit_code, oom_kills=0, ends=shown.ends,
        asked_unix_ns=1, now_s=shown.state.exited_s or 0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("processes", "note"),
    [
        (SLEEPER, "nothing in the container could wake before the deadline: sleep (1) waits for a signal"),
        (SERVER, "a listener at rest, without CPU time for 1 s: server (1) accepts on a listening socket"),
        (WRAPPED, "PID 1 is held until what it has started is at rest: job (3) runs"),
    ],
)
def test_s14_evidence_stands_in_the_report_and_not_in_the_line(processes, note):
    found = report(*processes)
    assert found.notes == (note,)
    assert note[:20] not in describe("w", found)
    assert f"  note   {note}" in report_verb.draw("w", found, columns=100)


def test_s23_other_notes_stand_in_the_line():
    hook = HookResult(when="pre-stop", kind="host", command="x", start_s=0.0, duration_s=0.0, error="exit status 3")
    notes = ("PID 1 is not held at its exit: ptrace is refused", f"{hook.when} hook {hook.command!r}: {hook.error}")
    line = describe("w", replace(report(*LEAVING), notes=notes))
    assert line.endswith(f"graceful; {notes[0]}; {notes[1]}")


def drawn(found: StopReport, comm: str) -> str:
    lines = (line for line in report_verb.draw("w", found, columns=100) if line[2:3].isdigit() and ";" in line)
    return next(line for line in lines if line.split()[1] == comm)


def test_s13_what_was_held_is_drawn_and_said():
    found = report(*WRAPPED)
    lines = report_verb.draw("w", found, columns=100)
    assert lines[lines.index("held") + 1] == "  1 sh: it only waits for what is signalled"
    assert drawn(found, "sh").endswith("killed by Bento; not signalled, held from 12.0 ms")
    assert "held" not in drawn(found, "web")
    assert "signalled at 12.0 ms" in drawn(found, "web")


def test_s13a_the_exit_hold_is_drawn_and_said():
    found = report(*LEAVING)
    assert any(line.strip().startswith("exit hold") for line in report_verb.draw("w", found, columns=100))
    assert drawn(found, "sh").endswith("; signalled at 0.0 ms, held at its exit from 1.0 ms")
    assert "held at" not in drawn(found, "web")
    assert "held" not in report_verb.draw("w", found, columns=100)
