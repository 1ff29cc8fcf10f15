"""A root filesystem with every server of the table of programs, of Debian's packages; kept beside those of ``inits``.

It is big (some 2 GB) and takes minutes: for ``make programs`` alone. No daemon is started: mmdebstrap forbids it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from bento.programs.table import programs

from support import inits

_MORE: Final = (
    "busybox-static", "procps", "netcat-openbsd", "nodejs", "nginx-light", "apache2", "dovecot-imapd",
    "pdns-backend-bind", "uwsgi-plugin-python3", "ruby", "default-jre-headless", "sudo",
)  # fmt: skip
_OPTIONS: Final = ("--variant=essential", '--aptopt=APT::Install-Recommends "false"')
_LIMIT_S: Final = 1800


def made() -> Path:
    """Return it; make it when it is missing."""
    wanted = {program.package for program in programs().values() if program.package}
    packages = ",".join(sorted(wanted.union(_MORE)))
    made_of = " ".join((inits.suite(), *_OPTIONS, packages))
    target = inits.cache() / f"programs-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
    if target.exists():
        return target
    inits.cache().mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}")
    shutil.rmtree(draft, ignore_errors=True)
    words = ["mmdebstrap", *_OPTIONS, f"--include={packages}", inits.suite(), str(draft), *inits.sources()]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    draft.rename(target)
    return target
