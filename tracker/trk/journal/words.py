"""The words of a journal that a shell completes: names of runs, experiments, keys, paths. Light, and in no one's way.

Someone waits with a finger on TAB: the journal is opened to be read alone, never made, migrated or waited for. What
can't be read at once is no word.
"""

from __future__ import annotations

from _sqlite3 import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST = 200  # words of one answer
RECENT = 500  # runs whose params, tags and paths are looked at: there is no index by key
WAIT_S = 0.2

# Steps from name to name in the index of `metrics`, which has as many entries as there are runs times metrics.
_METRICS = """
    WITH RECURSIVE known (key) AS (
        SELECT min(key) FROM metrics
        UNION ALL
        SELECT (SELECT min(key) FROM metrics WHERE key > known.key) FROM known WHERE key IS NOT NULL LIMIT 20000
    )
    SELECT key FROM known WHERE key LIKE ?1 ESCAPE '\\'
    ORDER BY (SELECT max(run) FROM metrics WHERE metrics.key = known.key) DESC, key LIMIT ?2
"""
_EXPERIMENTS = """
    SELECT experiment FROM runs WHERE experiment LIKE ?1 ESCAPE '\\' AND deleted IS NULL
    GROUP BY experiment ORDER BY max(run) DESC LIMIT ?2
"""
_RECENT = """
    SELECT {column} FROM {table}
    WHERE run > (SELECT max(run) FROM runs) - ?3 AND {column} LIKE ?1 ESCAPE '\\'
    GROUP BY {column} ORDER BY max(run) DESC, {column} LIMIT ?2
"""
_PLACES = {"param": ("params", "key"), "tag": ("tags", "key"), "artifact": ("files", "path")}

# A name that several runs have names none of them; the deleted ones are asked apart.
_RUNS = """
    SELECT run_id, name, experiment, status, NOT EXISTS (
        SELECT 1 FROM runs AS other
        WHERE other.name = runs.name AND other.run != runs.run AND (other.deleted IS NULL) = (runs.deleted IS NULL)
    )
    FROM runs WHERE (name LIKE ?1 ESCAPE '\\' OR run_id LIKE ?1 ESCAPE '\\') AND {which}
    ORDER BY run DESC LIMIT ?2
"""
# The names and paths of what one run has: names first, of what is called otherwise than its path.
_OWN = """
    WITH own (name, path) AS (
        SELECT name, path FROM files WHERE run = (
            SELECT run FROM runs WHERE deleted IS NULL AND (run_id = ?3 OR name = ?3
            OR (?3 = '@last' AND status != 'RUNNING') OR (length(?3) > 3 AND substr(run_id, 1, length(?3)) = ?3))
            ORDER BY run_id = ?3 DESC, name = ?3 DESC, CASE ?3 WHEN '@last' THEN end_time END DESC, run DESC LIMIT 1
        )
    )
    SELECT word FROM (SELECT 0 AS place, name AS word FROM own WHERE name != path UNION SELECT 1, path FROM own)
    WHERE word LIKE ?1 ESCAPE '\\' ORDER BY place, word LIMIT ?2
"""
_WHICH = {
    "run": "deleted IS NULL",
    "open-run": "deleted IS NULL AND status = 'RUNNING'",
    "ended-run": "deleted IS NULL AND status != 'RUNNING'",
    "deleted-run": "deleted IS NOT NULL",
}


def keys(path: str, kind: str, prefix: str) -> list[str]:
    """The names of a kind (metric, param, tag, experiment, artifact) that begin with `prefix`, else that contain it.

    At most MOST, those of the newest runs first. `path` is the journal's file. Raises SQLite's own errors.
    """
    if kind in _PLACES:
        table, column = _PLACES[kind]
        found = _found(path, _RECENT.format(table=table, column=column), prefix, RECENT)
    else:
        found = _found(path, {"metric": _METRICS, "experiment": _EXPERIMENTS}[kind], prefix)
    return [key for (key,) in found]


def own_artifacts(path: str, run: str, prefix: str) -> list[str]:
    """The names and paths of what a run has, as `keys`. The run is named by id, prefix, name or `@last`."""
    return [word for (word,) in _found(path, _OWN, prefix, run)]


def runs(path: str, kind: str, prefix: str) -> list[tuple[str, str, str, str, bool]]:
    """(id, name, experiment, status, whether no other run has the name) of runs, the newest first, at most MOST.

    `kind` is run, open-run, ended-run or deleted-run. The name or the id begins with `prefix`, else contains it.
    `path` is the journal's file. Raises SQLite's own errors.
    """
    return _found(path, _RUNS.format(which=_WHICH[kind]), prefix)


def _found(path: str, sql: str, prefix: str, *more: object) -> list[Any]:
    for escape in ("\\", "%", "_"):
        prefix = prefix.replace(escape, "\\" + escape)
    for escape in ("%", "?", "#"):
        path = path.replace(escape, f"%{ord(escape):x}")
    connection = connect(f"file:{path}?mode=ro", WAIT_S, 0, None, True, uri=True)
    try:
        found = connection.execute(sql, (prefix + "%", MOST, *more)).fetchall()
        # Some shells also take words that have what is typed in the middle.
        return found or connection.execute(sql, (f"%{prefix}%", MOST, *more)).fetchall()
    finally:
        connection.close()
