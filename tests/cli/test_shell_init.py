"""The shell functions of `trk shell-init` beside the command: the same scripts, the same of everything.

What a script prints, how it ends and what is in the journal is compared for the command in bash, the function in bash
and the function in zsh. All cases of a kind of shell run in one shell, one after the other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers import child_environment, program, until
from trk.journal.db import Journal

NEW = {"bash": "((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404))", "zsh": "true"}
SHELLS = [
    name for name, new in NEW.items()
    if shutil.which(name) and subprocess.run([name, "-c", new], stdin=subprocess.DEVNULL).returncode == 0
]  # fmt: skip

# Each is run in one shell after the others: what one has set the next one finds. A run is active in `project`, and the
# run `two` is open.
CASES = {
    "one after the other": """
        trk log-metric a 1; trk log-metric a -0.5 --step 9; trk log-metric a -1e-3 -q
        trk log-metric a nan; trk log-metric a --step=20 inf; trk log-metric a -inf --timestamp 2026-11-21T07:27:00Z
        trk log-metrics x=1 'val/y z=2' --step 4
        trk log-param lr 0.1; trk log-params m=rf depth=3
        trk log-summary best=0.5 verdict="ready to ship"; trk define-metric speed --mode max
    """,
    "values as they are": r"""
        trk set-tag note "two
        lines, \"quotes\", \\ and \$HOME  end "
        trk set-tags a=b 'c=d=e f' e=; trk log-param empty ''; trk set-tag who @me; trk set-tag dash -- -5
        trk delete-tag a; trk set-tag glob '*	x	'
    """,
    "mistakes": """
        trk log-metric a bad; echo $?
        trk log-metric a 1 --step 1.5; echo $?
        trk log-metric '' 1; echo $?
        trk log-metrics x=1 x=2; echo $?
        trk log-param lr 0.2; echo $?
        trk log-param lr 0.2 --if-exists keep; echo $?
        trk delete-tag nothing; echo $?
        trk log-metric a bad --json; echo $?
    """,
    "a script that stops at errors": """
        ( set -eu -o pipefail; trk log-metric e 1; trk log-metric e bad; echo not here ); echo $?
        ( set -e; trk log-metric e bad || echo caught; trk log-metric e 2; echo here ); echo $?
    """,
    "odd settings": """
        ( IFS=,; set -Cf; unset TERM; trk log-metric odd 1; trk log-metric odd 2 --step 7
          echo "[$IFS] $-" | tr -d '[:alnum:]' )
        ( trk() { command trk "$@"; }; trk log-metric odd 5 ); ( alias printf=false read=false; trk log-metric odd 6 )
    """,
    "subshells, pipelines and jobs": """
        printf '1\\n2\\n3\\n' | while read -r value; do trk log-metric piped "$value"; done
        ( trk log-metric sub 1; trk log-metric sub 2; ( trk log-metric sub 3; trk log-metric sub 4 ) )
        trk log-metric job 1 & wait $!; echo $?
        trk log-metric job bad & wait $!; echo $?
        sleep 0 & before=$!; trk log-metric job 2; trk log-metric job 3; [ "$before" = "$!" ]; echo $?; wait; echo $?
        x=$(trk log-metric job 4 --json); echo "$x"; trk log-metric job 5 | cat; trk log-metric job 6 >&-; echo $?
        trk log-metric job bad 2>/dev/null; echo $?
    """,
    "traps": """
        ( trap 'trk log-metric end 1; trk log-metric end 2' EXIT; trk log-metric trap 1; trk log-metric trap 2; exit 3 )
        echo $?
    """,
    "another run, prefix, folder": """
        trk log-metric where 1 --run two
        TRK_RUN=two trk log-metric where 2; TRK_KEY_PREFIX=val/ trk log-metric where 3; trk log-metric where 4
        export TRK_KEY_PREFIX=test/; trk log-metric where 5; unset TRK_KEY_PREFIX
        TRK_RUN=nonsense; trk log-metric where 7; echo $?; export TRK_RUN; trk log-metric where 8; echo $?
        unset TRK_RUN
        mkdir -p deep/er; cd deep/er; trk log-metric where 9; cd ../..; TRK_DIR=.trk trk log-metric where 10
        cd ..; trk log-metric where 11; echo $?; TRK_DIR=project/.trk trk log-metric where 12; cd project
    """,
    "the run ends": """
        trk end -q --no-wait; trk log-metric late 1; echo $?
        export TRK_RUN=two; trk log-metric late 1; echo $?; trk log-metric late 2; echo $?
    """,
}  # fmt: skip

IN_BASH = {
    "traced": "( set -x; trk log-metric tr 1; trk log-metric tr 2; trk log-metric tr bad )",
    "errors that are trapped": """
        ( set -E; trap 'echo ERR $?' ERR; trk log-metric err 1; trk log-metric err bad; trk log-metric err 2 )
    """,
    "a coprocess of its own": """
        coproc cat; trk log-metric co 1; trk log-metric co 2; echo hello >&"${COPROC[1]}"; read -r x <&"${COPROC[0]}"
        exec {COPROC[1]}>&-; wait; echo "$x"
    """,
}


TWO_RUNS = """
import os, trk
trk.start("two")
trk.start("first", shell_session=True).journal.close()
os._exit(0)
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the command `trk` in it."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "trk").write_text(f"#!{sys.executable} -P\nfrom trk_cli.__main__ import run\n\nrun()\n")
    (folder / "trk").chmod(0o755)
    return folder


def shell_run(
    shell: str, script: str, command: Path, base: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """A script in a shell without anybody's settings, in `base`/project."""
    (base / "project").mkdir(parents=True, exist_ok=True)
    env = child_environment(
        HOME=str(base), PATH=f"{command}:{os.environ['PATH']}", LC_ALL="C.UTF-8", TRK_BACKENDS="none"
    )
    words = [shell, "-f", "-c", script] if shell == "zsh" else [shell, "--norc", "-c", script]
    return subprocess.run(
        words, cwd=base / "project", env=env, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
        timeout=timeout,
    )  # fmt: skip


def whole(shell: str, *, function: bool) -> str:
    """All cases as one script: what each says is in files of its own."""
    lines = [f'eval "$(trk shell-init {shell})"'] if function else []
    cases = CASES | (IN_BASH if shell == "bash" else {})
    for name, text in cases.items():
        lines.append(f"{{ {text.strip()}\n}} >'../{name}.out' 2>'../{name}.err'; echo $? >'../{name}.code'")
    return "\n".join(lines)


def seen(base: Path) -> dict[str, str]:
    """What the cases said."""
    found = [path for path in base.iterdir() if path.suffix in (".out", ".err", ".code")]
    return {path.name: path.read_text().replace(str(base), "BASE") for path in found}


def journal_of(base: Path) -> list[tuple[object, ...]]:
    """All rows but when they were written, in their order, run by run, and all live tables."""
    journal = Journal(str(base / "project" / ".trk" / "journal.db"))
    rows = "SELECT name, n, kind, key, step, value FROM rows JOIN runs USING (run) ORDER BY run, n"
    live = "SELECT run, key, count, last_step, last, low, low_step, high, high_step FROM metrics ORDER BY run, key"
    said = [tuple(map(repr, row)) for ask in (rows, live, "SELECT * FROM params", "SELECT * FROM tags")
            for row in journal.read(ask)]  # fmt: skip
    journal.close()
    return said


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a project, in which a run is active and another is open."""
    made = tmp_path_factory.mktemp("made")
    done = program(TWO_RUNS, TRK_DIR=str(made / "project" / ".trk"), TRK_BACKENDS="none")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def runs(command: Path, made: Path) -> dict[str, Path]:
    """The cases by the command and by the functions, each with a home of its own."""
    kinds = {"command": ("bash", False)} | {shell: (shell, True) for shell in SHELLS}
    bases = {kind: made.parent / f"{made.name}-{kind}" for kind in kinds}
    for base in bases.values():
        shutil.copytree(made, base)
    with ThreadPoolExecutor(3) as pool:
        for done in pool.map(
            lambda kind: shell_run(
                kinds[kind][0], whole(kinds[kind][0], function=kinds[kind][1]), command, bases[kind]
            ),
            kinds,
        ):
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return bases


@pytest.mark.parametrize("shell", SHELLS)
def test_the_function_says_and_writes_what_the_command_does(shell: str, runs: dict[str, Path]) -> None:
    wanted, found = seen(runs["command"]), seen(runs[shell])
    own = {f"{name}.{end}" for name in IN_BASH for end in ("out", "err", "code")} if shell != "bash" else set()
    assert found == {name: text for name, text in wanted.items() if name not in own}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_journals_are_alike(shell: str, runs: dict[str, Path]) -> None:
    wanted, found = journal_of(runs["command"]), journal_of(runs[shell])
    if shell != "bash":  # it has not run what comes last, into the other run
        wanted = [row for row in wanted if not {"'tr'", "'err'", "'co'"}.intersection(row)]
    assert found == wanted
    assert len(found) > 40


# ---- the process behind it

BEGIN = 'eval "$(trk shell-init {shell})"; trk log-metric a 1; trk log-metric a 2; '


def points(base: Path, key: str = "a") -> list[float]:
    journal = Journal(str(base / "project" / ".trk" / "journal.db"))
    found = [row[0] for row in journal.read("SELECT value FROM rows WHERE key = ? ORDER BY n", (key,))]
    journal.close()
    return found


def gone(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_a_process_that_was_killed_is_done_without_and_nothing_is_doubled(
    shell: str, command: Path, base: Path
) -> None:
    kill = "kill -9 $_trk_pid; "
    slow = "kill -STOP $_trk_pid; ( sleep 0.2; kill -9 $_trk_pid ) & "  # while it is asked, and has not looked
    then = f"{kill}trk log-metric a 3; echo $?; trk log-metric a 4; {slow}trk log-metric a 5; echo $?"
    script = BEGIN.format(shell=shell) + then
    done = shell_run(shell, script, command, base)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n0\n", "")
    assert points(base) == [1, 2, 3, 4, 5]


FAKE = """
[ "$1" = __serve ] || exec real-trk "$@"
mkfifo in out 2>/dev/null || exit 1
echo "trk-serve $$ - $PWD"
exec >/dev/null 2>&1
dd bs=65536 count=1 <in &
"""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_command_whose_answer_was_lost_fails_and_is_not_repeated(
    shell: str, command: Path, base: Path, tmp_path: Path
) -> None:
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "trk").write_text(f"#!/bin/sh\n{FAKE}")
    (fake / "trk").chmod(0o755)
    (fake / "real-trk").symlink_to(command / "trk")
    script = f"export PATH={fake}:$PATH; {BEGIN.format(shell=shell)}echo $?; trk log-metric a 3; echo $?"
    done = shell_run(shell, script, command, base)
    assert done.stdout == "1\n0\n"
    assert done.stderr.startswith("trk: the process that logs for this shell ended before it answered")
    assert points(base)[0] == 1
    assert 2 not in points(base)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_process_goes_with_its_shell_and_holds_nothing_of_it(shell: str, command: Path, base: Path) -> None:
    script = f"exec 7>&1; ( {BEGIN.format(shell=shell)}echo $_trk_pid $_trk_dir ) | cat; kill -9 $$"
    done = shell_run(shell, script, command, base, timeout=30)  # it ends, though a copy of its output was open
    pid, _, folder = done.stdout.strip().partition(" ")
    until(lambda: gone(pid) and not Path(folder).exists())


@pytest.mark.parametrize("shell", SHELLS)
def test_the_process_leaves_when_its_shell_has_become_another_program(shell: str, command: Path, base: Path) -> None:
    script = f"{BEGIN.format(shell=shell)}echo $_trk_pid; exec sleep 30"
    (base / "project").mkdir(exist_ok=True)
    env = child_environment(HOME=str(base), PATH=f"{command}:{os.environ['PATH']}", TRK_BACKENDS="none")
    with subprocess.Popen(
        [shell, "-c", script], cwd=base / "project", env=env, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pid = run.stdout.readline().strip()
        until(lambda: gone(pid))
        run.kill()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_journal_that_was_removed_is_not_written_to(shell: str, command: Path, base: Path) -> None:
    then = "rm -rf .trk; trk log-metric a 3; echo $?; cp -r kept .trk; trk log-metric a 4; echo $?"
    script = f"cp -r .trk kept; {BEGIN.format(shell=shell)}{then}"
    done = shell_run(shell, script, command, base)
    assert done.stdout == "3\n0\n"
    assert points(base) == [4]
