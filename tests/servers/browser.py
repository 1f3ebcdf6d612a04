"""A real browser (Chromium, headless) that opens a page, and what can be seen in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BUDGET_MS = 20_000  # of the page's own clock: it runs as fast as the page lets it
# A sandboxed frame would be another process's, which has a clock of its own, and not be drawn yet in the picture.
ONE_PROCESS = (
    "--disable-site-isolation-trials",
    "--disable-features=IsolateSandboxedIframes,IsolateOrigins,site-per-process",
)
TRIES = 6  # a page that waits for a slow server may be looked at too early; each time it gets more of its clock


@dataclass(frozen=True)
class Page:
    """A page as it was drawn: its document after all scripts ran, the picture of it, and what the browser `said`."""

    document: str
    picture: Path
    said: str = ""

    def share_of(self, colour: tuple[int, int, int]) -> float:
        """How much of the picture has this colour, from 0 to 1; nearly this one, as MLflow shows small WebP images."""
        from PIL import Image

        with Image.open(self.picture) as image:
            pixels = image.convert("RGB")
            size = pixels.width * pixels.height
            counts = pixels.getcolors(size) or []
        near = (count for count, found in counts if all(abs(a - b) <= 6 for a, b in zip(found, colour, strict=True)))
        return sum(near) / size


class Browser:
    """Opens pages; each picture is kept in `folder` under the name that it is given."""

    def __init__(self, folder: Path, profile: Path) -> None:
        self._folder = folder
        self._profile = profile
        folder.mkdir(parents=True, exist_ok=True)

    def open(
        self, url: str, name: str, *, until: str, flags: Sequence[str] = (), drawn: Callable[[Page], bool] = bool
    ) -> Page:
        """The page at an address, when `until` is in its document and it is `drawn`; looked at again if it is not.

        `flags` are more of Chromium's own, such as another --window-size.
        """
        assert CHROMIUM is not None
        picture = self._folder / f"{name}.png"
        document = ""
        for tried in range(1, TRIES + 1):
            done = subprocess.run(
                [
                    CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                    f"--user-data-dir={self._profile}", "--window-size=1500,1000",
                    *ONE_PROCESS,
                    f"--virtual-time-budget={tried * BUDGET_MS}", f"--screenshot={picture}", "--dump-dom", *flags, url,
                ],
                capture_output=True, text=True, timeout=120, check=False,
                env={**os.environ, "HOME": str(self._profile)},
            )  # fmt: skip
            document = done.stdout
            if until in document and drawn(page := Page(document, picture, done.stderr)):
                return page
        raise AssertionError(
            f"{url}: {until!r} is not in the page, or it is not drawn (see {picture}):\n{document[-3000:]}"
        )
