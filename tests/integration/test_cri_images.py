"""ImageService, and what is said of the runtime as a whole, over the socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from support import cri, webimages
from support.cli import BentoCli
from support.procs import descendants, wait_until
from support.registry import PASSWORD, USER, Registry, gate, registry, skopeo
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME

CLIENTS = Path(__file__).parents[2] / ".venv/clients/bin/python"
OWN_CLIENT = """
import json, sys
from cri_api.channel import Channel
from cri_api.images import Images
from cri_api.containers import Containers
channel = Channel(f"unix:{sys.argv[1]}")
print(json.dumps([channel.version, Images(channel).list_images(), Containers(channel).list_containers()]))
"""


@pytest.fixture(scope="module")
def place(scratch) -> Iterator[Registry]:
    """A registry with a password, with base:1, and the same as other:1."""
    with registry(scratch, has_password=True) as made:
        for name in ("base:1", "base:2", "other:1"):
            made.push(f"oci:{webimages.layout()}:base", name, f"--dest-creds={USER}:{PASSWORD}")
        yield made


def status(client: cri.Cri, name: str) -> Any:
    answer = client("ImageStatus", image={"image": name})
    return answer.image if answer.HasField("image") else None


def test_a_pull_ends_with_its_caller_its_time_and_the_server(bento: BentoCli, scratch: Path) -> None:
    layout = webimages.layout()
    manifest = json.loads(skopeo("inspect", "--raw", f"oci:{layout}:base"))
    layer = manifest["layers"][0]["digest"]
    with registry(scratch) as made, gate(made) as door:
        made.push(f"oci:{layout}:base", "base:1")
        image: dict[str, Any] = {"image": {"image": f"{door.host}/base:1"}}

        def is_broken_off() -> bool:
            half_made = list((bento.roots.root / "layers").glob("tmp-*"))
            return not half_made and not any(each.comm == "skopeo" and each.is_alive for each in descendants())

        with cri.serving(bento) as node, node.client() as client, node.client() as other:
            for _ in range(2):
                door.hold(layer)
                with pytest.raises((GRPCError, TimeoutError)):
                    client("PullImage", limit_s=3, **image)
                assert door.waits.is_set()
                wait_until(is_broken_off, what="the end of what fetched")
                door.held[layer].set()
            assert not client("ListImages").images
            # A second one of the same image is another one.
            door.hold(layer)

            async def leave() -> str:
                leaving = asyncio.ensure_future(client.call("PullImage", **image))
                while not door.waits.is_set():
                    await asyncio.sleep(0.01)
                leaving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await leaving
                door.held[layer].set()
                return (await client.call("PullImage", **image)).image_ref

            ref = client.run(leave())
            assert other("ImageStatus", **image).image.id == ref
            other("RemoveImage", **image)
            door.hold(layer)

            async def end() -> None:
                pulling = asyncio.ensure_future(client.call("PullImage", **image))
                while not door.waits.is_set():
                    await asyncio.sleep(0.01)
                node.process.send_signal(signal.SIGKILL)
                with pytest.raises((GRPCError, OSError, StreamTerminatedError)):
                    await pulling

            client.run(end())
            wait_until(is_broken_off, what="the end of what fetched for a server that was killed")
            door.held[layer].set()
        assert bento("images", "-q").stdout == ""


def test_images_by_every_kind_of_name(bento: BentoCli, place: Registry):
    first, second, other = (place.name(name) for name in ("base:1", "base:2", "other:1"))
    auth = {"username": USER, "password": PASSWORD}
    with cri.serving(bento, f"--cri-pin={other}") as node, node.client() as client:
        assert status(client, first) is None
        before = client("ImageFsInfo").image_filesystems[0]
        with pytest.raises(GRPCError) as refused:
            client("PullImage", image={"image": first})
        assert refused.value.status is Status.PERMISSION_DENIED
        with pytest.raises(GRPCError) as missing:
            client("PullImage", image={"image": place.name("nothing:1")}, auth=auth)
        assert missing.value.status is Status.NOT_FOUND
        ref = client("PullImage", image={"image": first}, auth=auth).image_ref
        found = status(client, first)
        assert (found.id, list(found.repo_tags)) == (ref, [first])
        assert (found.size > 0, found.pinned) == (True, False)
        [digest] = found.repo_digests
        for name in (ref, ref.removeprefix("sha256:"), first, digest, f"{first}@{digest.partition('@')[2]}"):
            assert status(client, name) == found, name
        assert client("PullImage", image={"image": second}, auth=auth).image_ref == ref
        assert client("PullImage", image={"image": other}, auth=auth).image_ref == ref
        [listed] = client("ListImages").images
        assert sorted(listed.repo_tags) == sorted([first, second, other])
        assert listed.pinned
        assert client("ListImages", filter={"image": {"image": second}}).images[0] == listed
        assert not client("ListImages", filter={"image": {"image": "nothing"}}).images
        after = client("ImageFsInfo").image_filesystems[0]
        assert after.used_bytes.value > before.used_bytes.value
        assert after.inodes_used.value > before.inodes_used.value
        done = subprocess.run(
            [CLIENTS, "-c", OWN_CLIENT, str(node.path)], capture_output=True, text=True, timeout=60, check=True
        )
        version, images, containers = json.loads(done.stdout)
        assert (version, [each["id"] for each in images], containers) == ("v1", [ref], [])
        client("RemoveImage", image={"image": second})
        assert [status(client, name) for name in (first, second, other, ref)] == [None] * 4
        client("RemoveImage", image={"image": second})
        assert client("ImageFsInfo").image_filesystems[0].used_bytes.value == before.used_bytes.value


def test_runtime_says_what_it_is(bento: BentoCli):
    with cri.serving(bento) as node, node.client() as client, node.client("v1alpha2") as old:
        assert client("Version").runtime_api_version == "v1"
        assert (old("Version").runtime_name, old("Version").runtime_api_version) == ("bento", "v1alpha2")
        answer = client("Status", verbose=True)
        assert {each.type: each.status for each in answer.status.conditions} == {
            "RuntimeReady": True,
            "NetworkReady": True,
        }
        assert "" in [each.name for each in answer.runtime_handlers]
        assert answer.features.supplemental_groups_policy
        assert json.loads(answer.info["config"])["root"] == str(bento.roots.root)
        assert old("Status").status == answer.status
        client("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": "10.0.0.0/24"}})
        assert client("RuntimeConfig").linux.cgroup_driver == 1
        for call, why in (
            ("CheckpointContainer", Status.UNIMPLEMENTED),
            ("UpdatePodSandboxResources", Status.INVALID_ARGUMENT),
        ):
            with pytest.raises(GRPCError) as refused:
                client(call)
            assert refused.value.status is why
        with pytest.raises(GRPCError) as refused:
            client("ImageStatus")
        assert refused.value.status is Status.INVALID_ARGUMENT
