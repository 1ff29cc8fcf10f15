"""Streams on the loop: frames, readiness, what the engine writes and reads as a body, exec sessions."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from bento.api_docker import transferring
from bento.api_docker.answering import Lines, Progress
from bento.api_docker.bodies.commit import CommitConfig, read_changes
from bento.api_docker.bodies.registry import read_header
from bento.api_docker.bodies.resources import (
    Ipam,
    IpamPool,
    NetworkCreate,
    VolumeCreate,
    check_volume,
    read_network,
)
from bento.api_docker.handlers.logs import in_utc
from bento.api_docker.http.call import Body
from bento.api_docker.streams.attaching import Attaching
from bento.api_docker.streams.execs import Exec, Execs
from bento.api_docker.streams.frames import MULTIPLEXED, RAW, STDERR, STDOUT, Frames
from bento.api_docker.streams.pipes import inflow, outflow
from bento.docker.path_stat import document, go_mode
from bento.engine.images.pull import Pulled
from bento.errors import BentoError, NotFound, StorageUnusable, UsageError, WrongState
from bento.model.change import PathStat
from bento.model.exec import ExecOptions
from bento.model.image import Image, ImageConfig
from bento.model.network import NetworkOptions, Subnet
from bento.model.transfer import Access, Credentials, TransferProgress
from bento.oci.change import apply_changes
from bento.serving.feeding import copy_input
from bento.serving.readiness import readable
from bento.units import new_id

BIG = os.urandom(300_000)


class Moving:
    """The part of a call that moves bytes; ``engine`` is nothing."""

    def __init__(self, *body: bytes) -> None:
        self.engines = self.services = self
        pieces = iter([*body, b""])

        async def receive() -> bytes:
            return next(pieces)

        self.body = Body(receive)

    async def flow(self, work):
        return await asyncio.get_running_loop().run_in_executor(None, work, None)


def moving(*body: bytes) -> Any:
    return Moving(*body)


def write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def test_output_is_told_apart_unless_it_is_a_terminals():
    plain = Frames(is_terminal=False, stdout=True, stderr=False)
    assert plain.pack(STDOUT, b"ab") == b"\1\0\0\0\0\0\0\2ab"
    assert plain.pack(STDERR, b"ab") == b""
    assert Frames(is_terminal=True).pack(STDERR, b"ab") == b"ab"
    assert [plain.content_type(version) for version in ((1, 41), (1, 42))] == [RAW, MULTIPLEXED]
    assert Frames(is_terminal=True).content_type((1, 44)) == RAW


def test_what_the_engine_writes_is_an_answer():
    async def run():
        flow = await outflow(moving(), lambda engine, fd: write(fd, BIG), content_type="x")
        found = b"".join([chunk async for chunk in flow.chunks])
        flow.abandon()
        return found

    assert asyncio.run(run()) == BIG


def test_an_error_before_the_first_byte_is_an_error():
    def fail(engine, fd):
        raise NotFound("not there")

    async def run():
        with pytest.raises(NotFound):
            await outflow(moving(), fail, content_type="x")

    asyncio.run(run())


def test_an_answer_that_is_left_ends_what_writes_it():
    ended = []

    def endless(engine, fd):
        try:
            while True:
                write(fd, BIG)
        except BrokenPipeError:
            ended.append(True)
            raise

    async def run():
        flow = await outflow(moving(), endless, content_type="x")
        flow.abandon()

    asyncio.run(run())  # returns once its threads have ended
    assert ended == [True]


def test_a_body_is_what_the_engine_reads():
    def read(engine, fd):
        with open(fd, "rb", closefd=False) as file:
            return file.read()

    assert asyncio.run(inflow(moving(BIG, b"end"), read)) == BIG + b"end"


def test_what_reads_no_more_of_a_body_is_not_given_more():
    def refuse(engine, fd):
        os.read(fd, 1)
        raise WrongState("enough")

    with pytest.raises(WrongState):
        asyncio.run(inflow(moving(*[BIG] * 20), refuse))


@pytest.mark.parametrize("way", [outflow, inflow])
def test_without_an_engine_there_is_an_error_and_no_wait(way):
    call = moving(BIG, BIG)

    async def flow(work):
        raise StorageUnusable("no engine")

    call.flow = flow
    options = {"content_type": ""} if way is outflow else {}

    async def run() -> None:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(StorageUnusable):
            async with asyncio.timeout(60):
                await way(call, lambda engine, fd: None, **options)
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(run())


def test_a_descriptor_is_waited_for_at_most_so_long():
    async def run():
        reader, writer = os.pipe()
        try:
            assert await readable(reader, timeout_s=0.01) is None
            os.write(writer, b"x")
            assert await readable(reader, timeout_s=10.0) == reader
        finally:
            os.close(reader)
            os.close(writer)

    asyncio.run(run())


class Typed:
    """A connection that has typed this."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter([*pieces, b""])

    async def read(self) -> bytes:
        return next(self._pieces)


def typed(*pieces: bytes) -> Any:
    return Typed(*pieces)


class Taken:
    """What takes input, a few bytes at a time."""

    input_fd = None

    def __init__(self) -> None:
        self.data, self.has_ended = b"", False

    def write(self, data: bytes) -> int:
        self.data += data[:3]
        return len(data[:3])

    def end_input(self) -> None:
        self.has_ended = True


@pytest.mark.parametrize(
    ("pieces", "taken", "is_left", "has_ended"),
    [((b"hello",), b"hello", False, True), ((b"he\x10", b"\x11lo"), b"he", True, False), ((), b"", False, True)],
)
def test_input_is_passed_on_up_to_its_end_or_the_detach_keys(pieces, taken, is_left, has_ended):
    target = Taken()
    assert asyncio.run(copy_input(typed(*pieces), target, b"\x10\x11")) is is_left
    assert (target.data, target.has_ended) == (taken, has_ended)


def test_the_first_attachment_that_has_an_input_gets_it():
    async def run():
        waiting = Attaching()
        plain, talking = waiting.add("a", has_input=False), waiting.add("a", has_input=True)
        gone = waiting.add("a", has_input=True)
        waiting.remove("a", gone)
        assert waiting.take("a") == [talking, plain]
        assert waiting.take("a") == []
        gone.deliver(None)
        talking.deliver(None)
        assert await talking.started is None

    asyncio.run(run())


def test_sessions_are_found_by_their_id_and_forgotten_when_they_are_very_many():
    execs = Execs(None)  # type: ignore[arg-type]
    made = []
    for _ in range(2100):
        one = Exec("c", ExecOptions(command=("x",), id=new_id()), stdout=True, stderr=True, keys=b"")
        one.is_begun, one.exit_code = True, 0
        execs.add(one)
        made.append(one)
    assert execs.find(made[-1].options.id[:12]) is made[-1]
    for ref in (made[0].options.id, "none", ""):
        with pytest.raises(NotFound):
            execs.find(ref)


def test_modes_are_gos():
    assert go_mode(0o100644) == 0o644
    assert go_mode(0o040755) == 1 << 31 | 0o755
    assert go_mode(0o120777) == 1 << 27 | 0o777
    assert go_mode(0o104755) == 1 << 23 | 0o755


def test_a_file_of_1970_has_its_time():
    found = PathStat(name="a", size=1, mode=0o644, mtime_ns=0, target="")
    assert document(found)["mtime"] == "1970-01-01T00:00:00.000000000Z"


@pytest.mark.parametrize(("zone", "time"), [("+00:00", "2026-01-02T03:04:05"), ("+02:00", "2026-01-02T05:04:05")])
def test_the_time_of_a_line_is_in_utc(zone, time):
    assert in_utc(f"{time}.123456789{zone}") == "2026-01-02T03:04:05.123456789Z"


def test_the_configuration_of_a_commit_is_what_was_given():
    body = CommitConfig(
        User="me", WorkingDir="/w", Env=["A=$x \"q\"", "B="], Cmd=["a b", "$c"], Entrypoint=["e"],
        Labels={"l.k": "v\\"}, ExposedPorts={"80/tcp": {}}, Volumes={"/v v": {}}, StopSignal="SIGINT",
    )  # fmt: skip
    made = apply_changes(ImageConfig(), read_changes(body))
    assert made == ImageConfig(
        user="me", workdir="/w", env=('A=$x "q"', "B="), command=("a b", "$c"), entrypoint=("e",),
        labels={"l.k": "v\\"}, exposed_ports=("80/tcp",), volumes=("/v v",), stop_signal="SIGINT",
    )  # fmt: skip
    assert read_changes(CommitConfig()) == []


def report(phase: str, done: int = 0) -> TransferProgress:
    return TransferProgress(digest="sha256:" + "a" * 64, phase=phase, done_bytes=done, total_bytes=9)


class Transfers:
    """An engine that moves images; ``fails``: with what, before or after it has told something."""

    def __init__(self, *reports: TransferProgress, fails: BentoError | None = None) -> None:
        self.reports, self.fails = reports, fails

    def images(self) -> list[Any]:
        return []

    def pull(self, name: str, *, on_progress: Any, **_: Any) -> Pulled:
        for each in self.reports:
            on_progress(each)
        if self.fails is not None:
            raise self.fails
        image = Image(
            id="sha256:1", names=(), layers=(), config=ImageConfig(), digest="d", created_unix_ns=0, size_bytes=0
        )
        return Pulled(image, name)


def told(engine: Any) -> list[dict[str, Any]]:
    reader, writer = os.pipe()
    try:
        transferring.carry_out(engine, transferring.Pull(name="x.io/a:1", shown="x.io/a", tag="1"), writer)
    finally:
        os.close(writer)
        with open(reader, "rb") as answer:
            lines = answer.read().splitlines()
    return [json.loads(line) for line in lines]


def test_a_transfer_tells_how_far_it_is_and_what_came_of_it():
    lines = told(Transfers(report("waiting"), report("moving", 3), report("moving", 4), report("done")))
    assert lines[0] == {"status": "Pulling from x.io/a", "id": "1"}
    assert [line["status"] for line in lines[1:3]] == ["Pulling fs layer", "Downloading"]
    assert lines[3:] == [
        {"status": "Pull complete", "progressDetail": {}, "id": "a" * 12},
        {"status": "Digest: d"},
        {"status": "Status: Downloaded newer image for x.io/a:1"},
    ]
    assert told(Transfers())[0] == {"status": "Pulling from x.io/a", "id": "1"}


def test_a_transfer_that_fails_is_an_error_or_its_last_line():
    error = NotFound("no such image: x")
    with pytest.raises(NotFound):
        told(Transfers(fails=error))
    failed = {"errorDetail": {"message": "No such image: x"}, "error": "No such image: x"}
    assert told(Transfers(report("waiting"), fails=error))[-1] == failed


def test_a_client_that_does_not_read_holds_no_transfer_up():
    reader, writer = os.pipe()
    progress = Progress(Lines(writer))
    for number in range(20_000):
        progress(TransferProgress(digest=f"sha256:{number:064}", phase="waiting"))
    os.close(writer)
    with open(reader, "rb") as answer:
        lines = answer.read().splitlines()
    assert 100 < len(lines) < 20_000
    assert all(json.loads(line)["status"] == "Pulling fs layer" for line in lines)


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_was_cut_off_is_never_read_to_its_end(is_whole):
    program = """if True:
        import os, signal, sys
        from bento.serving.breaking import may_be_broken_off
        from bento.api_docker.uploads import Upload
        may_be_broken_off()
        try:
            with open(Upload(0, lambda: sys.argv[1] == "True").fd, "rb") as body:
                print(len(body.read()))
        except KeyboardInterrupt:
            print("broken off")
    """
    words = [sys.executable, "-c", program, str(is_whole)]
    done = subprocess.run(words, input=b"x" * 300_000, capture_output=True, timeout=60, check=True)
    assert done.stdout == (b"300000\n" if is_whole else b"broken off\n")


def test_credentials_of_a_request():
    def header(**given: str) -> str:
        return urlsafe_b64encode(json.dumps(given).encode()).decode().rstrip("=")

    assert read_header("") == Access()
    assert read_header(header()) == Access()
    assert read_header(header(username="a", password="b")).credentials == Credentials("a", "b")
    assert read_header(header(identitytoken="t")).credentials == Credentials("<token>", "", "t")
    for bad in (header(registrytoken="x"), urlsafe_b64encode(b"[]").decode()):
        with pytest.raises(UsageError):
            read_header(bad)


def test_what_is_asked_of_a_new_network_or_volume():
    pools = [IpamPool(Subnet="10.9.0.0/24", Gateway="10.9.0.9", IPRange="10.9.0.0/28")]
    made = read_network(NetworkCreate(Name="n", IPAM=Ipam(Config=pools), EnableIPv6=True, Internal=True))
    assert made == NetworkOptions(
        name="n", ipv6=True, internal=True,
        subnets=(Subnet(subnet="10.9.0.0/24", gateway="10.9.0.9", ip_range="10.9.0.0/28"),),
    )  # fmt: skip
    for bad in (
        NetworkCreate(), NetworkCreate(Name="n", Driver="overlay"), NetworkCreate(Name="n", Ingress=True),
        NetworkCreate(Name="n", IPAM=Ipam(Driver="x")),
        NetworkCreate(Name="n", IPAM=Ipam(Config=[IpamPool(AuxiliaryAddresses={"a": "b"})])),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            read_network(bad)
    check_volume(VolumeCreate(Name="v", Driver="local"))
    for wrong in (VolumeCreate(Driver="nfs"), VolumeCreate(ClusterVolumeSpec={"a": 1})):
        with pytest.raises(UsageError):
            check_volume(wrong)
