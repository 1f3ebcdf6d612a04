"""The report in a real browser: light and dark, on a desk and on a phone, by keyboard; it fetches and says nothing.

The pictures are kept in build/screenshots, to be looked at.
"""

from __future__ import annotations

import math
import os
import random
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import trk
from pictures.conftest import HOSTILE
from servers.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: the report was not looked at")

PICTURES = Path(os.environ.get("TRK_SCREENSHOTS") or Path(__file__).parents[2] / "build/screenshots")
# The page as a phone and as a desk show it, side by side, and what a user of the keyboard gets from it.
OUTER = """<!DOCTYPE html><body style="margin:0;background:#888"><iframe src="/report.html" style="border:0;width:390px;
height:3400px;vertical-align:top"></iframe> <iframe src="/report.html" style="border:0;width:1280px;height:3400px">
</iframe><pre id="found"></pre><script>
const found = [];
window.addEventListener("load", () => {
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument, root = page.documentElement;
    const first = () => page.querySelector("tbody th").textContent;
    found.push(`width ${frame.clientWidth}: ${root.scrollWidth}`);
    const before = first(), buttons = [...page.querySelectorAll("th button")];
    const by = buttons.find((button) => button.textContent.startsWith("last loss"));
    by.click();
    found.push(`sorted ${before} -> ${first()} ${by.closest("th").getAttribute("aria-sort")}`);
    by.click();
    found.push(`again ${first()} ${by.closest("th").getAttribute("aria-sort")}`);
    page.querySelector("th button").click();
    const chart = page.querySelector("svg.chart[data-x]");
    chart.dispatchEvent(new frame.contentWindow.KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
    found.push("tip " + page.querySelector(".tip").textContent.split("\\n").slice(0, 2).join(" | "));
    if (frame.clientWidth < 1000) chart.dispatchEvent(new frame.contentWindow.FocusEvent("blur"));
    const legend = page.querySelector(".legend button");
    legend.click();
    found.push("alone " + page.body.classList.contains("alone") + " " + page.querySelectorAll(".line.on").length);
    legend.click();
    found.push("scripts " + page.querySelectorAll("script").length + " " + page.title);
  }
  document.getElementById("found").textContent = found.join("\\n") + "\\ndone";
});
</script>"""


@pytest.fixture
def report() -> bytes:
    """A sweep, with one run whose name would act."""
    dice = random.Random(7)
    for at in range(9):
        name = HOSTILE if at == 4 else f"{'resnet' if at % 2 else 'vit-small'}-{at}"
        params = {"lr": [0.001, 0.003, 0.01][at % 3], "dropout": at / 20, "model": name[:6], "epochs": 60}
        run = trk.start(name, experiment="digits-sweep", params=params, tags={"stage": "dev" if at % 2 else "prod"})
        pace = 2 + at / 2
        for step in range(60):
            left = math.exp(-pace * step / 60)
            run.log_metrics({
                "loss": math.nan if at == 2 and 20 < step < 28 else 2 * left + dice.gauss(0.1, 0.02),
                "f1": 0.95 - 0.8 * left + dice.gauss(0, 0.01),
                "val/f1": 0.93 - 0.8 * left + dice.gauss(0, 0.015),
                "learning rate": 0.1 * left,
            }, step=step)  # fmt: skip
        run.log_text("hello", "note")
        run.finish("FAILED" if at == 3 else "FINISHED")
    return trk.report(metric="f1", baseline="vit-small-0").read_bytes()


@pytest.fixture
def served(report: bytes) -> Iterator[tuple[str, list[str]]]:
    """(the address, what was asked for)."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = {"/": OUTER.encode(), "/report.html": report}.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - as in the base class
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_in_a_browser(scheme: str, served: tuple[str, list[str]], tmp_path: Path) -> None:
    address, asked = served
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    flags = ["--window-size=1680,3400", "--hide-scrollbars", "--enable-logging=stderr", *dark]
    page = Browser(PICTURES, tmp_path / "profile").open(address, f"report-{scheme}", until="\ndone", flags=flags)
    said = page.document.partition('id="found">')[2].partition("</pre>")[0].replace("&gt;", ">").replace("&lt;", "<")
    for width in (390, 1280):
        assert f"width {width}: {width}\n" in said, said
    assert said.count("sorted resnet-7 -> vit-small-8 ascending") + said.count("sorted vit-small-8 -> ") == 2, said
    assert said.count("ascending") == said.count("descending") == 2
    assert re.search(r"tip step 0 \| \d .*: 0\.\d+", said), said
    assert said.count("alone true 5") == 2, said  # four charts and the drawing of params
    assert said.count("scripts 1 digits-sweep – trk report") == 2, said
    assert set(asked) <= {"/", "/report.html", "/favicon.ico"}  # the browser itself asks for the last
    assert "CONSOLE" not in page.said.replace("favicon.ico", ""), page.said
    ground = (255, 255, 255) if scheme == "light" else (17, 20, 24)
    assert page.share_of(ground) > 0.4
