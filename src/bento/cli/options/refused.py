"""An option of Docker's that means nothing here: it is known, and says in one line why it is refused."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from bento.errors import UsageError


class Refused(argparse.Action):
    """``why``: what is said; ``hint``: what to do instead."""

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        why: str,
        hint: str = "omit it",
        nargs: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=nargs, help=argparse.SUPPRESS)
        self.why, self.hint = why, hint

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Refuse it."""
        given = f"{option_string} {values}" if isinstance(values, str) else f"{option_string}"
        raise UsageError(f"{given}: {self.why}", hint=self.hint)
