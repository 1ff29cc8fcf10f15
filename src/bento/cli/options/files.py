"""The options of ``run`` and ``create`` about files and mounts."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from bento.cli.options.switches import Arguments
from bento.lazy import LazyModule
from bento.model.container import Files, Mount

if TYPE_CHECKING:
    from bento.oci import confinement
    from bento.parse import mounts
else:  # many containers have no mounts
    mounts, confinement = LazyModule("bento.parse.mounts"), LazyModule("bento.oci.confinement")


def configure(group: Arguments) -> None:
    """Add the options."""
    add = group.add_argument
    add(
        "-v",
        "--volume",
        action="append",
        default=[],
        metavar="[SRC:]DST[:OPTIONS]",
        help="mount a volume, or a directory or file of the host",
    )
    add("--mount", action="append", default=[], metavar="K=V,...", help="the same in words: type=bind,src=...,dst=...")
    add(
        "--volumes-from",
        action="append",
        default=[],
        metavar="NAME[:ro]",
        help="mount what another container has, but for its tmpfs",
    )
    add("--tmpfs", action="append", default=[], metavar="DST[:OPTIONS]", help="an empty filesystem in memory")
    add("--read-only", action="store_true", help="mount the root filesystem read-only")
    add("--read-only-tmpfs", action="store_true", help="with --read-only: /run, /tmp and /var/tmp in memory")


def read(args: argparse.Namespace) -> Files:
    """Return what was said. Raises UsageError."""
    return Files(
        read_only=args.read_only,
        read_only_tmpfs=args.read_only_tmpfs,
        mounts=_mounts(args),
        volumes_from=tuple(args.volumes_from),
    )


def _mounts(args: argparse.Namespace) -> tuple[Mount, ...]:
    if not (args.volume or args.mount or args.tmpfs):
        return ()
    cwd, has_selinux = os.getcwd(), confinement.enforces_selinux()
    return (
        *(mounts.parse_volume(text, cwd=cwd, has_selinux=has_selinux) for text in args.volume),
        *(mounts.parse_mount(text, cwd=cwd) for text in args.mount),
        *(mounts.parse_tmpfs(text) for text in args.tmpfs),
    )
