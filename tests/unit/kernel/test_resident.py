"""A process that lets go of its code, and goes on."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from bento.kernel import libc, resident
def rss(): return int(next(l for l in open("/proc/self/smaps_rollup") if l.startswith("Rss:")).split()[1])
libc.one_arena()
text = resident.Text()
resident.settle()
before = rss()
text.forget()
after = rss()
assert sorted(map(str, range(1000)))[0] == "0"
print(before, after)
"""


def test_code_is_let_go_of_and_run_again():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before
