"""A real browser without a window, driven through Chrome's DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0")
COMPLAINTS = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
MEASURE = """(() => {
  const width = document.documentElement.clientWidth;
  const beyond = [...document.querySelectorAll('body *')].filter(
    each => each.getBoundingClientRect().right > width + 0.5 && !each.closest('.scroll'));
  const letters = [...document.querySelectorAll('svg text')].map(
    each => each.getBoundingClientRect()).map(box => Math.max(box.width, box.height));  // some are upright
  return {
    width,
    scroll: document.documentElement.scrollWidth,
    beyond: beyond.slice(0, 5).map(each => each.outerHTML.slice(0, 120)),
    scheme: getComputedStyle(document.documentElement).colorScheme,
    text: document.body.innerText,
    letters: Math.min(...letters),
  };
})()"""


@dataclasses.dataclass(frozen=True)
class View:
    """A page as a browser shows it."""

    measured: dict[str, Any]
    complaints: list[str]
    requests: list[str]
    png: bytes


def find_browser() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


async def view(browser: str, page: Path, profile: Path, looks: Iterable[tuple[int, str]]) -> list[View]:
    """Opens the page at each width, in each colour scheme, and looks at it."""
    async with _devtools(browser, profile) as tab:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.call(f"{domain}.enable")
        return [await _look(tab, page, width, scheme) for width, scheme in looks]


async def _look(tab: _Tab, page: Path, width: int, scheme: str) -> View:
    tab.events.clear()
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    await tab.call("Emulation.setDeviceMetricsOverride", **metrics)
    await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    await tab.call("Page.navigate", url=page.as_uri())
    await tab.wait("Page.loadEventFired")
    measured = (await tab.call("Runtime.evaluate", expression=MEASURE, returnByValue=True))["result"]["value"]
    shot = await tab.call("Page.captureScreenshot", captureBeyondViewport=True)
    complaints = [str(each["params"]) for each in tab.events if each["method"] in COMPLAINTS]
    sent = [each["params"] for each in tab.events if each["method"] == "Network.requestWillBeSent"]
    return View(measured, complaints, [each["request"]["url"] for each in sent], base64.b64decode(shot["data"]))


class _Tab:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=60)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    async def wait(self, event: str) -> None:
        while not any(each["method"] == event for each in self.events):
            self.events.append(await self._socket.receive_json(timeout=60))


@contextlib.asynccontextmanager
async def _devtools(browser: str, profile: Path) -> AsyncIterator[_Tab]:
    command = [browser, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            lines = iter(process.stderr or ())
            address = next(found[1] for line in lines if (found := re.search(r"ws://([^/]+)/", line)))
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://{address}/json/list") as answer:
                    targets = await answer.json()
                url = next(each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page")
                async with session.ws_connect(url, max_msg_size=0) as socket:
                    yield _Tab(socket)
        finally:
            process.terminate()
            process.communicate()
