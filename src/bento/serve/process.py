"""The process of ``bento serve``: puts the servers together, listens, and ends cleanly at SIGTERM or SIGINT.

It never forks: it has threads. What it starts, it starts by posix_spawn(3) (``bento.command``).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bento import config_load, log, sd_notify
from bento.api_docker.server import DockerServer
from bento.api_docker.services import Services
from bento.command import own_process
from bento.config import Settings
from bento.errors import BentoError, UsageError
from bento.lazy import LazyModule
from bento.serve import tcp
from bento.serve.sockets import Listener, activated
from bento.serve.zygote import KeptZygote

if TYPE_CHECKING:
    from bento.serve import cri
else:  # only a node of a cluster pays for it
    cri = LazyModule("bento.serve.cri")

_GLOBAL: Final = ("root", "run_root", "runtime", "runtime_args", "cgroup_manager", "log_level")


def main(argv: Sequence[str]) -> int:
    """Serve until a signal ends it; return the exit status."""
    parser = argparse.ArgumentParser(prog="bento serve", allow_abbrev=False)
    for name in _GLOBAL:
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name)
    parser.add_argument("--docker-socket", action="append", default=[])
    parser.add_argument("--docker-group", default="")
    parser.add_argument("--cri-socket", default="")
    parser.add_argument("--cri-pin", action="append", default=[])
    parser.add_argument("--tcp", action="append", default=[])
    parser.add_argument("--zygote", action="store_true")
    for name in ("cert", "key", "ca"):
        parser.add_argument(f"--tls-{name}", default="")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    handed = activated()
    own_process()
    try:
        settings = config_load.load({name: getattr(args, name) for name in _GLOBAL})
        log.set_level(settings.log_level)
        os.chdir("/")
        return asyncio.run(_serve(settings, args, handed))
    except BentoError as error:
        sys.stderr.write(f"bento: {log.printable(str(error))}\n")
        return error.exit_code


async def _serve(settings: Settings, args: argparse.Namespace, handed: list[socket.socket]) -> int:
    tls = _tls(args, handed)
    paths = [Path(os.path.abspath(text)) for text in args.docker_socket]
    if not paths and not handed and not args.cri_socket:
        paths = [Path(os.path.abspath(settings.run_root)) / "docker.sock"]
    ending = _ending()
    listeners: list[Listener] = []
    services: Services | None = None
    cri_front: cri.Cri | None = None
    zygote: KeptZygote | None = None
    try:
        for path in paths:  # before there is any other thread: a socket's mode is made by the umask of them all
            listeners.append(Listener(path, args.docker_group))
        cri_listener = Listener(Path(os.path.abspath(args.cri_socket))) if args.cri_socket else None
        listeners += [cri_listener] if cri_listener is not None else []
        sockets = [
            *handed,
            *map(tcp.listen, args.tcp),
            *(listener.socket for listener in listeners if listener is not cri_listener),
        ]
        services = Services(settings, _worker_argv())
        await services.start()
        server = DockerServer(services)
        for each in sockets:
            server.listen(each, None if each.family == socket.AF_UNIX else tls)
        cri_place = ""
        if cri_listener is not None:
            cri_front = cri.Cri(services, args.cri_pin)
            await cri_front.listen(cri_listener.socket)
            cri_place = tcp.place(cri_listener.socket)
        if args.zygote:
            zygote = KeptZygote(settings)
        _say_ready(list(map(tcp.place, sockets)), cri_place)
        number = await ending
        log.info(f"ending by {signal.Signals(number).name}")
        sd_notify.tell("STOPPING=1")
        await server.refuse()
        if cri_front is not None:
            await cri_front.end()
        for listener in listeners:
            listener.close()  # another server may take its place while this one finishes
        await services.workers.end()
        await server.end()
    finally:
        for listener in listeners:
            listener.close()
        if zygote is not None:
            zygote.close()
        if services is not None:
            services.close()
    sys.stdout.flush()
    os._exit(0)  # a thread may be in the middle of a start: what it has begun is undone, or found, by the next command


def _tls(args: argparse.Namespace, handed: list[socket.socket]) -> ssl.SSLContext | None:
    """Return what clients over TCP are judged by; None where there are none. Raises UsageError."""
    named = (args.tls_cert, args.tls_key, args.tls_ca)
    if args.tcp or any(each.family != socket.AF_UNIX for each in handed):
        if not all(named):
            raise UsageError("TCP without TLS would give root to every process that reaches it", hint=tcp.NEEDED)
        return tcp.context(*named)
    if any(named):
        raise UsageError("--tls-cert, --tls-key and --tls-ca are for --tcp", hint="give --tcp HOST:PORT")
    return None


def _ending() -> asyncio.Future[int]:
    """Return what becomes the number of the signal that ends the server."""
    loop = asyncio.get_running_loop()
    ending: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _end, ending, number)
    return ending


def _end(ending: asyncio.Future[int], number: int) -> None:
    if not ending.done():
        ending.set_result(number)


def _worker_argv() -> tuple[str, ...]:
    return (sys.executable, "-I" if sys.flags.isolated else "-P", "-m", "bento.serve.worker")


def _say_ready(places: list[str], cri_place: str) -> None:
    if places:
        sys.stdout.write(f"bento: Docker's API is served at {', '.join(places)}\n")
    if cri_place:
        sys.stdout.write(f"bento: the Container Runtime Interface is served at {cri_place}\n")
    sys.stdout.flush()
    sd_notify.tell("READY=1")
