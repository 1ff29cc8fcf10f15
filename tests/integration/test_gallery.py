"""The gallery of docs/gallery.md: what ``bento check`` finds of Debian's servers, runtimes and wrappers.

CI checks a few of them on this machine's own root; ``make programs`` checks all, in a root filesystem of its own.
"""

from __future__ import annotations

import json
import os

import pytest

from support import programs_rootfs
from support.cli import BentoCli
from support.gallery import GALLERY, server_of
from support.images import add_layer
from support.running import Backend, prepared
from support.workload import ONE_RUNTIME, Share

pytestmark = ONE_RUNTIME

ALL = bool(os.environ.get("BENTO_TEST_PROGRAMS"))
_GRACE_S = "4"
_BY_TIME = {"BG011", "BG012", "BG014"}
"""Those that depend on how long something takes, and so on what else the machine does."""


@pytest.fixture
def image(bento: BentoCli) -> str:
    """See test_programs."""
    if not ALL:
        return "host"
    add_layer(bento, "debian", programs_rootfs.made())
    return "debian"


@pytest.mark.parametrize("name", [name for name, shown in GALLERY.items() if ALL or shown.in_ci])
def test_a_check_finds_what_the_gallery_shows(bento: BentoCli, share: Share, image: str, name: str) -> None:
    share.path.chmod(0o777)
    shown, server = GALLERY[name], server_of(name)
    with Backend() as backend:
        words, flags = prepared(bento, share, server, backend, image)
        ready = ("--ready-log", server.ready) if server.ready else ()
        done = bento(
            "check", "--format", "json", "--grace", _GRACE_S, "--start-up", "0", *ready, "--network", "host",
            *share.flags, *flags, *shown.flags, image, "--", *words, check=False, timeout_s=240,
        )  # fmt: skip
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    ids = sorted({one["id"] for one in found["findings"]} - _BY_TIME)
    print(
        f"gallery: {name}: {ids} {found['error']} with Bento {found['with_bento'] and found['with_bento']['verdict']}"
    )
    assert not found["error"], found["error"]
    assert ids == sorted(shown.found), [(one["id"], one["detail"]) for one in found["findings"]]
