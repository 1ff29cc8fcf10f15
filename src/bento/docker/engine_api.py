"""The engine in ``GET /version`` of Docker's API."""

from __future__ import annotations

from typing import Any


def version(
    *, engine: str, api: str, least_api: str, kernel: str, architecture: str, os_type: str, python: str
) -> dict[str, Any]:
    """Return the versions: of Bento, and of the API in the fields by which clients negotiate."""
    return {
        "Platform": {"Name": "Bento"},
        "Components": [
            {
                "Name": "Engine",
                "Version": engine,
                "Details": {
                    "ApiVersion": api,
                    "Arch": architecture,
                    "KernelVersion": kernel,
                    "MinAPIVersion": least_api,
                    "Os": os_type,
                    "Python": python,
                },
            }
        ],
        "Version": engine,
        "ApiVersion": api,
        "MinAPIVersion": least_api,
        "GitCommit": "",
        "GoVersion": "",
        "Os": os_type,
        "Arch": architecture,
        "KernelVersion": kernel,
        "BuildTime": "",
    }
