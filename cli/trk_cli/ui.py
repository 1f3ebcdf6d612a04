"""MLflow's UI on the store that the runs go to: a server's address, or MLflow's own UI run here on a database."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from trk import config, session, tracker
from trk.backends import _mlflow_ui as mlflow_ui
from trk.errors import BackendError
from trk.journal import lifecycle, read
from trk.run import Run
from trk_cli import output
from trk_cli.commands import options
from trk_cli.results import Text

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PAGE_TIMEOUT_S = 5.0
_ENDING = ("SIGTERM", "SIGHUP")  # a Ctrl-C raises by itself


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the UI is wanted: where it listens, how long MLflow may take to start, and what is said."""

    host: str | None
    port: int | None
    timeout: float
    open: bool = False
    json: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the UI is to show: a store, and in it a run or an experiment, as far as they are known."""

    target: Mapping[str, Any]
    experiment: str | None
    remote_id: str | None = None
    url: str | None = None
    waiting: bool = False

    @property
    def uri(self) -> str:
        """The address of the store."""
        return str(self.target["tracking_uri"])


def show_ui(run: str | None, wanted: Wanted) -> int:
    """Tell the address of a run's page, and serve it if nobody does; returns the exit code. Raises TrkError."""
    what = _to_show(run)
    if what.waiting:
        output.talk("not all of the run is delivered yet: trk sync", quiet=wanted.quiet)
    if not mlflow_ui.is_server(what.uri):
        return _serve(what, wanted)
    unused = [flag for flag, given in (("--host", wanted.host), ("--port", wanted.port)) if given is not None]
    if unused:
        output.warn(f"{' and '.join(unused)} not used: {what.uri} is a server, with an address of its own")
    _tell(_page_there(what, min(wanted.timeout, PAGE_TIMEOUT_S)), wanted)
    return 0


def _to_show(named: str | None) -> _Shown:
    """The run that is named, else the active one, where it goes; without one, the place that is configured."""
    found = _run(named)
    target = read.targets(found.journal, found.id).get("mlflow") if found is not None else None
    if found is None or target is None:
        resolved = config.resolve(session.find_folder())
        experiment = found.experiment if found is not None else resolved.get("experiment")
        return _Shown(config.target("mlflow", resolved), experiment)
    known = found.record.backends["mlflow"]
    return _Shown(target, found.experiment, known.run_id, known.url, known.pending > 0 or known.run_id is None)


def _run(named: str | None) -> Run | None:
    if named is not None:
        return tracker.need_run(named)
    found = tracker.active_run()
    return found if found is not None and lifecycle.is_open(found.journal, found.id) else None


def _page_there(what: _Shown, timeout: float) -> str:
    """The page of what is shown, on a server that runs already, or did."""
    try:
        return mlflow_ui.page(what.uri, what.experiment, what.remote_id, timeout)
    except BackendError as error:
        output.warn(error.message)
        return what.url or what.uri


def _tell(address: str, wanted: Wanted) -> None:
    output.show(Text(address, data={"url": address}), options.shape(None, wanted.json))
    if wanted.open:
        import webbrowser

        if not webbrowser.open(address):
            output.warn("no browser could be opened here")


def _serve(what: _Shown, wanted: Wanted) -> int:
    """Run MLflow's UI until it ends, or is told to; returns the exit code."""
    mlflow_ui.check(what.target)
    host = LOOPBACK[0] if wanted.host is None else wanted.host
    port = mlflow_ui.port_for(host, wanted.port)
    if host not in LOOPBACK:
        output.warn(f"whoever reaches {host} can read and change these runs: MLflow's UI asks for no password")
    output.talk(f"starting MLflow's UI on {what.uri} …", quiet=wanted.quiet)
    say = None if wanted.quiet else output.talk
    try:
        with _told_to_end(), mlflow_ui.Server(what.target, host, port, say) as server:
            server.wait_until_ready(wanted.timeout)
            _tell(_page_here(server.url, what), wanted)
            output.talk("Ctrl-C ends it", quiet=wanted.quiet)
            return server.wait()
    except SystemExit as told:
        return int(told.code or 0)


def _page_here(base: str, what: _Shown) -> str:
    try:
        return mlflow_ui.page(base, what.experiment, what.remote_id, PAGE_TIMEOUT_S, own=True)
    except BackendError:  # it answered a moment ago: its first page is as good
        return base


@contextmanager
def _told_to_end() -> Iterator[None]:
    """For the length of a `with`: signals that end a process raise SystemExit, so that the child is ended first."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signals = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    before = [(number, signal.signal(number, leave)) for number in signals]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
