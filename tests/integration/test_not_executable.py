"""What the kernel refuses to execute: no container runs, and the process that asked gets 126 or 127 and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cli import BentoCli
from support.workload import Share

ARM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\2\0\xb7\0" + bytes(44)
FILES = {
    "nowhere": (b"#!/nonexistent\n", 127, "its interpreter '/nonexistent' is not there"),
    "text": (b"echo hello\n", 126, "exec format error"),
    "empty": (b"", 126, "it is empty"),
    "foreign": (ARM, 126, "a program for arm64"),
}


@pytest.fixture
def programs(share: Share) -> Share:
    for name, (content, _, _) in FILES.items():
        path = Path(share.script(name, ""))
        (share.path / path.name).write_bytes(content)
        (share.path / path.name).chmod(0o755)
    return share


def test_what_the_kernel_refuses_is_said_by_every_verb(bento: BentoCli, programs: Share) -> None:
    bento.run("--name", "w", *programs.flags, "host", "sleep", "1000")
    for number, (name, (_, code, says)) in enumerate(FILES.items()):
        command = f"/s/{name}"
        verbs = [
            ["exec", "w"],
            ["exec", "-d", "w"],
            ["run", *programs.flags, "host"],
            ["run", "-d", *programs.flags, "host"],
        ]
        for verb in (verbs[0], verbs[1 + number % 3]):
            line = bento.fails(*verb, command, code=code)
            assert command in line
            assert says in line
    assert bento("ps", "-aq", "--no-trunc").stdout.split() == [bento.inspect("w")["Id"]]


@pytest.mark.parametrize("init", [(), ("--init",)])
def test_a_start_that_the_kernel_would_refuse_is_kept_in_the_state(
    bento: BentoCli, programs: Share, init: tuple[str, ...]
) -> None:
    bento("create", "--name", "w", *init, *programs.flags, "host", "/s/nowhere")
    line = bento.fails("start", "w", code=127)
    state = bento.state("w")
    assert (state["Status"], state["ExitCode"], state["Error"]) == ("created", 127, line.removeprefix("bento: "))
    assert bento("wait", "w").stdout == "127\n"
    programs.script("nowhere", "#!/bin/sh\nexit 3\n")
    bento("start", "w")
    assert bento("wait", "w").stdout == "3\n"
    assert bento.state("w")["Error"] == ""
