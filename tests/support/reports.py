"""Reports of stops, for tests of what is made of them. Recorded from real ones, and shortened."""

from __future__ import annotations

from bento.model.stop import AskedBy, Held, Occasion, PhaseTiming, ProcessEnd, Signalled, StopReport, Verdict

WRAPPER = StopReport(
    id="c0ffee" * 10 + "abcd",
    name="wrapper",
    asked_by=AskedBy.USER,
    method="signal",
    signal="SIGTERM",
    grace_s=10.0,
    started_unix_ns=1_790_000_000_000_000_000,
    duration_s=0.3719,
    verdict=Verdict.FORWARDED,
    cause="sh does not pass signals on; python3 was signalled instead, and sh went no further",
    remedy="start the program with exec in the script, use the exec form of CMD, or run with --init",
    exit_code=0,
    disposition="dropped",
    is_graceful=True,
    phases=(
        PhaseTiming(name="signal", start_s=0.0093, duration_s=0.3346),
        PhaseTiming(name="reaction", start_s=0.3439, duration_s=0.0138),
        PhaseTiming(name="kill", start_s=0.3577, duration_s=0.0026),
        PhaseTiming(name="exit", start_s=0.3603, duration_s=0.0),
        PhaseTiming(name="log drain", start_s=0.3603, duration_s=0.0026),
        PhaseTiming(name="runtime", start_s=0.3629, duration_s=0.0087),
        PhaseTiming(name="record", start_s=0.3716, duration_s=0.0003),
    ),
    signalled=(
        Signalled(
            pid=1626,
            start_ticks=5,
            comm="python3",
            at_s=0.0345,
            why="PID 1 does not receive the signal, and leaves it to this program to end",
            receives="handled",
            occasion=Occasion.PROGRAM,
            signal="SIGTERM",
        ),
    ),
    held=(Held(pid=1622, comm="sh", why="it only waits for what is signalled", at_s=0.0304),),
    processes=(
        ProcessEnd(
            pid=1622,
            ppid=1600,
            comm="sh",
            how="killed-by-us",
            code=9,
            receives="dropped",
            waited="waits for a child",
            ended_s=0.3602,
        ),
        ProcessEnd(
            pid=1626,
            ppid=1622,
            comm="python3",
            how="exited",
            code=0,
            receives="handled",
            waited="sleeps, for 86.9 s more at least",
            ended_s=0.3415,
        ),
    ),
)
