"""``--filter`` of prunes and listings."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.drivers.state.base import StateStore
from bento.engine.base.filters import parse_prune, split
from bento.engine.images import image_list
from bento.engine.views.listing import parse_filters
from bento.errors import UsageError
from bento.model.container import Container, ContainerSpec, Ports, Run, Status
from bento.model.image import Image, ImageConfig
from bento.model.network import Connection, Port

FRONT = {"tier": "front", "x": ""}


@pytest.mark.parametrize("text", ["", "label", "=x", "nope=1", "LABEL=x", "label!"])
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="label, label!, until"):
        parse_prune([text])


@pytest.mark.parametrize("text", ["until=", "until=soon", "until=2026-13-01", "until=nan", "until=1e99d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_prune([text])


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ([], True), (["label=tier"], True), (["label=tier=front"], True), (["label=tier=back"], False),
        (["label=x="], True), (["label=tier", "label=nope"], False), (["label!=tier"], False), (["label!=nope"], True),
        (["label!=tier=back"], True), (["until=1970-01-01T00:00:10Z"], True), (["until=9"], True), (["until=8"], False),
        (["until=9", "until=8"], False), (["until=9", "label=nope"], False), (["until=1h"], True),
    ],
)  # fmt: skip
def test_all_filters_of_a_prune_must_fit(filters: list[str], passes: bool) -> None:
    assert parse_prune(filters)(FRONT, 8 * 10**9) == passes


def test_values_of_a_key_are_kept_in_order() -> None:
    assert split(["a=1", "b==", "a=2=3"], ("a", "b")) == {"a": ["1", "2=3"], "b": ["="]}


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("web", True), ("w?b", True), ("w*", True), ("web:1*", True), ("web:2", False), ("[vw]eb", True),
        ("[^w]eb", False), ("*", True), ("*/*", False), ("docker.io/library/web", True), ("*/*/web:1.0", True),
        ("docker.io/*", False), ("", False), ("[", False), ("WEB", False),
    ],
)  # fmt: skip
def test_patterns_of_names(pattern: str, fits: bool) -> None:
    image = Image(id="", names=("docker.io/library/web:1.0",), layers=(), config=ImageConfig(), created_unix_ns=0,
                  size_bytes=0)  # fmt: skip
    assert bool(image_list._names_like(image, [pattern])) == fits


def image(digits: str, *diff_ids: str, name: str = "") -> Image:
    return Image(
        id="sha256:" + digits.ljust(64, "0"),
        names=(name,) if name else (),
        layers=("/x",),
        diff_ids=diff_ids,
        layer_sizes_bytes=(1,) * len(diff_ids),
        config=ImageConfig(),
        created_unix_ns=0,
        size_bytes=0,
    )


def test_ancestors_are_found_by_what_they_are_now_and_else_by_what_was_said(store: StateStore) -> None:
    base = image("abc", "1", "2", name="docker.io/library/base:latest")
    for each in (base, image("abd", "1", "2", "3"), image("abe", "1"), image("abf")):
        store.put_image(each, events=())
    spec = ContainerSpec(image="abc", image_id=base.id, layers=())
    made = Container(id="1" * 64, name="w", created_unix_ns=1, spec=spec)

    def passes(ancestor: str, image_id: str, said: str = "") -> bool:
        container = replace(made, spec=replace(spec, image_id=image_id, image=said))
        return parse_filters(store, [f"ancestor={ancestor}"])(container)

    assert passes("base", base.id, "abc")
    assert passes("abc", image("abd").id)
    assert not passes("abc", image("abe").id)
    assert not passes("abf", base.id)
    assert not passes("base", image("cc").id, "base")  # the name is another image's now
    assert passes("gone", image("cc").id, "gone:latest")
    assert passes("cc" + "0" * 10, image("cc").id)
    assert not passes("c", image("cc").id, "x")


def listed(**fields: object) -> Container:
    spec = ContainerSpec(image="abc", image_id="", layers=(), **fields)  # type: ignore[arg-type]
    return Container(id="1" * 64, name="web-1", created_unix_ns=5, spec=spec)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("name=web", True), ("name=^web-[0-9]$", True), ("name=^web$", False), ("name=", True),
        ("status=created", True), ("status=dead", False), ("status=exited", False), ("exited=0", False),
        ("exited=-1", False), ("network=bridge", True), ("network=brid", False), ("publish=8080", True),
        ("publish=8080/tcp", True), ("publish=8000-9000", True), ("publish=8080/udp", False), ("publish=80", False),
        ("expose=80", True), ("expose=70-80/tcp", True), ("expose=90", True), ("expose=8080", False),
        ("expose=80/udp", False), ("before=other", True), ("since=other", False), ("before=older", False),
        ("since=older", True), ("before=same", False), ("since=same", False), ("isolation=default", True),
        ("isolation=hyperv", False), ("is-task=true", False), ("is-task=false", True),
    ],
)  # fmt: skip
def test_filters_of_containers(store: StateStore, text: str, passes: bool) -> None:
    for number, (name, created_ns) in enumerate((("other", 9), ("older", 1), ("same", 5))):
        store.add(replace(listed(), id=str(number + 2) * 64, name=name, created_unix_ns=created_ns))
    port = Port(container_port=80, host_port=8080)
    made = listed(network="bridge", ports=Ports(published=(port,), exposed=("90/tcp",)))
    on_bridge = Connection(bridge="b", address="10.0.0.2", prefix=24, gateway="10.0.0.1", mac="", ports=(port,))
    running = replace(made, status=Status.RUNNING, run=Run(number=1, runtime="crun", connections=(on_bridge,)))
    is_of_now = text.startswith(("publish", "expose"))
    assert parse_filters(store, [text])(running if is_of_now else made) == passes
    assert not (is_of_now and parse_filters(store, [text])(made))


@pytest.mark.parametrize("text", ["name=[", "name=*", "status=bogus", "status=", "exited=abc", "exited=", "exited=²"])
def test_filter_that_nothing_can_fit_is_refused(store: StateStore, text: str) -> None:
    with pytest.raises(UsageError, match="bad filter"):
        parse_filters(store, [text])
