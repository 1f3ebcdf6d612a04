"""The HTML pages that were logged into the runs of a report, to be shown in its frames (`pages.frame`)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from trk.errors import TrkError
from trk.pictures.gather import Wanted
from trk.query import sources
from trk.query.sources import Source
from trk.records import ArtifactRecord, RunRecord

MOST_PAGES = 12  # of a report
MOST_BYTES = 500_000  # of a page, and a quarter of all of them

Pages = Mapping[tuple[str, str], str]  # by (run id, path)


def fetched(
    found: Source, runs: Sequence[RunRecord], listed: Mapping[str, Sequence[ArtifactRecord]], own: str, wanted: Wanted
) -> Pages:
    """The pages of runs, but for those that are longer, or more, than a report should be; `own` is the report's path.

    What can't be fetched is told, and left out.
    """
    deadline = time.monotonic() + wanted.timeout
    pages: dict[tuple[str, str], str] = {}
    room = 4 * MOST_BYTES
    for run in runs:
        for one in listed.get(run.run_id, ()):
            size = MOST_BYTES + 1 if one.size is None else one.size
            if one.kind != "html" or one.uri is not None or one.path == own:
                continue
            if size > min(MOST_BYTES, room) or len(pages) == MOST_PAGES:
                continue
            try:
                pages[run.run_id, one.path] = _content(found, run, one, deadline)
            except (TrkError, OSError) as error:  # the rest of the page is known
                wanted.warn(f"{one.path} of run {run.run_id} can't be shown: {error}")
                continue
            room -= size
    return pages


def _content(found: Source, run: RunRecord, one: ArtifactRecord, deadline: float) -> str:
    with tempfile.TemporaryDirectory(prefix="trk-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "page"
        sources.within(found, deadline, lambda: found.fetch(run, one, str(file)))
        with file.open("rb") as stream:
            return stream.read(MOST_BYTES).decode(errors="replace")
