"""An exec session as Docker's API has it."""

from __future__ import annotations

from typing import Any

from bento.model.exec import ExecOptions


def document(
    options: ExecOptions,
    container_id: str,
    *,
    pid: int,
    is_running: bool,
    exit_code: int | None,
    stdout: bool,
    stderr: bool,
    keys: bytes,
) -> dict[str, Any]:
    """Return the answer to ``GET /exec/ID/json``. ``exit_code`` None: it has not ended."""
    program, *arguments = options.command
    return {
        "ID": options.id,
        "Running": is_running,
        "ExitCode": exit_code,
        "ProcessConfig": {
            "tty": options.tty,
            "entrypoint": program,
            "arguments": arguments,
            "privileged": options.privileged,
            **({"user": options.user} if options.user else {}),
        },
        "OpenStdin": options.has_input,
        "OpenStderr": stderr,
        "OpenStdout": stdout,
        "CanRemove": False,
        "ContainerID": container_id,
        "DetachKeys": keys.decode("latin-1"),
        "Pid": pid,
    }
