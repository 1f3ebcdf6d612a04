"""Logging content from Python: each kind, what it becomes in the run, and what is refused with nothing written."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import trk
from trk.errors import Conflict, UsageError
from trk.journal import blobs, holds, read
from trk.journal import files as held
from trk.media import documents
from trk.records import ArtifactRecord
from trk.run import Run

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"></svg>'


@pytest.fixture
def run() -> Run:
    return trk.start("content", experiment="tests")


def listed(run: Run, *, earlier: bool = False) -> list[ArtifactRecord]:
    return held.of_run(run.journal, run.id, earlier=earlier)


def paths(run: Run) -> list[str]:
    return [one.path for one in listed(run)]


def content(run: Run, path: str, n: int | None = None) -> bytes:
    """The bytes that the journal has at a path of a run."""
    found = held.file_of(run.journal, run.id, path, n)
    assert found is not None
    assert found.local is not None
    assert blobs.trouble(found) is None
    return Path(found.local).read_bytes()


def refused(run: Run, error: type[Exception], match: str, log: Any) -> None:
    """Logging raises this error, and the journal is as it was."""
    before = run.journal.read("SELECT * FROM rows"), run.journal.read("SELECT * FROM files")
    with pytest.raises(error, match=match):
        log()
    assert (run.journal.read("SELECT * FROM rows"), run.journal.read("SELECT * FROM files")) == before
    drafts = Path(blobs.folder(run.journal), "drafts")
    assert not drafts.exists() or [path for path in drafts.iterdir() if path.suffix != holds.ENDING] == []


# ---- text, HTML, documents


def test_a_text_has_its_names_ending_or_txt(run: Run) -> None:
    assert run.log_text("it converged", "note") == 1
    run.log_text("# Heading", "card.md")
    run.log_text(" x", "deep/er note")
    assert paths(run) == ["card.md", "deep/er note.txt", "note.txt"]
    assert content(run, "note.txt") == b"it converged"
    assert [one.kind for one in listed(run)] == ["text"] * 3


def test_a_text_is_content_and_a_path_is_a_file(run: Run, project: Path) -> None:
    Path("words.log").write_text("from the file")
    run.log_text("words.log", "said")
    run.log_text(Path("words.log"))
    run.log_text(Path("words.log"), "renamed")
    assert content(run, "said.txt") == b"words.log"
    assert content(run, "words.log") == content(run, "renamed.txt") == b"from the file"


@pytest.mark.parametrize("text", ["", " \n", "\0", "a\0b", "\udcff"])
def test_what_is_no_text_is_refused(run: Run, text: str) -> None:
    refused(run, UsageError, "empty|NUL|UTF-8", lambda: run.log_text(text, "note"))


@pytest.mark.parametrize("content_", [b"\xff\xfea\0", b"PK\x03\x04\0\0", b"caf\xe9", b""])
def test_a_file_that_is_no_text_is_refused(run: Run, project: Path, content_: bytes) -> None:
    Path("note.txt").write_bytes(content_)
    refused(run, UsageError, "NUL|UTF-8|empty", lambda: run.log_text(Path("note.txt")))


def test_a_text_of_which_only_the_beginning_is_looked_at_may_be_cut_within_a_letter(run: Run, project: Path) -> None:
    Path("long.txt").write_text("é" * 40_000 + "x" + "é" * 40_000)
    run.log_text(Path("long.txt"))
    assert content(run, "long.txt") == Path("long.txt").read_bytes()


def test_html_is_text_with_a_tag_or_a_path(run: Run, project: Path) -> None:
    Path("page.htm").write_text("<!doctype html><p>from the file")
    Path("report.html").write_text("<p>from the file")
    run.log_html("<h1>x</h1>", "report")
    assert content(run, "report.html") == b"<h1>x</h1>"
    run.log_html("page.htm")
    run.log_html(Path("report.html"), "report")
    run.log_html(b"<p>bytes", "bytes.HTML")
    assert paths(run) == ["bytes.HTML", "page.html", "report.html"]
    assert content(run, "report.html") == b"<p>from the file"


def test_html_of_every_encoding_and_with_scripts_is_kept_as_it_is(run: Run, project: Path) -> None:
    pages = ["<p>é</p>".encode("utf-16"), b"\xef\xbb\xbf<p>", b"caf\xe9<br>", b"<script>alert(1)</script>", b"<?xml?>"]
    for number, page in enumerate(pages):
        Path("p.html").write_bytes(page)
        run.log_html(Path("p.html"), f"p{number}")
        assert content(run, f"p{number}.html") == page


@pytest.mark.parametrize(
    "page", [b"", b"\n \n", b"plain words", b"1 < 2 and 3 > 2", b"<", PNG, b"%PDF-1.4 <", b"\0<p>"]
)
def test_what_is_not_html_is_refused(run: Run, page: bytes) -> None:
    refused(run, UsageError, "not HTML|is empty", lambda: run.log_html(page, "page"))


def test_a_page_logged_again_replaces_and_the_earlier_one_is_kept(run: Run) -> None:
    numbers = [run.log_html(f"<p>{version}", "page") for version in range(3)]
    assert content(run, "page.html") == b"<p>2"
    assert [content(run, "page.html", n) for n in numbers] == [b"<p>0", b"<p>1", b"<p>2"]
    assert [one.n for one in listed(run)] == [3]
    assert [(one.path, one.n) for one in listed(run, earlier=True)] == [("page.html", n) for n in numbers]


def test_documents_of_python_become_json_or_yaml_as_the_name_says(run: Run) -> None:
    value = {"classes": ["a", "b"], "µ": 1.5, "none": None}
    for name in ("labels", "labels.v2", "labels.json", "labels.yaml", "labels.YML"):
        run.log_dict(value, name)
    run.log_dict([1, {"a": 2}], "list")
    assert paths(run) == ["labels.YML", "labels.json", "labels.v2.json", "labels.yaml", "list.json"]
    assert json.loads(content(run, "labels.v2.json")) == value
    assert content(run, "labels.yaml").decode().startswith("classes:\n- a\n- b\nµ: 1.5")


def test_a_document_of_a_file_is_kept_as_it_is_written(run: Run, project: Path) -> None:
    files = {"a.json": '{ "lr" :0.10}', "b.yml": "lr: 0.10 # note\n", "c.toml": "lr = 0.10\n"}
    for name, text in files.items():
        Path(name).write_text(text)
        run.log_dict(name)
    Path("config").write_text("[net]\nlayers = 3\n")
    run.log_dict("config", "net.toml")
    run.log_dict(b"a: 1", "given.yaml")
    assert {path: content(run, path).decode() for path in paths(run)} == {
        **files, "net.toml": "[net]\nlayers = 3\n", "given.yaml": "a: 1",
    }  # fmt: skip


@pytest.mark.parametrize("value", [3, "missing.json", {"a": float("nan")}, {"a": object()}, {("a",): 1}, None, {1, 2}])
def test_what_is_no_document_is_refused(run: Run, value: object) -> None:
    refused(run, UsageError, "document|missing|mapping|JSON", lambda: run.log_dict(value, "d"))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"labels": {"a": [float("nan")]}}, "labels.a.0 is NaN, which JSON has not"),
        ([{"a": float("-inf")}], "0.a is -Infinity, which JSON has not"),
        ({"a": [1, object()]}, "a.1: a value of type object is not JSON"),
        ({"a": {"b": "\udcff"}}, "a.b: text '\\\\udcff' is not valid UTF-8"),
        ({"a": {("x",): 1}}, "a: a key of type tuple is not JSON"),
        ({"a\nb": {1, 2}}, r"'a\\nb': a value of type set"),
        ({"a": b"x"}, "a: a value of type bytes is not JSON"),
        ({1, 2}, "the document: a value of type set"),
    ],
)
def test_what_is_no_json_in_a_document_is_refused_by_its_place(run: Run, value: object, says: str) -> None:
    refused(run, UsageError, f"^{says}", lambda: run.log_dict(value, "d"))


def test_a_document_takes_what_a_table_takes(run: Run) -> None:
    numpy = pytest.importorskip("numpy", reason="needs numpy")
    value = {
        "n": numpy.int64(3), "f": numpy.float32(0.5), "list": numpy.array([[1, 2], [3, 4]]), "ok": numpy.bool_(True),
        "at": datetime(2026, 1, 2, tzinfo=UTC), "took": timedelta(seconds=90), "exact": Decimal("0.10"), "t": (1, 2),
        "wide": 2**70, "zero": "a\0b", 0.5: None, 7: {True: 1},
    }  # fmt: skip
    plain = {
        "n": 3, "f": 0.5, "list": [[1, 2], [3, 4]], "ok": True, "at": "2026-01-02T00:00:00+00:00", "took": "PT1M30S",
        "exact": 0.1, "t": [1, 2], "wide": 2**70, "zero": "a\0b", "0.5": None, "7": {"true": 1},
    }  # fmt: skip
    run.log_dict(value, "d")
    run.log_dict(value, "d.yaml")
    run.log_dict(numpy.arange(3), "list")
    assert json.loads(content(run, "d.json")) == plain
    assert documents.parse(content(run, "d.yaml").decode(), ".yaml", "d") == plain
    assert json.loads(content(run, "list.json")) == [0, 1, 2]
    refused(run, UsageError, "^list.1 is NaN", lambda: run.log_dict({"list": numpy.array([1, numpy.nan])}, "n"))
    run.log_dict({"a": [float("nan")]}, "nan.yaml")  # which YAML has
    assert content(run, "nan.yaml") == b"a:\n- .nan\n"


def test_a_document_that_holds_itself_or_is_bottomless_is_refused(run: Run) -> None:
    loop: list[object] = []
    loop.append(loop)
    deep: object = 1
    for _ in range(10_000):
        deep = [deep]
    for value in (loop, deep):
        refused(run, UsageError, "document", lambda value=value: run.log_dict(value, "d"))
        refused(run, UsageError, "document", lambda value=value: run.log_dict(value, "d.yaml"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.json", '{"a": 1'),
        ("d.json", '{"a": NaN}'),
        ("d.json", '{"a": 1, "a": 2}'),
        ("d.json", "[" * 10_000 + "]" * 10_000),
        ("d.json", "3"),
        ("d.json", ""),
        ("d.yaml", "a: [1"),
        ("d.yaml", "a: 1\na: 2"),
        ("d.yaml", "!!python/object/apply:os.system ['true']"),
        ("d.toml", "a ="),
        ("d.txt", "{}"),
    ],
)
def test_a_file_that_is_no_good_document_is_refused(run: Run, project: Path, name: str, text: str) -> None:
    Path(name).write_text(text)
    refused(run, UsageError, r"d\.", lambda: run.log_dict(name))


def test_a_documents_name_says_no_other_language_than_it_has(run: Run) -> None:
    refused(run, UsageError, "is JSON, and its name ends in .toml", lambda: run.log_dict({"a": 1}, "d.toml"))


# ---- images and figures


def test_an_image_has_the_ending_of_what_it_is(run: Run, project: Path) -> None:
    Path("photo").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 20)
    run.log_image("photo")
    run.log_image(PNG, "plot")
    run.log_image(PNG, "shown.png")
    run.log_image(SVG, "drawing")
    run.log_image(b"GIF89a", "v1.2")
    assert paths(run) == ["drawing.svg", "photo.jpg", "plot.png", "shown.png", "v1.2.gif"]


def test_images_with_a_step_are_a_series_under_mlflows_paths(run: Run) -> None:
    for step in (0, 10, -1):
        run.log_image(PNG, "val/samples.png", step=step)
    found = listed(run)
    assert [(one.name, one.step) for one in found] == [("val/samples", step) for step in (-1, 0, 10)]
    assert all(one.path.startswith(f"images/val~samples+step+{one.step}+timestamp+") for one in found)
    assert all(one.path.endswith(".png") for one in found)


@pytest.mark.parametrize("name", ["é", "a:b", ".png", "x" * 240])
def test_a_series_takes_no_name_that_mlflow_could_not_list(run: Run, name: str) -> None:
    refused(run, UsageError, "image series|bytes|path", lambda: run.log_image(PNG, name, step=1))


@pytest.mark.parametrize("image", [b"", b"text", b"<p>", b"%PDF-1.4", "missing.png", 3, None, [[0, 1]]])
def test_what_is_no_image_is_refused(run: Run, image: object) -> None:
    refused(run, UsageError, "image|empty|there", lambda: run.log_image(image, "i"))


def test_a_name_that_says_another_kind_is_refused(run: Run) -> None:
    refused(run, UsageError, "is PNG, and its name ends in .jpg", lambda: run.log_image(PNG, "i.jpg"))
    refused(run, UsageError, "is SVG, and its name ends in .pdf", lambda: run.log_figure(SVG, "i.pdf"))
    run.log_image(b"\xff\xd8\xff", "i.jpeg")
    assert paths(run) == ["i.jpeg"]


def test_arrays_become_png(run: Run) -> None:
    numpy = pytest.importorskip("numpy", reason="draws from arrays")
    image = pytest.importorskip("PIL.Image", reason="draws from arrays")
    ramp = numpy.linspace(0, 1, 12).reshape(3, 4)
    for name, array in {
        "grey": ramp,
        "bytes": (ramp * 255).astype("uint8"),
        "wide": (ramp * 255).astype("int64"),
        "colour": numpy.stack([ramp] * 3, axis=2),
        "alpha": numpy.stack([ramp] * 4, axis=2),
        "one": ramp[:, :, None].astype("float32"),
        "bits": ramp > 0.5,
    }.items():
        run.log_image(array, name)
        with image.open(io.BytesIO(content(run, f"{name}.png"))) as drawn:
            assert drawn.size == (4, 3)
    with image.open(io.BytesIO(content(run, "grey.png"))) as drawn:
        assert drawn.getpixel((3, 2)) == 255


def test_arrays_that_are_no_images_are_refused(run: Run) -> None:
    numpy = pytest.importorskip("numpy", reason="draws from arrays")
    pytest.importorskip("PIL.Image", reason="draws from arrays")
    bad: Sequence[Any] = [
        numpy.zeros(3),
        numpy.zeros((2, 2, 2)),
        numpy.zeros((2, 2, 3, 1)),
        numpy.zeros((0, 4)),
        numpy.full((2, 2), numpy.nan),
        numpy.full((2, 2), 1.01),
        numpy.full((2, 2), 256),
        numpy.full((2, 2), -1),
        numpy.zeros((2, 2), complex),
        numpy.array([["a", "b"]]),
        numpy.array([[None, object()]]),
        numpy.array([["2026-01-01"]], "datetime64[D]"),
    ]
    for array in bad:
        refused(run, UsageError, "an image's array", lambda array=array: run.log_image(array, "i"))


def test_pillows_images_of_every_mode_become_png(run: Run) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow's images")
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "LAB", "F", "I", "I;16", "RGBX", "RGBa"):
        run.log_image(image.new(mode, (4, 3)), f"mode {mode}".replace(";", "-"))
    assert len(paths(run)) == 15
    refused(run, UsageError, "can't be written as PNG", lambda: run.log_image(image.new("L", (0, 0)), "i"))


def test_pillows_wide_numbers_are_scaled_as_arrays_are_or_refused(run: Run) -> None:
    numpy = pytest.importorskip("numpy", reason="draws from arrays")
    image = pytest.importorskip("PIL.Image", reason="Pillow's images")
    run.log_image(image.fromarray(numpy.array([[0.0, 0.5, 1.0]], "float32")), "floats")
    run.log_image(image.fromarray(numpy.array([[0, 128, 255]], "int32")), "whole")
    for name in ("floats", "whole"):
        with image.open(io.BytesIO(content(run, f"{name}.png"))) as drawn:
            assert (drawn.mode, [drawn.getpixel((x, 0)) for x in range(3)]) == ("L", [0, 128, 255])
    for dtype, value, mode, top in (("float32", 255, "F", 1), ("int32", 70_000, "I", 255), ("float32", -1, "F", 1)):
        wide = image.fromarray(numpy.full((2, 2), value, dtype))
        says = f"an image of mode {mode} holds 0 to {top}, not {value}"
        refused(run, UsageError, says, lambda wide=wide: run.log_image(wide, "i"))


def test_modes_that_png_has_not_keep_what_they_show(run: Run) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow's images")
    for mode, colour, kept, shown in (
        ("CMYK", (0, 255, 255, 0), "RGB", (255, 0, 0)),
        ("RGBa", (10, 20, 30, 255), "RGBA", (10, 20, 30, 255)),
        ("PA", (0, 128), "RGBA", None),
        ("I;16", 40_000, "I;16", 40_000),
        ("1", 1, "1", 255),
        ("LA", (9, 8), "LA", (9, 8)),
    ):
        run.log_image(image.new(mode, (2, 2), colour), f"mode {mode}".replace(";", "-"))
        with image.open(io.BytesIO(content(run, f"mode {mode}.png".replace(";", "-")))) as drawn:
            assert drawn.mode == kept
            assert shown is None or drawn.getpixel((0, 0)) == shown


def test_open_files_are_read_whole_and_left_as_they_were(run: Run, project: Path) -> None:
    Path("photo.png").write_bytes(PNG)
    with Path("photo.png").open("rb") as file:
        file.read(5)
        run.log_image(file, "file")
        assert (file.tell(), file.read(3)) == (5, PNG[5:8])
    buffer = io.BytesIO()
    buffer.write(PNG)  # it stands at its end, as after drawing into it
    run.log_image(buffer, "buffer")
    assert (buffer.tell(), buffer.getvalue()) == (len(PNG), PNG)
    run.log_figure(io.BytesIO(SVG), "drawing")
    run.log_html(io.StringIO("<p>"), "page")
    assert content(run, "file.png") == content(run, "buffer.png") == PNG
    assert paths(run) == ["buffer.png", "drawing.svg", "file.png", "page.html"]


def test_open_files_that_can_not_be_read_are_refused(run: Run, project: Path) -> None:
    Path("photo.png").write_bytes(PNG)
    with Path("photo.png").open(encoding="utf-8") as file:
        refused(run, UsageError, "was opened as text", lambda: run.log_image(file, "i"))
    refused(run, UsageError, "closed file", lambda: run.log_image(file, "i"))
    with Path("other").open("wb") as file:
        refused(run, UsageError, "can't be read", lambda: run.log_image(file, "i"))
    refused(run, UsageError, "needs a name", lambda: run.log_image(io.BytesIO(PNG)))
    refused(run, UsageError, "is empty", lambda: run.log_image(io.BytesIO(), "i"))


def test_figures_of_matplotlib_are_drawn_as_the_name_says(run: Run) -> None:
    figures = pytest.importorskip("matplotlib.figure", reason="draws figures")
    drawing = figures.Figure()
    drawing.subplots().plot([1, 2, 3])
    for name in ("roc", "roc.svg", "roc.pdf", "roc.jpeg", "roc.v1.2"):
        run.log_figure(drawing, name)
    assert paths(run) == ["roc.jpeg", "roc.pdf", "roc.png", "roc.svg", "roc.v1.2.png"]
    assert content(run, "roc.png").startswith(PNG[:8])
    assert content(run, "roc.jpeg").startswith(b"\xff\xd8\xff")
    assert b"<svg" in content(run, "roc.svg")
    assert content(run, "roc.pdf").startswith(b"%PDF-")
    refused(run, UsageError, "needs a name", lambda: run.log_figure(drawing))
    refused(run, UsageError, "ends in .html", lambda: run.log_figure(drawing, "roc.html"))


def test_figures_of_plotly_are_kept_as_their_json(run: Run) -> None:
    plotly = pytest.importorskip("plotly.graph_objects", reason="draws figures")
    run.log_figure(plotly.Figure(data=[{"type": "bar", "y": [1, 2]}]), "bars")
    assert json.loads(content(run, "bars.json"))["data"][0]["type"] == "bar"


def test_figures_of_files_are_known_by_their_content(run: Run, project: Path) -> None:
    given = {"a.svg": SVG, "b.pdf": b"%PDF-1.7", "c.json": b'\xef\xbb\xbf {"data": []}', "d.html": b"<div></div>"}
    for name, file in given.items():
        Path(name).write_bytes(file)
        run.log_figure(name)
        run.log_figure(file, name.replace(".", "-"))
    assert {path: content(run, path) for path in paths(run) if "-" not in path} == given
    assert [one.kind for one in listed(run)] == ["figure"] * 8


@pytest.mark.parametrize("figure", [b"", b"text", b'{"layout": {}}', b'{"data": 1}', b'{"data": [', b"[]", 3])
def test_what_is_no_figure_is_refused(run: Run, figure: object) -> None:
    refused(run, UsageError, "figure|empty|JSON", lambda: run.log_figure(figure, "f"))


# ---- names and paths


@pytest.mark.parametrize(
    "name",
    ["", "..", "../up", "a/../b", "a//b", "/abs", "a\nb", "\x1b[31m", "a=b", "x" * 251, "🎯", "\u202ex", " a", "a#b",
     "trk/x", "file:x", "a\\b", "\udcff", 3],
)  # fmt: skip
def test_bad_names_are_refused_by_every_kind(run: Run, name: Any) -> None:
    for log in (
        lambda: run.log_text("x", name),
        lambda: run.log_html("<p>", name),
        lambda: run.log_dict({}, name),
        lambda: run.log_image(PNG, name),
        lambda: run.log_image(PNG, name, step=1) if name != "trk/x" else run.log_image(PNG, name),
        lambda: run.log_figure(SVG, name),
        lambda: run.log_table(name, [[1]], ["a"]),
    ):
        refused(run, UsageError, "name|path|ends", log)


def test_the_runs_prefix_is_put_before_every_name(project: Path) -> None:
    run = trk.start("prefixed", key_prefix="val/")
    Path("page.html").write_text("<p>")
    run.log_html("page.html")
    run.log_text("x", "note")
    run.log_dict({}, "d")
    run.log_image(PNG, "i", step=1)
    run.log_table("t", [[1]], ["a"])
    Path("file.bin").write_bytes(b"x")
    run.log_artifact("file.bin")
    assert [path for path in paths(run) if not path.startswith("images/val~i+")] == [
        "file.bin", "val/d.json", "val/note.txt", "val/page.html", "val/t.json",
    ]  # fmt: skip


def test_a_file_whose_name_is_no_name_says_how_to_name_it(run: Run, project: Path) -> None:
    Path("report (1).html").write_text("<p>")
    with pytest.raises(UsageError, match="character '\\('") as raised:
        run.log_html("report (1).html")
    assert raised.value.hint == "--name NAME"
    run.log_html("report (1).html", "report")


def test_a_path_is_a_table_or_a_file_or_a_folder_and_stays_so(run: Run, project: Path) -> None:
    Path("a").write_bytes(b"x")
    Path("scores.json").write_text("{}")
    run.log_table("scores", [[1]], ["a"])
    refused(run, Conflict, "scores.json is a table", lambda: run.log_dict({}, "scores"))
    refused(run, Conflict, "scores.json is a table", lambda: run.log_artifact("scores.json"))
    refused(run, Conflict, "no folder for", lambda: run.log_artifact("a", path="scores.json"))
    run.log_dict({}, "d")
    refused(run, Conflict, "d.json is a dict", lambda: run.log_table("d", [[1]], ["a"]))
    run.log_text("x", "folder/note")
    refused(run, Conflict, "folder is a folder", lambda: run.log_artifact(named(project, "folder")))
    run.log_artifact("a")
    refused(run, Conflict, "a is a file of this run", lambda: run.log_text("x", "a/b"))
    run.log_text("x", "a0")  # sorts right after what would be in the folder `a`
    run.log_text("x", "a.b/c")


def named(project: Path, name: str) -> Path:
    """A file of this name."""
    path = project / "made" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_files_of_all_kinds_may_take_each_others_place(run: Run, project: Path) -> None:
    Path("plot.svg").write_bytes(SVG)
    run.log_figure("plot.svg")
    run.log_artifact("plot.svg")
    run.log_image("plot.svg")
    assert [(one.path, one.kind) for one in listed(run)] == [("plot.svg", "image")]
    assert [one.kind for one in listed(run, earlier=True)] == ["figure", "file", "image"]
    rows = read.rows_after(run.journal, 1, 0, 10)
    assert [held.located(run.journal, 1, row).files[0].earlier for row in rows] == [0, 1, 2], "nothing is forgotten"


def test_of_several_files_one_that_is_bad_keeps_all_out(run: Run, project: Path) -> None:
    Path("good").write_bytes(b"x")
    Path("taken").write_bytes(b"x")
    run.log_text("x", "taken/note")
    refused(run, UsageError, "missing", lambda: run.log_artifact("good", "missing"))
    refused(run, Conflict, "folder", lambda: run.log_artifact("good", "taken"))


def test_an_ended_run_takes_no_content(run: Run) -> None:
    run.finish()
    for log in (
        lambda: run.log_text("x", "a"),
        lambda: run.log_table("t", [[1]], ["a"]),
        lambda: run.log_artifact(reference="s3://b/x"),
        lambda: run.log_artifact(reference="s3://b/x", name="n"),
    ):
        refused(run, Conflict, "has ended", log)


# ---- tables


def test_rows_of_further_calls_are_appended_and_other_columns_change_nothing(run: Run) -> None:
    run.log_table("t", [[1, "a"]], ["n", "s"])
    run.log_table("t", {"s": ["b"], "n": [2]})
    refused(run, UsageError, "has the columns", lambda: run.log_table("t", [[1]], ["n"]))
    refused(run, UsageError, "has the columns", lambda: run.log_table("t", [[1, 2]], ["n", "S"]))
    key = run.journal.read("SELECT run FROM runs")[0][0]
    whole, last = held.table(run.journal, key, "t.json", 10)
    assert (list(whole.rows()), whole.count, last) == ([[1, "a"], [2, "b"]], 2, 2)
    assert [(one.path, one.rows, one.n) for one in listed(run)] == [("t.json", 2, 2)]


def test_a_long_table_is_kept_apart_and_a_bad_row_at_its_end_keeps_all_of_it_out(run: Run) -> None:
    rows = [[n, "x" * 100] for n in range(5_000)]
    refused(run, UsageError, "column", lambda: run.log_table("t", [*rows, [1, object()]], ["n", "s"]))
    refused(run, UsageError, "value", lambda: run.log_table("t", [*rows, [1]], ["n", "s"]))
    assert list(Path(run.folder, "blobs").glob("??/*")) == []
    run.log_table("t", rows, ["n", "s"])
    run.log_table("t", [[float("nan"), None], [float("inf"), "é"]], ["n", "s"])
    key = run.journal.read("SELECT run FROM runs")[0][0]
    whole, _ = held.table(run.journal, key, "t.json", 10)
    found = list(whole.rows())
    assert found[:5_000] == rows
    assert repr(found[5_000:]) == "[[nan, None], [inf, 'é']]"


@pytest.mark.parametrize("name", [".json", "a:b", "trk/t", "t#"])
def test_bad_table_names_are_refused(run: Run, name: str) -> None:
    refused(run, UsageError, "name", lambda: run.log_table(name, [[1]], ["a"]))


def test_a_table_of_no_rows_is_refused(run: Run) -> None:
    refused(run, UsageError, "row", lambda: run.log_table("t", [], ["a"]))


# ---- artifacts


def test_files_go_in_under_their_names_below_the_path(run: Run, project: Path) -> None:
    Path("a.bin").write_bytes(b"a")
    Path("b.bin").write_bytes(b"b")
    assert run.log_artifact("a.bin", Path("b.bin"), b"a.bin", path="weights/") == (2, None)
    assert paths(run) == ["weights/a.bin", "weights/b.bin"]
    assert content(run, "weights/b.bin") == b"b"


@pytest.mark.parametrize(
    "path", ["", "/", "..", "../up", "a/../b", "/etc", "a//b", "trk", "a\nb", "s3:x", "a%2fb", "#"]
)
def test_paths_that_climb_or_can_not_be_meant_are_refused(run: Run, project: Path, path: str) -> None:
    Path("a.bin").write_bytes(b"a")
    refused(run, UsageError, "path", lambda: run.log_artifact("a.bin", path=path))


def test_versions_count_up_and_the_same_content_is_the_same_version(run: Run, project: Path) -> None:
    file = Path("model.pkl")
    versions = []
    for text in ("first", "second", "first", "third", "third"):
        file.write_text(text)
        versions.append(run.log_artifact(file, name="clf", type="model")[1])
    assert versions == [0, 1, 0, 2, 2]
    other = trk.start("another", experiment="tests")
    assert other.log_artifact(file, name="clf")[1] == 2
    elsewhere = trk.start("third", experiment="elsewhere")
    assert elsewhere.log_artifact(file, name="clf", type="weights")[1] == 0
    assert paths(run) == [f"clf/v{version}/model.pkl" for version in range(3)]
    assert [(one.type, one.version, one.name) for one in listed(other)] == [("model", 2, "clf")]


def test_the_type_is_the_known_one_else_as_the_ending_says(run: Run, project: Path) -> None:
    for name in ("m.onnx", "d.csv", "w.safetensors", "x"):
        Path(name).write_bytes(b"x")
        run.log_artifact(name, name=f"of {name}")
    assert [one.type for one in listed(run)] == ["dataset", "model", "weights", "custom"]
    Path("d.csv").write_bytes(b"other")
    run.log_artifact("d.csv", name="ds", type="corpus")
    Path("d.csv").write_bytes(b"yet other")
    assert run.log_artifact("d.csv", name="ds")[1] == 1
    assert {one.type for one in listed(run) if one.name == "ds"} == {"corpus"}
    refused(run, Conflict, "is a corpus, not a model", lambda: run.log_artifact("d.csv", name="ds", type="model"))


def test_nothing_else_takes_the_place_of_a_versions_file(run: Run, project: Path) -> None:
    Path("d.csv").write_bytes(b"x")
    run.log_artifact("d.csv", name="ds")
    Path("d.csv").write_bytes(b"forged")
    refused(run, Conflict, "is a artifact|is an artifact", lambda: run.log_artifact("d.csv", path="ds/v0"))
    refused(run, Conflict, "artifact", lambda: run.log_text("x", "ds/v0/d.csv"))
    run.log_artifact("d.csv", path="data/v0")
    refused(run, Conflict, "data/v0/d.csv is a file", lambda: run.log_artifact("d.csv", name="data"))


def test_a_folder_is_a_version_as_a_whole(run: Run, project: Path) -> None:
    folder = Path("set")
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "b.txt").write_text("b")
    assert run.log_artifact(folder, name="set")[1] == 0
    assert paths(run) == ["set/v0/a.txt", "set/v0/deep/b.txt"]
    (folder / "deep" / "b.txt").rename(folder / "deep" / "c.txt")
    assert run.log_artifact(folder, name="set")[1] == 1


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/a", "a:v0", "1:2", "trk", "trk/a", "a#", "x" * 251, "a\nb"])
def test_bad_artifact_names_are_refused(run: Run, project: Path, name: str) -> None:
    Path("f").write_bytes(b"x")
    refused(run, UsageError, "name", lambda: run.log_artifact("f", name=name))


@pytest.mark.parametrize("type_", ["", "a=b", "a\nb", "../x"])
def test_bad_types_are_refused(run: Run, project: Path, type_: str) -> None:
    Path("f").write_bytes(b"x")
    refused(run, UsageError, "type", lambda: run.log_artifact("f", name="n", type=type_))
    refused(run, UsageError, "needs a name", lambda: run.log_artifact("f", type="model"))


def test_names_and_paths_together_are_no_longer_than_a_path(run: Run, project: Path) -> None:
    deep = Path(*["d" * 200] * 4)
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"x")
    run.log_artifact("d" * 200)
    run.log_artifact("d" * 200, name="n" * 190)
    refused(run, UsageError, "1 to 1000", lambda: run.log_artifact("d" * 200, "d" * 200, name="n" * 200))


def test_nothing_given_is_a_mistake(run: Run) -> None:
    refused(run, UsageError, "no files are given", lambda: run.log_artifact())
    refused(run, UsageError, "empty", lambda: run.log_artifact(""))


# ---- references


def test_references_keep_an_address_without_its_secrets(run: Run) -> None:
    secrets = [
        "s3://ada:s3kret@bucket/data.csv",
        "https://h.example/set/a.bin?X-Amz-Credential=s3kret&X-Amz-Signature=s3kret&versionId=7",
        "https://h.example/b.bin?sv=2026&sig=s3kret",
        "https://h.example/c.bin#access_token=s3kret",
        "gs://bucket/d%20e/f%20g.bin/",
        "file:///data/raw",
    ]
    run.log_artifact(reference=secrets, path="refs")
    found = listed(run)
    assert [one.path for one in found] == [
        f"refs/{name}" for name in ("a.bin", "b.bin", "c.bin", "data.csv", "f g.bin", "raw")
    ]
    assert found[0].uri == "https://h.example/set/a.bin?X-Amz-Credential=***&X-Amz-Signature=***&versionId=7"
    assert found[3].uri == "s3://bucket/data.csv"
    assert {one.sha256 for one in found} == {None}
    run.journal.close()
    kept = b"".join(path.read_bytes() for path in Path(run.folder).rglob("*") if path.is_file())
    assert b"s3kret" not in kept


def test_references_are_versioned_by_their_addresses(run: Run) -> None:
    given = ["s3://b/x?versionId=1", "s3://b/x?versionId=2", "s3://b/x?versionId=1"]
    assert [run.log_artifact(reference=uri, name="raw", type="dataset")[1] for uri in given] == [0, 1, 0]


@pytest.mark.parametrize(
    "uri",
    ["", "data.csv", "/data", "s3://", "://x", "s3:/b/x", "é://x", "1s://x", "java script://x", "s3://b/\n", "s3://b/x\x1b[0m",
     "s3://b/..", "s3://b/%2e%2e", "s3://b/%2e%2e%2fup", "s3://\udcff", "[x](s3://b)"],
)  # fmt: skip
def test_what_is_no_address_is_no_reference(run: Run, uri: str) -> None:
    refused(run, UsageError, "reference", lambda: run.log_artifact(reference=uri))


# ---- as they were, or in place


def test_what_was_logged_stays_as_it_was(run: Run, project: Path) -> None:
    Path("f.bin").write_bytes(b"as it was")
    run.log_artifact("f.bin")
    Path("f.bin").write_bytes(b"changed")
    assert content(run, "f.bin") == b"as it was"
    Path("f.bin").unlink()
    assert content(run, "f.bin") == b"as it was"


def test_without_a_snapshot_nothing_is_copied_and_a_change_is_noticed(run: Run, project: Path) -> None:
    Path("f.bin").write_bytes(b"as it was")
    run.log_artifact("f.bin", snapshot=False)
    assert not Path(run.folder, "blobs").exists()
    file = held.file_of(run.journal, run.id, "f.bin")
    assert file is not None
    assert file.local == str(project / "f.bin")
    assert blobs.trouble(file) is None
    Path("f.bin").write_bytes(b"AS IT WAS")
    assert "has changed since it was logged" in (blobs.trouble(file) or "")
    Path("f.bin").unlink()
    assert "is not there" in (blobs.trouble(file) or "")
    Path("f.bin").mkdir()
    assert "no longer a file" in (blobs.trouble(file) or "")


def test_without_a_snapshot_the_files_own_place_must_be_text(run: Run, project: Path) -> None:
    folder = project / "bad\udcff"
    folder.mkdir()
    (folder / "f.bin").write_bytes(b"x")
    run.log_artifact(folder / "f.bin")
    refused(run, UsageError, "not valid UTF-8", lambda: run.log_artifact(folder / "f.bin", snapshot=False))
