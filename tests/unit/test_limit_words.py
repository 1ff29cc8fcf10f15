"""The words of limits, as Docker's users type them."""

from __future__ import annotations

import pytest

from bento.cli import main
from bento.cli.options import create
from bento.errors import UsageError
from bento.model.container import ProcessLimits
from bento.model.create import CreateOptions
from bento.model.resources import UNLIMITED, DeviceRate, Resources
from bento.parse import resources


def options(*words: str) -> CreateOptions:
    module = main.load("create")
    parser = main.Parser(prog="bento create", allow_abbrev=False)
    module.configure(parser)
    return create.read(parser.parse_args([*words, "image"]))


def test_each_option_is_its_setting() -> None:
    said = options(
        "--cpus", "1.5", "-c", "512", "--cpu-period", "50000", "--cpu-quota", "-1", "--cpuset-cpus", "0-1",
        "--cpuset-mems=0", "-m", "64m", "--memory-swap", "-1", "--memory-reservation", "32m", "--memory-swappiness=0",
        "--oom-kill-disable", "--oom-score-adj", "-500", "--pids-limit", "-1", "--blkio-weight", "300",
        "--blkio-weight-device", "/dev/sda:200", "--device-read-bps", "/dev/sda:1mb", "--device-read-bps", "/dev/sdb:5",
        "--device-write-bps", "/dev/sda:2k", "--device-read-iops", "/dev/sda:10", "--device-write-iops", "/dev/sda:20",
    )  # fmt: skip
    disk = "/dev/sda"
    assert said == CreateOptions(
        image="image",
        resources=Resources(
            cpus=1.5, cpu_shares=512, cpu_period_us=50_000, cpu_quota_us=UNLIMITED, cpuset_cpus="0-1", cpuset_mems="0",
            memory_bytes=64 << 20, memory_swap_bytes=UNLIMITED, memory_reservation_bytes=32 << 20, memory_swappiness=0,
            oom_kill_disable=True, pids_limit=UNLIMITED, blkio_weight=300,
            blkio_weight_devices=(DeviceRate(path=disk, rate=200),),
            device_read_bps=(DeviceRate(path=disk, rate=1 << 20), DeviceRate(path="/dev/sdb", rate=5)),
            device_write_bps=(DeviceRate(path=disk, rate=2048),),
            device_read_iops=(DeviceRate(path=disk, rate=10),),
            device_write_iops=(DeviceRate(path=disk, rate=20),),
        ),
        limits=ProcessLimits(oom_score_adj=-500),
    )  # fmt: skip


def test_no_limit_of_processes_has_two_words() -> None:
    assert resources.parse_count("0") == resources.parse_count("-1") == UNLIMITED
    assert resources.parse_count("7") == 7


@pytest.mark.parametrize(
    "words",
    [
        ("--cpus", "-1"), ("--cpus", "x"), ("-c", "1.5"), ("--cpu-period", ""), ("--memory-swap", "-2"), ("-m", "-1"),
        ("--pids-limit", "many"), ("--blkio-weight-device", "/dev/sda"), ("--blkio-weight-device", "sda:100"),
        ("--device-read-bps", "/dev/sda:fast"), ("--device-read-iops", "/dev/sda:1k"), ("--oom-score-adj", "0x10"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_other_words_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        options(*words)
