"""Running a command as a run: its streams and signals pass through, and what they say is kept.

`child` starts the command and waits for it; `ways` carries its streams, `terminal` gives it a terminal of its own,
`signals` passes signals on. `kept` holds its output for the run, `listening` has a process beside it read metrics out
of that (`listener`), `beat` says that it lives. `command` makes a run of all this; `restarts` knows a job again.

The process that stands between a command and its terminal does as little as can be: whatever may take long, or fail,
is done by others or afterwards.
"""
