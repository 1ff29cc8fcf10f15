"""What ps prints becomes a table of one container's processes."""

from __future__ import annotations

import pytest

from bento.docker import top
from bento.drivers.usage import ps
from bento.errors import UsageError
from bento.model.stats import ProcessTable

EF = """\
UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 06:50 ?        00:00:05 /sbin/init  splash
33            42       1  2 06:51 pts/0    00:00:00 sh -c 'a  b'
root          43       1  0 06:51 ?        00:00:00 other
"""


def test_lines_of_other_processes_are_dropped_and_the_command_is_one_cell() -> None:
    assert ps.parse(EF, {1, 42}) == ProcessTable(
        ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"),
        (
            ("root", "1", "0", "0", "06:50", "?", "00:00:05", "/sbin/init splash"),
            ("33", "42", "1", "2", "06:51", "pts/0", "00:00:00", "sh -c 'a b'"),
        ),
    )


def test_lines_of_threads_go_with_their_process() -> None:
    text = "UID PID CMD\nroot 1 init\nroot - -\nroot 2 other\nroot - -\nroot 3 mine\n"

    assert [row[1] for row in ps.parse(text, {1, 3}).rows] == ["1", "-", "3"]


@pytest.mark.parametrize("text", ["", "COMMAND\ninit\n", "pid CMD\n1 init\n"])
def test_lines_without_a_pid_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no pid"):
        ps.parse(text, {1})


@pytest.mark.parametrize("words", [["-o", "comm=PID"], ["-eo", "pid,ppid= PID"]])
def test_another_column_is_not_taken_for_the_pid(words: list[str]) -> None:
    with pytest.raises(UsageError, match="renamed"):
        ps.process_table([1], words)


def test_table_has_the_columns_and_the_document_of_docker() -> None:
    table = ProcessTable(("PID", "USER", "CMD"), (("1", "a-user-with-a-long-name", "init x"), ("22", "root", "sh")))

    assert top.lines(table) == [
        "PID                 USER                      CMD",
        "1                   a-user-with-a-long-name   init x",
        "22                  root                      sh",
    ]
    assert top.document(table) == {
        "Titles": ["PID", "USER", "CMD"],
        "Processes": [["1", "a-user-with-a-long-name", "init x"], ["22", "root", "sh"]],
    }
