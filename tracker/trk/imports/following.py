"""TensorBoard's log folder, followed while the training that writes it goes on.

What is here of a run is known by its points, so that a follower that died, however, is started again and goes on:
nothing is lost and nothing comes twice.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from trk import daemon
from trk.errors import Conflict, NotFound
from trk.growing.waking import Waker, check_idle
from trk.imports.event_files import folders
from trk.imports.from_tensorboard import Folder, check_installed
from trk.imports.records import ImportReport, Progress
from trk.imports.taking import Intake
from trk.journal import lifecycle
from trk.rules import shown
from trk.run import Run
from trk.tracker import hand_over

MOST_AGAIN = 5  # times that a run is read anew because others log into it, without a point of it coming through

Warn = Callable[[str], None]


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, stacklevel=4)


def follow_tensorboard(
    folder: str | os.PathLike[str],
    *,
    until_idle: float | None = None,
    stop: threading.Event | None = None,
    name: str | None = None,
    experiment: str | None = None,
    backends: str | list[str] | tuple[str, ...] | None = None,
    mlflow_uri: str | None = None,
    wandb_project: str | None = None,
    wandb_entity: str | None = None,
    wandb_group: str | None = None,
    progress: Progress | None = None,
    warn: Warn = _warn,
) -> ImportReport:
    """`trk.import_tensorboard` of a log folder that grows, until `stop` is set; the folder need not be there yet.

    Runs are open while they are followed, and delivered as those that are started here. One ends when its files say
    so, all others when following ends: when nothing was added for `until_idle` seconds (None: never), on `stop` or
    Ctrl-C, or when all were ended here by other hands. Followed again, they go on.

    Raises UsageError, Conflict when the folder is followed already, JournalError, and SourceUnavailable when
    tensorboard is not installed. `warn` is told what the user should know meanwhile.
    """
    given = {
        "backends": backends, "mlflow_uri": mlflow_uri, "wandb_project": wandb_project, "wandb_entity": wandb_entity,
        "wandb_group": wandb_group, "experiment": experiment,
    }  # fmt: skip
    check_installed()
    check_idle(until_idle)
    top = os.path.realpath(os.fspath(folder))
    stop = stop or threading.Event()
    with Intake("tensorboard", given, progress=progress, follows=top) as intake, Waker(top) as waker:
        following = _Following(intake, top, name, warn)
        try:
            waker.go_on(
                following.look,
                lambda: following.is_over,
                stop=stop,
                until_idle=until_idle,
                warn=warn,
                what="the folder",
            )
        except KeyboardInterrupt:
            following.end()
            raise
        following.end()
        return intake.report()


class _Following:
    """The runs of a log folder, as far as they are read."""

    def __init__(self, intake: Intake, top: str, name: str | None, warn: Warn) -> None:
        self.top = top
        self._intake = intake
        self._name = name
        self._warn = warn
        self._folders: dict[str, Folder] = {}
        self._closed: set[str] = set()  # that are not taken, or were ended here by other hands
        self._served: set[str] = set()
        self._again: dict[str, int] = {}
        self._is_told = False  # that there is nothing yet

    @property
    def is_over(self) -> bool:
        """Whether there were runs, and none of them is to be followed."""
        return bool(self._folders) and self._closed.issuperset(self._folders)

    def look(self) -> int:
        """Take all that is new; returns how many events that were."""
        count = 0
        found = list(folders(self.top))
        for number, (place, files) in enumerate(found):
            one = self._folders.get(place)
            if one is None:
                one = self._folders[place] = Folder(self._intake, self.top, place, self._name)
            one.add(files)
            if self._is_ended_here(one):
                self._close(place, one, "it was ended here")
            elif place not in self._closed and any(file.has_news() for file in one.files.values()):
                count += self._grown(place, one)
                self._intake.at(number + 1, len(found))
        if not self._folders and not self._is_told:
            self._is_told = True
            self._warn(f"there are no event files in {shown(self.top)} yet")
        return count

    def _is_ended_here(self, one: Folder) -> bool:
        journal = self._intake.journal
        return one.run is not None and journal is not None and not lifecycle.is_open(journal, one.run.run_id)

    def _close(self, place: str, one: Folder, reason: str) -> None:
        self._closed.add(place)
        if one.run is not None:
            self._warn(f"run {one.run.run_id} is followed no more: {reason}")
            one.again()

    def _grown(self, place: str, one: Folder) -> int:
        if one.is_ended or any(file.is_another() for file in one.files.values()):
            one.again()
        try:
            count = one.read()
            if one.run is None:
                if count:
                    self._closed.add(place)
                return 0
            one.describe()
            one.run.settle()
        except (Conflict, NotFound) as error:
            return self._disturbed(place, one, error)
        self._again.pop(place, None)
        self._serve(one.run.run_id)
        if one.is_ended:
            one.end()
        for file in one.files.values():
            file.let_go()
        return count

    def _disturbed(self, place: str, one: Folder, error: Conflict | NotFound) -> int:
        """Others have logged into the run, or ended or deleted it."""
        self._again[place] = self._again.get(place, 0) + 1
        if self._is_ended_here(one) or self._again[place] > MOST_AGAIN:
            self._close(place, one, error.message)
            return 0
        one.again()
        return self._grown(place, one)

    def _serve(self, run_id: str) -> None:
        """See that a run is delivered while it goes on, as the settings say."""
        journal, folder = self._intake.journal, self._intake.folder
        assert journal is not None
        assert folder is not None
        if run_id in self._served:
            daemon.revive(folder, run_id)
            return
        self._served.add(run_id)
        lifecycle.take_over(journal, run_id, str(self._intake.owner))  # from a follower that died
        note = hand_over(Run(journal, folder, run_id), self._intake.resolved)
        if note is not None:
            self._warn(note)

    def end(self) -> None:
        """All of them are read to their end."""
        for place, one in self._folders.items():
            if place not in self._closed:
                one.leave_out_if_empty()
                with _telling(self._warn):
                    one.end()


@contextlib.contextmanager
def _telling(warn: Callable[[str], Any]) -> Iterator[None]:
    """What keeps one run from being ended keeps no other."""
    try:
        yield
    except (Conflict, NotFound) as error:
        warn(error.message)
