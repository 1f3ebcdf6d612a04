"""Runs of a server, page by page: the same however they are asked for, and whatever happens meanwhile."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.mlflow_client import client
from servers.mlflow_server import MlflowServer
from trk.backends import _mlflow_pages
from trk.backends._mlflow_json import run_of
from trk.backends._mlflow_pages import Pages
from trk.backends._mlflow_read import Reader
from trk.backends._mlflow_store import Store
from trk.errors import SourceUnavailable

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed"),
]
NOON = 1_700_000_000_000


class Place:
    """An experiment of a server, with runs that MLflow's own client makes; `asked` are the tokens asked for."""

    def __init__(self, server: MlflowServer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = name
        self.client = client(server.url)
        self.experiment = self.client.create_experiment(name)
        self.reader = Reader(Store({"tracking_uri": server.url}))
        self.asked: list[str | None] = []
        self.meanwhile: Any = None
        plain = Pages._page

        def page(pages: Pages, search: Any, token: str | None, most: int | None = None) -> Any:
            self.asked.append(token)
            if token is not None and self.meanwhile is not None:
                act, self.meanwhile = self.meanwhile, None
                act()
            return plain(pages, search, token, most)

        monkeypatch.setattr(_mlflow_pages, "RUNS_PER_PAGE", 2)
        monkeypatch.setattr(Pages, "_page", page)

    def add(self, number: int) -> str:
        run = self.client.create_run(self.experiment, start_time=NOON + number, run_name=f"run {number}")
        return str(run.info.run_id)

    def found(self) -> list[str]:
        self.asked.clear()
        self.reader.forget()
        return [record.name for record in self.reader.search(self.name, None)]


@pytest.fixture
def place(mlflow_server: MlflowServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(mlflow_server, request.node.name, monkeypatch)


def named(*numbers: int) -> list[str]:
    return [f"run {number}" for number in numbers]


def test_pages_that_were_there_are_asked_for_together_and_found_as_they_are_now(place: Place) -> None:
    ids = [place.add(number) for number in range(6)]
    assert place.found() == named(5, 4, 3, 2, 1, 0)
    one_by_one = list(place.asked)
    assert place.found() == named(5, 4, 3, 2, 1, 0)
    assert set(place.asked) == set(one_by_one)
    assert len(place.asked) == len(one_by_one) + 1  # whether a run has started meanwhile
    place.client.log_metric(ids[0], "f1", 0.5)
    place.reader.forget()
    assert [record.metrics for record in place.reader.search(place.name, None)][-1] == {"f1": 0.5}
    place.add(6)
    assert place.found() == named(6, 5, 4, 3, 2, 1, 0)
    for one in ids[2:]:
        place.client.delete_run(one)
    assert place.found() == named(6, 1, 0)
    for number in range(7, 12):
        place.add(number)
    assert place.found() == named(11, 10, 9, 8, 7, 6, 1, 0)


def test_a_run_that_starts_while_pages_are_read_hides_none(place: Place) -> None:
    for number in range(7):
        place.add(number)
    assert place.found() == named(6, 5, 4, 3, 2, 1, 0)
    place.meanwhile = lambda: place.add(7)
    assert place.found() == named(6, 5, 4, 3, 2, 1, 0)
    assert place.found() == named(7, 6, 5, 4, 3, 2, 1, 0)


def test_who_wants_the_first_runs_alone_asks_for_no_others(place: Place) -> None:
    for number in range(6):
        place.add(number)
    place.found()
    place.asked.clear()
    place.reader.forget()
    first = next(iter(place.reader.search(place.name, None)))
    assert (first.name, place.asked) == ("run 5", [None])


def test_what_is_no_list_of_runs_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from trk.backends import _mlflow_store

    place.add(0)
    store: Any = _mlflow_store._one_try()
    for answer in ({"runs": [{"data": {"metrics": [{"value": 1}]}}]}, {"runs": ["x"]}, []):
        monkeypatch.setattr(store, "_answer", lambda *_, found=answer: found)
        with pytest.raises(SourceUnavailable, match="answered with no runs"):
            list(place.reader._pages.of([place.experiment], None))


names = st.text("abc/é日 '", min_size=1, max_size=5)
numbers = st.integers(0, 2**62)
runs = st.fixed_dictionaries(
    {
        "info": st.fixed_dictionaries(
            {"run_id": names, "run_name": names, "experiment_id": names, "user_id": names, "artifact_uri": names},
            optional={
                "status": st.sampled_from([1, 2, 3, 4, 5]), "start_time": numbers, "end_time": numbers,
                "lifecycle_stage": st.sampled_from(["active", "deleted"]),
            },
        ),
        "metrics": st.lists(st.tuples(names, st.floats(), numbers, st.integers(-(2**40), 2**40)), max_size=3),
        "texts": st.lists(st.tuples(names, st.text(max_size=5)), max_size=3),
    }
)  # fmt: skip


@given(runs)
def test_a_run_is_what_mlflow_makes_of_it(told: dict[str, Any]) -> None:
    from mlflow.entities import Run
    from mlflow.protos.service_pb2 import Run as Message
    from mlflow.utils.proto_json_utils import message_to_json

    message = Message()
    for name, value in told["info"].items():
        setattr(message.info, name, value)
    for key, number, time_ms, step in told["metrics"]:
        message.data.metrics.add(key=key, value=number, timestamp=time_ms, step=step)
    for key, text in told["texts"]:
        message.data.params.add(key=key, value=text)
        message.data.tags.add(key=key, value=text)
    theirs, ours = Run.from_proto(message), run_of(json.loads(message_to_json(message)))
    assert repr(dict(ours.info)) == repr(dict(theirs.info))
    assert repr(ours.data.to_dictionary()) == repr(theirs.data.to_dictionary())
    assert [repr(dict(one)) for one in ours.data._metric_objs] == [repr(dict(one)) for one in theirs.data._metric_objs]
