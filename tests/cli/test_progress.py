"""What is long says how far it is: lines in a log, a bar on a terminal, nothing when nobody wants to know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trk
from cli.terminals import Terminal
from helpers import COMMAND, child_environment
from trk_cli import content, progress


@pytest.fixture
def _long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything takes long."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(content, "SHOWN_FROM", 1000)


@pytest.mark.usefixtures("_long")
def test_a_log_has_lines_of_what_takes_long(call: Any, project: Path) -> None:
    run = trk.start("one", backends="memory", delivery="end")
    for step in range(20):
        run.log_metric("loss", step, step=step)
    run.finish()
    synced = call("sync")
    assert "delivering: " in synced.err
    assert " of 21 rows" in synced.err
    Path("a.csv").write_text("epoch,loss\n1,0.5\n")
    assert "importing: " in call("import", "csv", "a.csv").err
    trk.start("two", shell_session=True)
    Path("big").write_bytes(b"x" * 5_000_000)
    assert "copying: 4 of 5 MB\n" in call("log-artifact", "big").err
    assert call("log-artifact", "a.csv").code == 0
    assert call("artifacts", "get", ".", "--output", "got").err.startswith("fetching: 0 of 2 files\nfetching: 1 of 2")
    assert call("artifacts", "get", ".", "--output", "again", "-q").err == ""


@pytest.mark.usefixtures("_long")
def test_nobody_is_told_what_is_short_or_unasked(call: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trk.start("one", backends="memory", delivery="end")
    run.log_metric("loss", 1)
    run.finish()
    assert call("sync", "-q").err == ""
    trk.start("two", shell_session=True)
    Path("big").write_bytes(b"x" * 5_000_000)
    assert call("log-artifact", "big", "-q").err == ""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 3600.0)
    assert "copying" not in call("log-artifact", "big", "--path", "again").err


def test_a_line_is_said_once_and_not_soon_after_another(capsys: pytest.CaptureFixture[str]) -> None:
    lines = progress._NowAndThen()
    lines.say("one")
    assert capsys.readouterr().err == ""
    lines._last -= progress.LINE_EVERY_S
    lines.say("two")
    lines.say("three")
    lines._last -= progress.LINE_EVERY_S
    lines.say("two")
    assert capsys.readouterr().err == "two\n"


def test_a_terminal_has_it_in_place(project: Path) -> None:
    trk.start("one", shell_session=True)
    Path("big").write_bytes(b"x" * 40_000_000)
    terminal = Terminal([*COMMAND, "log-artifact", "big"], child_environment(), project)
    try:
        terminal.read_until(lambda: " of 40 MB" in terminal.shown)
    finally:
        terminal.close()
