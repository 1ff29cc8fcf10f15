"""The options that ``run`` and ``create`` share, and what they mean."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from bento import log
from bento.cli.context import complain
from bento.cli.options import health as health_options
from bento.cli.options import hooks as hook_options
from bento.cli.options import limits as limit_options
from bento.cli.options import publish as publish_options
from bento.cli.options import rules as rule_options
from bento.cli.options import sandbox as sandbox_options
from bento.cli.options import terminal as terminal_options
from bento.cli.options import transfer as transfer_options
from bento.cli.options.env import read_lines, read_variables
from bento.cli.options.layers import LayerScreen
from bento.cli.options.switches import Arguments
from bento.errors import BentoError, NotFound, UsageError
from bento.lazy import LazyModule
from bento.model.container import LOG_DRIVERS, ContainerSettings, Mount
from bento.model.create import CreateOptions
from bento.model.stop import StopRules
from bento.model.transfer import POLICIES, Access
from bento.stop import methods
from bento.units import new_id, parse_seconds, parse_signal
from bento.wiring import Engine

if TYPE_CHECKING:
    from bento.engine.facade import EngineFacade
    from bento.oci import confinement
    from bento.parse import container, logs, mounts, stop
else:  # --help needs none of them, and a container without mounts one of them
    container, mounts = LazyModule("bento.parse.container"), LazyModule("bento.parse.mounts")
    logs, stop = LazyModule("bento.parse.logs"), LazyModule("bento.parse.stop")
    confinement = LazyModule("bento.oci.confinement")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options, the image and the command."""
    group = parser.add_argument_group
    # -h is the host name here, as in Docker and Podman, so --help has no short form.
    _configure_program(group("the program", conflict_handler="resolve"))
    _configure_files(group("its files"))
    _configure_life(group("its life"))
    stopping = group("its stop", "docs/stop.md says more.")
    _configure_stop(stopping)
    rule_options.configure(stopping, prefix="stop-")
    hook_options.configure(stopping)
    health_options.configure(group("its health"))
    publish_options.configure(group("its network"))
    _configure_log(group("its log"))
    limit_options.configure(group("its limits"))
    sandbox_options.configure(group("its sandbox"))
    _configure_fetching(group("its image"))
    add = parser.add_argument
    add("image", help="an image's name or id, or 'host': this machine's own files, copy-on-write")
    command = add("command", nargs=argparse.REMAINDER, help="the program and its arguments")
    command.required = False  # argparse would name it beside a missing image


def _configure_program(group: Arguments) -> None:
    add = group.add_argument
    add("--name", metavar="N", help="a name for the container")
    terminal_options.add_terminal(group, input_dest="stdin_open")
    add("--init", action="store_true", help="put a small init in front, which passes signals on and reaps")
    add("--system", action="store_true", help="boot the image's own init (/sbin/init), with what inits need")
    add("-e", "--env", action="append", default=[], metavar="K[=V]", help="set a variable; K alone takes the caller's")
    add("--env-file", action="append", default=[], metavar="F", help="read variables from a file")
    add("-w", "--workdir", metavar="DIR", help="working directory, made when missing")
    add("-u", "--user", metavar="USER[:GROUP]", help="name or id, resolved in the image")
    add("-h", "--hostname", metavar="H", help="the container's host name (default: the short id)")
    add(
        "--entrypoint",
        metavar="E",
        help="replace the image's entry point: a word, or JSON as '[\"a\", \"b\"]'; '' clears it",
    )
    add("--runtime", default="", metavar="NAME|PATH", help="the OCI runtime (default: that of bento --runtime)")
    add("--label", action="append", default=[], metavar="K=V", help="a label")
    add("--label-file", action="append", default=[], metavar="F", help="read labels from a file")


def _configure_files(group: Arguments) -> None:
    add = group.add_argument
    add(
        "-v",
        "--volume",
        action="append",
        default=[],
        metavar="[SRC:]DST[:OPTIONS]",
        help="mount a volume, or a directory or file of the host",
    )
    add("--mount", action="append", default=[], metavar="K=V,...", help="the same in words: type=bind,src=...,dst=...")
    add(
        "--volumes-from",
        action="append",
        default=[],
        metavar="NAME[:ro]",
        help="mount what another container has, but for its tmpfs",
    )
    add("--tmpfs", action="append", default=[], metavar="DST[:OPTIONS]", help="an empty filesystem in memory")
    add("--read-only", action="store_true", help="mount the root filesystem read-only")
    add("--read-only-tmpfs", action="store_true", help="with --read-only: /run, /tmp and /var/tmp in memory")


def _configure_life(group: Arguments) -> None:
    add = group.add_argument
    add("--rm", dest="auto_remove", action="store_true", help="delete it when it has ended")
    add(
        "--restart",
        type=lambda text: container.parse_restart(text),
        metavar="POLICY",
        help="no, on-failure[:N], always or unless-stopped (default no)",
    )
    add(
        "--requires",
        action="append",
        default=[],
        metavar="NAME[:healthy]",
        help="a container started before it, and healthy by then; stopped after it",
    )
    add("--cidfile", metavar="F", help="write the id to a new file")


def _configure_stop(group: Arguments) -> None:
    add = group.add_argument
    add("--stop-signal", type=parse_signal, metavar="SIG", help="what stop sends (default: the image's, or SIGTERM)")
    add(
        "--stop-timeout",
        dest="stop_timeout_s",
        type=lambda text: parse_seconds(text, what="stop timeout"),
        metavar="S",
        help="grace in seconds; -1: never kill (default 10, with --system 90)",
    )
    add(
        "--stop-method",
        type=lambda text: stop.parse_method(text),
        metavar="M",
        help=f"how stop asks PID 1: {', '.join(methods.NAMES)}",
    )
    add(
        "--stop-command",
        type=lambda text: stop.parse_command(text),
        metavar="CMD",
        help="what stop runs inside (method exec)",
    )


def _configure_log(group: Arguments) -> None:
    add = group.add_argument
    words = ", ".join(LOG_DRIVERS)
    add("--log-driver", type=lambda text: logs.parse_log_driver(text), default=LOG_DRIVERS[0], metavar="D", help=words)
    add("--log-opt", action="append", default=[], metavar="K=V", help="max-size=10m, max-file=3, tag=T (of journald)")


def _configure_fetching(group: Arguments) -> None:
    add = group.add_argument
    add("--pull", choices=POLICIES, default="missing", help="when to fetch the image (default missing)")
    transfer_options.add_platform(group)
    transfer_options.add_tls_verify(group)
    add("-q", "--quiet", action="store_true", help="show no progress when the image is fetched")


def read(args: argparse.Namespace) -> CreateOptions:
    """Return what was said. Raises UsageError."""
    label_lines = [line for path in args.label_file for line in read_lines(path, "label file")]
    settings = _settings(args) | hook_options.read(args)
    settings |= logs.parse_log_options(args.log_opt)
    settings["stdin_once"] = args.stdin_open and not getattr(args, "detach", False)
    settings |= {"sandbox": sandbox_options.read(args), "stop_rules": StopRules(**rule_options.read(args))}
    return CreateOptions(
        image=args.image,
        command=tuple(args.command),
        name=args.name,
        entrypoint=None if args.entrypoint is None else container.parse_entrypoint(args.entrypoint),
        env=read_variables(args),
        workdir=container.parse_workdir(args.workdir or ""),
        user=args.user,
        hostname=None if args.hostname is None else container.parse_hostname(args.hostname),
        pid=args.pid,
        ipc=args.ipc,
        runtime=args.runtime,
        mounts=_mounts(args),
        volumes_from=tuple(args.volumes_from),
        labels=dict(map(container.parse_label, (*label_lines, *args.label))),
        requires=tuple(args.requires),
        healthcheck=health_options.read(args),
        **publish_options.read(args),
        **settings,
    )


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings whose options are named as their fields, and were given."""
    given = {name: getattr(args, name, None) for name in ContainerSettings.__struct_fields__}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not None
    }


def _mounts(args: argparse.Namespace) -> tuple[Mount, ...]:
    if not (args.volume or args.mount or args.tmpfs):
        return ()
    cwd, has_selinux = os.getcwd(), confinement.enforces_selinux()
    return (
        *(mounts.parse_volume(text, cwd=cwd, has_selinux=has_selinux) for text in args.volume),
        *(mounts.parse_mount(text, cwd=cwd) for text in args.mount),
        *(mounts.parse_tmpfs(text) for text in args.tmpfs),
    )


def provide_image(engine: Engine, args: argparse.Namespace) -> None:
    """Have the image here, as ``--pull`` says; say on a terminal what is fetched. Raises as ``Engine.pull``."""
    screen = None if args.quiet else LayerScreen()
    access = Access(tls_verify=args.tls_verify)
    try:
        engine.provide_image(args.image, args.pull, platform=args.platform, access=access, on_progress=screen)
    finally:
        if screen is not None:
            screen.close()


class Cidfile:
    """The file of ``--cidfile``: made before the container, written after it, removed when none is made."""

    def __init__(self, path: str | None) -> None:
        """Make the file. Raises UsageError when it is there already, or cannot be made."""
        self._path = path
        if path is None:
            return
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        except FileExistsError:
            raise UsageError(f"cidfile {path} exists already", hint="remove it, or name another") from None
        except OSError as error:
            raise UsageError(f"cidfile {path}: {error.strerror}") from None

    def write(self, container_id: str) -> None:
        """Write the id. Raises OSError."""
        if self._path is not None:
            with open(self._path, "w", encoding="utf-8") as stream:
                stream.write(container_id)

    def remove(self) -> None:
        """Remove the file that was made here. Idempotent."""
        if self._path is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._path)


@contextmanager
def discarded(engine: EngineFacade) -> Iterator[str]:
    """Delete a new container when it, or what follows, comes to nothing, be it by Ctrl-C: nothing half made is left.

    The id that it is to get is known from the beginning: an interruption may come just when it has been made.
    """
    container_id = new_id()
    try:
        yield container_id
    except BaseException as cause:
        log.set_level("error")  # what went wrong is reported once: a full disk is in the way of the removal, too
        _forget_calls(cause)
        try:
            engine.remove(container_id, force=True, volumes=True)
        except NotFound:  # it was not made
            pass
        except BentoError as error:
            if str(error) != str(cause):
                complain(error)
        raise


def _forget_calls(cause: BaseException) -> None:
    """Have what was interrupted let go of what it has, such as locks."""
    trace = cause.__traceback__
    while trace is not None:
        with suppress(RuntimeError):  # it is under way
            trace.tb_frame.clear()
        trace = trace.tb_next
