"""Mount tables: the kernel's escapes, and lines of other shapes."""

from __future__ import annotations

import os

from bento import command
from bento.kernel import mountinfo
from bento.kernel.process import pidfd

TABLE = (
    rb"""31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 master:2 - tmpfs tmpfs rw,mode=755
66 43 0:50 / /srv/a\040b\134c rw,nosuid - overlay over\040lay rw,lowerdir+=/l\0541,upperdir=/u,workdir=/w
70 31 0:4 net:[4026532177] /run/netns/x rw - nsfs nsfs rw
"""
    b"71 31 0:5 / /caf\xe9\xe2\x80\xa8 rw - tmpfs none rw\n"
    b"not a line\n"
)


def test_entries_come_with_escapes_decoded():
    plain, overlay, net, odd = mountinfo.parse_mountinfo(TABLE)
    assert (plain.mount_id, plain.parent_id, plain.target, plain.fstype) == (31, 23, "/sys/fs/cgroup", "tmpfs")
    assert overlay.target == "/srv/a b\\c"
    assert overlay.source == "over lay"
    assert overlay.options == "rw,nosuid,rw,lowerdir+=/l,1,upperdir=/u,workdir=/w"
    assert net.root == "net:[4026532177]"
    # Bytes that are no text survive, and no "line separator" of Unicode ends a line.
    assert os.fsencode(odd.target) == b"/caf\xe9\xe2\x80\xa8"


def test_our_own_table_has_a_root():
    assert "/" in {entry.target for entry in mountinfo.mount_table()}
    assert mountinfo.mount_table(os.getpid()) == mountinfo.mount_table()


def test_what_has_ended_has_no_mounts():
    child = command.spawn(["true"])
    assert pidfd.wait(child.pidfd, 20)
    assert mountinfo.mount_table(child.pid) == []  # a zombie
    child.finish(20)
    assert mountinfo.mount_table(child.pid) == []
