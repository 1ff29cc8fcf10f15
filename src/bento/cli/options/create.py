"""The options that ``run`` and ``create`` share, and what they mean."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bento import log
from bento.cli.context import complain
from bento.cli.options import files as file_options
from bento.cli.options import health as health_options
from bento.cli.options import limits as limit_options
from bento.cli.options import log as log_options
from bento.cli.options import publish as publish_options
from bento.cli.options import sandbox as sandbox_options
from bento.cli.options import stop_settings as stop_options
from bento.cli.options import terminal as terminal_options
from bento.cli.options import transfer as transfer_options
from bento.cli.options.env import read_lines, read_variables
from bento.cli.options.layers import LayerScreen
from bento.cli.options.switches import Arguments
from bento.errors import BentoError, NotFound, UsageError, forget_calls
from bento.lazy import LazyModule
from bento.model.container import SD_NOTIFY, RestartPolicy
from bento.model.create import CreateOptions
from bento.model.transfer import POLICIES, Access
from bento.units import new_id
from bento.wiring import Engine

if TYPE_CHECKING:
    from bento.engine.facade import EngineFacade
    from bento.parse import container
else:  # --help does not need it
    container = LazyModule("bento.parse.container")


def configure(parser: argparse.ArgumentParser, *, is_image_needed: bool = True) -> None:
    """Add the options, the image and the command."""
    group = parser.add_argument_group
    # -h is the host name here, as in Docker and Podman, so --help has no short form.
    _configure_program(group("the program", conflict_handler="resolve"))
    file_options.configure(group("its files"))
    _configure_life(group("its life"))
    stop_options.configure(group("its stop", "docs/stop.md says more."))
    health_options.configure(group("its health"))
    publish_options.configure(group("its network"))
    log_options.configure(group("its log"))
    limit_options.configure(group("its limits"))
    sandbox_options.configure(group("its sandbox"))
    _configure_fetching(group("its image"))
    add = parser.add_argument
    add(
        "image",
        nargs=None if is_image_needed else "?",
        help="an image's name or id, or 'host': this machine's own files, copy-on-write",
    )
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


def _configure_life(group: Arguments) -> None:
    add = group.add_argument
    add(
        "--sdnotify",
        choices=SD_NOTIFY,
        default=SD_NOTIFY[-1],
        help="what tells systemd that it is ready (default ignore)",
    )
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
    add("--pod", default="", metavar="NAME", help="the pod that it is made into, whose network and namespaces it has")
    add("--cidfile", metavar="F", help="write the id to a new file")


def _configure_fetching(group: Arguments) -> None:
    add = group.add_argument
    add("--pull", choices=POLICIES, default="missing", help="when to fetch the image (default missing)")
    transfer_options.add_platform(group)
    transfer_options.add_tls_verify(group)
    add("-q", "--quiet", action="store_true", help="show no progress when the image is fetched")


def read(args: argparse.Namespace) -> CreateOptions:
    """Return what was said. Raises UsageError."""
    label_lines = [line for path in args.label_file for line in read_lines(path, "label file")]
    return CreateOptions(
        image=args.image,
        command=tuple(args.command),
        name=args.name,
        entrypoint=None if args.entrypoint is None else container.parse_entrypoint(args.entrypoint),
        env=read_variables(args),
        workdir=container.parse_workdir(args.workdir or ""),
        user=args.user,
        hostname=None if args.hostname is None else container.parse_hostname(args.hostname),
        runtime=args.runtime,
        labels=dict(map(container.parse_label, (*label_lines, *args.label))),
        init=args.init,
        system=args.system,
        auto_remove=args.auto_remove,
        restart=args.restart or RestartPolicy(),
        requires=tuple(args.requires),
        pod=args.pod,
        **publish_options.read_networks(args),
        streams=terminal_options.read_streams(args),
        files=file_options.read(args),
        ports=publish_options.read(args),
        stop=stop_options.read(args),
        health=health_options.read(args),
        log=log_options.read(args),
        resources=limit_options.read(args),
        limits=limit_options.read_process_limits(args),
        namespaces=sandbox_options.read_namespaces(args),
        sandbox=sandbox_options.read(args),
        cgroups=sandbox_options.read_cgroups(args),
        sdnotify=args.sdnotify,
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
        forget_calls(cause)
        try:
            engine.remove(container_id, force=True, volumes=True)
        except NotFound:  # it was not made
            pass
        except BentoError as error:
            if str(error) != str(cause):
                complain(error)
        raise
