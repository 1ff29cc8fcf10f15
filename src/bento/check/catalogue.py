"""Every finding there is: its id, how much it weighs, and what it means. The ids are stable from release to release."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from bento.model.check import Severity


class Kind(Struct, frozen=True):
    """One kind of finding. ``remedy``: what to do, in general."""

    id: str
    name: str
    severity: Severity
    title: str
    remedy: str


_E, _W = Severity.ERROR, Severity.WARNING

KINDS: Final = tuple(
    Kind(*row)
    for row in (
        (
            "BG001", "deaf-pid-1", _E, "PID 1 has no handler for the stop signal, so the kernel drops it",
            "install a handler, run with an init, or name a stop signal that it handles",
        ),
        (
            "BG002", "wrapper", _E, "PID 1 only waits for the program, and does not pass the stop signal on",
            "start the program with exec, or use the exec form of CMD",
        ),
        (
            "BG003", "signal-ignored", _E, "PID 1 ignores the stop signal",
            "handle the signal, or name a stop signal that it handles",
        ),
        (
            "BG004", "signal-swallowed", _E, "PID 1 drops its handler when the stop signal comes, and lives on",
            "install a handler of the program's own, which ends it",
        ),
        (
            "BG005", "signal-unread", _E, "PID 1 blocks the stop signal, and no thread reads it",
            "read it (sigwait, signalfd), or unblock it",
        ),
        (
            "BG006", "late-trap", _E,
            "a shell is PID 1, and runs its trap only when the program in its foreground has ended",
            "start the program with & and wait for it, or with exec",
        ),
        (
            "BG007", "kill-as-stop-signal", _E, "the stop signal is SIGKILL, which no program can handle",
            "name a signal that it handles",
        ),
        (
            "BG008", "wrong-signal", _W, "the stop signal is not the one that ends the program in order",
            "name the signal that does",
        ),
        (
            "BG010", "grace-exceeded", _E, "it receives the stop signal and has not ended within the grace",
            "have it end sooner, or give it more time",
        ),
        (
            "BG011", "slow-stop", _W, "it needs more than half of the grace to end",
            "have it end sooner, or give it more time",
        ),
        (
            "BG012", "start-up-window", _W, "for a while after its start the stop signal is lost",
            "install the handler first of all, or run with an init",
        ),
        (
            "BG013", "start-up-stop", _W, "stopped during its start, it receives the signal and does not end",
            "look for the signal during the start, too",
        ),
        (
            "BG014", "second-signal", _W, "a second stop signal breaks its shutdown off",
            "ignore the signal once the shutdown has begun",
        ),
        (
            "BG020", "killed-with-pid-1", _E,
            "PID 1 leaves first, and the kernel kills a program that was still ending",
            "have PID 1 wait for what it has started",
        ),
        (
            "BG021", "own-session", _E, "a daemon in a session of its own is never told, and killed when PID 1 leaves",
            "keep it in the foreground, or have PID 1 end it and wait for it",
        ),
        (
            "BG022", "zombies", _W, "processes that have ended are not reaped",
            "run with an init, or have the parent wait for its children",
        ),
        (
            "BG030", "exit-code", _W, "it ends by itself with an exit code that says failure",
            "exit with 0 after an orderly shutdown",
        ),
        (
            "BG031", "crash", _E, "it crashes at the stop signal",
            "mend the crash: the shutdown was not completed",
        ),
        (
            "BG040", "requests-lost", _E, "requests under way when the stop begins are not answered",
            "finish what was accepted before the end",
        ),
        (
            "BG041", "late-requests-lost", _W, "connections are accepted after the stop has begun, and not answered",
            "close the listening socket at the signal, or refuse new connections first",
        ),
        (
            "BG042", "load-failed", _E, "the command that put load on it has failed over the stop",
            "finish what was accepted before the end",
        ),
        (
            "BG050", "unclean-state", _E, "what it left in its volumes is not that of a clean shutdown",
            "have it write everything out before it ends, and give it the time",
        ),
        (
            "BG051", "no-second-start", _E, "it does not become ready again with the volumes of the run before",
            "remove locks and pid files at the end, or take no notice of stale ones",
        ),
    )
)  # fmt: skip

BY_ID: Final = {kind.id: kind for kind in KINDS}
