"""CNI networks: plugins of other authors make a container's links, from a list in a directory of the host.

The protocol is CNI's (github.com/containernetworking/cni, SPEC.md 0.3.0 to 1.1.0): a plugin is a program; what it is to
do stands in its environment (CNI_COMMAND and its kin) and, as JSON, on its standard input; its answer is JSON on its
standard output. What ADD was given, and said, is kept below the engine's root until DEL has been done with the same: a
plugin may hand out addresses that outlive a reboot.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from bento import command
from bento.command import Child
from bento.drivers.network import cni_lists
from bento.drivers.network.base import Joined, Place, Plugins, publishes
from bento.errors import BentoError, MissingTool, RuntimeFailed, StateCorrupt
from bento.files.smallfile import read_small, remove_small, write_small
from bento.model.network import Port

_LIMIT_S: Final = 60.0
_BIGGEST: Final = 1 << 20


class Cni:
    """Implements ``CniDriver``. ``cache``: a directory that outlives a reboot, made when it is needed."""

    def __init__(self, cache: Path, lists: Path, programs: Sequence[Path]) -> None:
        self._cache, self._lists, self._programs = cache, lists, tuple(programs)

    def load(self, name: str) -> Plugins:
        """See ``CniDriver.load``."""
        network = cni_lists.load(self._lists, name)
        for plugin in network.plugins:
            self._program(plugin["type"])
        return network

    def first(self) -> str:
        """See ``CniDriver.first``."""
        return cni_lists.first(self._lists)

    def add(self, joined: Joined) -> Place:
        """See ``CniDriver.add``."""
        self._keep(joined)
        result: dict[str, Any] = {}
        for plugin in joined.network.plugins:
            done = self._spawn("ADD", joined, plugin, result).finish(_LIMIT_S)
            if done.returncode != 0:
                raise RuntimeFailed(f"the network failed: {_reason(plugin, done.returncode, done.stdout, done.stderr)}")
            result = _answer(plugin, done.stdout) or result
        self._keep(replace(joined, result=result))
        return place_of(result, joined.interface)

    def check(self, container_id: str) -> list[str]:
        """See ``CniDriver.check``."""
        found = []
        for joined in self.find(container_id):
            asked = joined.network.plugins if joined.network.has_check else ()
            # portmap (1.1.1) misses rules of IPv6 that it does not make where there is only IPv4.
            for plugin in (one for one in asked if not publishes(one)):
                done = self._spawn("CHECK", joined, plugin, joined.result).finish(_LIMIT_S)
                if done.returncode != 0:
                    found.append(_reason(plugin, done.returncode, done.stdout, done.stderr))
        return found

    def remove(self, container_id: str, netns: str = "", interface: str = "") -> Iterator[Child]:
        """See ``CniDriver.remove``."""
        failures: list[str] = []
        for joined in reversed(self.find(container_id)):
            if interface in ("", joined.interface):
                yield from self._remove(replace(joined, netns=netns), failures)
        if failures:
            raise RuntimeFailed(f"the network failed: {failures[0]}", hint="see bento doctor")

    def _remove(self, joined: Joined, failures: list[str]) -> Iterator[Child]:
        known = len(failures)
        for plugin in reversed(joined.network.plugins):
            child: Child | None = None
            try:
                child = self._spawn("DEL", joined, plugin, joined.result)
                yield child
                done = child.finish(_LIMIT_S)
                if done.returncode != 0:
                    failures.append(_reason(plugin, done.returncode, done.stdout, done.stderr))
            except BentoError as error:
                failures.append(error.message)
            finally:
                if child is not None:
                    child.kill()
        if len(failures) == known:
            remove_small(self._path(joined))

    def find(self, container_id: str) -> list[Joined]:
        """Return what is kept of a container, by interface. Raises StateCorrupt."""
        found = []
        for name in self._names():
            if name.partition(".")[0] == container_id:
                path = self._cache / name
                try:
                    found.append(msgspec.json.decode(read_small(path, limit_bytes=_BIGGEST), type=Joined))
                except FileNotFoundError:
                    continue
                except (msgspec.DecodeError, OSError) as error:
                    raise StateCorrupt(
                        f"cannot read {path}: {error}", hint="remove it once its addresses are free"
                    ) from error
        return found

    def kept(self) -> list[str]:
        """See ``CniDriver.kept``."""
        return sorted({name.partition(".")[0] for name in self._names()})

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._cache) if name.endswith(".json"))
        except FileNotFoundError:
            return []

    def _keep(self, joined: Joined) -> None:
        self._cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_small(self._path(joined), msgspec.json.encode(joined))

    def _path(self, joined: Joined) -> Path:
        return self._cache / f"{joined.container_id}.{joined.interface}.json"

    def _program(self, kind: str) -> Path:
        for directory in self._programs:
            path = directory / kind
            if os.access(path, os.X_OK):
                return path
        looked = ", ".join(map(str, self._programs))
        raise MissingTool(
            f"there is no CNI plugin {kind!r} in {looked}", hint="apt install containernetworking-plugins"
        )

    def _spawn(self, verb: str, joined: Joined, plugin: dict[str, Any], previous: dict[str, Any]) -> Child:
        words = {"CNI_COMMAND": verb, "CNI_CONTAINERID": joined.container_id, "CNI_IFNAME": joined.interface}
        words["CNI_NETNS"], words["CNI_PATH"] = joined.netns, ":".join(map(str, self._programs))
        if joined.args:
            words["CNI_ARGS"] = ";".join(f"{key}={value}" for key, value in joined.args.items())
        given = {key: value for key, value in plugin.items() if key != "capabilities"}
        given |= {"cniVersion": joined.network.version, "name": joined.network.name}
        if joined.ports and publishes(plugin):
            given["runtimeConfig"] = {"portMappings": list(map(_mapping, joined.ports))}
        if previous:
            given["prevResult"] = previous
        argv = [os.fspath(self._program(plugin["type"]))]
        return command.feed(argv, json.dumps(given), env=command.clean_environment() | words)


def place_of(result: dict[str, Any], interface: str) -> Place:
    """Return where a result says that a container is: its first address of each family."""
    found: dict[str, Any] = {}
    for one in result.get("ips") or ():
        address, _, prefix = str(one.get("address", "")).partition("/")
        end = "6" if ":" in address else ""
        if address and f"address{end}" not in found:
            found[f"address{end}"], found[f"prefix{end}"] = address, int(prefix or 0)
            found[f"gateway{end}"] = one.get("gateway", "")
    for link in result.get("interfaces") or ():
        if link.get("name") == interface and link.get("sandbox"):
            found["mac"] = link.get("mac", "")
    return Place(**found)


def _mapping(port: Port) -> dict[str, Any]:
    said: dict[str, Any] = {"hostPort": port.host_port, "containerPort": port.container_port, "protocol": port.protocol}
    return said | ({"hostIP": port.host_ip} if port.host_ip else {})


def _answer(plugin: dict[str, Any], text: str) -> dict[str, Any]:
    try:
        said = json.loads(text or "{}")
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise RuntimeFailed(f"the network failed: the answer of CNI plugin {plugin['type']} is no JSON object")
    return said


def _reason(plugin: dict[str, Any], code: int, stdout: str, stderr: str) -> str:
    """Return a plugin's own words, which stand on its standard output (SPEC.md, "Error")."""
    try:
        said = json.loads(stdout)
        words = ": ".join(filter(None, (said.get("msg"), said.get("details"))))
    except (ValueError, AttributeError):
        words = ""
    words = " ".join((words or stderr or stdout).split())[:300]
    return f"CNI plugin {plugin['type']}: {words or f'status {code}'}"
