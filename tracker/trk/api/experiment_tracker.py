"""`trk.ExperimentTracker`: the class by which gepa's programs log to W&B and MLflow, over trk's journal.

Every call writes to the journal; a thread of this process delivers that, with the tracker's own arguments. What a crash
leaves is finished by `trk sync`, which has the credentials of its environment.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from trk import active
from trk.api import _backends, _writing
from trk.api._failures import Failure, Failures
from trk.errors import TrkError
from trk.run import END_S, Run


class ExperimentTracker:
    """One run at W&B, MLflow or both, to log into from any thread; without either, every method does nothing.

    `wandb_init_kwargs` are arguments of `wandb.init`; trk gives the run its id, so `id`, `resume` and the like are not
    used. `wandb_api_key` is used by this process and kept nowhere. `mlflow_tracking_uri` and `mlflow_experiment_name`
    left out are as in `trk.start`, or what the program has told MLflow. With `wandb_attach_existing` and
    `mlflow_attach_existing` it logs into the run that is active in this process, and never ends that; a run of MLflow
    that is active anyway is adopted likewise. `wandb_step_metric` is the x-axis in W&B for the metrics of this tracker,
    `key_prefix` goes before all names but that one.

    As a context manager it ends the run: FINISHED, or FAILED on an exception, KILLED on KeyboardInterrupt.
    Only `initialize` and `start_run` raise: what can't be logged or delivered is in `failures`.
    """

    def __init__(
        self,
        use_wandb: bool = False,
        wandb_api_key: str | None = None,
        wandb_init_kwargs: dict[str, Any] | None = None,
        wandb_attach_existing: bool = False,
        wandb_step_metric: str | None = None,
        use_mlflow: bool = False,
        mlflow_tracking_uri: str | None = None,
        mlflow_experiment_name: str | None = None,
        mlflow_attach_existing: bool = False,
        key_prefix: str = "",
    ) -> None:
        self.use_wandb = use_wandb
        self.wandb_api_key = wandb_api_key
        self.wandb_init_kwargs: dict[str, Any] = wandb_init_kwargs or {}
        self.wandb_attach_existing = wandb_attach_existing
        self.wandb_step_metric = wandb_step_metric
        self.use_mlflow = use_mlflow
        self.mlflow_tracking_uri = mlflow_tracking_uri
        self.mlflow_experiment_name = mlflow_experiment_name
        self.mlflow_attach_existing = mlflow_attach_existing
        self.key_prefix = key_prefix
        self._runs: tuple[Run, ...] = ()  # that are logged into now
        self._all: list[Run] = []  # and those before
        self._is_started = False
        self._turn = threading.RLock()
        self._failures = Failures()
        self._handled: BaseException | None = None  # what was being handled when the run began

    # -- beginning and end --------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.initialize()
        self.start_run()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(_status_of(error))

    def initialize(self) -> None:
        """See that both backends can be used: packages, login, experiment.

        A server that does not answer is no error: what is logged waits for it. Raises ImportError for a package that is
        missing, RuntimeError for a key that W&B refuses, an experiment that was deleted, and the like.
        """
        with _set_up():
            _backends.prepare(self)

    def start_run(self) -> None:
        """Begin a run, after the one that this tracker may be in has ended.

        Raises RuntimeError, also when there is no active run to attach to, and ImportError.
        """
        with self._turn:
            if self._is_started:
                self._end("FINISHED")
            self._handled = sys.exc_info()[1]
            begun: list[Run] = []
            try:
                with _set_up():
                    _backends.begin(self, begun, self._failed("start_run"))
            except BaseException:  # also Ctrl-C: what was begun is ended
                self._close(begun, "FAILED")
                raise
            self._runs = tuple(begun)
            self._all += begun
            self._is_started = True

    def end_run(self, status: str | None = None) -> None:
        """End the run and deliver it, for 30 s at most (`TRK_EXIT_TIMEOUT`); the rest is for `trk sync`.

        `status` is FINISHED, FAILED or KILLED; left out it is FINISHED, or, where an exception is on its way (in a
        `finally`), what that means. A run that was attached to is delivered, and stays open.
        """
        error = sys.exc_info()[1]
        self._end(status or _status_of(None if error is self._handled else error))

    def _end(self, status: str) -> None:
        with self._turn:
            runs, self._runs, self._is_started = self._runs, (), False
            self._close(runs, status)

    def _close(self, runs: Sequence[Run], status: str) -> None:
        seconds = next((run.exit_timeout for run in runs if run.exit_timeout is not None), END_S)
        deadline = time.monotonic() + seconds
        for run in runs:
            with self._logging("end_run"):
                left = deadline - time.monotonic()
                _backends.end(run, status, 0.0 if status == "KILLED" else max(left, 0.0))

    def is_active(self) -> bool:
        """Whether a run is open that this tracker logs into."""
        try:
            return any(_backends.is_open(run) for run in self._runs)
        except TrkError:
            return False

    # -- logging ------------------------------------------------------------------------------------------------------

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Log settings: booleans, numbers, text and None as they are, anything else as its text.

        Logged again, W&B has the new value; MLflow, which changes no param, the first one.
        """
        self._each("log_config", lambda run, failed: _writing.config(run, config, failed))

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log the numbers among these values at one step; left out, it is the next one of these metrics."""
        self._each("log_metrics", lambda run, failed: _writing.metrics(run, metrics, step, failed))

    def log_summary(self, summary: Mapping[str, Any]) -> None:
        """Log values for the run's overview; the latest of each counts.

        In MLflow a number is a metric, anything else a tag and a param `summary/<key>`.
        """
        self._each("log_summary", lambda run, failed: _writing.summary(run, summary, failed))

    def log_table(self, table_name: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        """Append rows to a table of the run; columns that it has not yet are added to it."""
        given = [list(row) for row in data] if hasattr(data, "__iter__") else data
        self._each("log_table", lambda run, failed: _writing.table(run, table_name, columns, given), table_name)

    def log_html(self, html_content: str, key: str = "candidate_tree") -> None:
        """Log a page; logged again under its key, the latest shows."""
        self._each("log_html", lambda run, failed: _writing.html(run, html_content, key), key)

    # -- what can be asked --------------------------------------------------------------------------------------------

    @property
    def failures(self) -> list[Failure]:
        """What could not be logged (the last thousand), and what backends refused or have not got for a reason."""
        return self._failures.all(list(self._all))

    @property
    def failure_count(self) -> int:
        """How many values or calls could not be logged."""
        return self._failures.count

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs that it logs into now: those of others that it is attached to, and its own."""
        return self._runs

    # -- inside -------------------------------------------------------------------------------------------------------

    def _each(self, call: str, log: Callable[[Run, _writing.Failed], None], key: str | None = None) -> None:
        """Log into each run; the trouble of one is not the others'."""
        runs = self._runs
        if not self._is_started and (self.use_wandb or self.use_mlflow):
            self._failures.add(call, key, "no run is active: start_run() before, end_run() after")
        for run in runs:
            with self._logging(call, key):
                log(run, self._failed(call))
                if isinstance(run, active.ActiveRun):
                    run.hand_over()

    @contextlib.contextmanager
    def _logging(self, call: str, key: str | None = None) -> Iterator[None]:
        try:
            yield
        except TrkError as error:
            self._failures.add(call, key, error.message)
        except Exception as error:  # noqa: BLE001 - whatever was given to be logged, the program goes on
            self._failures.add(call, key, f"{type(error).__name__}: {error}")

    def _failed(self, call: str) -> _writing.Failed:
        return lambda key, reason: self._failures.add(call, key, reason)


def _status_of(error: BaseException | None) -> str:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "FINISHED"
    return "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"


@contextlib.contextmanager
def _set_up() -> Iterator[None]:
    """trk's errors as what gepa's class raises of its own."""
    try:
        yield
    except (ImportError, RuntimeError):
        raise
    except TrkError as error:
        raise RuntimeError(f"{error.message} ({error.hint})" if error.hint else error.message) from error
    except OSError as error:
        raise RuntimeError(str(error)) from error


def create_experiment_tracker(
    use_wandb: bool = False,
    wandb_api_key: str | None = None,
    wandb_init_kwargs: dict[str, Any] | None = None,
    wandb_attach_existing: bool = False,
    wandb_step_metric: str | None = None,
    use_mlflow: bool = False,
    mlflow_tracking_uri: str | None = None,
    mlflow_experiment_name: str | None = None,
    mlflow_attach_existing: bool = False,
    key_prefix: str = "",
) -> ExperimentTracker:
    """An `ExperimentTracker` with these arguments."""
    return ExperimentTracker(
        use_wandb=use_wandb,
        wandb_api_key=wandb_api_key,
        wandb_init_kwargs=wandb_init_kwargs,
        wandb_attach_existing=wandb_attach_existing,
        wandb_step_metric=wandb_step_metric,
        use_mlflow=use_mlflow,
        mlflow_tracking_uri=mlflow_tracking_uri,
        mlflow_experiment_name=mlflow_experiment_name,
        mlflow_attach_existing=mlflow_attach_existing,
        key_prefix=key_prefix,
    )
