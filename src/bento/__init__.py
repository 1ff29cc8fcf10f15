"""Bento stops containers gracefully, says what happened, and leaves nothing behind.

from bento import Engine

with Engine() as engine:
    report = engine.stop("web")
    print(report.verdict, report.cause)
"""

TYPE_CHECKING = False  # typing is not loaded for it: processes that stay import this package, too
if TYPE_CHECKING:
    from bento.config import Settings
    from bento.engine.base.outcome import StopObserver
    from bento.engine.stop.request import StopOptions
    from bento.model.create import CreateOptions, UpdateOptions
    from bento.model.exec import ExecOptions
    from bento.wiring import Engine

__version__ = "0.1.0"
__all__ = [
    "CreateOptions",
    "Engine",
    "ExecOptions",
    "Settings",
    "StopObserver",
    "StopOptions",
    "UpdateOptions",
    "__version__",
]

_HOMES = {
    "CreateOptions": "bento.model.create",
    "UpdateOptions": "bento.model.create",
    "Engine": "bento.wiring",
    "ExecOptions": "bento.model.exec",
    "Settings": "bento.config",
    "StopObserver": "bento.engine.base.outcome",
    "StopOptions": "bento.engine.stop.request",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: the command line imports this package and needs few of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bento' has no attribute {name!r}")
    module = __import__(_HOMES[name], fromlist=[name])
    value: object = getattr(module, name)
    return value
