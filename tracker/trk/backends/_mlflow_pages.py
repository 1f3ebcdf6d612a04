"""The runs of an MLflow store, page by page, as fast as a server gives them.

A server takes its time to read its runs. How many pages there are is known from the last time, since the token of a
page says how many runs are before it: when more than the first one is wanted, they are asked for together. They count
as far as each names the next, and only when no run has started meanwhile, which moves runs from one page to another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trk.backends._mlflow_store import Store, asked, is_server

RUNS_PER_PAGE = 500
TOGETHER = 4  # requests at once: as many as a server of MLflow's has workers
MOST_SEARCHES = 50  # whose tokens are remembered

Page = tuple[list[Any], str | None]
_Search = tuple[tuple[str, ...], str]


class Pages:
    """Searches of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tokens: dict[_Search, list[str]] = {}  # of the pages after the first, when it was asked for last

    def of(self, experiment_ids: Sequence[str], filter_string: str | None) -> Iterator[list[Any]]:
        """The active runs in these experiments, newest first, as MLflow's `Run`. Raises as `as_source`."""
        search = tuple(experiment_ids), filter_string or ""
        known = self._tokens.get(search, [])
        tokens: list[str] = []
        page, following = self._page(search, None)
        ahead: dict[str, Page] = {}
        yield page
        if following in known and is_server(self._store.uri):
            ahead = self._together(search, known, page)
        while following:
            tokens.append(following)
            page, following = ahead.get(following) or self._page(search, following)
            yield page
        self._remember(search, tokens)

    def _page(self, search: _Search, token: str | None, most: int | None = None) -> Page:
        with asked(self._store) as mlflow:
            from mlflow.entities import ViewType

            newest = ["attributes.start_time DESC"]
            page = mlflow.search_runs(
                list(search[0]), search[1], ViewType.ACTIVE_ONLY, most or RUNS_PER_PAGE, newest, token
            )
        return page, page.token

    def _together(self, search: _Search, tokens: Sequence[str], first: Sequence[Any]) -> dict[str, Page]:
        """The pages behind these tokens; none when a run has started since the first page was read."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(TOGETHER, thread_name_prefix="trk-pages") as pool:
            found = dict(zip(tokens, pool.map(lambda token: self._page(search, token), tokens), strict=True))
        newest, _ = self._page(search, None, 1)
        return found if [run.info.run_id for run in newest] == [run.info.run_id for run in first[:1]] else {}

    def _remember(self, search: _Search, tokens: list[str]) -> None:
        self._tokens.pop(search, None)
        self._tokens[search] = tokens
        if len(self._tokens) > MOST_SEARCHES:
            del self._tokens[next(iter(self._tokens))]
