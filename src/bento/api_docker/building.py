"""A build in its own process: what it prints becomes lines of JSON, as Docker's clients read them."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from bento import quiet_threads
from bento.api_docker.answering import Lines
from bento.api_docker.http.errors import message_of
from bento.docker import image_api
from bento.errors import BentoError
from bento.model.transfer import Access, BuildOptions, TransferProgress
from bento.units import short_id
from bento.wiring import Engine

_READ_BYTES: Final = 1 << 16


def build(
    engine: Engine,
    options: BuildOptions,
    auths: Mapping[str, tuple[str, str]],
    context_fd: int,
    answer_fd: int,
    *,
    is_quiet: bool,
) -> None:
    """Build from the archive on ``context_fd``; tell of it on ``answer_fd``. Blocks; KeyboardInterrupt breaks it off.

    What goes wrong is the last line. Nothing of a build that was broken off is left.
    """
    lines = Lines(answer_fd)
    try:
        with _Printed(lines, is_shown=not is_quiet) as printed:
            made = engine.build(
                replace(options, stdin_fd=context_fd),
                access=_access(auths),
                output_fd=printed.fd,
                on_progress=None if is_quiet else printed.progress,
            )
    except BentoError as error:
        return lines.say(image_api.failure(message_of(error)))
    if is_quiet:
        return lines.say({"stream": f"{made.id}\n"})
    lines.say({"aux": {"ID": made.id}})
    lines.say({"stream": f"Successfully built {short_id(made.id.removeprefix('sha256:'))}\n"})
    for tag in options.tags:
        lines.say({"stream": f"Successfully tagged {tag}\n"})


def _access(auths: Mapping[str, tuple[str, str]]) -> Access:
    """Return how registries are asked: by a file in memory, which is there for as long as this process."""
    if not auths:
        return Access()
    words = {host: base64.b64encode(":".join(pair).encode()).decode() for host, pair in auths.items()}
    fd = os.memfd_create("auths", os.MFD_CLOEXEC)
    os.write(fd, msgspec.json.encode({"auths": {host: {"auth": word} for host, word in words.items()}}))
    return Access(authfile=f"/proc/{os.getpid()}/fd/{fd}")


class _Printed:
    """What a build prints, each line as one of the answer. A context; leaving it waits until all is said."""

    def __init__(self, lines: Lines, *, is_shown: bool) -> None:
        self._lines, self._is_shown = lines, is_shown
        self._phases: dict[str, str] = {}
        self._reader, self.fd = os.pipe2(os.O_CLOEXEC)

    def __enter__(self) -> _Printed:
        self._thread = quiet_threads.start(self._pass_on, "build")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        self._thread.join()

    def progress(self, report: TransferProgress) -> None:
        """Tell of a layer of a base image that is fetched, once for each phase. Called by several threads."""
        if self._phases.get(report.digest) != report.phase:
            self._phases[report.digest] = report.phase
            self._lines.say(image_api.progress(report))

    def _pass_on(self) -> None:
        rest = b""
        while data := os.read(self._reader, _READ_BYTES):
            *whole, rest = (rest + data).split(b"\n")
            for text in whole:
                self._say(text + b"\n")
            if len(rest) > _READ_BYTES:  # a line without an end
                self._say(rest)
                rest = b""
        self._say(rest)
        os.close(self._reader)

    def _say(self, text: bytes) -> None:
        if text and self._is_shown:
            self._lines.say({"stream": text.decode(errors="replace")})
