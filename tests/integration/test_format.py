"""``--format`` with a template, at every verb that takes one."""

from __future__ import annotations

import json

import pytest

from support.cli import BentoCli, Roots
from support.images import make_image
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME

VERBS = (
    ("ps", "-a"), ("images",), ("history", "web"), ("volume", "ls"), ("system", "df"), ("info",), ("version",),
    ("inspect", "w"), ("inspect", "web"), ("volume", "inspect", "data"),
)  # fmt: skip


@pytest.fixture
def world(bento: BentoCli, roots: Roots) -> BentoCli:
    labels = {"Labels": {"tier": "front", "a-b.c": "1"}}
    make_image(roots, "web", "team/web:2", layers=[{"x": b"x" * 1000}], config=labels)
    bento("volume", "create", "--label", "use=test", "data")
    bento("create", "--name", "w", "-v", "data:/data", "web", "/bin/true", "x" * 60)
    return bento


def test_listings_take_templates(world: BentoCli) -> None:
    line = world("ps", "-a", "--format", r'{{.Names}}\t{{.State}} {{.Mounts}} {{.Networks}} {{.Label "tier"}}').stdout
    assert line == "w\tcreated data bridge front\n"
    header, row = world("ps", "-a", "--no-trunc", "--format", r"table {{.ID}}\t{{upper .Names}}").stdout.splitlines()
    assert header.split() == ["CONTAINER", "ID", "NAMES"]
    assert [len(word) for word in row.split()] == [64, 1]
    assert row.index("W") == header.index("NAMES")
    assert world("images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}} {{.SharedSize}} {{.Containers}}").stdout == (
        "web:latest 1kB 0B 1\nteam/web:2 1kB 0B 1\n"
    )
    assert world("volume", "ls", "--format", '{{.Name}}={{.Driver}},{{.Label "use"}}').stdout == "data=local,test\n"
    assert world("system", "df", "--format", "{{.Type}}: {{.TotalCount}}").stdout == (
        "Images: 1\nContainers: 1\nLocal Volumes: 1\n"
    )
    assert world("history", "--format", "{{len .ID}} {{.Size}}", "web").stdout.split() == ["12", "1kB"]
    assert world("ps", "--format", "{{.ID}}").stdout == ""


def test_labels_and_commands_of_strangers_stay_in_their_line(bento: BentoCli) -> None:
    bento("create", "--name", "w", "--label", "x=1\n\x1b[2J", "host", "echo", "a\nb")
    assert bento("ps", "-a", "--format", '{{.Labels}} {{.Label "x"}}').stdout == "x=1\\n\\x1b[2J 1\\n\\x1b[2J\n"
    assert bento("ps", "-a", "--no-trunc", "--format", "{{.Command}}").stdout == '"echo a\\nb"\n'
    assert len(bento("ps", "-a").stdout.splitlines()) == 2


def test_bare_ids_and_templates_go_together_as_in_docker(world: BentoCli) -> None:
    short = world("ps", "-aq").stdout
    assert world("ps", "-aq", "--format", "{{.Names}}").stdout == short
    assert world("images", "-q", "--format", "{{.Tag}}").stdout == "latest\n2\n"
    assert [each["Tag"] for each in world.listing("images", "-q")] == ["latest", "2"]


def test_what_inspect_shows_can_be_asked_for_by_field(world: BentoCli) -> None:
    asked = "{{.State.Status}} {{.Config.Labels.tier}} {{range .Mounts}}{{.Destination}}{{end}} {{.HostConfig.Init}}"
    assert world("inspect", "-f", asked, "w").stdout == "created front /data false\n"
    assert world("inspect", "-f", '{{index .Config.Labels "a-b.c"}}', "w", "web").stdout == "1\n1\n"
    tags = json.loads(world("inspect", "--type", "image", "-f", "{{json .RepoTags}}", "web").stdout)
    assert tags == ["web:latest", "team/web:2"]
    assert json.loads(world("inspect", "--format", "json", "w").stdout)[0]["Name"] == "w"
    assert (
        world("volume", "inspect", "-f", "{{.Name}} {{.Labels.use}} {{.Containers}}", "data").stdout
        == "data test [w]\n"
    )
    assert world("info", "-f", "{{.Driver}} {{.Images}}").stdout == "overlay 1\n"
    assert world("version", "-f", "{{.Version}}").stdout == world("version", "-f", "{{.Server.Version}}").stdout


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_a_mistake_is_named_in_one_line(world: BentoCli, words: tuple[str, ...]) -> None:
    assert "'Nope'" in world.fails(*words, "--format", "{{.Nope}}", code=2)
    assert "{{end}}" in world.fails(*words, "--format", "{{if .}}", code=2)
    assert "neither" in world.fails(*words, "--format", "xml", code=2)
