"""A run with every kind of content: what tests log that compare what arrived with what was logged."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trk.rules import HUGE
from trk.run import Run

PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)
LONG = "ü" * 9000
T0 = 1_763_726_400_000


def log_everything(run: Run) -> None:
    """Every kind of content, with what is awkward of each."""
    for step in range(5):
        run.log_metrics({"loss": 1 / (step + 1), "f1": step / 10}, step=step, timestamp=T0 + step)
    for value in (0.5, 0.5, math.nan, math.nan, math.inf, -math.inf, HUGE * 1.0001, -0.0):
        run.log_metric("odd", value, step=3, timestamp=T0)
    run.log_params({"lr": 0.1, "prompt": LONG, "empty": ""})
    run.set_tags({"stage": "dev", "note": LONG, "gone": "x", "again": "1"})
    run.set_tag("again", LONG)
    run.set_tag("again", "2")
    run.delete_tag("gone")
    run.log_summary({"best": 0.9, "labels": ["a", {"b": None}], "text": "first"})
    run.log_summary({"text": LONG})
    run.define_metric("loss", mode="min")
    run.log_table("rows", [{"a": 1, "b": math.nan}, {"a": 2, "b": math.inf}])
    run.log_table("rows", [{"b": "text", "a": [1, None]}])
    run.log_html("<p>one</p>", name="page")
    run.log_html("<p>two</p>", name="page")
    run.log_html("<p>three</p>", name="page")
    run.log_text("a note", name="note")
    run.log_dict({"a": 1}, name="config")
    run.log_figure('{"data": [], "layout": {}}', name="figure")
    for step in range(3):
        run.log_image(picture(step), name="samples", step=step)
    for content in ("one", "two"):
        Path("model.bin").write_text(content)
        run.log_artifact("model.bin", name="clf", type="model")
    Path("in-place.bin").write_bytes(b"stays")
    run.log_artifact("in-place.bin", path="weights", snapshot=False)
    run.log_artifact(path="data", reference="s3://bucket/data.parquet")


def picture(step: int) -> Any:
    """An image that Pillow reads, where it is installed: MLflow then gets a small one beside."""
    if find_spec("PIL") is None:
        return PNG
    from PIL import Image

    return Image.new("RGB", (8, 8), (step, 0, 0))
