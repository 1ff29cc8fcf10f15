"""A plugin: a test that takes too long is ended by an exception in it, and by no timer of the kernel's.

Of pytest-timeout's own two ways one ends the whole process; the other, setitimer(2), shows in /proc/timer_list, where
the code under test looks for what may wake the programs of a container (rule S14).
"""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
import pytest_timeout  # type: ignore[import-untyped]


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: Any, settings: pytest_timeout.Settings) -> bool:
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(settings.timeout, signal.pthread_kill, (main, signal.SIGALRM))
    timer.daemon = True

    def cancel() -> None:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    item.cancel_timeout = cancel  # which pytest-timeout calls
    signal.signal(signal.SIGALRM, lambda _number, _frame: pytest_timeout.timeout_sigalrm(item, settings))
    timer.start()
    return True
