"""The part of the engine's facade that says what runs in containers, and what it takes of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bento.errors import BentoError
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from bento.engine.base.drivers import Drivers
    from bento.engine.events import filters as event_filters
    from bento.engine.events import stream
    from bento.engine.events.stream import EventStream
    from bento.engine.lifecycle import attach, reconcile
    from bento.engine.views import log_stream, log_streams, logs, stats, summary, top
    from bento.engine.views.log_stream import LogStream
    from bento.engine.views.logs import LogLine
    from bento.engine.views.stats import Sampler
    from bento.model.container import Container
    from bento.model.stats import ContainerStats, ProcessTable
    from bento.model.terminal import WindowSize
else:
    event_filters, stream = LazyModule("bento.engine.events.filters"), LazyModule("bento.engine.events.stream")
    attach, reconcile = (LazyModule(f"bento.engine.lifecycle.{name}") for name in ["attach", "reconcile"])
    log_stream, log_streams, logs, stats, summary, top = (
        LazyModule(f"bento.engine.views.{name}")
        for name in ["log_stream", "log_streams", "logs", "stats", "summary", "top"]
    )


class UsageVerbs:
    """A base of ``EngineFacade``."""

    drivers: Drivers

    def resize(self, ref: str, size: WindowSize) -> None:
        """Set the size of a container's terminal; no error where it has none. Raises WrongState: it does not run."""
        attach.resize(self.drivers, ref, size)

    def summaries(self, containers: Sequence[Container], *, size: bool = False) -> list[dict[str, Any]]:
        """Return containers, as ``containers`` does, as Docker's API lists them; ``size``: with SizeRw, bytes: slow."""
        return summary.summaries(self.drivers, containers, is_sized=size)

    def container_size(self, ref: str) -> int:
        """Return the bytes that a container's own files take of the disk. Looks at every one of them: slow."""
        return self.drivers.storage.size_bytes(self.drivers.store.find(ref).id)

    def top(self, ref: str, options: Sequence[str] = ()) -> ProcessTable:
        """Return the processes of a container as ps(1) lists them with ``options``, by the host's pids; none: ``-ef``.

        ``bento.docker.top`` makes Docker's document of it. Where the host does not see them (runsc), the runtime's own
        table, and no options. Blocks while ps runs. Raises WrongState, UsageError, MissingTool.
        """
        return top.top(self.drivers, reconcile.find(self.drivers, ref), options)

    def stats(
        self, refs: Sequence[str] = (), *, all: bool = False, interval_s: float = 1.0
    ) -> Iterator[list[ContainerStats]]:
        """Yield what containers take of the machine, one list now and one after each interval; the first without CPU %.

        Of those named, until they are gone; else of those that run, which come and go, or of ``all``.
        ``bento.docker.stats`` makes Docker's documents and words of them. Blocks between two lists. Raises NotFound.
        """
        return stats.every(self.stats_sampler(refs, all=all), interval_s)

    def stats_sampler(self, refs: Sequence[str] = (), *, all: bool = False) -> Sampler:
        """Return what takes such a sample at each call of ``sample()``, for a timer of one's own. Raises NotFound."""
        ids = [reconcile.find(self.drivers, ref).id for ref in refs]
        if not refs:
            reconcile.refresh(self.drivers, self.drivers.store.list())  # what has ended unseen is not shown as running
        return stats.Sampler(self.drivers, ids, is_all=all)

    def events(
        self,
        *,
        since_ns: int | None = None,
        until_ns: int | None = None,
        filters: Iterable[str] = (),
        follow: bool = True,
    ) -> EventStream:
        """Return the events from one moment to another (UNIX time, both included), and then those to come.

        Without ``since_ns`` and ``until_ns`` only those to come. ``until_ns``: it ends then, and at once where that is
        past. ``follow`` False: it ends with what is logged by now. Iterating blocks; see EventStream for a server.
        Filters are Docker's: container, event, image, label, network, type, volume. Raises UsageError for a bad one.
        """
        passes = event_filters.parse_filters(filters)
        return stream.EventStream(self.drivers, passes, since_ns=since_ns, until_ns=until_ns, is_followed=follow)

    def logs(
        self,
        ref: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[LogLine]:
        """Yield the container's output. ``follow`` blocks for more until it ends. Raises WrongState: it is not kept.

        ``until``: it ends before the first line that is newer; at once where that is past.
        """
        container = reconcile.find(self.drivers, ref)
        return logs.logs(self.drivers, container, is_followed=follow, tail=tail, since=since, until=until)

    def log_stream(
        self,
        ref: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> LogStream:
        """As ``logs``, for a program with a loop of its own: its ``read`` does not block. Raises WrongState."""
        container = reconcile.find(self.drivers, ref)
        return log_stream.LogStream(self.drivers, container, is_followed=follow, tail=tail, since=since, until=until)

    def logs_of(
        self,
        refs: Sequence[str],
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        on_error: Callable[[BentoError], None],
    ) -> Iterator[tuple[str, LogLine]]:
        """Yield what ``logs`` yields of several containers, each with its container's name.

        In the order of their times; with ``follow`` as they come. ``on_error`` gets what keeps one from being read; the
        others go on.
        """
        streams: dict[str, Iterator[LogLine]] = {}
        for ref in dict.fromkeys(refs):
            try:
                name = reconcile.find(self.drivers, ref).name
                streams[name] = self.logs(ref, follow=follow, tail=tail, since=since, until=until)
            except BentoError as error:
                on_error(error)
        if follow and len(streams) > 1:
            return log_streams.followed(self.drivers, streams, on_error)
        return log_streams.merged(streams, on_error)
