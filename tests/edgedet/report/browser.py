"""A headless Chromium, driven through its debugging pipe: sizes, errors, requests and pictures of a page."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_SECONDS = 60


def find_chromium() -> str | None:
    """The browser's program, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass
class Visit:
    """What a page did: ``width``: of its content, in CSS pixels; ``requests``: whatever was not the page itself."""

    width: int
    height: int
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    overflowing: list[str] = field(default_factory=list)


class Chromium:
    """One browser with one page. Commands and events are JSON objects with a zero byte between them."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="edgedet-chromium-", ignore_cleanup_errors=True)
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        fixed = {3: theirs_in, 4: theirs_out}

        def place() -> None:
            # Copies first, since 3 or 4 may be among the pipes' own numbers.
            copies = {number: os.dup(source) for number, source in fixed.items()}
            for number, source in copies.items():
                os.dup2(source, number, inheritable=True)

        self._process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={self._profile.name}", "about:blank"],
            close_fds=False, preexec_fn=place,  # noqa: PLW1509 (only descriptors are moved)
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer = b""
        self._count = 0
        self._events: list[dict[str, Any]] = []
        self._session: str | None = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)
        self._profile.cleanup()

    def visit(self, page: Path, *, width: int, height: int, scheme: str = "light") -> Visit:
        """Open a local page in a window of that size, in the light or dark colour scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)  # fmt: skip
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._events.clear()
        address = page.resolve().as_uri()
        self.call("Page.navigate", url=address)
        self._wait_for("Page.loadEventFired")
        size = self.evaluate(
            "({width: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight})"
        )
        visit = Visit(size["width"], size["height"])
        visit.overflowing = self.evaluate(
            "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, pre, svg')"
            " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
        )
        for event in self._events:
            method, details = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                visit.errors.append(details["exceptionDetails"]["text"])
            elif method == "Log.entryAdded" and details["entry"]["level"] in ("error", "warning"):
                visit.errors.append(details["entry"]["text"])
            elif method == "Runtime.consoleAPICalled":
                visit.errors.append(str(details["args"]))
            elif method == "Network.requestWillBeSent":
                url = details["request"]["url"]
                if url != address and not url.startswith("data:"):
                    visit.requests.append(url)
        return visit

    def evaluate(self, expression: str) -> Any:
        """What an expression gives in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def picture(self, path: Path) -> None:
        """The whole page as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def call(self, method: str, **params: Any) -> Any:
        """One command and its answer."""
        self._count += 1
        number = self._count
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            if "method" in answer:
                self._events.append(answer)

    def _wait_for(self, method: str) -> None:
        while not any(event["method"] == method for event in self._events):
            answer = self._receive()
            if "method" in answer:
                self._events.append(answer)

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self._in, 1 << 20) if ready else b""
            if not piece:
                raise RuntimeError("Chromium does not answer")
            self._buffer += piece
        message, self._buffer = self._buffer.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer
