"""The engine in ``version``."""

from __future__ import annotations


def describe(version: str, *, python: str, kernel: str, machine: str) -> dict[str, str]:
    """Return what ``version`` shows, in this order."""
    return {"Version": version, "Python": python, "Kernel": kernel, "Arch": machine}


def fields(described: dict[str, str]) -> dict[str, object]:
    """Return what a template is given. Scripts ask for .Client.Version or .Server.Version: both are this program."""
    return described | {"Client": described, "Server": described}
