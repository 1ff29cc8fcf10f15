"""Images as people have them, made of this machine's Debian packages: a base, an nginx and a redis on it.

An OCI layout, kept between test runs beside the root filesystems of ``inits``; nothing removes it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support import inits
from support.registry import run

_RECIPE = 1
"""To be raised when what the functions below do makes other images."""

_PACKAGES = {"base": "busybox-static,libc6,base-files", "nginx": "nginx-light", "redis": "redis-server"}
_NEEDLESS = (
    "dev", "var/cache/apt", "var/lib/apt", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/perl*",
    "usr/bin/perl*", "usr/lib/*/perl*", "usr/lib/*/libperl*", "usr/lib/*/gconv",
)  # fmt: skip
_BUILD_LIMIT_S = 500

_PASSWD = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\nredis:x:100:101::/data:/bin/sh\n"
_GROUP = "root:x:0:\nwww-data:x:33:\nredis:x:101:\n"
_NGINX_ENTRY = """#!/bin/sh
sed -i "s/listen .*;/listen 127.0.0.1:$PORT;/" /etc/nginx/nginx.conf
exec "$@"
"""
_NGINX_CONF = """
user www-data;
worker_processes 1;
error_log stderr;
pid /run/nginx.pid;
events { worker_connections 64; }
http {
    access_log off;
    server {
        listen 127.0.0.1:80;
        root /srv;
        location /slow { limit_rate 64k; }
    }
}
"""
SLOW_BYTES = 160 * 1024
"""Of /slow: more than two seconds, as nginx is told to send it."""


def layout() -> Path:
    """Return the directory of the layout, with the tags base, nginx and redis; make it when it is missing."""
    parts = (_RECIPE, inits.suite(), _PACKAGES, _NEEDLESS, _PASSWD, _GROUP, _NGINX_ENTRY, _NGINX_CONF, SLOW_BYTES)
    made_of = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
    target = inits.cache() / f"images-{made_of}"
    if target.exists():
        return target
    if any(shutil.which(tool) is None for tool in ("mmdebstrap", "umoci")) or not inits.sources():
        pytest.skip("needs mmdebstrap, umoci, and apt sources of a Debian release")
    inits.cache().mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        _make(draft)
        if not target.exists():
            (draft / "layout").rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _make(draft: Path) -> None:
    draft.mkdir()
    trees = {name: _extract(draft / name, packages) for name, packages in _PACKAGES.items()}
    _furnish(trees)
    place = draft / "layout"
    run("umoci", "init", "--layout", place)
    run("umoci", "new", "--image", f"{place}:base")
    _add_layer(place, "base", trees["base"], None)
    _configure(place, "base", "--config.cmd=/bin/sh", "--config.env=PATH=/usr/sbin:/usr/bin:/sbin:/bin")
    for name in ("nginx", "redis"):
        run("umoci", "tag", "--image", f"{place}:base", name)
        _add_layer(place, name, trees[name], trees["base"])
    _configure(
        place, "nginx", "--config.entrypoint=/entrypoint.sh", "--config.cmd=nginx", "--config.cmd=-g",
        "--config.cmd=daemon off;", "--config.stopsignal=SIGQUIT", "--config.env=PORT=80",
        "--config.exposedports=80/tcp",
    )  # fmt: skip
    _configure(
        place, "redis", "--config.entrypoint=redis-server", "--config.cmd=--port", "--config.cmd=0",
        "--config.cmd=--unixsocket", "--config.cmd=/data/redis.sock", "--config.cmd=--save", "--config.cmd=3600 1",
        "--config.user=redis", "--config.workingdir=/data", "--config.volume=/data",
    )  # fmt: skip
    run("umoci", "gc", "--layout", place)


def _extract(target: Path, packages: str) -> Path:
    """Unpack packages and what they need; their scripts are not run."""
    words = [
        "mmdebstrap", "--quiet", "--variant=extract", f"--include={packages}", inits.suite(), str(target),
        *inits.sources(),
    ]  # fmt: skip
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BUILD_LIMIT_S, check=False
    )
    assert done.returncode == 0, f"mmdebstrap for {packages}: {done.stderr[-2000:]}"
    for pattern in _NEEDLESS:
        for path in target.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return target


def _furnish(trees: dict[str, Path]) -> None:
    """What the packages' scripts, and those that make images, would have added."""
    base, nginx, redis = trees["base"], trees["nginx"], trees["redis"]
    (base / "etc/passwd").write_text(_PASSWD)
    (base / "etc/group").write_text(_GROUP)
    for applet in ("sh", "sed", "cat", "ls", "id", "sleep", "echo", "test", "stat"):
        if not (base / "bin" / applet).exists():
            (base / "bin" / applet).symlink_to("busybox")
    (nginx / "etc/nginx/nginx.conf").write_text(_NGINX_CONF)
    (nginx / "entrypoint.sh").write_text(_NGINX_ENTRY)
    (nginx / "entrypoint.sh").chmod(0o755)
    (nginx / "srv").mkdir(exist_ok=True)
    (nginx / "srv/index.html").write_text("it works\n")
    (nginx / "srv/slow").write_bytes(b"slow" * (SLOW_BYTES // 4))
    (nginx / "var/lib/nginx").mkdir(parents=True, exist_ok=True)
    (redis / "data").mkdir()
    os.chown(redis / "data", 100, 101)


def _add_layer(place: Path, tag: str, tree: Path, below: Path | None) -> None:
    """Add a tree as a layer, without what the layer below has already."""
    names = []
    for directory, folders, files in os.walk(tree):
        for name in (*files, *folders):
            path = Path(directory) / name
            relative = path.relative_to(tree)
            if below is not None and os.path.lexists(below / relative):
                continue
            names.append(str(relative))
    listing, archive = place.parent / "names", place.parent / "layer.tar"
    listing.write_bytes(b"\0".join(name.encode() for name in sorted(names)))
    run(
        "tar", "--create", f"--file={archive}", f"--directory={tree}", "--no-recursion", "--null", "--numeric-owner",
        f"--files-from={listing}",
    )  # fmt: skip
    run("umoci", "raw", "add-layer", "--image", f"{place}:{tag}", archive)


def _configure(place: Path, tag: str, *flags: str) -> None:
    run("umoci", "config", "--image", f"{place}:{tag}", *flags)
