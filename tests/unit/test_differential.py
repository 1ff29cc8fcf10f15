"""The differential suite's own rules: what counts as saved, what as lost, and which files it takes."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import pytest

from bento.model.stop import Verdict
from differential import runner
from differential.workloads import (
    BadWorkloadError,
    Change,
    Evidence,
    Workload,
    compare,
    is_whole,
    judge,
    load,
    load_all,
    whole_text,
)

GOOD = """
description = "a job"
program = "true"
[saved]
dump = { whole = "dump" }
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "w.toml"
    path.write_text(text)
    return path


# -- the files ------------------------------------------------------------------------------------


def test_every_workload_can_be_read_and_there_are_enough():
    found = load_all()
    assert len(found) >= 60
    assert 10 <= sum(workload.is_short for workload in found) <= 16
    assert all(len(workload.moments) == 3 for workload in found)


def test_workload_has_the_name_of_its_file(tmp_path):
    assert load(write(tmp_path, GOOD)).name == "w"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("moment = 1\n" + GOOD, "unknown field `moment`"),
        (GOOD + "[files]\n[more]\n", "unknown field `more`"),
        (GOOD.replace("whole =", "hole ="), r"unknown field `hole` - at `\$.saved\[...\]`"),
        (GOOD.replace("description", "#"), "missing required field `description`"),
        ('name = "x"\n' + GOOD, "remove `name`"),
        (GOOD.replace('whole = "dump"', 'whole = "dump", exists = "x"'), "names 2 kinds of evidence"),
        (GOOD.replace('whole = "dump"', ""), "names 0 kinds of evidence"),
        (GOOD.replace('whole = "dump"', 'line = "x"'), "`line` needs `of`"),
        (GOOD.replace('whole = "dump"', 'sqlite = "x"'), "`sqlite` needs `query` and `answer`"),
        (GOOD.replace("dump = {", "#"), "`saved` is empty"),
        ("moments = []\n" + GOOD, "`moments` is empty"),
        (GOOD.replace("program", "#"), "`program` is missing"),
        ('verdicts = ["nice"]\n' + GOOD, "Invalid enum value 'nice'"),
        ("grace = \n" + GOOD, "Invalid value"),
    ],
)
def test_what_cannot_be_right_is_one_clear_line(tmp_path, text, complaint):
    with pytest.raises(BadWorkloadError, match=complaint) as caught:
        load(write(tmp_path, text))
    assert str(caught.value).startswith("w.toml: ")
    assert "\n" not in str(caught.value)


def test_shell_is_put_into_the_command():
    workload = Workload(description="", saved={}, argv=("tini", "{shell}", "/s/program"))
    assert workload.words("busybox sh") == ["tini", "busybox", "sh", "/s/program"]


# -- what is saved --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (whole_text(), True),
        (whole_text(0), True),
        ("", False),
        ("0\n1\n2\n", False),  # a third of it
        (whole_text().removesuffix("\n"), False),  # cut in the last line
        ("0\nwhole 2\n", False),  # one is missing in the middle
        (whole_text() + "0\n", False),  # a second writer has begun behind it
    ],
)
def test_file_is_whole_or_it_is_not(tmp_path, text, expected):
    path = tmp_path / "dump"
    path.write_text(text)
    assert is_whole(path) is expected
    packed = tmp_path / "dump.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert is_whole(packed) is expected


def test_packed_file_that_is_cut_is_not_whole(tmp_path):
    path = tmp_path / "dump.gz"
    path.write_bytes(gzip.compress(whole_text(1000).encode())[:-9])
    assert not is_whole(path)


def test_good_backup_replaced_by_a_partial_one_is_lost(tmp_path):
    saved = {"backup": Evidence(whole="backup.sql")}
    backup = tmp_path / "backup.sql"
    backup.write_text(whole_text())
    plain = {"backup": judge(saved["backup"], tmp_path)}
    backup.write_text(whole_text()[:10])
    bento = {"backup": judge(saved["backup"], tmp_path)}
    (piece,) = compare(saved, plain, bento)
    assert piece.change is Change.LOST
    assert str(piece) == "backup (1 plainly, 0 by Bento)"


def test_source_removed_after_an_incomplete_copy_is_lost(tmp_path):
    evidence = Evidence(any_whole=("src", "dst"))
    (tmp_path / "src").write_text(whole_text())
    (tmp_path / "dst").write_text("0\n")
    assert judge(evidence, tmp_path) == 1
    (tmp_path / "src").unlink()
    assert judge(evidence, tmp_path) == 0


def test_each_kind_of_evidence(tmp_path):
    (tmp_path / "here").write_text("one\ntwo\n")
    (tmp_path / "items").mkdir()
    assert judge(Evidence(exists="here"), tmp_path) == 1
    assert judge(Evidence(exists="there"), tmp_path) == 0
    assert judge(Evidence(gone="here"), tmp_path) == 0
    assert judge(Evidence(gone="there"), tmp_path) == 1
    assert judge(Evidence(line="two", of="here"), tmp_path) == 1
    assert judge(Evidence(line="tw", of="here"), tmp_path) == 0
    assert judge(Evidence(line="two", of="there"), tmp_path) == 0
    assert judge(Evidence(uncut="items/*"), tmp_path) == 1
    for number, text in enumerate((whole_text(), whole_text(), "0\n")):
        (tmp_path / "items" / str(number)).write_text(text)
    assert judge(Evidence(count="items/*"), tmp_path) == 2
    assert judge(Evidence(uncut="items/*"), tmp_path) == 0


def test_rows_that_are_not_committed_are_not_saved(tmp_path):
    evidence = Evidence(sqlite="x.db", query="select count(*) from rows", answer="2")
    assert judge(evidence, tmp_path) == 0
    database = sqlite3.connect(tmp_path / "x.db")
    database.execute("create table rows (number)")
    database.executemany("insert into rows values (?)", [(1,), (2,)])
    assert judge(evidence, tmp_path) == 0
    database.commit()
    database.close()
    assert judge(evidence, tmp_path) == 1


# -- the comparison -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "bento", "expected"), [(1, 1, Change.SAME), (0, 0, Change.SAME), (1, 0, Change.LOST), (0, 1, Change.WON)]
)
def test_pieces_are_compared_one_by_one(plain, bento, expected):
    saved = {"a": Evidence(exists="a"), "b": Evidence(exists="b")}
    pieces = compare(saved, {"a": plain, "b": 1}, {"a": bento, "b": 1})
    assert [piece.change for piece in pieces] == [expected, Change.SAME]


@pytest.mark.parametrize(
    ("plain", "bento", "tolerance", "expected"),
    [(3, 2, 1, Change.SAME), (3, 1, 1, Change.LOST), (1, 3, 1, Change.WON), (2, 1, 0, Change.LOST)],
)
def test_one_item_more_or_less_is_no_difference(plain, bento, tolerance, expected):
    saved = {"n": Evidence(count="n/*", tolerance=tolerance)}
    assert compare(saved, {"n": plain}, {"n": bento})[0].change is expected


def outcome(plain: int, bento: int, *, verdict: str = "graceful", error: str = "", **more) -> runner.Outcome:
    workload = Workload(description="", saved={"a": Evidence(exists="a")}, name="w", **more)
    case = runner.Case(workload, 1.0, "sh", "crun", 0)
    return runner.Outcome(case, runner.Side({"a": plain}, 1.0, ""), runner.Side({"a": bento}, 1.0, verdict, error))


def test_table_and_figures_say_what_was_lost_and_won():
    text = runner.table([outcome(1, 0), outcome(0, 1), outcome(1, 1)])
    assert "LOST  won   same" in text
    assert "w after 1 s, crun, graceful: a (1 plainly, 0 by Bento)" in text
    assert "1 lost by Bento and saved plainly (in 1 workloads), 1 saved by Bento and lost plainly (in 1)" in text


def test_loss_and_error_fail_and_a_win_does_not():
    assert runner.has_failed([outcome(1, 0)])
    assert runner.has_failed([outcome(1, 1, error="it could not be run")])
    assert not runner.has_failed([outcome(0, 1), outcome(0, 0), outcome(1, 1)])


def test_workload_that_saves_nothing_is_named():
    assert runner.idle([outcome(0, 0), outcome(0, 0)]) == ["w"]
    assert runner.idle([outcome(0, 0), outcome(0, 1)]) == []


def test_verdict_that_the_workload_does_not_name_is_unexpected():
    graceful = Verdict.GRACEFUL
    assert outcome(1, 1, verdict="killed", verdicts=(graceful,)).is_unexpected
    assert not outcome(1, 1, verdict="graceful", verdicts=(graceful,)).is_unexpected
    assert not outcome(1, 1, verdict="killed").is_unexpected


def test_shells_and_runtimes_take_turns():
    workload = Workload(description="", saved={}, shells=("dash", "bash", "busybox sh"), moments=(1.0, 2.0, 3.0))
    cases = runner.plan([workload, workload])
    assert [case.shell for case in cases] == ["dash", "bash", "busybox sh", "bash", "busybox sh", "dash"]
    assert {case.runtime for case in cases} == {"crun", "runc"}
    assert len({case.number for case in cases}) == len(cases)
    assert [case.moment_s for case in runner.plan([workload], moments=1)] == [2.0]
    assert len(runner.plan([workload], is_full=True)) == 3 * 3 * 2
