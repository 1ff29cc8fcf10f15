"""Detach keys, as ``ctrl-p,ctrl-q``, and finding them in what is typed. Docker's words (moby/term, escapes)."""

from __future__ import annotations

from typing import Final

from bento.errors import UsageError

DEFAULT: Final = "ctrl-p,ctrl-q"
_CONTROL: Final = "@abcdefghijklmnopqrstuvwxyz[\\]^_"  # by their codes, from 0


def parse(text: str) -> bytes:
    """Return the sequence; "" is none: then nothing detaches. Raises UsageError."""
    return bytes(_code(word, text) for word in text.split(",")) if text else b""


def _code(word: str, text: str) -> int:
    if len(word) == 1 and word.isascii() and word.isprintable():
        return ord(word)
    key = word.removeprefix("ctrl-").lower()
    if word.startswith("ctrl-") and len(key) == 1 and key in _CONTROL:
        return _CONTROL.index(key)
    raise UsageError(
        f"bad detach keys {text!r}: {word!r} is no key",
        hint="letters, or ctrl- and one of a-z @ [ \\ ] ^ _, as in a,ctrl-q",
    )


class KeyFilter:
    """Takes the detach keys out of what is typed. What may be their beginning waits until the next byte decides."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0
        self.is_complete = False

    def feed(self, data: bytes) -> bytes:
        """Return what is to be passed on. Once ``is_complete`` the sequence was typed; the rest is dropped."""
        if not self._keys:
            return data
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.is_complete = True
                    break
                continue
            passed += self._keys[: self._matched]
            self._matched = 0
            if byte == self._keys[0]:
                self._matched = 1
                self.is_complete = len(self._keys) == 1
                if self.is_complete:
                    break
            else:
                passed.append(byte)
        return bytes(passed)
