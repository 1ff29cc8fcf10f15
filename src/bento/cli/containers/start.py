"""``bento start``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bento import sd_notify
from bento.cli.context import Context, each, each_quietly
from bento.cli.options import health as health_options
from bento.cli.options import terminal as terminal_options
from bento.errors import UsageError
from bento.lazy import LazyModule
from bento.wiring import Engine

if TYPE_CHECKING:
    from bento.cli.streams import foreground
    from bento.engine.lifecycle.start import Started
    from bento.model.terminal import AttachOptions
else:  # mostly nothing is attached
    foreground = LazyModule("bento.cli.streams.foreground")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add = parser.add_argument
    add("--restart-policy", action="store_true", help="those whose restart policy wants them to run, as after a boot")
    add("-a", "--attach", action="store_true", help="show its output, and end as it does")
    add("-i", "--interactive", action="store_true", help="the same, with our stdin as its input")
    add("--sdnotify", choices=("conmon", "healthy"), help="of one made without: what tells systemd that it is ready")
    health_options.configure_wait(parser)
    terminal_options.add_sig_proxy(parser)
    terminal_options.add_detach_keys(parser)
    add("container", nargs="*", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out; print each name, or show the output of one."""
    if bool(args.container) == args.restart_policy:
        raise UsageError("start: containers, or --restart-policy", hint="see bento start --help")
    waiting = health_options.Waiting(args)
    is_attached = args.attach or args.interactive
    if is_attached and len(args.container) != 1:
        raise UsageError("start: -a and -i are for one container", hint="start the others without")
    if is_attached and waiting.is_wanted:
        raise UsageError("start: -a and -i wait for the end, and --wait does not", hint="omit one of them")
    with context.engine() as engine:
        if len(args.container) == 1:
            engine.notify_by(sd_notify.address(), args.sdnotify or "")
        if is_attached:
            return _attached(engine, args)
        refs = [container.id for container in engine.to_be_started()] if args.restart_policy else args.container
        if not waiting.is_wanted:
            return each(refs, lambda ref: engine.start(ref).name)
        started: list[str] = []
        status = each_quietly(refs, lambda ref: started.append(engine.start(ref).id))
        return max(status, each(started, lambda ref: engine.wait_healthy(ref, waiting.left_s()).name))


def _attached(engine: Engine, args: argparse.Namespace) -> int:
    container = engine.get(args.container[0])
    if "healthy" in (container.spec.sdnotify, args.sdnotify):
        engine.notify_by("")  # to wait for that would keep its output back
    streams = foreground.Streams(
        has_terminal=container.spec.streams.tty,
        has_input=args.interactive and container.spec.streams.stdin_open,
        sig_proxy=args.sig_proxy,
        keys=terminal_options.read_keys(args),
    )
    if streams.lacks_terminal():
        return 1

    def connect(options: AttachOptions) -> Started:
        started = engine.start_attached(container.id, options)
        return started if started.attachment is not None else engine.attach(container.id, options)  # it runs already

    following = foreground.Foreground(engine, streams)
    following.begin(connect)
    return following.until_end()
