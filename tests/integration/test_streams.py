"""The streams that a command is given: closed ones, and such as do not block."""

from __future__ import annotations

import os
import subprocess
import time

from support.cli import BentoCli


def test_closed_standard_streams_are_no_trouble(bento: BentoCli) -> None:
    words = ["run", "--rm", "host", "/bin/sh", "-c", "echo out; echo err >&2; exit 3"]
    for closed, left in ((">&-", ("", "err\n")), ("2>&-", ("out\n", "")), (">&- 2>&- <&-", ("", ""))):
        script = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *bento.prefix, *words]
        done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (3, *left)
    script = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *bento.prefix, "ps"]
    assert subprocess.run(script, capture_output=True, text=True, timeout=60, check=False).stderr == ""


def test_output_that_does_not_block_is_waited_for(bento: BentoCli) -> None:
    """Some parents set that on what they share with a command."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    words = [*bento.prefix, "run", "--rm", "host", "head", "-c", "1000000", "/dev/zero"]
    with subprocess.Popen(words, stdout=writer, stderr=subprocess.PIPE, text=True) as process:
        os.close(writer)
        time.sleep(0.5)  # the pipe is full by then
        with open(reader, "rb") as pipe:
            assert len(pipe.read()) == 1_000_000
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
