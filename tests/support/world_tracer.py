"""A tracer in virtual time: what it has seen of the container, and when it says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bento.stop.inputs import HeldBack, InitGaveUp, InitLeaving, Input, SignalNoted, Traced, TracerLost

from support.habits import Proc

if TYPE_CHECKING:
    from support.world import World


class Tracer:
    """Holds processes where they are, and PID 1 at its exit.

    Attributes:
        mode: "works"; "refuses" everything; "silent": it does all and never answers.
        refuses: paths of processes that it cannot hold.
        dies_before: the number of the request that it does not live to see.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.mode = "works"
        self.refuses: frozenset[str] = frozenset()
        self.dies_before: int | None = None
        self.requests = 0
        self.tell: Callable[[Input], None] = lambda _: None
        self._holds_exit = False
        self._freezes = False
        self._has_frozen = False
        self._noting: set[int] = set()

    @property
    def is_holding(self) -> bool:
        """Whether anything does not run because of it."""
        return self._has_frozen or any(proc.is_held or proc.is_at_exit for proc in self.world.alive())

    @property
    def is_used(self) -> bool:
        """Whether it watches or holds anything."""
        return self._holds_exit or bool(self._noting) or self.is_holding

    def keeps_exit(self) -> bool:
        return self._holds_exit

    def watch(self, *, holds_exit: bool, freezes: bool, noting: Sequence[tuple[int, int]]) -> None:
        if not self._begins(Traced("it is traced by others")):
            return
        self._holds_exit, self._freezes, self._noting = holds_exit, freezes, {pid for pid, _ in noting}
        self._answer(Traced())

    def hold(self, keys: Sequence[tuple[int, int]], *, thaw: bool) -> None:
        if not self._begins(HeldBack((), tuple(keys), "it is traced by others")):
            return
        got, refused = [], []
        for key in keys:
            proc = self.world.procs[key[0]]
            if proc.path in self.refuses:
                refused.append(key)
            elif not proc.ended:
                proc.is_held = True
                got.append(key)
        if thaw:
            self._thaw()
        self._answer(HeldBack(tuple(got), tuple(refused), "no" if refused else ""))

    def release(self, keys: Sequence[tuple[int, int]] | None = None) -> None:
        """Let these go, PID 1 first; None: everything, thawed."""
        wanted = {key[0] for key in keys} if keys is not None else set(self.world.procs)
        main = self.world.main
        if main.pid in wanted:
            self._holds_exit = False
            if main.is_at_exit:
                assert keys is None or not self._has_frozen, "what is frozen does not die with PID 1 (cgroup v1)"
                main.is_at_exit = False
                self.world.finish(main, "own")
        if keys is None:
            self._thaw()
            self._noting = set()
        for proc in self.world.alive():
            if proc.pid in wanted and proc.is_held:
                proc.is_held = False
                self.world.catch_up(proc)

    def die(self, *, tells: bool = True) -> None:
        """It ends, and everything goes on."""
        self.release()
        if tells:
            self.tell(TracerLost("the tracer ended"))

    def at_exit(self) -> None:
        if self._freezes:
            self._has_frozen = True
            self.world.freeze()
        self.tell(InitLeaving())

    def gave_up(self) -> None:
        if self._holds_exit:
            self.tell(InitGaveUp())

    def took_signal(self, proc: Proc) -> None:
        if proc.pid in self._noting:
            self._noting.discard(proc.pid)
            self.tell(SignalNoted(proc.key, proc.does.kind == "trap" and proc.wait.on == "child"))

    def _begins(self, refusal: Input) -> bool:
        self.requests += 1
        if self.dies_before == self.requests:
            self.die()
            return False
        if self.mode == "refuses":
            self.tell(refusal)
            return False
        return True

    def _answer(self, answer: Input) -> None:
        if self.mode != "silent":
            self.tell(answer)

    def _thaw(self) -> None:
        if self._has_frozen:
            self._has_frozen = False
            self.world.thaw()
