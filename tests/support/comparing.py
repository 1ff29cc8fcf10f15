"""What one server of Docker's API answers, as facts that another one's can be held against: shapes, never values.

A fact is a path (``status``, ``header content-type``, ``body.State.StartedAt``) and its kinds (``number``, ``time``,
``array``). The page about the API lists the differences that may be.
"""

from __future__ import annotations

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from support.serving import Served

PAGE = Path(__file__).parents[2] / "docs" / "docker-api.md"
HEADING = "## Where Docker's daemon answers otherwise"
ABSENT = "-"
HEADERS = (
    "content-type", "transfer-encoding", "connection", "upgrade", "ostype", "docker-experimental", "api-version",
    "cache-control", "pragma", "x-docker-container-path-stat", "builder-version", "swarm", "location",
)  # fmt: skip
"""Those that clients read, and those that Docker documents."""

_VALUES = ("ostype", "content-type", "transfer-encoding", "connection", "upgrade", "cache-control", "pragma", "swarm")
_KINDS = (
    ("empty", r""),
    ("zero time", r"0001-01-01T00:00:00Z"),
    ("time", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"),
    ("id", r"[0-9a-f]{64}"),
    ("short id", r"[0-9a-f]{12}"),
    ("digest", r"sha256:[0-9a-f]{64}"),
    ("address", r"\d+\.\d+\.\d+\.\d+"),
    ("network", r"\d+\.\d+\.\d+\.\d+/\d+"),
    ("mac", r"([0-9a-f]{2}:){5}[0-9a-f]{2}"),
    ("digits", r"\d+"),
)
_OF_KERNEL = ("memory_stats.stats", "_recursive")  # what is in them comes of the kernel, and of what has been read
_STREAMS = ("stdin", "stdout", "stderr")

Facts = dict[str, set[str]]


class Difference(NamedTuple):
    """One path of one request's answer whose kinds differ."""

    request: str
    path: str
    docker: str
    bento: str

    def __str__(self) -> str:
        return "| " + " | ".join(f"`{each}`" for each in self) + " |"


class Row(NamedTuple):
    """A row of the page's table: patterns (``*``) of differences, with the reason."""

    requests: tuple[str, ...]
    paths: tuple[str, ...]
    docker: str
    bento: str
    reason: str

    def covers(self, found: Difference) -> bool:
        return (
            any(fnmatchcase(found.request, _literal(each)) for each in self.requests)
            and any(fnmatchcase(found.path, _literal(each)) for each in self.paths)
            and fnmatchcase(found.docker, self.docker)
            and fnmatchcase(found.bento, self.bento)
        )


class Recorder:
    """Asks one server, and keeps the facts of its answers by the words for the request."""

    def __init__(self, served: Served, version: str) -> None:
        self.served, self._prefix = served, f"/v{version}"
        self.facts: dict[str, Facts] = {}

    def __call__(self, label: str, method: str, target: str, body: Any = None, *, words: str = "") -> bytes:
        """Send a request and keep what is answered. ``words``: an expression that an error's message must fit."""
        with self.open(label, method, target, body) as response:
            content: bytes = response.read()
        self.keep(label, content, response.getheader("content-type") or "", words=words)
        return content

    def json(self, label: str, method: str, target: str, body: Any = None) -> Any:
        return json.loads(self(label, method, target, body))

    def open(self, label: str, method: str, target: str, body: Any = None) -> Any:
        """Send a request and keep the facts of the head of its answer; the caller reads the rest."""
        prefix = "" if target.startswith("/v1.") else self._prefix
        response = self.served.open(method, prefix + target, body)
        facts = self.fact(label)
        facts["status"] = {str(response.status)}
        for name, value in response.getheaders():
            if name.lower() in HEADERS:
                add_header(facts, name.lower(), value)
        return response

    def fact(self, label: str) -> Facts:
        return self.facts.setdefault(label, defaultdict(set))

    def keep(self, label: str, content: bytes, content_type: str, *, words: str = "") -> None:
        facts = self.fact(label)
        if content and content_type == "application/json":
            for each in documents(content):
                add_shape(facts, "body", each)
                if words:
                    message = str(each.get("message", ""))
                    facts["words"].add("as clients read them" if re.search(words, message) else repr(message))
        elif content:
            facts["body"].add("bytes")
        elif "body" not in facts:
            facts["body"].add(ABSENT)

    def hijack(self, label: str, target: str, body: Any = None, sent: bytes = b"", *, framed: bool = True) -> None:
        """Have the connection handed over, send, close this half, and keep what comes until the other half ends."""
        data = b"" if body is None else json.dumps(body).encode()
        kind = "Content-Type: application/json\r\n" if data else ""
        head = (
            f"POST {self._prefix}{target} HTTP/1.1\r\nHost: d\r\n{kind}Content-Length: {len(data)}\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        with self.served.connect() as client:
            client.sendall(head.encode() + data)
            self.take_over(label, client, sent, framed=framed)

    def take_over(self, label: str, client: Any, sent: bytes = b"", *, framed: bool = True) -> None:
        facts, stream = self.fact(label), client.makefile("rb")
        facts["status"] = {stream.readline().split()[1].decode()}
        while line := stream.readline().strip():
            name, _, value = line.decode().partition(": ")
            if name.lower() in HEADERS:
                add_header(facts, name.lower(), value)
        if facts["status"] == {"101"}:
            client.sendall(sent)
            if framed:  # Docker ends all of a terminal's connection with this half
                client.shutdown(1)
            content = stream.read()
            facts["stream"] = set(frames(content)) if framed else {f"raw {content!r}"}


def add_header(facts: Facts, name: str, value: str) -> None:
    facts[f"header {name}"] = {value if name in _VALUES else "there"}
    if name == "x-docker-container-path-stat":
        add_shape(facts, "path-stat", json.loads(base64.b64decode(value)))


def documents(content: bytes) -> Iterator[Any]:
    """Read JSON documents that follow each other."""
    decoder, text, place = json.JSONDecoder(), content.decode().strip(), 0
    while place < len(text):
        document, place = decoder.raw_decode(text, place)
        yield document
        place += len(text[place:]) - len(text[place:].lstrip())


def frames(content: bytes) -> Iterator[str]:
    """Read Docker's frames: what each of the streams has said as a whole."""
    said: dict[int, bytes] = {}
    while content:
        number, size = content[0], int.from_bytes(content[4:8], "big")
        if number > 2 or content[1:4] != b"\0\0\0":
            yield f"no frame: {content!r}"
            return
        said[number] = said.get(number, b"") + content[8 : 8 + size]
        content = content[8 + size :]
    for number, data in said.items():
        yield f"{_STREAMS[number]} {data!r}"


def add_shape(facts: Facts, path: str, value: Any) -> None:
    """Add the kinds of a document and of all that is in it. An id that is a key stands for every one."""
    if isinstance(value, dict):
        facts[path].add("object")
        for key, inner in () if path.endswith(_OF_KERNEL) else value.items():
            add_shape(facts, f"{path}.{_key(key)}", inner)
    elif isinstance(value, list):
        facts[path].add("array")
        for inner in () if path.endswith(_OF_KERNEL) else value:
            add_shape(facts, f"{path}[]", inner)
    else:
        facts[path].add(kind_of(value))


def kind_of(value: object) -> str:
    if isinstance(value, str):
        return next((name for name, pattern in _KINDS if re.fullmatch(pattern, value)), "text")
    return "null" if value is None else "bool" if isinstance(value, bool) else "number"


def differences(docker: dict[str, Facts], bento: dict[str, Facts]) -> list[Difference]:
    """Return where they differ. What is in an object that the other one has not is not told apart."""
    found = []
    for request in docker.keys() | bento.keys():
        theirs, ours = docker.get(request, {}), bento.get(request, {})
        for path in theirs.keys() | ours.keys():
            pair = [" ".join(sorted(facts.get(path, {ABSENT}))) for facts in (theirs, ours)]
            if pair[0] != pair[1] and all(_has_parent(facts, path) for facts in (theirs, ours)):
                found.append(Difference(request, path, *pair))
    return sorted(found)


def listed() -> list[Row]:
    """Read the page's table."""
    text = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    rows = [line.strip().strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    found = []
    for requests, paths, docker, bento, reason in rows:
        kinds = [cell.strip().strip("`") for cell in (docker, bento)]
        found.append(Row(_words(requests), _words(paths), kinds[0], kinds[1], reason.strip()))
    return found


def _words(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


def _literal(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def _key(key: str) -> str:
    return "ID" if re.fullmatch(r"[0-9a-f]{64}", key) else key


def _has_parent(facts: Facts, path: str) -> bool:
    parent = path[:-2] if path.endswith("[]") else path.rpartition(".")[0]
    return not parent or parent in facts
