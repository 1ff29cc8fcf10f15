"""Pods: what is made is recorded, a stop is one of all containers, and whatever is killed is finished or undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bento import clock
from bento.engine.lifecycle.create import create as create_container
from bento.engine.lifecycle.start import start as start_container
from bento.engine.maintenance import doctor, prune
from bento.engine.pods import create as making
from bento.engine.pods import listing, stop
from bento.engine.resources import networking, networks
from bento.errors import BentoError, Conflict, KernelError, NotFound, PortTaken, RuntimeFailed, UsageError, WrongState
from bento.model.container import Namespaces, Ports, Sandbox, Status
from bento.model.create import CreateOptions
from bento.model.namespaces.mapping import IdMapping, IdRange
from bento.model.network import NetworkOptions, Port
from bento.model.pods import NamespaceMode, Pod, PodOptions, PodState
from bento.testing.drivers import FakeDrivers

IDS = IdMapping(uids=(IdRange(0, 5000, 100),), gids=(IdRange(0, 6000, 100),))
PORTS = (Port(container_port=80, host_port=8080),)


def make(drivers: FakeDrivers, name: str = "web", **options: Any) -> Pod:
    return making.create(drivers, PodOptions(name=name, **{"network": "bridge"} | options))


def inside(drivers: FakeDrivers, pod: Pod, name: str = "one", **options: Any):
    return create_container(
        drivers, CreateOptions(image="host", command=("sleep", "1"), name=name, pod=pod.id, **options)
    )


def running(drivers: FakeDrivers, pod: Pod, name: str = "one", **options: Any):
    """A container of the pod that ends when it is signalled."""
    return drivers.server(name, pod=pod.id, network=f"pod:{pod.id}", **options)


def assert_nothing_is_held(drivers: FakeDrivers) -> None:
    assert drivers.pods.ids() == []
    assert drivers.network.made == set()
    assert [finding.what for finding in doctor.examine(drivers) if finding.kind in ("pod", "network")] == []


def test_a_pod_is_ready_with_its_namespaces_and_its_network(drivers: FakeDrivers) -> None:
    pod = make(
        drivers,
        hostname="box",
        sysctls={"net.core.somaxconn": "5"},
        ports=PORTS,
        labels={"a": "b"},
        annotations={"c": "d"},
    )
    assert pod == drivers.store.get_pod(pod.id) == listing.pod(drivers, "web")
    assert (pod.state, pod.settings.labels, pod.settings.annotations) == (PodState.READY, {"a": "b"}, {"c": "d"})
    assert [pin.kind for pin in pod.pins] == ["ipc", "net", "uts"]
    assert drivers.pods.made[pod.id]["hostname"] == "box"
    assert drivers.network.made == {pod.id}
    assert pod.connections[0].ports == PORTS
    assert not pod.connections[0].names
    assert networking.running(drivers) == {pod.id: pod.connections}
    assert set(pod.addresses) <= networking.addresses_of_others(drivers, "another")
    assert ("hold", pod.id) not in drivers.fake_runtime.calls
    with pytest.raises(Conflict, match="taken by a pod"):
        make(drivers)
    with pytest.raises(PortTaken, match="pod web"):
        make(drivers, "other", ports=PORTS)


def test_a_pod_of_the_nodes_namespaces_holds_none(drivers: FakeDrivers) -> None:
    pod = make(drivers, network="host", ipc=NamespaceMode.NODE, pid=NamespaceMode.NODE)
    assert (pod.pins, pod.connections, pod.settings.uts) == ((), (), NamespaceMode.NODE)
    spec = inside(drivers, pod).spec
    assert spec.network == "host"
    assert spec.namespaces == Namespaces(pid="host", ipc="host", uts="host")


def test_an_init_is_there_for_a_pid_namespace_of_the_pod_alone(drivers: FakeDrivers) -> None:
    init = drivers.processes.add("init")
    drivers.fake_runtime.holder_pid = init.identity.pid
    pod = make(drivers, pid=NamespaceMode.POD)
    assert ("hold", pod.id) in drivers.fake_runtime.calls
    assert pod.init == init.identity
    drivers.processes.end(init, 9)
    assert listing.pod(drivers, "web").state is PodState.NOT_READY  # its namespace has gone with it
    assert ("discard", pod.id) in drivers.fake_runtime.calls


@pytest.mark.parametrize(
    "asked",
    [
        {"network": "container:x"},
        {"network": "pod:x"},
        {"network": "nosuch"},
        {"network": "host", "hostname": "box"},
        {"network": "host", "sysctls": {"net.core.somaxconn": "1"}},
        {"hostname": "a b"},
        {"sysctls": {"vm.swappiness": "1"}},
        {"ipc": NamespaceMode.NODE, "sysctls": {"kernel.shmmax": "1"}},
        {"ipc": NamespaceMode.NODE, "shm_bytes": 1 << 20},
        {"shm_bytes": 1},
        {"cgroup_parent": "kubepods-burstable.slice"},
        {"cgroup_parent": "/a/../b"},
        {"ports": (Port(container_port=80, host_port=80, host_ip="::1"),)},
        {"dns": ("nosuch",)},
        {"name": "a b"},
        {"ids": IDS, "network": "host"},
        {"ids": IDS, "ipc": NamespaceMode.NODE},
        {"ids": IDS, "pid": NamespaceMode.NODE},
        {"ids": IdMapping(uids=(IdRange(1, 5000, 9),), gids=(IdRange(0, 5000, 9),))},
    ],
    ids=str,
)
def test_what_cannot_be_had_is_refused_before_anything_is_made(drivers: FakeDrivers, asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make(drivers, **asked)
    assert drivers.store.list_pods() == []
    assert drivers.pods.made == {}


@pytest.mark.parametrize("broken", ["pods", "network"])
def test_a_creation_that_fails_leaves_nothing(drivers: FakeDrivers, broken: str) -> None:
    if broken == "pods":
        drivers.pods.make_error = KernelError("unshare", 28, "no room")
    else:
        drivers.network.connect_errors = [RuntimeFailed("broken")]
    with pytest.raises(BentoError):
        make(drivers)
    assert drivers.store.list_pods() == []
    assert_nothing_is_held(drivers)


def test_a_container_has_what_is_its_pods(drivers: FakeDrivers) -> None:
    pod = make(
        drivers, hostname="box", dns=("192.0.2.1",), extra_hosts=(("db", "192.0.2.2"),), cgroup_parent="/kube/pod1"
    )
    spec = inside(drivers, pod).spec
    assert (spec.pod, spec.cgroup_parent, spec.hostname) == (pod.id, "/kube/pod1", "box")
    assert (spec.network, spec.networks) == (f"pod:{pod.id}", ())
    assert spec.namespaces == Namespaces(ipc=f"pod:{pod.id}", uts=f"pod:{pod.id}")
    assert (spec.sandbox.dns, spec.sandbox.extra_hosts) == (("192.0.2.1",), (("db", "192.0.2.2"),))
    own = inside(drivers, pod, "own", namespaces=Namespaces(pid="private", ipc="private")).spec
    assert (own.namespaces.pid, own.namespaces.ipc) == ("", "private")
    assert {one.name for one in listing.containers(drivers, "web")} == {"one", "own"}


def test_a_container_has_the_user_namespace_of_its_pod(drivers: FakeDrivers) -> None:
    pod = make(drivers, ids=IDS)
    assert {pin.kind for pin in pod.pins} == {"user", "net", "ipc", "uts"}
    users = f"pod:{pod.id}"
    assert inside(drivers, pod).spec.namespaces == Namespaces(ipc=users, uts=users, user=users, ids=IDS)
    assert inside(drivers, pod, "same", namespaces=Namespaces(ids=IDS)).spec.namespaces.user == users
    other = IdMapping(uids=IDS.uids, gids=IDS.uids)
    for asked in (Namespaces(user="host"), Namespaces(user="auto"), Namespaces(ids=other), Namespaces(user=users)):
        with pytest.raises(UsageError):
            inside(drivers, pod, "bad", namespaces=asked)
    with pytest.raises(UsageError, match="not those of the user namespace"):
        inside(drivers, make(drivers, "plain"), "bad", namespaces=Namespaces(ids=IDS))
    with pytest.raises(UsageError, match="without a pod"):
        create_container(drivers, CreateOptions(image="host", command=("true",), namespaces=Namespaces(ids=IDS)))
    with pytest.raises(UsageError, match="excludes --privileged"):
        inside(drivers, pod, "bad", sandbox=Sandbox(privileged=True))
    drivers.fake_runtime.shows_processes = False
    with pytest.raises(UsageError, match="kernel of its own"):
        make(drivers, "virtual", ids=IDS)


@pytest.mark.parametrize(
    "asked",
    [
        {"network": "none"},
        {"ports": Ports(published=PORTS)},
        {"hostname": "x"},
        {"namespaces": Namespaces(pid="pod:x")},
    ],
    ids=str,
)
def test_what_is_the_pods_to_say_is_refused(drivers: FakeDrivers, asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        inside(drivers, make(drivers), **asked)
    assert drivers.store.list() == []


def test_nothing_is_made_into_a_pod_that_is_not_ready_or_started_in_it(drivers: FakeDrivers) -> None:
    pod = make(drivers)
    container = inside(drivers, pod)
    stop.stop(drivers, "web")
    with pytest.raises(WrongState, match="not-ready"):
        inside(drivers, pod, "other")
    with pytest.raises(WrongState, match="pod start web"):
        start_container(drivers, container.id)
    assert drivers.store.get(container.id).status is Status.CREATED
    with pytest.raises(NotFound):
        create_container(drivers, CreateOptions(image="host", command=("true",), pod="nosuch"))


def test_a_stop_ends_its_containers_and_then_releases_what_it_holds(drivers: FakeDrivers) -> None:
    pod = make(drivers, ports=PORTS)
    one, _ = running(drivers, pod, code=7)
    running(drivers, pod, "two", requires=(one.id,))
    outside, _ = drivers.server("outside")
    outcomes = stop.stop(drivers, "web", 5.0)
    assert {outcome.name for outcome in outcomes} == {"one", "two"}
    assert all(outcome.report is not None and outcome.report.is_graceful for outcome in outcomes)
    assert drivers.store.get(one.id).exit_code == 7
    assert drivers.store.get(outside.id).status is Status.RUNNING
    now = listing.pod(drivers, "web")
    assert (now.state, now.pins, now.connections, now.stop) == (PodState.NOT_READY, (), (), None)
    assert_nothing_is_held(drivers)
    assert stop.stop(drivers, "web") == []  # idempotent


def test_a_grace_of_nothing_kills(drivers: FakeDrivers) -> None:
    pod = make(drivers)
    _, main = drivers.stubborn("deaf", pod=pod.id, network=f"pod:{pod.id}")
    main.on_signal = lambda number: drivers.processes.end(main, number)
    outcomes = stop.stop(drivers, "web", 0.0)
    assert outcomes[0].report is not None
    assert outcomes[0].report.verdict.value == "killed"


def test_several_pods_are_stopped_together_and_one_bad_name_ends_nothing(drivers: FakeDrivers) -> None:
    first, second = make(drivers, "first"), make(drivers, "second")
    running(drivers, first, "one")
    running(drivers, second, "two")
    found = stop.stop_many(drivers, ["first", "nosuch", "second"], 5.0)
    assert [outcome.name for outcome in found] == ["first", "nosuch", "second"]
    assert [outcome.error is None for outcome in found] == [True, False, True]
    assert {pod.state for pod in listing.pods(drivers)} == {PodState.NOT_READY}


def test_a_network_that_cannot_be_released_is_released_by_the_next_call(drivers: FakeDrivers) -> None:
    pod = make(drivers)
    drivers.network.release_errors = [RuntimeFailed("busy")]
    with pytest.raises(RuntimeFailed, match="busy"):
        stop.stop(drivers, "web", 5.0)
    assert drivers.pods.ids() == []  # the rest is released all the same
    assert drivers.store.get_pod(pod.id).connections == pod.connections
    stop.stop(drivers, "web", 5.0)
    assert listing.pod(drivers, "web").state is PodState.NOT_READY
    assert_nothing_is_held(drivers)


def test_a_second_stop_brings_the_end_nearer_and_never_later(drivers: FakeDrivers) -> None:
    pod = make(drivers)
    stop._begin(drivers, pod.id, PodState.STOPPING, 60.0)
    first = drivers.store.get_pod(pod.id).stop
    stop._begin(drivers, pod.id, PodState.STOPPING, 90.0)
    second = drivers.store.get_pod(pod.id).stop
    stop._begin(drivers, pod.id, PodState.STOPPING, 1.0)
    third = drivers.store.get_pod(pod.id).stop
    assert first is not None
    assert second is not None
    assert third is not None
    assert second.deadline_boot_s == first.deadline_boot_s
    assert third.deadline_boot_s is not None
    assert third.deadline_boot_s <= clock.boot_s() + 1.0


def test_a_removal_takes_its_containers_along(drivers: FakeDrivers) -> None:
    pod = make(drivers)
    running(drivers, pod)
    inside(drivers, pod, "made")
    with pytest.raises(WrongState, match="one"):
        stop.remove(drivers, "web")
    assert listing.pod(drivers, "web").is_ready
    assert stop.remove(drivers, "web", force=True).name == "web"
    assert drivers.store.list() == []
    assert drivers.store.list_pods() == []
    assert_nothing_is_held(drivers)
    with pytest.raises(NotFound):
        stop.remove(drivers, "web")


def test_a_pod_that_another_container_needs_is_kept(drivers: FakeDrivers) -> None:
    pod = make(drivers)
    one, _ = running(drivers, pod)
    drivers.server("outside", requires=(one.id,))
    with pytest.raises(Conflict, match="outside"):
        stop.remove(drivers, "web", force=True)
    assert listing.pod(drivers, "web").is_ready


def test_a_pod_that_has_lost_its_namespaces_is_not_ready_and_can_be_started_again(drivers: FakeDrivers) -> None:
    pod = make(drivers)
    container = inside(drivers, pod)
    drivers.pods.pins.clear()  # as a reboot does
    assert listing.pod(drivers, "web").state is PodState.NOT_READY
    assert drivers.network.made == set()
    with pytest.raises(BentoError):  # the fake monitor starts nothing
        making.start(drivers, "web")
    now = listing.pod(drivers, "web")
    assert now.is_ready
    assert drivers.network.made == {pod.id}
    assert drivers.store.get(container.id).start_failure is not None


def test_the_log_tells_of_a_pod_once_it_has_been_ready(drivers: FakeDrivers) -> None:
    def told() -> list[str]:
        events = drivers.store.events(after=0)
        return [event.action for event in events if (event.type, event.actor) == ("pod", pod.id)]

    pod = make(drivers, labels={"app": "web"})
    assert told() == ["create", "start"]
    stop.stop(drivers, "web")
    making.start(drivers, "web")
    drivers.pods.pins.clear()
    listing.pods(drivers)
    stop.remove(drivers, "web")
    assert told() == ["create", "start", "stop", "start", "stop", "remove"]
    [first, *_] = [event for event in drivers.store.events(after=0) if event.type == "pod"]
    assert first.attributes == {"app": "web", "name": "web"}


@pytest.mark.parametrize("how", ["create", "start"])
def test_the_log_says_nothing_of_a_pod_that_was_never_ready(drivers: FakeDrivers, how: str) -> None:
    if how == "start":
        make(drivers)
        stop.stop(drivers, "web")
    before = drivers.store.newest_event()
    drivers.pods.make_error = KernelError("unshare", 28, "no room")
    with pytest.raises(KernelError):
        make(drivers) if how == "create" else making.start(drivers, "web")
    assert [event.action for event in drivers.store.events(after=before) if event.type == "pod"] == []


def test_a_network_is_kept_for_its_pods(drivers: FakeDrivers) -> None:
    made = networks.create(drivers, NetworkOptions(name="apart"))
    make(drivers, network=made.id)
    stop.stop(drivers, "web")
    with pytest.raises(Conflict, match="pod web"):
        networks.remove(drivers, "apart")
    stop.remove(drivers, "web")
    networks.remove(drivers, "apart")


def test_prune_removes_what_is_not_ready_and_empty(drivers: FakeDrivers) -> None:
    for name in ("ready", "empty", "full"):
        make(drivers, name)
    inside(drivers, listing.pod(drivers, "full"))
    for name in ("empty", "full"):
        stop.stop(drivers, name)
    assert prune.prune_pods(drivers, ["label=a"]).pods == ()
    assert len(prune.prune_pods(drivers).pods) == 1
    assert {pod.name for pod in listing.pods(drivers)} == {"ready", "full"}


def test_filters(drivers: FakeDrivers) -> None:
    first, second = make(drivers, "first", labels={"a": "1"}), make(drivers, "second")
    stop.stop(drivers, "second")
    for text, found in (
        ("label=a=1", first),
        ("label!=a", second),
        ("name=irs", first),
        ("status=not-ready", second),
        (f"id={first.id[:12]}", first),
    ):
        assert [pod.name for pod in listing.pods(drivers, [text])] == [found.name]
    for text in ("nosuch=1", "status=nosuch"):
        with pytest.raises(UsageError):
            listing.pods(drivers, [text])


def test_doctor_finds_what_is_held_without_a_record_or_for_one_that_is_not_ready(drivers: FakeDrivers) -> None:
    pod, other = make(drivers), make(drivers, "other")
    assert doctor.examine(drivers) == []
    stop.stop(drivers, "other")
    drivers.store.remove_pod(pod.id)
    drivers.network.made.add(other.id)
    found = {finding.what for finding in doctor.examine(drivers) if finding.kind == "pod"}
    assert found == {f"{pod.id[:12]} has no record", "other is not ready, and holds namespaces or links"}
    assert all(finding.is_fixed for finding in doctor.examine(drivers, fix=True))
    assert_nothing_is_held(drivers)


class Killed(BaseException):
    """This process is no more: what follows of its own does nothing, either."""


class Life:
    """Ends at the step of this number, where a step is a change of a pod's record, of its namespaces, or its links."""

    STEPS = ("add_pod", "modify_pod", "remove_pod", "make", "remove", "connect", "release")

    def __init__(self, drivers: FakeDrivers, at: int) -> None:
        self.drivers, self._at, self._count, self._is_over = drivers, at, 0, False

    def counted(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            self._count += name in self.STEPS
            if self._is_over or (self._count == self._at and name in self.STEPS):
                self._is_over = True
                raise Killed
            return act(*args, **options)

        return step

    @contextmanager
    def lived(self) -> Iterator[None]:
        whole = {name: getattr(self.drivers, name) for name in ("store", "pods", "network")}
        for name, driver in whole.items():
            setattr(self.drivers, name, _Mortal(driver, self))
        try:
            yield
        finally:
            for name, driver in whole.items():
                setattr(self.drivers, name, driver)


class _Mortal:
    def __init__(self, driver: object, life: Life) -> None:
        self._driver, self._life = driver, life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._driver, name)
        return self._life.counted(name, value) if callable(value) else value


def killed_at_each_step(
    base: Path, prepare: Callable[[FakeDrivers], object], act: Callable[[FakeDrivers], object]
) -> Iterator[FakeDrivers]:
    """Yield drivers on which a process was killed while it acted, once for each of its steps."""
    for at in range(1, 30):
        with FakeDrivers(base / str(at)) as drivers:
            prepare(drivers)
            try:
                with Life(drivers, at).lived():
                    act(drivers)
            except Killed:
                yield drivers
            else:
                assert at > 3
                return
    raise AssertionError("it never came to its end")


def test_a_creation_that_is_killed_is_undone_by_the_next_look(tmp_path: Path) -> None:
    for drivers in killed_at_each_step(tmp_path, lambda _: None, lambda drivers: make(drivers, ports=PORTS)):
        assert listing.pods(drivers) == []
        assert_nothing_is_held(drivers)
        assert make(drivers).is_ready


def test_a_start_that_is_killed_is_undone_by_the_next_look(tmp_path: Path) -> None:
    def prepare(drivers: FakeDrivers) -> None:
        make(drivers)
        stop.stop(drivers, "web")

    for drivers in killed_at_each_step(tmp_path, prepare, lambda drivers: making.start(drivers, "web")):
        assert listing.pod(drivers, "web").state is PodState.NOT_READY
        assert_nothing_is_held(drivers)
        assert making.start(drivers, "web").is_ready


def finished(drivers: FakeDrivers) -> None:
    """Do what the process that is started for it does."""
    for words in drivers.detached:
        assert words[-2] == "finish-stop"
        stop.finish(drivers, words[-1])
    drivers.detached.clear()


def aged(drivers: FakeDrivers) -> None:
    """Let the time pass in which no second process is started."""

    def age(pod: Pod) -> Pod:
        return pod if pod.stop is None else replace(pod, stop=replace(pod.stop, helped_boot_s=0.0))

    for pod in drivers.store.list_pods():
        drivers.store.modify_pod(pod.id, age)


def test_a_stop_that_is_killed_is_finished_by_the_next_look(tmp_path: Path) -> None:
    def prepare(drivers: FakeDrivers) -> None:
        running(drivers, make(drivers))

    for drivers in killed_at_each_step(tmp_path, prepare, lambda drivers: stop.stop(drivers, "web", 5.0)):
        aged(drivers)
        seen = listing.pod(drivers, "web")
        finished(drivers)
        now = listing.pod(drivers, "web")
        if seen.state is not PodState.READY:
            assert now.state is PodState.NOT_READY
            assert drivers.store.find("one").status is Status.STOPPED
            assert_nothing_is_held(drivers)
        stop.stop(drivers, "web", 5.0)
        assert listing.pod(drivers, "web").state is PodState.NOT_READY
        assert_nothing_is_held(drivers)


def test_a_removal_that_is_killed_is_finished_by_the_next_look(tmp_path: Path) -> None:
    def prepare(drivers: FakeDrivers) -> None:
        running(drivers, make(drivers))

    for drivers in killed_at_each_step(tmp_path, prepare, lambda drivers: stop.remove(drivers, "web", force=True)):
        aged(drivers)
        seen = listing.pods(drivers)
        finished(drivers)
        if not (seen and seen[0].is_ready):
            assert listing.pods(drivers) == []
            assert drivers.store.list() == []
            assert_nothing_is_held(drivers)


def test_what_goes_on_with_a_stop_is_started_once(drivers: FakeDrivers) -> None:
    pod = make(drivers)
    stop._begin(drivers, pod.id, PodState.STOPPING, 5.0)
    aged(drivers)
    for _ in range(3):
        assert listing.pod(drivers, "web").state is PodState.STOPPING
    assert len(drivers.detached) == 1
    lock = drivers.locks.try_stop(pod.id)
    assert lock is not None
    with lock:
        aged(drivers)
        listing.pods(drivers)
    assert len(drivers.detached) == 1  # a living process has it
