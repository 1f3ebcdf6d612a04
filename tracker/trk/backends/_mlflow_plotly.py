"""A page that shows a figure of Plotly's JSON: MLflow's own page shows HTML, and not that."""

from __future__ import annotations

import html
import json
from importlib import import_module
from pathlib import Path
from typing import Any

MAX_BYTES = 50_000_000  # of a figure that a page is made of
SOURCE = "https://cdn.plot.ly/plotly-4.1.1.min.js"
HASH = "sha256-O24V1F27f8pb0glCkelh3cVHLNiHAJ5gCaVtq2aNch8="

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>html, body, #figure {{ height: 100%; margin: 0 }} #missing {{ font: 16px sans-serif; margin: 2em }}</style>
</head>
<body>
<div id="figure"></div>
<p id="missing" hidden>This figure is drawn by plotly.js, which could not be loaded from {source}. Its data is in
{title}, beside this page.</p>
<script type="application/json" id="data">{figure}</script>
<script src="{source}" integrity="{hash}" crossorigin="anonymous"></script>
<script>
if (window.Plotly) {{
  Plotly.newPlot("figure", JSON.parse(document.getElementById("data").textContent));
}} else {{
  document.getElementById("figure").hidden = true;
  document.getElementById("missing").hidden = false;
}}
</script>
</body>
</html>
"""


def page(figure: Path, name: str) -> str | None:
    """The page of a figure whose file is called `name`: whole in itself when plotly is installed, else with plotly.js
    from its makers' server. None for what is no figure of Plotly.
    """
    try:
        if figure.stat().st_size > MAX_BYTES:
            return None
        # What JSON does not know is left out, as browsers would refuse the whole.
        found = json.loads(figure.read_text(encoding="utf-8-sig"), parse_constant=lambda _: None)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("data"), list):
        return None
    return _whole(found) or _PAGE.format(title=html.escape(name), source=SOURCE, hash=HASH, figure=_embedded(found))


def _whole(figure: dict[str, Any]) -> str | None:
    """As plotly makes it, with all of plotly.js in it; None when it is not installed or does not take the figure."""
    try:
        made: str = import_module("plotly.io").to_html(figure, include_plotlyjs=True, full_html=True, validate=False)
    except ImportError:
        return None
    except Exception:  # noqa: BLE001 - plotly raises as it likes for figures of other versions
        return None
    return made


def _embedded(figure: dict[str, Any]) -> str:
    """JSON that may stand in a script: nothing in it ends the script, or a line."""
    text = json.dumps(figure, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
