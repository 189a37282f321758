"""Drives a headless Chromium over the states that `kiosk::screens` serves; called by screens.sh.

    screens.py FOLDER [NAME...]      only the states of these names

Chromium is spoken to over two pipes (--remote-debugging-pipe), so nothing beside Python's library is needed.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

SIZES = [(800, 480), (1024, 600), (480, 800), (1280, 800)]

# What is cut off, lies outside, or lies over another text.
FAULTS = """(() => {
  const faults = [];
  const top = document.querySelector("dialog[open]");
  const isShown = (e) => e.getClientRects().length && getComputedStyle(e).visibility === "visible";
  const all = [...(top ?? document.body).querySelectorAll("p, li, h1, button, span")].filter(isShown);
  const texts = all.filter((e) => e.textContent.trim() && !e.querySelector("p, li, span:not(.name)"));
  const root = document.documentElement;
  if (root.scrollWidth > innerWidth || root.scrollHeight > innerHeight) faults.push("the page scrolls");
  const name = (e) => `${e.id || e.className || e.tagName} "${e.textContent.trim().slice(0, 30)}"`;
  const boxes = texts.map((e) => [e, e.getBoundingClientRect()]);
  for (const [e, box] of boxes) {
    if (box.left < -1 || box.top < -1 || box.right > innerWidth + 1 || box.bottom > innerHeight + 1)
      faults.push(`${name(e)} lies outside`);
    if (e.id !== "door" && (e.scrollWidth > e.clientWidth + 1) && getComputedStyle(e).display !== "inline")
      faults.push(`${name(e)} is cut off`);
    for (const [f, other] of boxes) {
      if (e === f || e.contains(f) || f.contains(e)) continue;
      const wide = Math.min(box.right, other.right) - Math.max(box.left, other.left);
      const high = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
      if (wide > 2 && high > 2 && name(e) < name(f)) faults.push(`${name(e)} lies over ${name(f)}`);
    }
  }
  for (const button of document.querySelectorAll("button")) {
    const box = button.getBoundingClientRect();
    if (isShown(button) && (box.width < 64 || box.height < 64)) faults.push(`${name(button)} is small`);
  }
  return faults;
})()"""


class Chromium:
    def __init__(self, profile):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # Chromium reads 3 and writes 4.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec chromium "$@" 8<&{theirs_in} 9>&{theirs_out} 3<&8 4>&9 8<&- 9>&-', "chromium",
             "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1",
             f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.read, self.write = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb")
        self.count, self.session, self.rest = 0, None, b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.problems = []
        self.call("Runtime.enable")
        self.call("Log.enable")

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.write.write(json.dumps(message).encode() + b"\0")
        self.write.flush()
        while True:
            answer = self.message()
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            if answer.get("method") == "Runtime.exceptionThrown":
                self.problems.append(answer["params"]["exceptionDetails"].get("exception", {}).get("description"))
            if answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                entry = answer["params"]["entry"]
                if not entry.get("url", "").endswith("/favicon.ico"):
                    self.problems.append(entry["text"])

    def message(self):
        while b"\0" not in self.rest:
            piece = self.read.read1(1 << 16)
            if not piece:
                raise RuntimeError("chromium has ended")
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression):
        for _ in range(300):
            if self.evaluate(expression):
                return
            time.sleep(0.05)
        raise RuntimeError(f"did not come: {expression}")

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def fixture():
    process = subprocess.Popen(
        ["cargo", "test", "-q", "-p", "edge-agent", "--bin", "edge-agent", "--",
         "--exact", "kiosk::screens::every_state_of_the_page_can_be_shown", "--nocapture"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "ROLLCALL_SCREENS": "1"})
    for line in process.stdout:
        if "ready: " in line:
            addresses, states = line.split("ready: ")[1].split()
            return process, addresses.split(","), states.split(",")
    raise SystemExit("the states are not served")


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    served, addresses, states = fixture()
    wanted = sys.argv[2:]
    faults = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        chromium = Chromium(profile)

        def shoot(name):
            nonlocal faults
            chromium.picture(folder / f"{name}.png")
            found = (chromium.evaluate(FAULTS) or []) + chromium.problems
            chromium.problems = []
            for fault in found:
                faults += 1
                print(f"{name}: {fault}")

        def show(state):
            served.stdin.write(state + "\n")
            served.stdin.flush()
            time.sleep(0.35)

        pages = [("en", addresses[0]), ("vi", addresses[2])]
        for width, height in SIZES:
            chromium.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                          mobile=False)
            for language, address in pages:
                name = lambda state: f"{width}x{height}-{language}-{state}"
                show("idle")
                chromium.call("Page.navigate", url=f"http://{address}/")
                chromium.wait("document.body?.dataset.mode === 'idle' && document.body.dataset.seen === 'on'")
                for state in states:
                    if wanted and state not in wanted:
                        continue
                    is_blind = state in ("no-camera", "frozen")
                    show(state)
                    if is_blind and state == "no-camera":
                        chromium.call("Page.reload")
                        chromium.wait("document.body?.dataset.mode === 'idle'")
                    elif is_blind:
                        chromium.wait("document.body.dataset.stale === 'on'")
                    else:
                        chromium.wait("document.body.dataset.seen === 'on' && document.body.dataset.stale !== 'on'")
                    shoot(name(state))
                if not wanted or "pin" in wanted:
                    show("idle")
                    chromium.evaluate("document.getElementById('pin-open').click()")
                    shoot(name("pin"))
                    for digit in "20481":
                        chromium.call("Input.dispatchKeyEvent", type="keyDown", key=digit, text=digit)
                    shoot(name("pin-typed"))
                    chromium.evaluate("document.getElementById('done').click()")
                    chromium.wait("document.getElementById('pad-text').textContent !== document.body.dataset.wait")
                    # That the server is busy is what was asked for.
                    chromium.problems = []
                    shoot(name("pin-unreachable"))
                if not wanted or "button" in wanted:
                    chromium.call("Page.navigate", url=f"http://{addresses[addresses.index(address) + 1]}/")
                    show("offline")
                    chromium.wait("document.body?.dataset.mode === 'idle' && document.body.dataset.seen === 'on'")
                    shoot(name("button"))
        # The program is gone.
        if not wanted or "starting" in wanted:
            served.stdin.close()
            served.wait(timeout=30)
            chromium.wait("document.body.dataset.mode === 'starting'")
            chromium.problems = []
            shoot("1280x800-vi-starting")
        chromium.process.terminate()
        chromium.process.wait(timeout=30)
    if served.poll() is None:
        served.stdin.close()
        served.wait(timeout=30)
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}, {faults} faults")
    sys.exit(1 if faults else 0)


main()
