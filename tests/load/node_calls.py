"""The calls of the kubelet's interface that change something: what each needs, and what must hold afterwards."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bento.api_cri.messages import pb
from load.world import IMAGE, check

from support.procs import wait_until

if TYPE_CHECKING:
    from load.node_kills import NodeKiller

LIMIT_S: Final = 30.0
GRACE_S: Final = 60
_POLITE: Final = "trap 'echo told >> /s/told; while [ ! -e /s/go ]; do sleep 0.02; done; exit 7' TERM; touch /s/ready; "
_POLITE_LOOP: Final = "while :; do sleep 0.02; done"
_SHARES: Final = (1024, 512)
ON_HOST: Final = {"security_context": {"namespace_options": {"network": pb.NODE}}}
_IDS: Final = [{"host_id": 1_000_000, "container_id": 0, "length": 65536}]
MAPPED: Final = {
    "security_context": {
        "namespace_options": {"pid": pb.POD, "userns_options": {"mode": pb.POD, "uids": _IDS, "gids": _IDS}}
    }
}
OF_ITS_OWN: Final = {"security_context": {"namespace_options": {"network": pb.POD, "pid": pb.POD}}}


class Call:
    """One pod, and in most calls one container in it; ``call`` is cut short, ``check`` calls again.

    A container tells by files in /s that it is ready, and was told to stop; it goes when there is ``go``.
    """

    linux: dict[str, Any] = ON_HOST

    def __init__(self, killer: NodeKiller, name: str) -> None:
        self.killer, self.name = killer, name
        self.pod = self.container = ""
        self.files = killer.base / "files" / name
        self.files.mkdir(parents=True)
        self.sandbox = {
            "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "tests"},
            "log_directory": str(self.files),
            "linux": self.linux,
        }

    # To be filled in.

    def prepare(self) -> None:
        """Make what the call needs."""

    def call(self) -> None:
        """Call, and return at the answer, or when the server is gone."""

    def check(self) -> None:
        """Find what there is, and come to what was wanted."""

    # What they share.

    def ask(self, method: str, **fields: Any) -> Any:
        """Call the server that there is now."""
        return self.killer.client(method, LIMIT_S, **fields)

    def run_pod(self) -> None:
        """Make the pod."""
        self.pod = self.ask("RunPodSandbox", config=self.sandbox).pod_sandbox_id

    def create(self) -> None:
        """Make the container."""
        is_mapped = self.linux is MAPPED
        shown = {"uidMappings": _IDS, "gidMappings": _IDS} if is_mapped else {}
        mounts = [{"container_path": "/s", "host_path": str(self.files), **shown}]
        config = {
            "metadata": {"name": "main"}, "image": {"image": IMAGE}, "mounts": mounts, "log_path": "0.log",
            "command": ["sh", "-c", _POLITE + _POLITE_LOOP],
            "linux": {"resources": {"cpu_shares": _SHARES[0]}, **(MAPPED if is_mapped else {})},
        }  # fmt: skip
        made = self.ask("CreateContainer", pod_sandbox_id=self.pod, config=config, sandbox_config=self.sandbox)
        self.container = made.container_id

    def start(self) -> None:
        """Start it, and wait until it takes signals."""
        self.ask("StartContainer", container_id=self.container)
        self.file("ready")

    def run(self) -> None:
        """Do all three."""
        self.run_pod()
        self.create()
        self.start()

    def go(self) -> None:
        """Have a container go when it is told."""
        (self.files / "go").touch()

    def file(self, name: str) -> Path:
        """Wait for a file of the container."""
        path = self.files / name
        wait_until(path.exists, timeout_s=LIMIT_S, what=f"{name} of {self.name}")
        return path

    def status(self) -> Any:
        """Return the state of the container."""
        return self.ask("ContainerStatus", container_id=self.container).status

    def has_ended(self, stop: Any = None) -> None:
        """It was told once, and has ended by itself."""
        self.go()
        if stop is None:
            self.ask("StopContainer", container_id=self.container, timeout=GRACE_S)
        found = self.status()
        said = (found.state, found.exit_code, found.message.partition(":")[0])
        check(said == (pb.CONTAINER_EXITED, 7, "graceful"), f"its end: {found}")
        told = (self.files / "told").read_text()
        check(told == "told\n", f"told {told.count('told')} times")

    def is_gone(self) -> None:
        """There is no container any more."""
        found = self.ask("ListContainers", filter={"pod_sandbox_id": self.pod}).containers
        check(not found, f"still there: {found}")

    def remove(self) -> None:
        """Remove what there is, as a kubelet does: stop, and remove, each twice."""
        self.go()
        for pod in self.pods():
            for each in self.ask("ListContainers", filter={"pod_sandbox_id": pod.id}).containers:
                for method in ("StopContainer", "RemoveContainer") * 2:
                    self.ask(method, container_id=each.id)
            for method in ("StopPodSandbox", "RemovePodSandbox") * 2:
                self.ask(method, pod_sandbox_id=pod.id)
        check(not self.pods(), "the pod is still there")

    def pods(self) -> list[Any]:
        """Return the pods of this name."""
        return [each for each in self.ask("ListPodSandbox").items if each.metadata.uid == f"uid-{self.name}"]


class RunPodSandbox(Call):
    """A pod with a network and a PID namespace of its own is ready, or is not there."""

    linux = OF_ITS_OWN

    def call(self) -> None:
        self.run_pod()

    def check(self) -> None:
        found = self.pods()
        check(len(found) < 2, f"{len(found)} pods")
        if not found:
            self.run_pod()
            found = self.pods()
        check(found[0].state == pb.SANDBOX_READY, f"its state: {found}")
        self.pod = found[0].id
        status = self.ask("PodSandboxStatus", pod_sandbox_id=self.pod).status
        check(bool(status.network.ip), f"no address: {status}")
        self.create()
        self.start()


class RunMappedPodSandbox(RunPodSandbox):
    """The same with a user namespace, which the others belong to."""

    linux = MAPPED


class CreateContainer(Call):
    """A container that can be started is there, or none is."""

    def prepare(self) -> None:
        self.run_pod()

    def call(self) -> None:
        self.create()

    def check(self) -> None:
        found = self.ask("ListContainers", filter={"pod_sandbox_id": self.pod}).containers
        if found:
            self.container = found[0].id
            check(len(found) == 1 and found[0].state == pb.CONTAINER_CREATED, f"{found}")
        else:
            self.create()
        self.start()
        self.has_ended()


class StartContainer(Call):
    """The container runs, or can be started, or has ended: another can be had in its place."""

    def prepare(self) -> None:
        self.run_pod()
        self.create()

    def call(self) -> None:
        self.start()

    def check(self) -> None:
        found = self.status()
        if found.state == pb.CONTAINER_EXITED:
            self.ask("RemoveContainer", container_id=self.container)
            for file in self.files.iterdir():
                file.unlink()
            self.create()
            found = self.status()
        if found.state == pb.CONTAINER_CREATED:
            self.start()
        self.file("ready")
        self.has_ended()


class StopContainer(Call):
    """A stop that is under way goes on; its container is told once."""

    method, fields = "StopContainer", {"timeout": GRACE_S}

    def prepare(self) -> None:
        self.run()

    def call(self) -> None:
        """Call, and leave as soon as the container was told."""

        async def both() -> None:
            client = self.killer.client
            asked = asyncio.ensure_future(client.call(self.method, LIMIT_S, **self.named(), **self.fields))
            while not asked.done() and not (self.files / "told").exists():
                await asyncio.wait([asked], timeout=0.02)
            if asked.done():
                asked.result()
            asked.cancel()
            await asyncio.wait([asked])

        self.killer.client.run(both())

    def named(self) -> dict[str, str]:
        """Return what is stopped."""
        return {"container_id": self.container}

    def check(self) -> None:
        found = self.status()
        check(found.state == pb.CONTAINER_RUNNING, f"it was cut short: {found}")
        self.has_ended()


class RemoveContainer(Call):
    """One that has ended is removed, or can be."""

    def prepare(self) -> None:
        self.run()
        self.has_ended()

    def call(self) -> None:
        self.ask("RemoveContainer", container_id=self.container)

    def check(self) -> None:
        self.ask("RemoveContainer", container_id=self.container)
        self.is_gone()
        self.ask("RemoveContainer", container_id=self.container)


class RemoveRunningContainer(RemoveContainer):
    """One that runs is killed and removed, or can be."""

    def prepare(self) -> None:
        self.run()


class StopPodSandbox(Call):
    """A pod in which nothing runs lets go of its network."""

    linux = OF_ITS_OWN

    def prepare(self) -> None:
        self.run()
        self.has_ended()

    def call(self) -> None:
        self.ask("StopPodSandbox", pod_sandbox_id=self.pod)

    def check(self) -> None:
        self.ask("StopPodSandbox", pod_sandbox_id=self.pod)
        [found] = self.pods()
        check(found.state == pb.SANDBOX_NOTREADY, f"its state: {found}")
        check(self.status().state == pb.CONTAINER_EXITED, "its container lives")
        self.ask("StopPodSandbox", pod_sandbox_id=self.pod)


class StopLivePodSandbox(StopPodSandbox):
    """A pod in which a container runs is stopped with it."""

    def prepare(self) -> None:
        self.run()
        self.go()


class RemovePodSandbox(StopPodSandbox):
    """A pod that was stopped is removed with its containers."""

    def prepare(self) -> None:
        super().prepare()
        self.ask("StopPodSandbox", pod_sandbox_id=self.pod)

    def call(self) -> None:
        self.ask("RemovePodSandbox", pod_sandbox_id=self.pod)

    def check(self) -> None:
        self.call()
        check(not self.pods(), "the pod is still there")
        self.is_gone()
        self.call()


class RemoveLivePodSandbox(RemovePodSandbox):
    """One in which a container runs is removed, too."""

    def prepare(self) -> None:
        self.run()


class PullImage(Call):
    """An image is there, or can be fetched."""

    @property
    def image(self) -> dict[str, str]:
        """Return its name."""
        assert self.killer.registry is not None
        return {"image": self.killer.registry.name("small:1")}

    def call(self) -> None:
        self.ask("PullImage", image=self.image)

    def check(self) -> None:
        made = self.ask("PullImage", image=self.image).image_ref
        found = self.ask("ImageStatus", image=self.image).image
        check(found.id == made, f"its id: {found}")
        self.ask("RemoveImage", image=self.image)
        check(not self.ask("ImageStatus", image=self.image).HasField("image"), "it is still there")


class RemoveImage(PullImage):
    """An image is removed, or can be."""

    def prepare(self) -> None:
        self.ask("PullImage", image=self.image)

    def call(self) -> None:
        self.ask("RemoveImage", image=self.image)

    def check(self) -> None:
        self.call()
        check(not self.ask("ImageStatus", image=self.image).HasField("image"), "it is still there")
        super().check()


class ExecSync(Call):
    """The container goes on, and a command can be run in it."""

    def prepare(self) -> None:
        self.run()

    def call(self) -> None:
        self.ask("ExecSync", container_id=self.container, cmd=["sh", "-c", "echo ran >> /s/ran"])

    def check(self) -> None:
        answer = self.ask("ExecSync", container_id=self.container, cmd=["sh", "-c", "echo hello; exit 3"])
        check((answer.stdout, answer.exit_code) == (b"hello\n", 3), f"again: {answer}")
        self.has_ended()


class UpdateContainerResources(Call):
    """Limits are the old ones or the new ones, in the record as in the kernel."""

    def prepare(self) -> None:
        self.run()

    def call(self) -> None:
        self.ask("UpdateContainerResources", container_id=self.container, linux={"cpu_shares": _SHARES[1]})

    def check(self) -> None:
        check(self.status().resources.linux.cpu_shares in _SHARES, "neither the old ones nor the new ones")
        self.call()
        check(self.status().resources.linux.cpu_shares == _SHARES[1], "not the new ones")
        self.has_ended()


CALLS: Final[dict[str, type[Call]]] = {
    kind.__name__: kind
    for kind in (
        RunPodSandbox, RunMappedPodSandbox, CreateContainer, StartContainer, StopContainer, RemoveContainer,
        RemoveRunningContainer, StopPodSandbox, StopLivePodSandbox, RemovePodSandbox, RemoveLivePodSandbox, PullImage,
        RemoveImage, ExecSync, UpdateContainerResources,
    )
}  # fmt: skip
