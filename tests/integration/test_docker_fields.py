"""The fields that Docker documents are there, or the page for users of Docker says that they are not."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.cli import BentoCli, Roots
from support.images import make_image
from support.workload import ONE_RUNTIME, busybox_rootfs

pytestmark = ONE_RUNTIME

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "coming-from-docker.md"


def absent() -> dict[str, set[str]]:
    """What the page lists: by the thing, the fields in its line of the table."""
    text = PAGE.read_text(encoding="utf-8").partition("### Fields that are not there")[2]
    rows = re.findall(r"^\| (\w+) \| (`.+) \|$", text, flags=re.MULTILINE)
    return {thing: set(re.findall(r"`(\w+)`", fields)) for thing, fields in rows}


def test_every_field_that_docker_documents_is_there_or_listed(bento: BentoCli, roots: Roots, tmp_path: Path) -> None:
    make_image(roots, "plain", layers=[{"x": b"x"}])
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    bento.run("--name", "w", "-v", "v:/v", "--health-cmd", "true", "bb", "sleep", "1000")
    container = json.loads(bento("inspect", "--size", "w").stdout)[0]
    shown: dict[str, Mapping[str, Any]] = {
        "container": container,
        "State": container["State"],
        "Config": container["Config"],
        "HostConfig": container["HostConfig"],
        "NetworkSettings": container["NetworkSettings"],
        "Networks": next(iter(container["NetworkSettings"]["Networks"].values())),
        "Mounts": container["Mounts"][0],
        "info": json.loads(bento("info", "--format", "json").stdout),
        "network": json.loads(bento("network", "inspect", "bridge").stdout)[0],
        "volume": json.loads(bento("volume", "inspect", "v").stdout)[0],
        "image": bento.inspect("plain"),
    }
    documented = tomllib.loads((HERE / "docker_fields.toml").read_text(encoding="utf-8"))
    missing = {thing: {field for field in fields if field not in shown[thing]} for thing, fields in documented.items()}
    assert {thing: fields for thing, fields in missing.items() if fields} == absent()
