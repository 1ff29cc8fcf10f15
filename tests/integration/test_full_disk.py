"""A container has filled the disk that the root is on: the verbs that free it work, and so does looking."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bento.drivers.state.reserve import SIZE_BYTES

from support.cli import BentoCli, Roots
from support.workload import ONE_RUNTIME, assert_clean

pytestmark = ONE_RUNTIME

FILL = "cat /dev/zero >>/fill 2>/dev/null"
PROGRAMS = {
    "once": f"sleep 1; {FILL}; exec sleep 1000",  # when what started it has gone
    "for ever": f"trap '' TERM; while :; do {FILL}; done",  # takes at once what others set free
}
SCRIPT = """
set -u
mount -t tmpfs -o size=8m tmpfs "$SMALL"
say() { name=$1; shift; "$@" >"$OUT/$name" 2>"$OUT/$name.err"; echo "$name $?" >>"$OUT/codes"; }
say other "$@" run -d --name v host sleep 1000
say run "$@" run -d --name w host /bin/sh -c "$PROGRAM"
until [ "$(stat -fc %f "$SMALL")" -lt 8 ]; do sleep 0.05; done
sleep 0.3
for turn in 1 2 3; do say ps$turn "$@" ps -q --no-trunc; done
stat -fc %f "$SMALL" >"$OUT/free"
say inspect "$@" inspect w
say kill "$@" kill v
say wait "$@" wait v
say stop "$@" stop -t 1 w
say state "$@" ps -aq --filter status=stopped
say rm "$@" rm -f w v
say list "$@" ps -aq
say doctor "$@" doctor
stat -c %s "$SMALL/root/reserve" >"$OUT/reserve"
"""


@pytest.mark.parametrize("program", PROGRAMS)
def test_verbs_that_free_a_full_disk_work(bento: BentoCli, tmp_path: Path, program: str) -> None:
    small, out = tmp_path / "small", tmp_path / "out"
    small.mkdir()
    out.mkdir()
    there = BentoCli(Roots(small / "root", bento.roots.run_root), bento.runtime)
    subprocess.run(
        ["unshare", "-m", "--propagation", "slave", "/bin/sh", "-c", SCRIPT, "sh", *there.prefix],
        env={
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "SMALL": str(small),
            "OUT": str(out),
            "PROGRAM": PROGRAMS[program],
        },
        check=True,
        timeout=60,
    )
    codes = dict(line.split() for line in (out / "codes").read_text().splitlines())
    said = {path.stem: path.read_text() for path in out.glob("*.err")}
    assert set(codes.values()) == {"0"}, (codes, said)
    assert not any(said.values()), said
    assert len((out / "ps3").read_text().split()) == 2
    assert int((out / "free").read_text()) < 8
    assert len((out / "state").read_text().split()) == 2
    assert (out / "list").read_text() == ""
    assert int((out / "reserve").read_text()) == SIZE_BYTES
    assert_clean(bento)
