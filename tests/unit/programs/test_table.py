"""The table of programs: every file is whole, names its sources, and finds its program and no other."""

from __future__ import annotations

import pytest

from bento.programs.facts import Effect
from bento.programs.table import DIRECTORY, find, programs, read
from bento.units import parse_signal

from support.servers import SERVERS

NAMES = sorted(path.stem for path in DIRECTORY.glob("*.toml"))


def test_there_are_many_and_nothing_else():
    assert len(NAMES) >= 40
    assert {path.suffix for path in DIRECTORY.iterdir() if path.is_file()} <= {".toml"}


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_whole(name):
    program = read(name)
    assert program.name == name
    assert program.kind
    assert program.versions
    assert program.match
    assert all(match.executable or match.script for match in program.match), "arguments alone are anyone's"
    assert bool(program.package) == bool(program.tested), "a test names the version, and only a test does"
    assert not program.graceful or program.graceful in program.signals
    for trap in (*program.traps, program.remedy):
        assert not trap.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_has_a_signal_that_there_is_and_a_source(name):
    program = read(name)
    for word, fact in program.signals.items():
        assert 1 <= parse_signal(word) <= 31
        assert word == word.upper().removeprefix("SIG")
        assert fact.source
        assert fact.does
        assert not fact.does.endswith(".")
        lives_on = fact.effect in (Effect.RESTARTS, Effect.NOTHING)
        assert lives_on != bool(fact.exit_codes) or fact.effect is Effect.ABORTS, word
    if program.graceful:
        assert program.signals[program.graceful].effect.is_orderly


@pytest.mark.parametrize("name", NAMES)
def test_what_is_chosen_ends_it_in_the_end_and_finishes_no_less_work_before(name):
    program = read(name)
    if not program.auto:
        return
    first, last = (program.signals[word].effect for word in program.auto)
    assert len(program.auto) == 2
    assert first in (Effect.FINISHES, Effect.WAITS), "what the plain stop would have saved"
    assert last is Effect.ENDS
    assert "TERM" in program.auto, "one of the two is what the plain stop sends"


@pytest.mark.parametrize(
    ("executable", "argv", "name"),
    [
        ("/usr/sbin/nginx", ["nginx: master process nginx -c /s/conf", ""], "nginx"),
        ("/usr/sbin/nginx (deleted)", ["nginx"], "nginx"),
        ("/usr/sbin/php-fpm8.2", ["php-fpm: master process (/etc/php)"], "php-fpm"),
        ("/usr/local/sbin/php-fpm", ["php-fpm"], "php-fpm"),
        ("/usr/local/apache2/bin/httpd", ["httpd", "-DFOREGROUND"], "apache2"),
        ("/usr/sbin/httpd", ["httpd", "-p", "80"], None),
        ("/bin/busybox", ["httpd", "-f"], None),
        ("/usr/lib/postgresql/15/bin/postgres", ["postgres"], "postgres"),
        ("/usr/bin/redis-check-rdb", ["redis-server *:6379"], "redis"),
        ("/usr/bin/redis-check-rdb", ["redis-check-rdb", "dump.rdb"], None),
        ("/usr/bin/python3.11", ["/usr/bin/python3", "/usr/bin/gunicorn", "app:app"], "gunicorn"),
        ("/usr/bin/python3.11", ["gunicorn: master [app:app]"], "gunicorn"),
        ("/usr/bin/python3.11", ["python3", "-m", "gunicorn", "app:app"], "gunicorn"),
        ("/usr/bin/python3.11", ["python3", "-u", "/srv/gunicorn_app.py"], None),
        ("/usr/bin/python3.11", ["python3", "-c", "print('gunicorn')"], None),
        ("/usr/bin/ruby3.1", ["unicorn master -l 127.0.0.1:80 /s/config.ru"], "unicorn"),
        ("/usr/bin/ruby3.1", ["puma 5.6.5 (tcp://127.0.0.1:80) [/]"], "puma"),
        ("/usr/bin/ruby3.1", ["ruby", "server.rb"], None),
        ("/usr/bin/ruby3.1", ["sidekiq 7.2.0 app [0 of 5 busy]"], "sidekiq"),
        ("/usr/bin/python3.11", ["/usr/bin/python3", "/usr/bin/celery", "-A", "app", "worker"], "celery"),
        ("/usr/bin/python3.11", ["/usr/bin/python3", "/usr/bin/celery", "-A", "app", "beat"], None),
        ("/usr/bin/ruby3.1", ["/usr/bin/ruby", "/usr/local/bundle/bin/puma", "-C", "config/puma.rb"], "puma"),
        ("/sbin/docker-init", ["/sbin/docker-init", "--", "nginx"], "tini"),
        ("/srv/own-nginx", ["nginx"], None),
        ("", ["nginx"], None),
        ("/usr/bin/grep", ["grep", "nginx"], None),
        ("/bin/sh", ["sh", "nginx"], None),
    ],
)
def test_a_program_is_found_by_what_the_kernel_runs(executable, argv, name):
    found = find(executable, argv)
    assert (found.name if found else None) == name


def test_no_two_files_describe_one_executable():
    names = [match.executable for program in programs().values() for match in program.match if match.executable]
    assert len(names) == len(set(names))


def test_every_program_that_is_marked_as_tested_is_run_by_a_server():
    run = {server.program for server in SERVERS.values()}
    assert {name for name, program in programs().items() if program.package} == run
