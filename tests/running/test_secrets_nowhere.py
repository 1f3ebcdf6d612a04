"""Nothing that looks like a secret is in any file of trk's, whichever way it came: arguments, environment, output."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import trk
from capture.test_secrets import BY_NAME, PLAIN, SHAPED, WANDB_KEY
from trk.journal import db

SECRETS = {**SHAPED, "plain": PLAIN, "wandb": WANDB_KEY}


def held(folder: Path) -> list[str]:
    """The secrets, by what they are, that some file below a folder has."""
    for journal in list(db._opened):
        journal.checkpoint()
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return sorted(
        what for what, secret in SECRETS.items() if any(secret.splitlines()[-1].encode() in one for one in contents)
    )


def test_no_file_has_a_secret_of_a_command_that_shows_all_of_them(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = [" ".join(form).format(PLAIN) for form in BY_NAME]
    lines = [f"{kind.replace(' ', '_')}: {secret}" for kind, secret in SHAPED.items()] + forms
    lines += [f"WANDB_API_KEY={WANDB_KEY}", f"loss: 0.5 (step 1) token={PLAIN}"]
    (project / "said").write_text("\n".join(lines))
    for number, secret in enumerate(SHAPED.values()):
        monkeypatch.setenv(f"SLURM_{number}", secret)
    monkeypatch.setenv("BUILD_URL", f"https://me:{PLAIN}@ci.example.org/1")
    # The file with all of them lies where a command would have it; the copy that trk keeps is what is looked at.
    code = "import sys; [print(line) for line in open('said').read().splitlines()]"
    words = [sys.executable, "-c", code, *forms, *SHAPED.values(), "--wandb-key", WANDB_KEY]
    done = trk.run_command(words, "all", capture=["git", "env", "args", "packages", "system"], scrape=True)
    assert (done.exit_code, done.troubles) == (0, ())
    run = trk.resume(done.run_id)
    given = {kind.replace(" ", "_"): secret for kind, secret in SHAPED.items()} | {"password": PLAIN, "lr": "0.1"}
    trk.capture_hyperparams(given, run=run)
    run.finish()
    record = trk.get_run(run.id)
    assert record.params["lr"] == "0.1"
    assert record.metrics["loss"] == 0.5
    [path] = trk.get_artifact("output.log", run.id, to=project / "got")
    assert "***" in path.read_text()
    assert held(project / ".trk") == []


def test_what_looks_for_them_finds_them(project: Path) -> None:
    run = trk.start("one")
    run.log_text(SHAPED["github classic"], "note.txt")
    assert held(project / ".trk") == ["github classic"]
