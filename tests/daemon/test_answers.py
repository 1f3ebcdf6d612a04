"""A daemon answers questions to MLflow, with its SDK imported once, as MLflow itself would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import trk
from daemon.tools import Place, filing_place
from helpers import some, until
from trk import session
from trk.backends.memory import servers
from trk.errors import DaemonError, NotFound
from trk.query import filters
from trk.query.answers import Answers
from trk.query.backed import BackendSource
from trk.query.warm import WarmSource

needs_mlflow = pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")

LOG = (
    "import trk\n"
    "for name, value in (('one', 0.5), ('two', 0.9), ('three', float('nan'))):\n"
    "    with trk.start(name, experiment='tries', params={'of': name}) as run:\n"
    "        run.log_metrics({'f1': value, 'loss': 1})\n"
    "trk.sync(strict=True, timeout=60)\n"
)
ASK = (
    "import sys, trk\n"
    "from trk.query import ask, sources\n"
    "trk.__version__ = sys.argv[1] if len(sys.argv) > 1 else trk.__version__\n"
    "found = trk.best('f1', source='mlflow', timeout=60).runs[0]\n"
    "print(found.run.name, found.best.value, 'mlflow' in sys.modules)\n"
)
WAIT = (
    "import sys\n"
    "from trk.query import sources\n"
    "found = sources.choose('mlflow', timeout=60, warn=print)\n"
    "print(type(found).__name__, flush=True)\n"
    "sys.stdin.readline()\n"
    "print(sorted(run.name for run in found.search(None, None)))\n"
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A project whose runs MLflow's own store has, and a daemon that has delivered them."""
    project = tmp_path_factory.mktemp("asked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(project))
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("TRK_EPHEMERAL", "no")
        with filing_place(project, [], patch) as place:
            patch.setenv("TRK_BACKENDS", "mlflow")
            patch.setenv("TRK_DAEMON_IDLE", "300")
            program(place, LOG)
            yield place


@pytest.fixture
def here(asked: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The same, for one test."""
    for name, value in (
        ("HOME", str(asked.project)), ("TRK_BACKENDS", "mlflow"), ("TRK_DAEMON", "auto"), ("TRK_DAEMON_IDLE", "300"),
        ("XDG_RUNTIME_DIR", str(asked.runtime)),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(asked.project)
    return asked


def program(place: Place, code: str, *words: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60,
        cwd=place.project, env=place.environment(**env),
    )  # fmt: skip
    return done.stdout.strip()


@needs_mlflow
def test_who_asks_imports_no_sdk(here: Place) -> None:
    assert program(here, ASK) == "two 0.9 False"


@needs_mlflow
@pytest.mark.parametrize(
    "words",
    some(
        (
            "best --metric f1 -n 9", "best --metric f2", "ls", "ls --filter params.of='two'", "show one",
            "history f1 --run two", "ls --filter nonsense",
        ),
        "best --metric f1 -n 9", "history f1 --run two",
    ),
)  # fmt: skip
def test_its_answers_are_those_of_mlflow_itself(here: Place, words: str) -> None:
    asked = here.trk(*words.split(), "--json", "--source", "mlflow")
    itself = here.trk(*words.split(), "--json", "--source", "mlflow", TRK_DAEMON="off")
    assert (asked.returncode, asked.stdout, asked.stderr) == (itself.returncode, itself.stdout, itself.stderr)


@needs_mlflow
def test_who_has_other_credentials_asks_mlflow_itself(here: Place) -> None:
    here.serving()
    assert program(here, ASK, MLFLOW_TRACKING_TOKEN="another") == "two 0.9 True"


@needs_mlflow
@pytest.mark.long
def test_a_program_of_another_version_asks_mlflow_itself(here: Place) -> None:
    here.serving()
    assert program(here, ASK, "999") == "two 0.9 True"


@needs_mlflow
def test_a_daemon_that_is_killed_is_started_again_by_the_next_question(here: Place) -> None:
    asking = subprocess.Popen(
        [sys.executable, "-c", WAIT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=here.project, env=here.environment(),
    )  # fmt: skip
    assert asking.stdout is not None
    assert asking.stdout.readline().strip() == "WarmSource"
    killed = here.serving()
    os.kill(killed, signal.SIGKILL)
    until(here.is_free)
    told, _ = asking.communicate("\n", timeout=60)
    assert told.strip() == "['one', 'three', 'two']"
    assert program(here, ASK).startswith("two 0.9")
    assert here.serving() != killed


# -- the words of the conversation, without a process ------------------------------------------------------------------


class _Direct:
    """A connection that goes no further than to whoever answers."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.left = False

    def told(self, timeout: float, **said: Any) -> Iterator[dict[str, Any]]:
        if self.left:
            raise DaemonError("it has left")
        for message in self._answer(json.loads(json.dumps(said))):
            yield json.loads(json.dumps(message))

    def close(self) -> None:
        self.left = True


@pytest.fixture
def both(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[WarmSource, BackendSource, _Direct]]:
    """A source that is answered for, the same source itself, and the way between them."""
    monkeypatch.setenv("TRK_BACKENDS", "memory")
    servers.clear()  # of what other tests have left in this process
    for number in range(230):
        run = trk.start(f"run {number}", experiment="e", params={"n": number}, description="✓" if number % 2 else None)
        run.log_metrics({"f1": float("nan") if number == 7 else number, "loss": float("inf")}, step=number)
        if number % 3 == 0:
            run.finish()
    trk.sync(strict=True, timeout=60)
    journal = session.existing_journal(session.find_folder())
    assert journal is not None
    answers = Answers(journal)
    from trk import backends

    itself = BackendSource(backends.make("memory", {}), journal, "{}")
    with answers.conversation("memory", "{}") as answer:
        connection = _Direct(answer)
        yield WarmSource("memory", connection, lambda: itself, 30), itself, connection  # type: ignore[arg-type]
    servers.clear()


def test_every_question_is_answered_as_the_source_answers(both: tuple[WarmSource, BackendSource, _Direct]) -> None:
    warm, itself, connection = both
    where = filters.parse("metrics.f1 > 20 AND params.n != '22'")
    for _ in range(2):  # then without anybody who answers
        for experiment, condition in ((None, None), ("e", where), ("none", None)):
            assert repr(list(warm.search(experiment, condition))) == repr(list(itself.search(experiment, condition)))
        run = next(iter(warm.search(None, None)))
        assert warm.get(run.run_id) == itself.get(run.run_id)
        assert warm.get("nobody") is None
        assert warm.history(run, "f1") == itself.history(run, "f1")
        assert warm.modes(["e"]) == itself.modes(["e"])
        assert warm.metric_names(None) == ["f1", "loss"]
        told: list[tuple[int, int]] = []
        warm.progress = lambda done, total, told=told: told.append((done, total))  # type: ignore[misc]
        scores, without = warm.scores("f1", None, where, True)
        others, left_out = itself.scores("f1", None, where, True)
        assert [(one.run_id, one.low, one.high, one.last_step) for one in scores] == [
            (one.run_id, one.low, one.high, one.last_step) for one in others
        ]
        assert (without, bool(told)) == (left_out, True)
        assert warm.holds(scores[0], "f1")
        assert warm.scored(scores[0]) == itself.scored(others[0])
        step = scores[0].last_step
        assert step is not None
        assert warm.at_step(run, step) == itself.at_step(run, step)
        connection.left = True


def test_a_search_reads_no_more_than_is_taken_of_it(
    both: tuple[WarmSource, BackendSource, _Direct], monkeypatch: pytest.MonkeyPatch
) -> None:
    warm, itself, connection = both
    expected = [run.run_id for run in itself.search(None, None)]
    taken = []
    search = BackendSource.search

    def counted(self: BackendSource, *asked: Any) -> Iterator[Any]:
        for record in search(self, *asked):
            taken.append(record)
            yield record

    monkeypatch.setattr(BackendSource, "search", counted)
    found = warm.search(None, None)
    first = next(found)
    assert len(taken) <= 100
    assert warm.get(first.run_id) == first  # something else in between
    assert next(warm.search(None, None)) == first
    few = [first, *(next(found) for _ in range(150))]
    connection.left = True
    assert [run.run_id for run in (*few, *found)] == expected


def test_its_errors_are_the_sources_own(both: tuple[WarmSource, BackendSource, _Direct]) -> None:
    warm, _, _ = both

    def fail(name: str) -> None:
        raise NotFound("nothing here", hint="look there")

    servers["default"].fail = fail
    with pytest.raises(NotFound, match="nothing here") as raised:
        warm.get("anything")
    assert raised.value.hint == "look there"


def test_a_question_too_long_for_a_line_is_asked_from_here(both: tuple[WarmSource, BackendSource, _Direct]) -> None:
    warm, itself, connection = both
    connection.left = True  # it would fail
    assert warm.get("x" * 70_000) == itself.get("x" * 70_000)


def test_it_is_said_when_it_is_asked_and_when_it_was(both: tuple[WarmSource, BackendSource, _Direct]) -> None:
    journal = session.existing_journal(session.find_folder())
    assert journal is not None
    answers = Answers(journal)
    with answers.conversation("memory", "{}") as answer:
        assert answer is not None
        messages = answer({"what": "search", "experiment": None, "where": None})
        next(messages)
        assert answers.is_asked
        messages.close()
    assert not answers.is_asked
    assert answers.asked_at > 0
    with answers.conversation("no such backend", "{}") as nobody:
        assert nobody is None
