"""Records spans and writes them in Chrome's trace event format ("JSON Array Format"), which ui.perfetto.dev opens.

The functions of ``points`` are wrapped as soon as their module is imported, before anything else can hold them, so the
code that is traced knows nothing of it, and costs nothing while no trace is made. Imports are spans, too, and so is the
life of each program that is started.

Several processes write to one file: a stop goes on in a worker, which may outlive the command. Each adds its spans at
its end, or when it has many, under a lock (flock(2)), so that the file is whole JSON in between.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import stat
import sys
import time
from _thread import get_ident, get_native_id
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple

from bento.trace.points import POINTS

_FLUSHED_AT: Final = 5000
"""Spans: a server that is traced must not grow without end."""
_VERBS: Final = frozenset(("create", "start", "kill", "delete", "exec", "update", "ps", "state", "--version"))
_GENERATOR: Final = 0x20  # inspect.CO_GENERATOR
_BEGINNING: Final = b"[\n]\n"
_ENDING: Final = b"\n]\n"


class Span(NamedTuple):
    """One piece of time, ns on CLOCK_MONOTONIC, which is the same for all processes."""

    name: str
    category: str
    begun_ns: int
    lasted_ns: int
    track: int  # a thread's id, or that of a process that was started
    label: str = ""  # of the track


class Recorder:
    """The spans of this process since they were last written. Safe between threads; a fork begins with none."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._spans: list[Span] = []
        self._tracks: dict[int, int] = {}

    def add(self, name: str, category: str, begun_ns: int, *, track: int = 0, label: str = "") -> None:
        """Note what has just ended."""
        lasted_ns = time.monotonic_ns() - begun_ns
        self._spans.append(Span(name, category, begun_ns, lasted_ns, track or self._own_track(), label))
        if len(self._spans) >= _FLUSHED_AT:
            self.flush()

    def forget(self) -> None:
        """Begin anew, in a process that was forked."""
        self._spans.clear()
        self._tracks.clear()

    def flush(self) -> None:
        """Write what there is. Says so on stderr when it cannot, and goes on."""
        spans, self._spans = self._spans, []
        if not spans:
            return
        text = ",\n".join(json.dumps(event, separators=(",", ":")) for event in _events(os.getpid(), spans))
        try:
            _append(self._fd, text.encode())
        except OSError as error:
            sys.stderr.write(f"bento: the trace cannot be written: {error.strerror or error}\n")

    def _own_track(self) -> int:
        ident = get_ident()
        if ident not in self._tracks:
            self._tracks[ident] = get_native_id()
        return self._tracks[ident]


def path_in(words: Sequence[str]) -> str | None:
    """Return the file that a command line names before its verb; None when it names none."""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name == "--trace":
            return value if equals else next(rest, None)
        if not name.startswith("-"):
            return None
        if not equals and name.startswith("--") and name not in ("--help", "--version"):
            next(rest, None)
    return None


def begin(words: Sequence[str]) -> None:
    """Trace this process from now on, where its command line says so. Ends the process when the file cannot be made."""
    path = path_in(words)
    if path is None:
        return
    begun_ns = time.monotonic_ns() - time.process_time_ns()
    try:
        recorder = Recorder(_open(path))
    except OSError as error:
        sys.stderr.write(f"bento: --trace {path}: {error.strerror or error} (name a file that can be written)\n")
        sys.stderr.flush()
        os._exit(1)
    recorder.add("start of the interpreter (its CPU time)", "import", begun_ns)
    install(recorder)


def install(recorder: Recorder) -> None:
    """Have all spans noted, of modules that are imported from now on and of those that are there."""
    os.register_at_fork(after_in_child=recorder.forget)
    atexit.register(recorder.flush)
    for name in ("_exit", "execv"):
        setattr(os, name, _after_flush(recorder, getattr(os, name)))
    for loader in (SourceFileLoader, ExtensionFileLoader):
        _follow_imports(recorder, loader)
    for name in POINTS:
        if name in sys.modules:
            wrap(recorder, sys.modules[name])


def _after_flush(recorder: Recorder, leave: Callable[..., Any]) -> Callable[..., Any]:
    def flush_and_leave(*args: Any) -> Any:
        recorder.flush()
        return leave(*args)

    return flush_and_leave


def _follow_imports(recorder: Recorder, loader: type[Any]) -> None:
    execute = loader.exec_module

    def exec_module(self: Any, module: ModuleType) -> None:
        begun_ns = time.monotonic_ns()
        try:
            execute(self, module)
        finally:
            recorder.add(f"import {module.__name__}", "import", begun_ns)
        wrap(recorder, module)

    loader.exec_module = exec_module


def wrap(recorder: Recorder, module: ModuleType) -> None:
    """Put functions that note their time in the place of those that the table names."""
    for pattern, category in POINTS.get(module.__name__, ()):
        for owner, name, function in named(module, pattern):
            setattr(owner, name, _timed(recorder, function, category))
    if module.__name__ == "bento.command":
        _follow_children(recorder, module)


def named(module: ModuleType, pattern: str) -> list[tuple[Any, str, FunctionType]]:
    """Return the functions that a name of the table stands for, none where it is not there: owner, name, and itself."""
    class_name, dot, last = pattern.rpartition(".")
    owner = getattr(module, class_name, None) if dot else module
    members = vars(owner) if owner is not None else {}
    wanted = [name for name in members if not name.startswith("_")] if last == "*" else [last]
    return [
        (owner, name, members[name])
        for name in wanted
        if isinstance(members.get(name), FunctionType) and _is_timed(members[name], module)
    ]


def _is_timed(function: FunctionType, module: ModuleType) -> bool:
    is_generator = function.__code__.co_flags & _GENERATOR or hasattr(function, "__wrapped__")
    return function.__module__ == module.__name__ and not is_generator


def _timed(recorder: Recorder, function: FunctionType, category: str) -> Callable[..., Any]:
    title = f"{function.__module__.removeprefix('bento.')}.{function.__qualname__}"

    def timed(*args: Any, **kwargs: Any) -> Any:
        begun_ns = time.monotonic_ns()
        try:
            return function(*args, **kwargs)
        finally:
            recorder.add(title, category, begun_ns)

    timed.__name__, timed.__qualname__ = function.__name__, function.__qualname__
    timed.__module__, timed.__doc__ = function.__module__, function.__doc__
    return timed


def _follow_children(recorder: Recorder, module: Any) -> None:
    """Show each program that is started on a track of its own, from its start to where its end was seen."""
    begin_child, close = module.Child.__init__, module.Child._close
    begun: dict[int, int] = {}

    def begin(self: Any, argv: list[str], pid: int, *rest: Any) -> None:
        begun[pid] = time.monotonic_ns()
        begin_child(self, argv, pid, *rest)

    def end(self: Any, completed: Any) -> None:
        since_ns = begun.pop(self.pid, None)
        if since_ns is not None:
            program = os.path.basename(self.argv[0])
            verb = next((word for word in self.argv[1:] if word in _VERBS), "")
            recorder.add(f"{program} {verb}".rstrip(), "process", since_ns, track=self.pid, label=program)
        close(self, completed)

    module.Child.__init__, module.Child._close = begin, end


def _open(path: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("this is no regular file")
    os.ftruncate(fd, 0)
    os.pwrite(fd, _BEGINNING, 0)
    return fd


def _append(fd: int, text: bytes) -> None:
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        size = os.fstat(fd).st_size
        is_first = size <= len(_BEGINNING)
        offset = size - len(_ENDING)
        content = (b"\n" if is_first else b",\n") + text + _ENDING
        if is_first:
            offset = 1
        while content:
            written = os.pwrite(fd, content, offset)
            content, offset = content[written:], offset + written
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _events(pid: int, spans: list[Span]) -> Iterator[dict[str, Any]]:
    """Yield the spans as the format has them: times in microseconds; metadata that names processes and tracks."""
    yield {"name": "process_name", "ph": "M", "pid": pid, "args": {"name": f"bento {pid}"}}
    for track, label in {span.track: span.label for span in spans if span.label}.items():
        yield {"name": "thread_name", "ph": "M", "pid": pid, "tid": track, "args": {"name": label}}
    for span in spans:
        times = {"ts": span.begun_ns / 1000, "dur": span.lasted_ns / 1000}
        yield {"name": span.name, "cat": span.category, "ph": "X", **times, "pid": pid, "tid": span.track}
