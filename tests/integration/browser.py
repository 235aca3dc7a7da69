"""A headless Chromium, driven through its debugging pipe: no web driver, no socket, no package.

    with Browser() as page:
        page.open("http://127.0.0.1:8000/")
        page.value("document.title")
        page.screenshot("shot.png")
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

SECONDS = 60


def available():
    return shutil.which("chromium") is not None


class Browser:
    def __init__(self, width=1360, height=1000):
        self.folder = tempfile.mkdtemp(prefix="splitring-browser-")
        to_read, self.write_to = os.pipe()
        self.read_from, to_write = os.pipe()
        # Chromium wants its pipes as descriptors 3 and 4.
        script = f'exec chromium "$@" 3<&{to_read} 4>&{to_write}'
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   "--no-first-run", "--disable-dev-shm-usage", "--remote-debugging-pipe",
                   "--disable-background-networking", "--disable-component-update",
                   f"--window-size={width},{height}", f"--user-data-dir={self.folder}",
                   "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", script, "chromium", *options], pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self.folder}, start_new_session=True)
        os.close(to_read)
        os.close(to_write)
        self.buffer = b""
        self.ids = 0
        self.session = None
        self.console = []   # what the page complained about
        self.requests = []  # URLs that it has asked for
        target = next(t for t in self.command("Target.getTargets")["targetInfos"]
                      if t["type"] == "page")
        self.session = self.command("Target.attachToTarget", targetId=target["targetId"],
                                    flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height,
                     deviceScaleFactor=1, mobile=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        os.close(self.write_to)  # it ends when its pipe does
        os.close(self.read_from)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def message(self, deadline):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.read_from], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self.read_from, 1 << 20)
            if not part:
                raise ConnectionError("the browser has ended")
            self.buffer += part
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def command(self, method, **params):
        self.ids += 1
        request = {"id": self.ids, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.write_to, json.dumps(request).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self.message(deadline)
            if answer.get("id") == self.ids:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.event(answer)

    def event(self, event):
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.console.append(params["exceptionDetails"].get("exception", {}).get(
                "description") or params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def scheme(self, name):
        """light or dark"""
        self.command("Emulation.setEmulatedMedia",
                     features=[{"name": "prefers-color-scheme", "value": name}])

    def size(self, width, height):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height,
                     deviceScaleFactor=1, mobile=False)

    def open(self, url):
        self.command("Page.navigate", url=url)

    def value(self, expression):
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["text"])
        return result["result"].get("value")

    def until(self, expression, seconds=30):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if value := self.value(expression):
                    return value
            except RuntimeError:
                pass  # the page is not there yet
            if time.monotonic() > deadline:
                raise AssertionError(f"never true: {expression}")
            time.sleep(0.1)

    def screenshot(self, path):
        data = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(data["data"]))
