"""Root filesystems with real inits, made of this machine's Debian packages and kept between test runs.

They lie in ${BENTO_TEST_CACHE:-/var/cache/bento-tests}, named by what they are made of; nothing removes them.
Containers only read them: they are image layers.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PACKAGES = {
    "systemd": "systemd-sysv,dbus,procps",
    "sysvinit": "sysvinit-core,initscripts,procps",
    "openrc": "openrc,sysvinit-core,procps",
    "runit": "runit-init,procps",
    "finit": "finit-sysv,procps,mount,util-linux,bsdutils",
}
MACHINE = "machine"
_OF_MACHINE = "systemd-sysv,dbus,procps,python3,conmon,crun,runc,iproute2,nftables,busybox-static"
"""In which an engine runs, on systemd (make systemd): not made with the others, as CI does without it."""
_OPTIONS = [
    "--variant=essential", "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
]  # fmt: skip
_BUILD_LIMIT_S = 500


def cache() -> Path:
    return Path(os.environ.get("BENTO_TEST_CACHE") or "/var/cache/bento-tests")


def rootfs(name: str) -> Path:
    """Where a root filesystem is, or will be."""
    made_of = " ".join([suite(), *_OPTIONS, _packages(name)])
    return cache() / f"{name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def make_all() -> None:
    """Make those that are missing, two at a time. Skips where the machine cannot: no Debian, or no mmdebstrap."""
    missing = [name for name in PACKAGES if not rootfs(name).exists()]
    if not missing:
        return
    if shutil.which("mmdebstrap") is None or not sources():
        pytest.skip("needs mmdebstrap, and apt sources of a Debian release")
    cache().mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_make, missing))


def make(name: str) -> Path:
    """Make one when it is missing, and return where it is. Skips as ``make_all``."""
    if not rootfs(name).exists():
        if shutil.which("mmdebstrap") is None or not sources():
            pytest.skip("needs mmdebstrap, and apt sources of a Debian release")
        cache().mkdir(parents=True, exist_ok=True)
        _make(name)
    return rootfs(name)


def _packages(name: str) -> str:
    return _OF_MACHINE if name == MACHINE else PACKAGES[name]


def _make(name: str) -> None:
    target = rootfs(name)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    words = ["mmdebstrap", "--quiet", *_OPTIONS, f"--include={_packages(name)}", suite(), str(draft), *sources()]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BUILD_LIMIT_S, check=False
    )
    try:
        assert done.returncode == 0, f"mmdebstrap for {name}: {done.stderr[-2000:]}"
        if not target.exists():
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def suite() -> str:
    """The release that this machine runs."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


def sources() -> list[str]:
    """The machine's own apt sources of its own release."""
    parts = sorted(Path("/etc/apt/sources.list.d").glob("*"))
    files = [Path("/etc/apt/sources.list"), *(path for path in parts if path.suffix in (".list", ".sources"))]
    return [str(path) for path in files if path.is_file() and suite() in path.read_text().split()]


def make_busybox(directory: Path, inittab: str) -> Path:
    """Make a root filesystem of one static program that is its init, too."""
    for name in ("bin", "sbin", "etc", "proc", "sys", "dev", "run", "tmp"):
        (directory / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", directory / "bin/busybox")
    for applet in ("sh", "sleep", "ln", "mkfifo", "cat", "touch", "reboot", "poweroff"):
        (directory / "bin" / applet).symlink_to("busybox")
    (directory / "sbin/init").symlink_to("/bin/busybox")
    (directory / "etc/inittab").write_text(inittab)
    (directory / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    return directory
