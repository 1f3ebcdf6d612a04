"""The journal: the SQLite file `.trk/journal.db`, the record of truth. The only SQL of trk is in this package.

`db` opens it, `schema` says what is in it, `write` appends, `read` answers, `cursors` keeps what each backend has.
"""
