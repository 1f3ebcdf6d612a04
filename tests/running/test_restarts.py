"""A job that is started again goes on with its run, and a run that has died is known by its silence."""

from __future__ import annotations

import json
import time

import pytest

import trk
from helpers import until
from trk import leftovers, owners
from trk.errors import Conflict
from trk.journal import lifecycle, write
from trk.run import Run
from trk.running import restarts
from trk.running.beat import Beat

SLURM = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0"}


def job(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_job_that_failed_goes_on_and_one_that_finished_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    job(monkeypatch, **SLURM)
    script = "echo loss: 0.$SLURM_RESTART_COUNT; exit $((1 - SLURM_RESTART_COUNT))"
    ids = []
    for count in ("0", "1", "1"):
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
        result = trk.run_command(["sh", "-c", script], "job", params={"lr": 0.1}, scrape=True, resume_on_restart=True)
        ids.append(result.run_id)
        assert result.troubles == ()
    assert ids[0] == ids[1] != ids[2]
    points = trk.history("loss", run=ids[0], source="local")
    assert [(point.step, point.value) for point in points] == [(0, 0.0), (1, 0.1)]
    assert trk.get_run(ids[0], source="local").status == "FINISHED"


def test_a_job_that_may_not_go_on_leaves_its_run_as_it_had_ended() -> None:
    first = trk.run_command(["false"], params={"lr": 0.1}, restart_key="one")
    with pytest.raises(Conflict):
        trk.run_command(["true"], params={"lr": 0.2}, restart_key="one")
    record = trk.get_run(first.run_id, source="local")
    assert (record.status, dict(record.params)) == ("FAILED", {"lr": "0.1"})


def test_commands_and_keys_tell_jobs_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    job(monkeypatch, **SLURM)
    first, other = (
        trk.run_command(["sh", "-c", f"exit {code}"], resume_on_restart=True, output=False) for code in (1, 2)
    )
    named = trk.run_command(["sh", "-c", "exit 3"], restart_key="mine", output=False)
    again = trk.run_command(["sh", "-c", "exit 4"], restart_key="mine", output=False)
    assert len({first.run_id, other.run_id, named.run_id}) == 3
    assert named.run_id == again.run_id


def test_without_a_job_the_key_is_asked_for_and_nothing_is_run() -> None:
    with pytest.raises(trk.UsageError, match="which job") as refused:
        trk.run_command(["true"], resume_on_restart=True)
    assert refused.value.hint == "--restart-key KEY"


def test_a_ci_job_is_known_by_its_pipeline_and_name() -> None:
    github = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "5", "GITHUB_JOB": "train", "GITHUB_RUN_ATTEMPT": "1"}
    key = restarts.key_of(None, github, ["a"])
    assert key.startswith("github:5:train:")
    assert key == restarts.key_of(None, {**github, "GITHUB_RUN_ATTEMPT": "2"}, ["a"])
    assert key != restarts.key_of(None, github, ["b"])


def started(key: str, owner: dict[str, object]) -> Run:
    """An open run of `trk run` that somebody else is at."""
    run = trk.start("a", tags={restarts.TAG: key})
    kept = {**json.loads(owners.of_process()), **owner}
    with run.journal.lock, run.journal.begun() as db:
        db.execute("UPDATE runs SET owner = ? WHERE run_id = ?", (json.dumps(kept), run.id))
    return run


ELSEWHERE = {"host": "another", "machine": "0", "boot": "0"}


def test_an_open_run_goes_on_only_when_nobody_is_at_it() -> None:
    now = write.now_ms()
    alive = started("alive", {})
    lately = started("lately", {**ELSEWHERE, "beat": now - 5_000})
    silent = started("silent", {**ELSEWHERE, "beat": now - owners.LATE_MS})
    died = started("died", {"pid": 2**22 + 1, "beat": now - 1000})
    journal = alive.journal
    for run, key in ((alive, "alive"), (lately, "lately")):
        found, note = restarts.to_resume(journal, key)
        assert found is None
        assert note is not None
        assert run.id in note
        assert run.status == "RUNNING"
    for run, key in ((silent, "silent"), (died, "died")):
        assert restarts.to_resume(journal, key) == (run.id, None)
        assert run.status == "KILLED"


def test_a_run_whose_machine_has_fallen_silent_is_told_of() -> None:
    now = write.now_ms()
    lately = started("a", {**ELSEWHERE, "beat": now - 5_000})
    silent = started("b", {**ELSEWHERE, "beat": now - owners.LATE_MS - 1})
    never = started("c", dict(ELSEWHERE))
    found = leftovers.of_all(lately.journal)
    assert [one.run_id for one in found] == [silent.id]
    assert found[0].is_left(now + 2 * owners.LATE_MS)
    assert "host another, which has fallen silent" in found[0].story()
    assert leftovers.of_run(lately.journal, never.id) is None


def test_a_run_notes_that_it_lives_and_no_row_tells_of_it() -> None:
    run = trk.start("a")
    before = lifecycle.last_row_ms(run.journal, run.id)
    beat = Beat(run, every=0.01)
    beat.start()
    until(lambda: run.owner.beat_ms is not None)
    beat.stop()
    beat.join()
    assert lifecycle.last_row_ms(run.journal, run.id) == before
    assert abs(run.owner.beat_ms / 1000 - time.time()) < 60  # type: ignore[operator]
    assert run.owner.alive
