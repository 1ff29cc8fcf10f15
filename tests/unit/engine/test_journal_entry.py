"""The verdict of a stop in systemd's journal: a socket of the test's own stands in for it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bento import sd_journal
from bento.engine.facade import EngineFacade
from bento.engine.stop.request import StopOptions
from bento.testing.drivers import FakeDrivers


def read(datagram: bytes) -> dict[str, str]:
    """Read an entry as the protocol says."""
    found = {}
    while datagram:
        line, datagram = datagram.split(b"\n", 1)
        name, equals, value = line.partition(b"=")
        if not equals:
            length, datagram = int.from_bytes(datagram[:8], "little"), datagram[8:]
            value, datagram = datagram[:length], datagram[length + 1 :]
        found[name.decode()] = value.decode()
    return found


def test_every_stop_has_an_entry_with_its_verdict(
    drivers: FakeDrivers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "j"))
        journal.settimeout(30)
        send = sd_journal.send
        monkeypatch.setattr(sd_journal, "send", lambda fields: send(fields, str(tmp_path / "j")))
        web, _ = drivers.server("web", code=3)
        EngineFacade(drivers).stop("web")
        entry = read(journal.recv(65536))
        drivers.stubborn("db")
        EngineFacade(drivers).stop("db", StopOptions(grace_s=0.01))
        killed = read(journal.recv(65536))
    assert (entry["CONTAINER_NAME"], entry["CONTAINER_ID"], entry["IMAGE_NAME"]) == ("web", web.id[:12], "host")
    assert (entry["CONTAINER_ID_FULL"], entry["SYSLOG_IDENTIFIER"], entry["PRIORITY"]) == (web.id, "bento", "5")
    assert (entry["BENTO_VERDICT"], entry["BENTO_EXIT_CODE"], entry["BENTO_ASKED_BY"]) == ("graceful", "3", "user")
    assert entry["MESSAGE"].startswith("container web stopped in ")
    assert (killed["BENTO_VERDICT"], killed["PRIORITY"]) == ("killed", "4")
    assert len(entry["MESSAGE_ID"]) == 32


def test_a_journal_that_is_not_there_or_is_full_holds_nothing_up(tmp_path: Path) -> None:
    sd_journal.send({"MESSAGE": "x"}, str(tmp_path / "none"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "j"))
        for _ in range(int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) + 5):
            sd_journal.send({"MESSAGE": "x"}, str(tmp_path / "j"))


def test_what_has_several_lines_stays_one_field() -> None:
    fields = {"MESSAGE": "a\nPRIORITY=0\nb", "IMAGE_NAME": "x=y"}
    assert read(sd_journal.encode(fields)) == fields
