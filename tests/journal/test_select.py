"""Which run is meant: by id, prefix, name, `@last`."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import new_run
from trk.errors import NotFound, TrkError, UsageError
from trk.journal import write
from trk.journal.db import Journal
from trk.journal.select import is_run_id, resolve


def test_a_run_is_found_by_id_prefix_and_name(journal: Journal) -> None:
    run = new_run(journal, "first try")
    assert resolve(journal, run) == run
    assert resolve(journal, run[:12]) == run
    assert resolve(journal, "first try") == run


def test_an_id_wins_over_a_prefix_and_a_prefix_over_a_name(journal: Journal) -> None:
    run = new_run(journal)
    namesake = new_run(journal, run)
    assert resolve(journal, run) == run
    assert resolve(journal, namesake) == namesake
    prefixed = new_run(journal, run[:24])
    assert resolve(journal, run[:24]) == run != prefixed


def test_three_characters_are_no_prefix(journal: Journal) -> None:
    run = new_run(journal)
    with pytest.raises(NotFound):
        resolve(journal, run[:3])
    named = new_run(journal, run[:3])
    assert resolve(journal, run[:3]) == named


def test_what_could_be_several_runs_is_an_error_that_lists_them(journal: Journal) -> None:
    runs = [new_run(journal, "same") for _ in range(7)]
    with pytest.raises(UsageError) as caught:
        resolve(journal, "same")
    assert sum(run in caught.value.message for run in runs) == 5
    assert "…" in caught.value.message
    assert caught.value.hint == "name it by its id"


def test_an_ambiguous_prefix_lists_the_candidates(journal: Journal) -> None:
    fields = {"name": "a", "experiment": "e", "start_time": 1}
    ids = ["abcd" + "0" * 22, "abcd" + "1" * 22]
    for run_id in ids:
        write.create_run(journal, run_id, fields, {}, {}, {})
    with pytest.raises(UsageError, match="several runs") as caught:
        resolve(journal, "abcd")
    assert all(run_id in caught.value.message for run_id in ids)
    assert resolve(journal, "abcd0") == ids[0]


def test_last_is_the_run_that_ended_latest(journal: Journal) -> None:
    with pytest.raises(NotFound, match="no run of this journal has ended"):
        resolve(journal, "@last")
    early, late = new_run(journal), new_run(journal)
    new_run(journal)
    write.set_status(journal, late, "FAILED", 900)
    write.set_status(journal, early, "FINISHED", 500)
    assert resolve(journal, "@last") == late


@pytest.mark.parametrize(
    "named",
    ["mlflow:123", "wandb:e/p/r", "nothing", "", "%", "' OR 1=1 --", "x" * 26, "\0", "@", "a%", "\udcff", "x" * 10_000],
    ids=lambda named: ascii(named)[:20],
)  # fmt: skip
def test_what_names_no_run_is_not_found(journal: Journal, named: str) -> None:
    new_run(journal)
    with pytest.raises(NotFound) as caught:
        resolve(journal, named)
    assert len(caught.value.message) < 200
    assert caught.value.hint


def test_a_name_is_taken_literally(journal: Journal) -> None:
    new_run(journal, "abcdef")
    with pytest.raises(NotFound):
        resolve(journal, "abc%")
    with pytest.raises(NotFound):
        resolve(journal, "ABCDEF")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.text())
def test_whatever_is_asked_of_an_empty_journal_gets_a_plain_error(journal: Journal, named: str) -> None:
    with pytest.raises(TrkError) as caught:
        resolve(journal, named)
    assert caught.value.message.isprintable()


def test_an_id_has_a_shape() -> None:
    assert is_run_id("0123456789abcdefghjkmnpqrs")
    assert not is_run_id("0123456789ABCDEFGHJKMNPQRS")
    assert not is_run_id("short")
