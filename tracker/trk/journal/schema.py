"""What is in the journal, and how older files become newer ones.

`rows` is append-only and keyed (run, n). The live tables beside it (runs, params, tags, metrics, definitions) are
kept in the same transaction, so that readers always see them complete. A metric row holds one value (`key`,
`value`) or several (`key` NULL, `value` a JSON object). NaN is the text 'NaN': SQLite turns a NaN into NULL.

A row of a table or of files has a JSON object as its value (`trk.journal.content`). `files` lists, for each path inside
a run, the rows that put something there, the largest `n` last; `tables` has each table's columns and how many rows it
has; `versions` counts the artifacts that have a name. `runs.deleted` is when a run was deleted (NULL: it was not);
`runs.external` is 1 for a run of another program that was attached to, `runs.keyless` for a run that was started in an
environment without credentials. `runs.owner` says who started or resumed the run (`trk.owners`), as a JSON object; NULL
is: not known. `removed` are the blobs that `trk gc` removed, when, and who then had their
bytes; one that was logged again since is there all the same. `watched` says up to where the lines of a file that grows
are in a run (`trk.growing`), as a JSON object.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _sqlite3 import Connection

PAGE_SIZE = 1024  # an append then writes 3.4 KB of log instead of 12.7

MIGRATIONS = (
    """
    CREATE TABLE runs (
        run INTEGER PRIMARY KEY,
        run_id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        experiment TEXT NOT NULL,
        status TEXT NOT NULL,
        start_time INTEGER NOT NULL,
        end_time INTEGER,
        parent_id TEXT,
        description TEXT,
        key_prefix TEXT NOT NULL DEFAULT '',
        step_metric TEXT
    );
    CREATE INDEX runs_by_name ON runs (name);
    CREATE TABLE rows (
        run INTEGER NOT NULL,
        n INTEGER NOT NULL,
        kind TEXT NOT NULL,
        time INTEGER NOT NULL,
        key TEXT,
        step INTEGER,
        value,
        PRIMARY KEY (run, n)
    ) WITHOUT ROWID;
    CREATE TABLE metrics (
        run INTEGER NOT NULL,
        key TEXT NOT NULL,
        count INTEGER NOT NULL,
        last_step INTEGER NOT NULL,
        last_time INTEGER NOT NULL,
        last,
        low REAL, low_step INTEGER, low_time INTEGER,
        high REAL, high_step INTEGER, high_time INTEGER,
        PRIMARY KEY (run, key)
    ) WITHOUT ROWID;
    CREATE INDEX metrics_by_key ON metrics (key);
    CREATE TABLE params (
        run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
    ) WITHOUT ROWID;
    CREATE TABLE tags (
        run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, key)
    ) WITHOUT ROWID;
    CREATE TABLE definitions (
        experiment TEXT NOT NULL, key TEXT NOT NULL, mode TEXT, step_metric TEXT, PRIMARY KEY (experiment, key)
    ) WITHOUT ROWID;
    CREATE TABLE deliveries (
        run INTEGER NOT NULL,
        backend TEXT NOT NULL,
        target TEXT NOT NULL,
        cursor INTEGER NOT NULL DEFAULT 0,
        remote_id TEXT,
        url TEXT,
        last_error TEXT,
        PRIMARY KEY (run, backend)
    ) WITHOUT ROWID;
    CREATE TABLE rejections (
        run INTEGER NOT NULL,
        backend TEXT NOT NULL,
        n INTEGER NOT NULL,
        kind TEXT NOT NULL,
        key TEXT,
        reason TEXT NOT NULL,
        skipped INTEGER NOT NULL,
        PRIMARY KEY (run, backend, n)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE runs ADD COLUMN deleted INTEGER;
    ALTER TABLE runs ADD COLUMN external INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN keyless INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX runs_open ON runs (run) WHERE status = 'RUNNING';
    CREATE TABLE files (
        run INTEGER NOT NULL,
        path TEXT NOT NULL,
        n INTEGER NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        step INTEGER,
        size INTEGER,
        sha256 TEXT,
        uri TEXT,
        PRIMARY KEY (run, path, n)
    ) WITHOUT ROWID;
    CREATE TABLE tables (
        run INTEGER NOT NULL,
        path TEXT NOT NULL,
        columns TEXT NOT NULL,
        count INTEGER NOT NULL,
        PRIMARY KEY (run, path)
    ) WITHOUT ROWID;
    CREATE TABLE versions (
        run INTEGER NOT NULL,
        n INTEGER NOT NULL,
        experiment TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        type TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (run, n)
    ) WITHOUT ROWID;
    CREATE INDEX versions_by_name ON versions (experiment, name, version);
    CREATE INDEX versions_by_content ON versions (experiment, name, digest);
    """,
    "ALTER TABLE runs ADD COLUMN owner TEXT",
    """
    CREATE TABLE removed (sha256 TEXT PRIMARY KEY, time INTEGER NOT NULL, places TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX files_by_content ON files (sha256) WHERE sha256 IS NOT NULL;
    """,
    """
    CREATE TABLE watched (
        run INTEGER NOT NULL, path TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (run, path)
    ) WITHOUT ROWID
    """,
)

VERSION = len(MIGRATIONS)


def migrate(connection: Connection, found: int) -> None:
    """Bring a journal from version `found` to VERSION, each step committed with its number."""
    for number in range(found, VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Someone else may have migrated while this process waited for the lock.
            if connection.execute("PRAGMA user_version").fetchone()[0] == number:
                for statement in MIGRATIONS[number].split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")
        except BaseException:  # also Ctrl-C: no half of a migration stays
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
