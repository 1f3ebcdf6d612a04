"""What the journal answers, and that no answer scans it."""

import math

import pytest

from helpers import new_run
from trk.journal import cursors, read, write
from trk.journal.db import Journal
from trk.records import Rejection


def plan(journal: Journal, sql: str, marks: int) -> str:
    """How SQLite means to carry a query out; `sql` as in the source."""
    return "; ".join(row[3] for row in journal.read("EXPLAIN QUERY PLAN " + sql, [1] * marks))


def asked(journal: Journal, question) -> list[tuple[str, tuple]]:
    """The queries that a function asks."""
    seen = []

    class Watched:
        def read(self, sql, arguments=()):
            seen.append((sql, tuple(arguments)))
            return journal.read(sql, arguments)

    question(Watched())
    return seen


@pytest.mark.parametrize(
    ("sql", "marks", "key"),
    [
        (write._FIND, 1, "rows USING PRIMARY KEY (run=?)"),
        (write._LIVE, 2, "USING PRIMARY KEY (run=? AND key=?)"),
        (write._NEXT, 11, "USING PRIMARY KEY (run=? AND key=?)"),
    ],
)
def test_an_append_finds_its_place_by_key(journal: Journal, sql: str, marks: int, key: str) -> None:
    found = plan(journal, sql, marks)
    assert key in found
    assert "SCAN" not in found


QUESTIONS = {
    "rows_after": (lambda j: read.rows_after(j, 1, 5, 10), "USING PRIMARY KEY (run=? AND n>?)"),
    "points": (lambda j: read.points(j, "x" * 26, "m"), "run_id=?"),
    "scores": (lambda j: read.scores(j, "m", None), "USING INDEX metrics_by_key (key=?)"),
    "scores of an experiment": (lambda j: read.scores(j, "m", "e"), "USING INDEX metrics_by_key (key=?)"),
    "a metric for a filter": (lambda j: read.field_values(j, [("metric", "m")], None), "metrics_by_key (key=?)"),
    "at_step": (lambda j: read.at_step(j, 1, 5), "USING PRIMARY KEY (run=?)"),
    "run_key": (lambda j: read.run_key(j, "x"), "run_id=?"),
    "record": (lambda j: read.deliveries_of(j, [1]), "USING PRIMARY KEY (run=?)"),
    "parent": (lambda j: cursors.parent(j, 1, "mlflow"), "SEARCH c USING INTEGER PRIMARY KEY"),
    "cursor": (lambda j: cursors.cursor(j, 1, "mlflow"), "USING PRIMARY KEY (run=? AND backend=?)"),
}


@pytest.mark.parametrize(("question", "key"), QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_is_answered_by_key_and_no_row_is_scanned(journal: Journal, question, key: str) -> None:
    for sql, arguments in asked(journal, question):
        found = "; ".join(row[3] for row in journal.read("EXPLAIN QUERY PLAN " + sql, arguments))
        assert key in found
        assert "SCAN" not in found


def test_what_is_pending_is_found_without_a_scan_of_the_rows(journal: Journal) -> None:
    ((sql, arguments),) = asked(journal, cursors.pending)
    found = [row[3] for row in journal.read("EXPLAIN QUERY PLAN " + sql, arguments)]
    assert not any(step.startswith("SCAN rows") for step in found)


def test_a_large_run_is_read_in_pages(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(journal)
    for n in range(25):
        write.metrics(journal, run, {"m": float(n)} if n % 2 else {"m": float(n), "o": 1.0}, None, 5)
        write.metrics(journal, run, {"other": 1.0}, None, 5)
    monkeypatch.setattr(read, "PAGE", 7)
    assert [point.value for point in read.points(journal, run, "m")] == [float(n) for n in range(25)]
    assert [point.step for point in read.points(journal, run, "m")] == list(range(25))


def test_points_come_by_step_then_time_then_value(journal: Journal) -> None:
    run = new_run(journal)
    for step, time_ms, value in [(2, 5, 1.0), (1, 9, 3.0), (1, 8, 4.0), (1, 9, 2.0), (-1, 9, math.nan)]:
        write.metrics(journal, run, {"m": value}, step, time_ms)
    found = [(p.step, p.time_ms, p.value) for p in read.points(journal, run, "m")]
    assert found[1:] == [(1, 8, 4.0), (1, 9, 2.0), (1, 9, 3.0), (2, 5, 1.0)]
    assert found[0][0] == -1


def test_a_metric_is_not_taken_for_another_that_ends_like_it(journal: Journal) -> None:
    run = new_run(journal)
    write.metrics(journal, run, {"val/loss": 1.0, "xloss": 2.0}, 0, 5)
    assert read.points(journal, run, "loss") == []
    assert [p.value for p in read.points(journal, run, "xloss")] == [2.0]


def test_there_are_no_points_of_what_is_not_there(journal: Journal) -> None:
    assert read.points(journal, "x" * 26, "m") == []
    assert read.points(journal, new_run(journal), "m") == []
    assert read.record(journal, "x" * 26) is None
    assert read.run_settings(journal, "x" * 26) is None
    assert read.records_of(journal, []) == []
    assert list(read.records(journal, "nothing")) == []


def test_runs_come_newest_first(journal: Journal) -> None:
    old, new = new_run(journal, start_time=1), new_run(journal, start_time=2)
    new_run(journal, experiment="other", start_time=3)
    assert [record.run_id for record in read.records(journal, "tests")] == [new, old]
    assert len(list(read.records(journal))) == 3
    assert read.count_runs(journal, None) == 3
    assert read.count_runs(journal, "tests") == 2


def test_more_runs_than_a_page_come_all(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "RUNS_PAGE", 3)
    runs = [new_run(journal, start_time=at) for at in range(8)]
    assert [record.run_id for record in read.records(journal)] == runs[::-1]


def test_scores_leave_out_what_is_not_finite(journal: Journal) -> None:
    run, hopeless = new_run(journal), new_run(journal)
    for value in (0.5, math.nan, math.inf, 0.9, 0.9, -math.inf, 0.1):
        write.metrics(journal, run, {"m": value}, None, 5)
    write.metrics(journal, hopeless, {"m": math.nan}, None, 5)
    found = {score[1]: score[4:] for score in read.scores(journal, "m", None)}
    assert found[run] == (0.1, 6, 0.1, 6, 0.9, 3)
    assert found[hopeless][2:] == (None, None, None, None)


def test_the_latest_point_of_a_step_counts_at_that_step(journal: Journal) -> None:
    run = new_run(journal)
    write.metrics(journal, run, {"a": 1.0, "b": 5.0}, 3, 10)
    write.metrics(journal, run, {"a": 2.0}, 3, 9)
    write.metrics(journal, run, {"c": 2.0}, 4, 9)
    assert read.at_step(journal, read.run_key(journal, run), 3) == {"a": 1.0, "b": 5.0}


def test_directions_that_experiments_disagree_on_are_not_told_for_all(journal: Journal) -> None:
    one, other = new_run(journal, experiment="one"), new_run(journal, experiment="other")
    for run, mode in ((one, "max"), (other, "min")):
        write.define(journal, run, "m", mode, None, 5)
        write.define(journal, run, "agreed", "max", None, 5)
    assert read.modes(journal, "other") == {"m": "min", "agreed": "max"}


def delivered_to(journal: Journal, *backends: str) -> str:
    run_id = "r" * 26
    fields = {"name": "a", "experiment": "e", "start_time": 1}
    write.create_run(journal, run_id, fields, dict.fromkeys(backends, "{}"), {}, {})
    return run_id


def test_counts_of_a_delivery_always_add_up(journal: Journal) -> None:
    run_id = delivered_to(journal, "one", "two")
    for _ in range(10):
        write.metrics(journal, run_id, {"m": 1.0}, None, 5)
    run = read.run_key(journal, run_id)
    cursors.advance(journal, run, "one", 6, [Rejection(2, "metric", "m", "bad")], [Rejection(3, "metric", "m", "no")])
    found = read.deliveries_of(journal, [run])[run]
    one, two = found["one"], found["two"]
    assert (one.logged, one.delivered, one.pending, one.rejected, one.skipped) == (10, 4, 4, 1, 1)
    assert one.rejections == (Rejection(2, "metric", "m", "bad"),)
    assert (two.logged, two.delivered, two.pending) == (10, 0, 10)


def test_a_cursor_never_goes_back(journal: Journal) -> None:
    run_id = delivered_to(journal, "one")
    for _ in range(5):
        write.metrics(journal, run_id, {"m": 1.0}, None, 5)
    run = read.run_key(journal, run_id)
    cursors.opened(journal, run, "one", "remote", "http://x")
    cursors.advance(journal, run, "one", 5, [], [])
    cursors.advance(journal, run, "one", 3, [], [])
    assert cursors.cursor(journal, run, "one") == 5
    assert cursors.pending(journal) == []


def test_a_run_that_was_never_opened_at_its_backend_is_pending(journal: Journal) -> None:
    run_id = delivered_to(journal, "one")
    (waiting,) = cursors.pending(journal)
    assert (waiting.run_id, waiting.backend, waiting.logged) == (run_id, "one", 0)
    assert cursors.pending(journal, [run_id], ["two"]) == []
    assert cursors.pending(journal, ["other"]) == []
