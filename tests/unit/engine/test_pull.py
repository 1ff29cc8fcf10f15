"""Which place is asked for an image, in which order, and what is said when none has it."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from bento.config import Settings
from bento.engine.images import pull
from bento.errors import BadImage, BentoError, MissingTool, NotFound, NotPermitted, TransportFailed, UsageError
from bento.model.image import Image, ImageConfig
from bento.model.transfer import Access
from bento.oci.layout import digest_of
from bento.testing.drivers import FakeDrivers

ACCESS = Access()


class Transfer:
    """Adopts anything."""

    def add_bytes(self, content: bytes) -> str:
        return digest_of(content)

    def commit(self, digest, record):
        image = Image(id=digest, layers=(), config=ImageConfig(), created_unix_ns=0, size_bytes=0, architecture="amd64")
        record(image)
        return image


class Images:
    @contextmanager
    def transfer(self, on_progress=None):
        yield Transfer()

    def remove_leftovers(self) -> list[str]:
        return []


@pytest.fixture
def drivers(drivers: FakeDrivers) -> FakeDrivers:
    drivers.images = Images()  # type: ignore[assignment]
    drivers.settings = Settings(registries=("docker.io", "localhost:5000", "registry.example/team"))
    return drivers


def fetch(drivers, name: str, **options) -> pull.Pulled:
    return pull.pull(drivers, name, access=ACCESS, **options)


def test_a_short_name_is_asked_for_in_order_and_the_first_has_it(drivers):
    drivers.transport.images["docker://localhost:5000/web:1"] = b"m"
    pulled = fetch(drivers, "web:1")
    assert drivers.transport.asked == ["docker://docker.io/library/web:1", "docker://localhost:5000/web:1"]
    assert pulled.name == "localhost:5000/web:1"
    assert drivers.store.find_image("web:1").id == pulled.image.id


def test_a_whole_name_is_asked_for_where_it_says(drivers):
    drivers.transport.images["docker://h.example/web:latest"] = b"m"
    for name in ("h.example/web", "docker://h.example/web:latest"):
        assert fetch(drivers, name).name == "h.example/web:latest"
    assert set(drivers.transport.asked) == {"docker://h.example/web:latest"}


def test_all_that_refused_are_named(drivers):
    drivers.transport.images["docker://registry.example/team/web:1"] = NotPermitted(
        "registry.example/team/web:1: refused"
    )
    with pytest.raises(NotPermitted) as caught:
        fetch(drivers, "web:1")
    assert all(
        part in str(caught.value)
        for part in ("docker.io/library/web:1", "localhost:5000/web:1", "registry.example/team")
    )


def test_what_does_not_answer_is_not_passed_over(drivers):
    drivers.transport.images["docker://docker.io/library/web:1"] = TransportFailed("no answer")
    drivers.transport.images["docker://localhost:5000/web:1"] = b"somebody else's"
    with pytest.raises(TransportFailed):
        fetch(drivers, "web:1")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("oci:/d", ""), ("oci:/d:tag", ""), ("oci:/d:h.example/web:2", "h.example/web:2"),
        ("oci:/d:web:2", "docker.io/library/web:2"), ("dir:/d", ""),
        ("containers-storage:localhost/web", "localhost/web:latest"),
        ("containers-storage:[vfs@/a+/b]localhost/web:1", "localhost/web:1"), ("containers-storage:@abc", ""),
        (f"oci:/d:web@sha256:{'a' * 64}", ""),
    ],
)  # fmt: skip
def test_other_places_give_their_name_where_they_have_a_whole_one(drivers, source, name):
    drivers.transport.images[source] = b"m"
    assert fetch(drivers, source).name == name


@pytest.mark.parametrize("source", ["oci:/d:host:latest", "containers-storage:host", "docker.io/library/host"])
def test_the_name_of_the_machine_itself_is_never_taken(drivers, source):
    drivers.transport.images[source] = b"m"
    with pytest.raises(UsageError, match="this machine's own root"):
        fetch(drivers, source)
    assert drivers.transport.asked == []


def test_policies_say_when_to_ask(drivers):
    source = "docker://h.example/web:1"
    drivers.transport.images[source] = b"m"
    with pytest.raises(NotFound, match="never"):
        pull.provide(drivers, "h.example/web:1", "never", access=ACCESS)
    assert drivers.transport.asked == []
    assert pull.provide(drivers, "h.example/web:1", "missing", access=ACCESS) is not None
    assert pull.provide(drivers, "h.example/web:1", "missing", access=ACCESS) is None
    assert pull.provide(drivers, "h.example/web:1", "never", access=ACCESS) is None
    assert drivers.transport.asked == [source]
    assert pull.provide(drivers, "h.example/web:1", "always", access=ACCESS) is not None
    assert pull.provide(drivers, "host", "always", access=ACCESS) is None
    with pytest.raises(UsageError):
        pull.provide(drivers, "web", "sometimes", access=ACCESS)


@pytest.mark.parametrize("kind", [NotFound, NotPermitted, TransportFailed, MissingTool])
def test_newer_makes_do_with_what_is_here(drivers, kind):
    source, name = "docker://h.example/web:1", "h.example/web:1"
    drivers.transport.images[source] = b"m"
    assert pull.provide(drivers, name, "newer", access=ACCESS) is not None
    assert pull.provide(drivers, name, "newer", access=ACCESS) is not None
    assert drivers.transport.asked == [source, source]
    drivers.transport.images[source] = kind("because")
    assert pull.provide(drivers, name, "newer", access=ACCESS) is None
    with pytest.raises(kind):
        pull.provide(drivers, name, "always", access=ACCESS)


def test_an_image_for_another_platform_counts_as_missing(drivers):
    source, name = "docker://h.example/web:1", "h.example/web:1"
    drivers.transport.images[source] = b"m"
    fetch(drivers, name)
    assert pull.provide(drivers, name, "missing", platform="amd64", access=ACCESS) is None
    with pytest.raises(NotFound, match="here for linux/amd64, not for linux/riscv64"):
        pull.provide(drivers, name, "never", platform="riscv64", access=ACCESS)
    assert drivers.transport.asked == [source]
    with pytest.raises(BentoError):
        pull.provide(drivers, name, "missing", platform="riscv64", access=ACCESS)
    assert drivers.transport.asked == [source, source]


@pytest.mark.parametrize("kind", [NotFound, NotPermitted, TransportFailed, MissingTool])
def test_what_is_missing_and_cannot_be_fetched_is_said_to_be_both(drivers, kind):
    drivers.transport.images["docker://h.example/web:1"] = kind("because", hint="do this")
    with pytest.raises(kind) as caught:
        pull.provide(drivers, "h.example/web:1", "missing", access=ACCESS)
    assert str(caught.value) == "no such image: h.example/web:1, and it cannot be fetched: because (do this)"


def test_a_registry_of_the_configuration_must_be_a_host(drivers):
    drivers.settings = Settings(registries=("team",))
    with pytest.raises(UsageError, match="team"):
        fetch(drivers, "web")


def test_an_image_for_another_platform_is_refused_only_when_one_was_asked_for(drivers):
    drivers.transport.images["docker://h.example/web:1"] = b"m"
    with pytest.raises(BadImage, match="is for linux/amd64, not for linux/riscv64"):
        fetch(drivers, "h.example/web:1", platform="linux/riscv64")
    assert drivers.store.list_images() == []
    assert fetch(drivers, "h.example/web:1", platform="linux/amd64").name
