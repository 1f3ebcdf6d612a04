"""Where settings come from, whom an address is believed from, and that no password is kept or shown."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

SECRET = "hunter2-open-sesame"
ADDRESS = f"http://ada:{SECRET}@127.0.0.1:9/mlflow"


def shown(call: Any) -> dict[str, tuple[Any, str]]:
    done = call("config", "show", "--json")
    assert done.code == 0, done.err
    return {name: (found["value"], found["origin"]) for name, found in json.loads(done.out).items()}


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "trk" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def test_the_stronger_place_counts(call: Any, project: Path, user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".trk").mkdir()
    assert "experiment" not in shown(call)
    user_file.write_text('experiment = "user"\n')
    assert shown(call)["experiment"] == ("user", str(user_file))
    (project / "pyproject.toml").write_text('[tool.trk]\nexperiment = "pyproject"\n')
    assert shown(call)["experiment"] == ("pyproject", str(project / "pyproject.toml"))
    (project / ".trk" / "config.toml").write_text('experiment = "project"\n')
    assert shown(call)["experiment"] == ("project", str(project / ".trk" / "config.toml"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mlflow's")
    assert shown(call)["experiment"] == ("mlflow's", "environment (MLFLOW_EXPERIMENT_NAME)")
    monkeypatch.setenv("TRK_EXPERIMENT", "environment")
    assert shown(call)["experiment"] == ("environment", "environment (TRK_EXPERIMENT)")
    assert json.loads(call("start", "-e", "flag", "--json", "-q").out)["experiment"] == "flag"
    assert json.loads(call("start", "--replace", "--json", "-q").out)["experiment"] == "environment"


def test_an_empty_variable_says_nothing(call: Any, user_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user_file.write_text('experiment = "user"\n')
    monkeypatch.setenv("TRK_EXPERIMENT", "")
    assert shown(call)["experiment"][0] == "user"


def test_settings_are_those_of_the_folder_that_serves_the_directory(
    call: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / ".trk").mkdir()
    (project / ".trk" / "config.toml").write_text('key_prefix = "top/"\n')
    (project / "deep" / "er").mkdir(parents=True)
    (project / "deep" / "pyproject.toml").write_text('[tool.trk]\nkey_prefix = "deep/"\n')
    monkeypatch.chdir(project / "deep" / "er")
    assert shown(call)["key_prefix"][0] == "top/"


@pytest.mark.usefixtures("detected_backends")
def test_what_is_detected_says_so(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    value, origin = shown(call)["backends"]
    assert origin.startswith("detected: ")
    assert value == (["mlflow"] if importlib.util.find_spec("mlflow") else [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert shown(call)["backends"] == (["mlflow"], "detected: environment (MLFLOW_TRACKING_URI)")


@pytest.mark.usefixtures("detected_backends")
@pytest.mark.parametrize("place", ["pyproject.toml", ".trk/config.toml"])
def test_a_projects_address_counts_once_it_is_trusted_and_until_it_changes(
    place: str, call: Any, project: Path
) -> None:
    (project / ".trk").mkdir()
    head = "[tool.trk]\n" if place == "pyproject.toml" else ""
    (project / place).write_text(f'{head}mlflow_uri = "http://one.example"\nkey_prefix = "p/"\n')
    warned = call("config", "show")
    assert "one.example" not in warned.out + warned.err
    assert warned.err.startswith("trk: warning: mlflow_uri in")
    assert "trk config trust" in warned.err
    assert "key_prefix" in shown(call)  # what is no address needs no trust
    assert "one.example" not in call("start", "-q").out
    assert call("config", "trust").code == 0
    trusted = call("config", "show")
    assert ("http://one.example" in trusted.out, trusted.err) == (True, "")
    (project / place).write_text(f'{head}mlflow_uri = "http://two.example"\n')
    changed = call("config", "show")
    assert "two.example" not in changed.out
    assert "trk config trust" in changed.err


def test_trust_is_for_this_place_alone(
    call: Any, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[tool.trk]\nmlflow_uri = "http://one.example"\n'
    (project / "pyproject.toml").write_text(text)
    assert call("config", "trust").code == 0
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "pyproject.toml").write_text(text)
    monkeypatch.chdir(tmp_path / "copy")
    assert "mlflow_uri" not in shown(call)


def test_the_users_own_address_needs_no_trust(call: Any, user_file: Path) -> None:
    user_file.write_text('mlflow_uri = "http://one.example"\n')
    assert shown(call)["mlflow_uri"] == ("http://one.example", str(user_file))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('colour = "red"', "unknown setting 'colour'"),
        ("experiment = 3", "experiment must be text"),
        ('experiment = "@x"', "begins with @"),
        ('backends = "nonsense"', "unknown backend 'nonsense'"),
        ("backends = 3", "backends must be a list"),
        ('daemon = "perhaps"', "daemon must be auto or off"),
        ("experiment = ", "can't be read"),
        ("experiment = '\0'", "can't be read"),
    ],
)
@pytest.mark.parametrize("line", ["config show", "start", "ls"])
def test_a_setting_that_cannot_be_meant_is_refused_with_its_place(
    text: str, says: str, line: str, call: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRK_BACKENDS")
    monkeypatch.delenv("TRK_DAEMON")
    (project / "pyproject.toml").write_text(f"[tool.trk]\n{text}\n")
    done = call(*line.split())
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert says in done.err
    assert "pyproject.toml" in done.err


def test_origins_are_shown_when_asked_for(call: Any) -> None:
    assert call("config", "show").out == "setting\tvalue\nbackends\tnone\ndaemon\toff\n"
    assert call("config").out == call("config", "show").out
    assert call("config", "--origin").out == (
        "setting\tvalue\torigin\nbackends\tnone\tenvironment (TRK_BACKENDS)\ndaemon\toff\tenvironment (TRK_DAEMON)\n"
    )


def holding_the_secret(folder: Path) -> list[str]:
    needle = SECRET.encode()
    return [str(path) for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


NETWORK = ["start one --wait --timeout 1", "end --timeout 1 --json", "ls --source mlflow --timeout 1"]
LINES = [
    *NETWORK[:1],
    "log-metric f1 0.9",
    "status",
    "status --json",
    "show --json --source local",
    "config show --origin",
    "config show --json",
    *NETWORK[1:],
    "start two --capture args,env,git,system",
    "end --no-wait",
    "best --metric f1 --source local --json",
]


@pytest.mark.parametrize("way", ["environment", "flag", "file"])
def test_a_password_is_neither_kept_nor_shown(
    way: str, trk_command: Any, call: Any, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRK_BACKENDS", "mlflow")
    if way == "environment":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS)
    if way == "file":
        (project / ".trk").mkdir()
        (project / ".trk" / "config.toml").write_text(f'mlflow_uri = "{ADDRESS}"\n')
        assert call("config", "trust").code == 0
    for line in LINES if way == "environment" else [line for line in LINES if line not in NETWORK[1:]]:
        words = line.split()
        if way == "flag" and words[0] == "start":
            words += ["--mlflow-uri", ADDRESS]
        if line in NETWORK:  # in a process of its own: SDKs print and start what they like
            done = trk_command(*words)
            said = done.stdout + done.stderr
        else:
            done = call(*words)
            said = done.out + done.err
        assert SECRET not in said, line
        assert "Traceback" not in said
    (project / ".trk" / "config.toml").unlink(missing_ok=True)
    assert holding_the_secret(tmp_path) == []
