"""Fixtures and rules of the whole suite; the machinery is in ``support``."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support import leaks, reaper
from support.cli import BentoCli, Roots
from support.scratch import writable_by_overlay

IS_STRICT = os.environ.get("BENTO_TEST_STRICT") == "1" or os.environ.get("CI") == "true"
"""In CI a test that cannot run here is a failure: a missing tool must not pass for a passed test."""
KERNEL_CANNOT = "kernel:"
"""A skip whose reason begins like this stays a skip: the machine's kernel is too old for it."""

pytest_plugins = ["support.timeouts"]

_NEED_ROOT = ("contract", "integration", "differential")
_HERE = Path(__file__).parent
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE, signal.SIGCHLD)

settings.register_profile("bento", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("bento"), derandomize=True)
settings.load_profile("ci" if IS_STRICT else "bento")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if not config.option.collectonly:
        reaper.run_under_reaper()
    if config.option.basetemp is None and not config.option.collectonly:
        # Else pytest clears up the directories of other runs that seem dead, and fails where a tree is too deep for it.
        config.option.basetemp = tempfile.mkdtemp(prefix="bento-pytest-")


def pytest_unconfigure(config: pytest.Config) -> None:
    made = config.option.basetemp
    if made is not None and os.path.basename(made).startswith("bento-pytest-"):
        subprocess.run(["rm", "-rf", made], check=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(_HERE).parts[0]
        item.add_marker(getattr(pytest.mark, folder))
        if folder in _NEED_ROOT and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


def pytest_collection_finish() -> None:
    """Have the garbage collector leave what stays to the end: it would go through it all, again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if IS_STRICT and report.skipped and not hasattr(report, "wasxfail"):
        _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    report = yield
    if IS_STRICT and report.outcome == "skipped":
        _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = (
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
    )
    if not reason.startswith(KERNEL_CANNOT):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure here (CI or BENTO_TEST_STRICT is set): {reason}"


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A short directory for the session, on a filesystem that overlayfs can write to.

    Short, because a UNIX socket's path has 108 bytes at most (unix(7)), and ours hold a 64-digit id.
    """
    base = Path(tempfile.mkdtemp(prefix="bt-", dir=writable_by_overlay()))
    yield base
    leaks.remove_tree(base)


@pytest.fixture(scope="session", autouse=True)
def host_devices() -> Iterator[None]:
    """Over the whole suite the machine's own device nodes keep their modes and owners; each leak check looks, too."""
    yield
    assert leaks.device_damage() == []


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """No test leaves a signal ignored: what later tests start would inherit that. Handlers are put back."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    yield
    after = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, before[number])
    assert [number for number in _SIGNALS if after[number] is signal.SIG_IGN is not before[number]] == []


@pytest.fixture(autouse=True)
def leak_check(request: pytest.FixtureRequest) -> Iterator[leaks.LeakWatch | None]:
    """After each test that needs root nothing of it may be left on the machine."""
    folder = request.path.relative_to(_HERE).parts[0]
    if folder not in _NEED_ROOT or os.geteuid() != 0:
        yield None
        return
    scratch = request.getfixturevalue("scratch")
    base = Path(tempfile.mkdtemp(prefix="t", dir=scratch))
    tmp_base = request.getfixturevalue("tmp_path_factory").getbasetemp()
    watch = leaks.LeakWatch(base, beside=tmp_base)
    yield watch
    found = watch.leaks() + watch.files()
    if found:
        watch.sweep()
    leaks.remove_tree(base)
    if found and not request.node.get_closest_marker("no_leak_check"):
        pytest.fail("left behind:\n  " + "\n  ".join(found), pytrace=False)


@pytest.fixture
def roots(leak_check: leaks.LeakWatch | None, tmp_path: Path) -> Roots:
    """--root and --run-root of this test alone."""
    base = leak_check.base if leak_check else tmp_path
    pair = Roots(base / "l", base / "r")
    if leak_check:
        leak_check.roots += pair
    return pair


@pytest.fixture(params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    """The OCI runtime's name; every test that asks for it runs with each."""
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def bento(roots: Roots, runtime: str) -> Iterator[BentoCli]:
    """The command line. What the test leaves is removed by ``bento rm -f``; the leak check judges the result."""
    cli = BentoCli(roots, runtime)
    yield cli
    removed = cli.remove_all()
    assert removed is None or removed.returncode == 0, str(removed)
