"""A headless Chromium, by the DevTools protocol over two pipes.

They are its descriptors 3 and 4, and each message is JSON and a zero byte.
https://chromedevtools.github.io/devtools-protocol/ names the methods and events.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ANSWER_LIMIT_S = 60.0  # catches hangs
_SWITCHES = (
    "--headless",
    "--no-sandbox",  # it refuses to have one as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Browser:
    """One browser, and one page of it."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._rest = b""
        self._number = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method and return its result; events that come before it are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method: str) -> None:
        """Wait for an event that has not been seen."""
        while not any(event["method"] == method for event in self.events):
            self.events.append(self._next())

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + _ANSWER_LIMIT_S
        while b"\0" not in self._rest:
            left_s = deadline - time.monotonic()
            assert left_s > 0, "the browser does not answer"
            if select.select([self._from], [], [], left_s)[0]:
                data = os.read(self._from, 1 << 20)
                assert data, "the browser has ended"
                self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def show(self, page: Path) -> None:
        """Load a file, and forget the events of before."""
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        self.wait_for("Page.loadEventFired")

    def look(self, *, width: int, scheme: str = "light", media: str = "") -> None:
        """Have the page so wide, in a scheme of colours, on a medium such as print."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page. The page's own policy does not bind it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press_tab(self) -> None:
        """Press the key that moves the focus on."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)

    def complaints(self) -> list[object]:
        """Return what the console has, and each request but the one for the page itself."""
        found: list[object] = []
        for event in self.events:
            match event["method"]:
                case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                    found.append(event["params"])
                case "Network.requestWillBeSent" if event["params"]["type"] != "Document":
                    found.append(event["params"]["request"]["url"])
        return found


@contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """Start one with its data below a directory; end it."""
    to_browser, from_browser = os.pipe(), os.pipe()
    script = 'exec 3<"/proc/self/fd/$1" 4>"/proc/self/fd/$2"; shift 2; exec chromium "$@"'
    words = [*_SWITCHES, f"--user-data-dir={directory}/profile", "about:blank"]
    environment = os.environ | {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory), "TMPDIR": str(directory)}
    process = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", str(to_browser[0]), str(from_browser[1]), *words],
        pass_fds=(to_browser[0], from_browser[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        shown = Browser(to_browser[1], from_browser[0])
        yield shown
        shown._session = ""
        shown.call("Browser.close")
        process.wait(_ANSWER_LIMIT_S)
    finally:
        os.close(to_browser[1])
        os.close(from_browser[0])
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
