"""What only MLflow's backend promises of files and tables: paths, tags, pages, and what a failed upload is."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import stat
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from contract.mlflow_client import client, downloaded
from servers.mlflow_server import GARBAGE, HALF, NOTHING, FaultServer, MlflowServer, http_answer
from trk.backends import _mlflow_files, _mlflow_plotly
from trk.backends.mlflow import MlflowBackend
from trk.errors import (
    BackendError,
    BackendNeedsUser,
    BackendRefused,
    BackendUnavailable,
    NotFound,
    SourceUnavailable,
    UsageError,
)
from trk.records import Kind, LoggedFile, RemoteRun, Row, RunSpec, Status
from trk.testing import NOON, files, logged, metric, table
from trk.testing.content import png, series_path

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def server(mlflow_server: MlflowServer) -> MlflowServer:
    return mlflow_server


@pytest.fixture
def store(folder: Path) -> MlflowBackend:
    return MlflowBackend({"tracking_uri": f"sqlite:///{folder}/mlflow.db"})


@pytest.fixture
def uri(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


def spec(name: str, **changes: Any) -> RunSpec:
    given: dict[str, Any] = {"name": name, "experiment": f"of {name}", "start_ms": NOON}
    return RunSpec(run_id=f"id{name}", **given | changes)


def names(uri: str, run: RemoteRun, folder: str | None = None) -> list[str]:
    return [found.path for found in client(uri).list_artifacts(run.remote_id, folder)]


class Between(FaultServer):
    """Stands before a real server: an upload, listing or download that `fault` has an answer for gets that."""

    def __init__(self, server: MlflowServer, fault: Callable[[str, str], bytes | None] = lambda *_: None) -> None:
        super().__init__(upstream=f"127.0.0.1:{server.port}")
        self.fault = fault
        self.puts: list[str] = []

    def _carried(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        if method == "PUT":
            self.puts.append(path.rpartition("/artifacts/")[2])
        answer = self.fault(method, path)
        return super()._carried(method, path, body, headers) if answer is None else answer


# -- where files lie --------------------------------------------------------------------------------------------------


def test_a_file_in_a_folder_has_the_permissions_of_any_new_file(
    store: MlflowBackend, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "new").touch()
    usual = stat.S_IMODE((tmp_path / "new").stat().st_mode)
    run = store.open(spec("mode"))
    store.deliver(run, [files(1, Kind.FILE, "deep/data.bin", logged(tmp_path, "deep/data.bin", b"data"))])
    (found,) = folder.rglob("deep/data.bin")
    assert not found.is_symlink()
    assert stat.S_IMODE(found.stat().st_mode) == usual
    assert found.read_bytes() == b"data"


def test_what_a_page_was_before_is_kept_in_the_history(store: MlflowBackend, uri: str, tmp_path: Path) -> None:
    run = store.open(spec("history"))
    pages = [logged(tmp_path, "a.b/page.html", f"<p>{n}</p>".encode()) for n in range(3)]
    store.deliver(run, [files(1, Kind.HTML, "page", pages[0])])
    store.deliver(
        run,
        [
            files(2, Kind.HTML, "page", replace(pages[1], earlier=1, before=pages[0].local)),
            files(3, Kind.HTML, "page", replace(pages[2], earlier=2, before=pages[1].local)),
            files(4, Kind.FILE, "a.b/data", logged(tmp_path, "a.b/data", b"1")),
        ],
    )
    assert downloaded(uri, run.remote_id, "a.b/page.html") == b"<p>2</p>"
    assert names(uri, run, "trk/history") == ["trk/history/1", "trk/history/2"]
    assert downloaded(uri, run.remote_id, "trk/history/1/a.b/page.html") == b"<p>0</p>"
    assert downloaded(uri, run.remote_id, "trk/history/2/a.b/page.html") == b"<p>1</p>"
    record = store.get("idhistory")
    assert record is not None
    assert [found.path for found in store.artifacts(record)] == ["a.b/data", "a.b/page.html"]


def test_an_earlier_page_whose_bytes_are_gone_is_left_out_of_the_history(
    store: MlflowBackend, uri: str, tmp_path: Path
) -> None:
    run = store.open(spec("forgotten"))
    page = replace(logged(tmp_path, "page.html", b"<p>"), earlier=1, before=str(tmp_path / "gone"))
    store.deliver(run, [files(1, Kind.HTML, "page", page)])
    assert names(uri, run) == ["page.html"]


def test_a_reference_is_a_small_file_with_its_address(store: MlflowBackend, uri: str) -> None:
    run = store.open(spec("pointer"))
    long = "x" * 250
    pointers = (LoggedFile("data/v0/train", uri="s3://bucket/train", size=5), LoggedFile(long, uri="file:///y"))
    store.deliver(run, [files(1, Kind.ARTIFACT, "data", *pointers, type="dataset", version=0)])
    (pointer,) = (name for name in names(uri, run, "trk/references") if "/train-" in name)
    found = json.loads(downloaded(uri, run.remote_id, pointer) or b"")
    assert found == {"uri": "s3://bucket/train", "size": 5}
    store.deliver(run, [Row(2, Kind.STATUS, NOON, text="FINISHED", files=pointers)])
    record = store.get("idpointer")
    assert record is not None
    assert [(each.path, each.uri) for each in store.artifacts(record)] == [
        ("data/v0/train", "s3://bucket/train"),
        (long, "file:///y"),
    ]


def test_the_manifest_tells_every_file_with_its_hash_while_the_run_is_ended(
    store: MlflowBackend, uri: str, tmp_path: Path
) -> None:
    run, data = store.open(spec("manifest")), logged(tmp_path, "data.bin", b"data")
    digest = hashlib.sha256(b"data").hexdigest()
    store.deliver(run, [files(1, Kind.FILE, "data.bin", data)])
    store.deliver(run, [Row(2, Kind.STATUS, NOON, text="FINISHED", files=(data,))])
    manifest = json.loads(downloaded(uri, run.remote_id, "trk/manifest.json") or b"")
    assert manifest == {"version": 1, "files": [{"path": "data.bin", "size": 4, "sha256": digest}]}

    def told() -> str | None:
        record = store.get("idmanifest")
        assert record is not None
        (found,) = store.artifacts(record)
        return found.sha256

    assert told() == digest
    store.deliver(run, [Row(3, Kind.STATUS, NOON, text="RUNNING")])
    assert told() is None, "it may be another by now"


def test_a_run_without_files_has_no_manifest(store: MlflowBackend, uri: str) -> None:
    run = store.open(spec("bare"))
    store.deliver(run, [Row(1, Kind.STATUS, NOON, text="FINISHED")])
    assert names(uri, run) == []


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "null", '{"files": 7}', '{"files": [7]}', '{"files": [{"path": "../x"}, {"path": 7}]}', "[" * 100_000],
)
def test_a_manifest_that_is_somebody_elses_is_not_believed(store: MlflowBackend, content: str, tmp_path: Path) -> None:
    run = store.open(spec(f"odd{hashlib.sha256(content.encode()).hexdigest()[:8]}"))
    store.deliver(run, [files(1, Kind.FILE, "x", logged(tmp_path, "x", b"x"))])
    store.deliver(run, [files(2, Kind.FILE, "m", logged(tmp_path, "trk/manifest.json", content.encode()))])
    store.deliver(run, [Row(3, Kind.STATUS, NOON, text="FINISHED")])
    record = store.get(run.run_id)
    assert record is not None
    assert [(found.path, found.sha256) for found in store.artifacts(record)] == [("x", None)]


# -- tables -----------------------------------------------------------------------------------------------------------


def test_mlflows_own_load_table_reads_every_kind_of_cell(
    store: MlflowBackend, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas", reason="MLflow's own load_table needs it")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # it searches by this, whatever its client's address
    run = store.open(spec("cells"))
    columns = ["whole", "number", "text", "mixed", "nested", 'a "quoted", name: {x}', "größe 模型"]
    rows = [
        [2**63 - 1, 0.1 + 0.2, 'ü ✓\n"x"', None, {"k": [1, None, math.nan]}, True, "模"],
        [-(2**63), math.nan, "", "x", [1, [2]], False, "型"],
        [0, math.inf, "  ", 1.5, [], True, ""],
        [7, -math.inf, "007", -3, {}, False, "7"],
    ]
    store.deliver(run, [table(1, "deep er/cells ü", columns, rows)])
    found = client(uri).load_table(run.experiment_id, "deep er/cells ü.json", [run.remote_id])
    assert list(found.columns) == columns
    assert found["whole"].tolist() == [row[0] for row in rows]
    numbers = found["number"].tolist()
    assert math.isnan(numbers[1])
    assert (numbers[0], numbers[2:]) == (pytest.approx(0.1 + 0.2, rel=1e-15), [math.inf, -math.inf])
    assert found["mixed"].tolist()[1:] == ["x", 1.5, -3]
    assert found["mixed"].isna().tolist() == [True, False, False, False]
    assert found["nested"].tolist() == [{"k": [1, None, None]}, [1, [2]], [], {}]
    assert found[columns[5]].tolist() == [True, False, True, False]
    assert found[columns[6]].tolist() == ["模", "型", "", "7"]
    assert found["text"].tolist()[:2] == ['ü ✓\n"x"', ""]


def test_tables_are_listed_in_mlflows_own_tag_beside_what_is_there(
    store: MlflowBackend, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas", reason="MLflow's own log_table needs it")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # load_table searches by this, whatever its client's address
    run = store.open(spec("listed"))
    client(uri).log_table(run.remote_id, pandas.DataFrame({"a": [1]}), "own.json")
    for n, name in enumerate(("first", "second", "first"), 1):
        store.deliver(run, [table(n, name, ["n"], [[n]])])
    client(uri).log_table(run.remote_id, pandas.DataFrame({"n": [9]}), "second.json")
    tag = client(uri).get_run(run.remote_id).data.tags["mlflow.loggedArtifacts"]
    assert json.loads(tag) == [{"path": f"{name}.json", "type": "table"} for name in ("own", "first", "second")]
    assert client(uri).load_table(run.experiment_id, "second.json", [run.remote_id])["n"].tolist() == [2, 9]
    record = store.get("idlisted")
    assert record is not None
    assert record.tags == {}, "how MLflow's page finds tables is no tag of the user's"
    assert {found.kind for found in store.artifacts(record)} == {"table"}


def test_a_table_too_many_for_mlflows_list_is_there_all_the_same(store: MlflowBackend, uri: str) -> None:
    run = store.open(spec("full"))
    entries = [{"path": f"{n:0200d}.json", "type": "table"} for n in range(33)]
    client(uri).set_tag(run.remote_id, "mlflow.loggedArtifacts", json.dumps(entries))
    store.deliver(run, [table(1, "n" * 200, ["n"], [[1]])])
    assert json.loads(client(uri).get_run(run.remote_id).data.tags["mlflow.loggedArtifacts"]) == entries
    client(uri).set_tag(run.remote_id, "mlflow.loggedArtifacts", "mine")
    store.deliver(run, [table(2, "t", ["n"], [[1]])])
    assert client(uri).get_run(run.remote_id).data.tags["mlflow.loggedArtifacts"] == "mine"
    assert names(uri, run) == [f"{'n' * 200}.json", "t.json"]


# -- pictures ---------------------------------------------------------------------------------------------------------


def picture(ending: str) -> bytes:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    kept = io.BytesIO()
    image.new("RGB", (600, 300), (200, 30, 40)).save(kept, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()))
    return kept.getvalue()


@pytest.mark.parametrize("ending", ["png", "webp", "jpg", "gif", "bmp", "tif"])
def test_an_image_of_a_series_is_shown_by_mlflows_page(
    store: MlflowBackend, uri: str, tmp_path: Path, ending: str
) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    run, content = store.open(spec(f"series{ending}")), picture(ending)
    own = logged(tmp_path, series_path("val/x", 3, f".{ending}"), content)
    store.deliver(run, [files(1, Kind.IMAGE, "val/x", own, step=3)])
    stem = own.path.rpartition(".")[0]
    expected = {own.path, f"{stem}+compressed.webp"} | ({f"{stem}.png"} if ending not in ("png", "webp") else set())
    assert set(names(uri, run, "images")) == expected
    assert downloaded(uri, run.remote_id, own.path) == content
    small = image.open(io.BytesIO(downloaded(uri, run.remote_id, f"{stem}+compressed.webp") or b""))
    assert (small.size, small.format) == ((256, 128), "WEBP")
    if ending != "webp":
        shown = image.open(io.BytesIO(downloaded(uri, run.remote_id, f"{stem}.png") or b""))
        assert (shown.size, shown.format) == ((600, 300), "PNG")
    assert client(uri).get_run(run.remote_id).data.tags["mlflow.loggedImages"] == "True", "as MLflow sets it"
    record = store.get(run.run_id)
    assert record is not None
    assert [(found.path, found.kind, found.name, found.step) for found in store.artifacts(record)] == [
        (own.path, "image", "val/x", 3)
    ]


def test_mlflows_own_images_of_a_series_look_the_same(store: MlflowBackend, uri: str, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    run = store.open(spec("alike"))
    with image.new("RGB", (600, 300)) as drawn:
        client(uri).log_image(run.remote_id, drawn, key="val/x", step=3, timestamp=NOON)
    theirs = names(uri, run, "images")
    ours = [series_path("val/x", 3), series_path("val/x", 3).removesuffix(".png") + "+compressed.webp"]
    blank = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4,12}){4}")
    assert sorted(blank.sub("", path) for path in theirs) == sorted(blank.sub("", path) for path in ours)
    record = store.get("idalike")
    assert record is not None
    assert [(found.kind, found.name, found.step) for found in store.artifacts(record)] == [("image", "val/x", 3)]


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n damaged", png(3)[:45], b"<svg xmlns='http://x'/>"])
def test_an_image_that_pillow_cannot_read_is_put_as_it_is(
    store: MlflowBackend, uri: str, tmp_path: Path, content: bytes
) -> None:
    run = store.open(spec(f"damaged{len(content)}"))
    own = logged(tmp_path, series_path("x", 1, ".svg" if b"svg" in content else ".png"), content)
    store.deliver(run, [files(1, Kind.IMAGE, "x", own, step=1)])
    assert names(uri, run, "images") == [own.path]


def test_without_pillow_an_image_is_put_as_it_is(
    store: MlflowBackend, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    run, own = store.open(spec("pillowless")), logged(tmp_path, series_path("x", 1), png(3))
    store.deliver(run, [files(1, Kind.IMAGE, "x", own, step=1)])
    assert names(uri, run, "images") == [own.path]


def test_a_series_name_of_greatest_length_is_put_without_the_small_one(
    store: MlflowBackend, uri: str, tmp_path: Path
) -> None:
    run = store.open(spec("longseries"))
    path = series_path("k" * (250 - len(series_path("", 1)) + len("images/")), 1)
    assert len(path) == 250 + len("images/")
    store.deliver(run, [files(1, Kind.IMAGE, "x", logged(tmp_path, path, png(3)), step=1)])
    assert names(uri, run, "images") == [path]


# -- figures ----------------------------------------------------------------------------------------------------------

FIGURE = {
    "data": [{"type": "bar", "y": [1, None], "name": "</script><script>alert(1)</script> \u2028 & <!--"}],
    "layout": {"title": {"text": "ü"}},
}


def page_of(store: MlflowBackend, uri: str, here: Path, name: str, content: bytes) -> str | None:
    run = store.open(spec(name))
    store.deliver(run, [files(1, Kind.FIGURE, "roc", logged(here, "deep/roc.json", content))])
    assert downloaded(uri, run.remote_id, "deep/roc.json") == content
    record = store.get(run.run_id)
    assert record is not None
    assert [found.path for found in store.artifacts(record)] == ["deep/roc.json"]
    pages = [path for path in names(uri, run, "trk/pages") if "/roc-" in path]
    return (downloaded(uri, run.remote_id, pages[0]) or b"").decode() if pages else None


def test_a_figure_in_plotlys_json_gets_a_page_that_shows_it(
    store: MlflowBackend, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "plotly.io", None)
    page = page_of(store, uri, tmp_path, "figure", json.dumps(FIGURE).replace("null", "NaN").encode())
    assert page is not None
    assert page.count("<script") == page.count("</script>") == 3, "nothing of the figure ends the script"
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == FIGURE
    assert "\u2028" not in page
    assert re.search(r'src="https://cdn\.plot\.ly/plotly-[\d.]+\.min\.js" integrity="sha256-', page)
    assert "could not be loaded" in page


def test_where_plotly_is_installed_the_page_needs_nothing_else(store: MlflowBackend, uri: str, tmp_path: Path) -> None:
    pytest.importorskip("plotly.io", reason="plotly is not installed")
    page = page_of(store, uri, tmp_path, "wholefigure", json.dumps(FIGURE).encode())
    assert page is not None
    assert len(page) > 1_000_000
    assert "</script><script>alert(1)" not in page
    assert not re.search(r"<script[^>]*\ssrc=", page)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"data": 7}', b"\xff\xfe", b"[" * 100_000])
def test_json_that_is_no_figure_of_plotlys_gets_no_page(
    store: MlflowBackend, uri: str, tmp_path: Path, content: bytes
) -> None:
    assert page_of(store, uri, tmp_path, f"nofigure{content[:9].hex()}", content) is None


def test_the_page_of_an_odd_name_shows_it_as_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(json.dumps(FIGURE))
    page = _mlflow_plotly._PAGE and _mlflow_plotly.page(tmp_path / "x", "<b>&.json")
    assert page is None or "<b>&" not in page


# -- when an upload fails ---------------------------------------------------------------------------------------------

UPLOADS = [
    ("closed at once", NOTHING, BackendUnavailable, "connection broke"),
    ("no HTTP", GARBAGE, BackendUnavailable, "connection broke"),
    ("half an answer", HALF, BackendUnavailable, "connection broke"),
    ("a login page", http_answer(200, "<html>Please log in</html>"), BackendUnavailable, "not MLflow's"),
    ("a way to a login page", http_answer(302, "", Location="/health"), BackendUnavailable, "not MLflow's"),
    ("500", http_answer(500, '{"error_code": "INTERNAL_ERROR", "message": "bucket"}'), BackendUnavailable, "bucket"),
    ("503", http_answer(503), BackendUnavailable, "503"),
    ("413", http_answer(413, "<html>nginx</html>"), BackendRefused, "too large"),
    ("401", http_answer(401), BackendNeedsUser, "credentials"),
    ("403", http_answer(403), BackendNeedsUser, "denies"),
    ("404", http_answer(404, "<html>"), BackendNeedsUser, "no MLflow server"),
    ("400 of MLflow", http_answer(400, '{"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid path"}'),
     BackendRefused, "Invalid path"),
    ("400 of a proxy", http_answer(400, "<html>"), BackendUnavailable, "in between"),
    ("no artifacts", http_answer(503, "Endpoint disabled: the server runs with `--no-serve-artifacts`."),
     BackendNeedsUser, "takes no artifacts"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "kind", "says"), [case[1:] for case in UPLOADS], ids=[case[0] for case in UPLOADS])
def test_an_answer_to_an_upload_is_classified(
    server: MlflowServer, tmp_path: Path, answer: bytes, kind: type[BackendError], says: str
) -> None:
    with Between(server, lambda method, _: answer if method == "PUT" else None) as between:
        backend = MlflowBackend({"tracking_uri": between.url})
        run = backend.open(spec("answers"))
        row = files(1, Kind.FILE, "x.bin", logged(tmp_path, "x.bin", b"x"))
        with pytest.raises(BackendError) as caught:
            backend.deliver(run, [row])
        assert type(caught.value) is kind
        assert says in caught.value.message
        assert between.puts == ["x.bin"], "it was put more than once"
        between.fault = lambda *_: None
        backend.deliver(run, [row])
    assert downloaded(server.url, run.remote_id, "x.bin") == b"x"


def test_a_server_that_asks_to_wait_is_heard(server: MlflowServer, tmp_path: Path) -> None:
    answer = http_answer(429, "", Retry_After="7")
    with Between(server, lambda method, _: answer if method == "PUT" else None) as between:
        backend = MlflowBackend({"tracking_uri": between.url})
        with pytest.raises(BackendUnavailable) as caught:
            backend.deliver(backend.open(spec("slow")), [files(1, Kind.FILE, "x", logged(tmp_path, "x", b"x"))])
    assert caught.value.retry_after == 7


def test_silence_after_an_upload_is_passing(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = threading.Event()

    def hold(method: str, path: str) -> bytes | None:
        if method == "PUT":
            waiting.wait(10)
        return None

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with Between(server, hold) as between:
        backend = MlflowBackend({"tracking_uri": between.url})
        run = backend.open(spec("silent"))
        with pytest.raises(BackendUnavailable, match="in time"):
            backend.deliver(run, [files(1, Kind.FILE, "x", logged(tmp_path, "x", b"x"))])
        waiting.set()


def test_what_was_put_is_not_put_again_when_the_rest_is_tried_again(server: MlflowServer, tmp_path: Path) -> None:
    failing = True

    def last(method: str, path: str) -> bytes | None:
        return http_answer(502) if failing and method == "PUT" and path.endswith("/f15") else None

    with Between(server, last) as between:
        backend = MlflowBackend({"tracking_uri": between.url})
        run = backend.open(spec("again"))
        given = [logged(tmp_path, f"f{n:02d}", b"%d" % n) for n in range(16)]
        row = files(1, Kind.ARTIFACT, "many", *given, type="folder", version=0)
        with pytest.raises(BackendUnavailable):
            backend.deliver(run, [row])
        failing = False
        backend.deliver(run, [row])
        assert sorted(between.puts) == sorted([*(f"f{n:02d}" for n in range(16)), "f15"])
        between.puts.clear()
        backend.deliver(run, [row])
        assert len(between.puts) == 16, "later, somebody else may have put something there"
    assert all(downloaded(server.url, run.remote_id, f"f{n:02d}") == b"%d" % n for n in range(16))


def test_an_upload_that_was_answered_and_lost_is_noticed(server: MlflowServer, tmp_path: Path) -> None:
    swallowing = True
    with Between(server, lambda method, _: http_answer(200) if swallowing and method == "PUT" else None) as between:
        backend = MlflowBackend({"tracking_uri": between.url})
        run = backend.open(spec("swallowed"))
        row = files(1, Kind.FILE, "a/x", logged(tmp_path, "a/x", b"x"))
        with pytest.raises(BackendUnavailable, match="it took 'a/x', and does not have it"):
            backend.deliver(run, [row])
        swallowing = False
        backend.deliver(run, [row])
    assert downloaded(server.url, run.remote_id, "a/x") == b"x"


def test_a_file_without_a_snapshot_that_changed_between_two_tries_is_refused(
    server: MlflowServer, tmp_path: Path
) -> None:
    failing = True
    with Between(server, lambda method, _: http_answer(503) if failing and method == "PUT" else None) as between:
        backend = MlflowBackend({"tracking_uri": between.url})
        run = backend.open(spec("changed"))
        place = tmp_path / "big"
        place.write_bytes(b"AAAA")
        state = place.stat()
        digest = hashlib.sha256(b"AAAA").hexdigest()
        row = files(1, Kind.FILE, "big", LoggedFile("big", 4, digest, str(place), state.st_mtime_ns))
        with pytest.raises(BackendUnavailable):
            backend.deliver(run, [row])
        failing = False
        place.write_bytes(b"BBBB")
        os.utime(place, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
        with pytest.raises(BackendRefused, match="has changed since it was logged"):
            backend.deliver(run, [row])
        assert downloaded(server.url, run.remote_id, "big") is None
        place.write_bytes(b"AAAA")  # touched, and the same again
        backend.deliver(run, [row])
    assert downloaded(server.url, run.remote_id, "big") == b"AAAA"


def test_a_path_that_something_else_has_in_the_store_is_refused(store: MlflowBackend, uri: str, tmp_path: Path) -> None:
    run = store.open(spec("taken"))
    client(uri).log_text(run.remote_id, "x", "folder/x.txt")
    for path in ("folder", "folder/x.txt/y"):
        row = files(1, Kind.FILE, path, logged(tmp_path, path, b"y"))
        with pytest.raises(BackendRefused, match="something else is there"):
            store.deliver(run, [row])
    store.deliver(run, [metric(2, "f1", 0.5, 1)])


def test_a_file_that_changes_on_its_way_is_refused(server: MlflowServer, tmp_path: Path) -> None:
    own = logged(tmp_path, "x.csv", b"a,b\n")
    local = Path(str(own.local))

    def change(method: str, path: str) -> bytes | None:
        if method == "PUT":
            local.write_bytes(b"a,b\n1,2\n")
        return None

    with Between(server, change) as between:
        backend = MlflowBackend({"tracking_uri": between.url})
        run = backend.open(spec("changing"))
        with pytest.raises(BackendRefused, match="changed while"):
            backend.deliver(run, [files(1, Kind.FILE, "x.csv", replace(own, changed_ns=local.stat().st_mtime_ns))])


def test_a_large_file_goes_in_parts_where_the_server_says_so_and_whole_elsewhere(
    server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "1000")
    backend = MlflowBackend({"tracking_uri": server.url})
    run = backend.open(spec("parts"))
    given = [logged(tmp_path, f"{n}.bin", bytes([n]) * 5000) for n in range(3)]
    backend.deliver(run, [files(1, Kind.ARTIFACT, "parts", *given, type="folder", version=0)])
    assert all(downloaded(server.url, run.remote_id, f"{n}.bin") == bytes([n]) * 5000 for n in range(3))
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_the_threads_of_an_upload_do_not_hold_up_the_end_of_the_program() -> None:
    seen: list[bool] = []
    _mlflow_files.each(lambda _: seen.append(threading.current_thread().daemon), range(8), 4)
    assert seen == [True] * 8
    with pytest.raises(ZeroDivisionError):
        _mlflow_files.each(lambda n: 1 // n, [1, 0, 2], 4)


# -- where artifacts go -----------------------------------------------------------------------------------------------


def elsewhere(uri: str, name: str, location: str) -> tuple[MlflowBackend, RemoteRun]:
    """A run of an experiment whose artifacts go to this address."""
    client(uri).create_experiment(f"of {name}", artifact_location=location)
    backend = MlflowBackend({"tracking_uri": uri})
    return backend, backend.open(spec(name))


@pytest.mark.parametrize(
    ("name", "location", "says", "hint"),
    [
        ("proxied", "mlflow-artifacts:/x", "through an MLflow server", "MLFLOW_TRACKING_URI"),
        ("sftp", "sftp://host/x", "package is missing", "pip install "),
        ("odd", "gopher://host/x", "reaches its artifact store", None),
        ("unwritable", "/proc/nothing/x", "No such file", None),
    ],
)
def test_an_artifact_store_that_needs_the_user_says_what_is_missing(
    store: MlflowBackend, uri: str, tmp_path: Path, name: str, location: str, says: str, hint: str | None
) -> None:
    store.open(spec("first"))  # the database is made
    backend, run = elsewhere(uri, name, location)
    with pytest.raises(BackendError) as caught:
        backend.deliver(run, [files(1, Kind.FILE, "x", logged(tmp_path, "x", b"x"))])
    assert says in caught.value.message
    assert hint is None or hint in str(caught.value.hint)
    assert name == "unwritable" or type(caught.value) is BackendNeedsUser


def test_s3_without_its_package_names_the_package(store: MlflowBackend, uri: str, tmp_path: Path) -> None:
    if find_spec("boto3") is not None:
        pytest.skip("boto3 is installed here")
    store.open(spec("first"))
    backend, run = elsewhere(uri, "s3", "s3://bucket/x")
    with pytest.raises(BackendNeedsUser) as caught:
        backend.deliver(run, [files(1, Kind.FILE, "x", logged(tmp_path, "x", b"x"))])
    assert "pip install boto3" in str(caught.value.hint)


def test_artifacts_in_a_folder_of_the_servers_own_machine_need_a_server_that_serves_them(
    server: MlflowServer, tmp_path: Path
) -> None:
    backend, run = elsewhere(server.url, "folder", str(tmp_path / "served"))
    row = files(1, Kind.FILE, "deep/x", logged(tmp_path, "deep/x", b"x"))
    backend.deliver(run, [row])  # this machine is the server's
    assert downloaded(server.url, run.remote_id, "deep/x") == b"x"

    nothing = http_answer(200, '{"root_uri": "/x"}', Content_Type="application/json")
    with Between(server, lambda _, path: nothing if "/artifacts/list" in path else None) as between:
        far = MlflowBackend({"tracking_uri": between.url})
        with pytest.raises(BackendNeedsUser, match="of its own machine") as caught:
            far.deliver(run, [row])
        assert "--serve-artifacts" in str(caught.value.hint)


def test_a_folder_of_the_servers_that_can_not_be_made_here_needs_the_user(server: MlflowServer, tmp_path: Path) -> None:
    backend, run = elsewhere(server.url, "nowhere", "/proc/nothing/x")
    with pytest.raises(BackendNeedsUser, match="of its own machine") as caught:
        backend.deliver(run, [files(1, Kind.FILE, "x", logged(tmp_path, "x", b"x"))])
    assert "--serve-artifacts" in str(caught.value.hint)


def test_a_full_disk_of_the_store_is_passing(mounted: Callable[..., Path], tmp_path: Path) -> None:
    disk = mounted("size=64k")
    target = {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db", "artifact_root": str(disk)}
    backend = MlflowBackend(target)
    run = backend.open(spec("fulldisk"))
    with pytest.raises(BackendUnavailable, match="no space left"):
        backend.deliver(run, [files(1, Kind.FILE, "x", logged(tmp_path, "x", b"x" * 100_000))])
    assert [found for found in disk.rglob("*") if found.is_file()] == []
    backend.deliver(run, [files(1, Kind.FILE, "x", logged(tmp_path, "x", b"x" * 1000))])


def test_a_full_disk_on_the_way_of_a_table_is_passing(
    store: MlflowBackend, mounted: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.open(spec("fulltmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(mounted("size=64k")))
    with pytest.raises(BackendUnavailable, match="No space left") as caught:
        store.deliver(run, [table(1, "t", ["text"], [["x" * 1000]] * 200)])
    assert "TMPDIR" in str(caught.value.hint)


# -- as a source ------------------------------------------------------------------------------------------------------

HOSTILE = [
    {"path": "../../escaped", "is_dir": False, "file_size": 3},
    {"path": "/etc/passwd", "is_dir": False},
    {"path": "a/b", "is_dir": False},
    {"path": "", "is_dir": True},
    {"path": ".", "is_dir": True},
    {"path": "..", "is_dir": True},
    {"path": "\ud800", "is_dir": False},
    {"path": "loop", "is_dir": True},
    {"path": "fine", "is_dir": False, "file_size": "7"},
]


def test_what_a_hostile_server_lists_stays_inside_the_run(server: MlflowServer, tmp_path: Path) -> None:
    backend = MlflowBackend({"tracking_uri": server.url})
    run = backend.open(spec("hostile"))
    backend.deliver(run, [metric(1, "f1", 0.5)])

    def lie(method: str, path: str) -> bytes | None:
        if "/mlflow-artifacts/artifacts?" in path and path.count("loop") < 3:
            return http_answer(200, json.dumps({"files": HOSTILE}), Content_Type="application/json")
        return http_answer(200, '{"files": []}') if "/mlflow-artifacts/artifacts?" in path else None

    with Between(server, lie) as between:
        far = MlflowBackend({"tracking_uri": between.url})
        record = far.get("idhostile")
        assert record is not None
        found = [(each.path, each.size) for each in far.artifacts(record)]
        assert found == [("fine", 7), ("loop/fine", 7), ("loop/loop/fine", 7)]
        for path in ("../../escaped", "/etc/passwd", "..", "loop/../../x"):
            with pytest.raises(NotFound):
                far.fetch(record, path, str(tmp_path / "to"))
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    "answer", [NOTHING, GARBAGE, HALF, http_answer(500), http_answer(200, "[]"), http_answer(200, "<html>"),
               http_answer(200, '{"files": [{"path": 7}]}'), http_answer(401)],
)  # fmt: skip
def test_a_listing_that_fails_says_that_the_source_does(server: MlflowServer, answer: bytes) -> None:
    with Between(server) as between:
        backend = MlflowBackend({"tracking_uri": between.url})
        run = backend.open(spec("listing"))
        record = backend.get(run.run_id)
        assert record is not None
        between.fault = lambda _, path: answer if "/mlflow-artifacts/artifacts?" in path else None
        with pytest.raises(SourceUnavailable) as caught:
            backend.artifacts(record)
        assert caught.value.hint == "--source local"


@pytest.mark.parametrize(
    "answer", [NOTHING, http_answer(500), http_answer(200, "half", Content_Length="50"),
               http_answer(302, "", Location="/health")],
)  # fmt: skip
def test_a_download_that_fails_leaves_what_was_there(server: MlflowServer, tmp_path: Path, answer: bytes) -> None:
    with Between(server) as between:
        backend = MlflowBackend({"tracking_uri": between.url})
        run = backend.open(spec("download"))
        backend.deliver(run, [files(1, Kind.FILE, "x.bin", logged(tmp_path, "x.bin", b"x"))])
        record = backend.get(run.run_id)
        assert record is not None
        between.fault = lambda _, path: answer if path.endswith("x.bin") else None
        (tmp_path / "here").mkdir()
        target = tmp_path / "here/x.bin"
        target.write_bytes(b"before")
        with pytest.raises(SourceUnavailable):
            backend.fetch(record, "x.bin", str(target))
        assert [(each.name, each.read_bytes()) for each in target.parent.iterdir()] == [("x.bin", b"before")]
        between.fault = lambda *_: None
        backend.fetch(record, "x.bin", str(target))
        assert target.read_bytes() == b"x"


def test_a_target_that_can_not_be_written_is_the_callers_matter(store: MlflowBackend, tmp_path: Path) -> None:
    run = store.open(spec("target"))
    store.deliver(run, [files(1, Kind.FILE, "x", logged(tmp_path, "x", b"x"))])
    record = store.get(run.run_id)
    assert record is not None
    for to in (tmp_path, tmp_path / "nothing" / "x"):
        with pytest.raises(UsageError, match="can't be written"):
            store.fetch(record, "x", str(to))


def test_files_that_trk_did_not_put_are_listed_too(store: MlflowBackend, uri: str, tmp_path: Path) -> None:
    store.open(spec("first"))
    experiment = client(uri).create_experiment("of others")
    run = client(uri).create_run(experiment)
    client(uri).log_text(run.info.run_id, "x", "deep/er/notes.txt")
    client(uri).log_text(run.info.run_id, "{}", "figure.plotly.html")
    record = store.get(run.info.run_id)
    assert record is not None
    assert [(found.path, found.kind, found.size) for found in store.artifacts(record)] == [
        ("deep/er/notes.txt", "file", 1),
        ("figure.plotly.html", "file", 2),
    ]
    store.fetch(record, "deep/er/notes.txt", str(tmp_path / "notes"))
    assert (tmp_path / "notes").read_text() == "x"
    assert record.status is Status.RUNNING
