"""What keeps the house in order: floors, who says SQL, who reads the environment, who prints, what an import costs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trk
from helpers import child_environment, source_roots

LIBRARY, COMMANDS = (Path(root) / name for root, name in zip(source_roots(), ("trk", "trk_cli"), strict=True))

# A module imports its own floor or a lower one. The longest name that fits counts.
FLOORS = {
    "trk.errors": 0,
    "trk.records": 0,
    "trk.listed": 0,
    "trk.rules": 0,
    "trk.settings": 0,
    "trk.ids": 0,
    "trk.addresses": 0,
    "trk.tabular": 0,
    "trk.texts": 0,
    "trk.owners": 0,
    "trk.garbage": 0,
    "trk.whole": 0,
    "trk.journal": 1,
    "trk.session": 1,
    "trk.backends": 1,
    "trk.capture": 1,
    "trk.capture.autolog": 4,
    "trk.capture.hyperparameters": 4,  # these log into the active run
    "trk.capture.writers": 4,
    "trk.config": 2,
    "trk.media": 2,
    "trk.delivery": 2,
    "trk.expecting": 2,
    "trk.leftovers": 2,
    "trk.lines": 2,
    "trk.ephemeral": 2,
    "trk.query": 2,
    "trk.query.conditions": 1,  # the words of a filter, which W&B's backend puts into W&B's
    "trk.query.logic": 1,
    "trk.query.grammar": 1,
    "trk.piping": 3,
    "trk.run": 3,
    "trk.daemon": 3,
    "trk.owning": 4,
    "trk.tracker": 4,
    "trk.syncing": 4,
    "trk.rebuilding": 4,
    "trk.cleaning": 4,
    "trk.attaching": 4,
    "trk.active": 4,
    "trk.bundles": 4,
    "trk.imports": 4,
    "trk.imports.naming": 1,
    "trk.growing": 3,
    "trk.growing.watch": 4,  # the active run's, where none is named
    "trk.deleting": 4,
    "trk.leaving": 4,
    "trk.checkup": 4,
    "trk.query.warm": 3,  # it speaks with the daemon
    "trk.query.sources": 5,  # reading a source delivers to it first, and asks which run is the active one:
    "trk.query.ask": 5,  # these are what people call, beside the tracker, and stand above it
    "trk.query.compare": 5,
    "trk.query.ranking": 5,
    "trk.query.baselines": 5,
    "trk.query.check": 5,
    "trk.query.artifacts": 5,
    "trk.query.watching": 5,
    "trk.ci": 5,
    "trk.pictures": 4,
    "trk.pictures.frames": 5,
    "trk.pictures.gather": 5,
    "trk.pictures.plotting": 5,
    "trk.pictures.reporting": 5,
    "trk.query.listing": 5,
    "trk.query.histories": 5,
    "trk.query.exports": 5,
    "trk.readback": 5,
    "trk.readback_files": 5,
    "trk.verifying": 5,
    "trk.running": 4,
    "trk.running.sampling": 3,
    "trk.running.command": 5,  # what people call
    "trk.api": 5,
    "trk.testing": 5,
    "trk": 5,  # the public names, each loaded when it is used
    "trk_cli": 6,
}


def modules(*folders: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
            yield ".".join(parts).removesuffix(".__init__"), path, ast.parse(path.read_text(encoding="utf-8"))


def floor(module: str) -> int:
    while module not in FLOORS:
        module = module.rpartition(".")[0]
        assert module, "a new module needs its floor: put it into the table above and into the design"
    return FLOORS[module]


def executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Everything but what stands there for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from executed(node)


def imported(tree: ast.Module, known: set[str]) -> set[str]:
    """The modules of this house that a module imports, at its head or within functions."""
    found = set()
    for node in executed(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports say the whole name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else node.module or "")
    return {name for name in found if name.partition(".")[0] in ("trk", "trk_cli")}


def strings(tree: ast.Module) -> Iterator[str]:
    """The string constants of a module but its docstrings."""
    documents = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                documents.add(first.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documents:
            yield node.value


def test_a_module_imports_its_own_floor_or_a_lower_one() -> None:
    house = list(modules(LIBRARY, COMMANDS))
    known = {name for name, _, _ in house}
    wrong = [
        f"{name} (floor {floor(name)}) imports {other} (floor {floor(other)})"
        for name, _, tree in house
        for other in imported(tree, known)
        if other != "trk" and floor(other) > floor(name)
    ]
    assert wrong == []


SQL = re.compile(
    r"\b(SELECT\s.*|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+(TABLE|INDEX)|PRAGMA\s"
    r"|BEGIN\s+IMMEDIATE|ORDER\s+BY|LEFT\s+JOIN)\b",
    re.DOTALL,
)


def test_only_the_journal_says_sql() -> None:
    assert SQL.search("SELECT a FROM b")
    wrong = [
        f"{name}: {text[:60]}"
        for name, _, tree in modules(LIBRARY, COMMANDS)
        if not name.startswith("trk.journal")
        and not name.startswith("trk.query.")  # whose grammar has ORDER BY in errors
        for text in strings(tree)
        if SQL.search(text)
    ]
    assert wrong == []


def test_questions_are_put_to_the_journal_by_its_own_functions() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, _, tree in modules(LIBRARY, COMMANDS)
        if not name.startswith("trk.journal")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("connection", "begun", "execute", "executemany")
        # MLflow's store is opened through its own engine
        if not name.startswith("trk.backends._mlflow")
    ]
    assert wrong == []


def test_only_settings_touches_the_environment() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, _, tree in modules(LIBRARY)
        if name != "trk.settings"
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv", "unsetenv"))
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "os"
            and {a.name for a in node.names} & {"environ", "getenv"}
        )
    ]
    assert wrong == []


def test_the_library_prints_nothing() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, _, tree in modules(LIBRARY)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and node.id in ("print", "input"))
        or (
            isinstance(node, ast.Attribute)
            and node.attr in ("stdout", "stderr")
            and ast.unparse(node).startswith("sys.")
        )
    ]
    assert wrong == []


def test_only_output_prints() -> None:
    wrong = [
        f"{name}:{node.lineno} {ast.unparse(node)[:60]}"
        for name, _, tree in modules(COMMANDS)
        if name not in ("trk_cli.output", "trk_cli.progress")  # the one place, and the bar that rich draws
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            ast.unparse(node.func) in ("print", "typer.echo", "typer.secho", "click.echo", "rich.print")
            or re.fullmatch(r"sys\.(stdout|stderr)(\.buffer)?\.(write|writelines)", ast.unparse(node.func))
            or (ast.unparse(node.func).endswith("Console") and not any(k.arg == "file" for k in node.keywords))
        )
    ]
    assert wrong == []


# ---- what an import costs

DEAR = {
    "typing", "re", "json", "dataclasses", "enum", "pathlib", "typer", "rich", "asyncio", "mlflow", "wandb", "sqlite3",
    "datetime", "logging", "functools", "collections", "contextlib", "inspect", "subprocess", "tempfile", "shutil",
    "random", "threading", "argparse", "importlib.metadata", "yaml", "tenacity", "click", "numpy", "urllib", "socket",
}  # fmt: skip


def loaded(code: str) -> set[str]:
    """The modules of a process that has run `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        env=child_environment(), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", ["trk", "trk_cli.__main__", "trk_cli.hot", "trk.run", "trk.session", "trk.journal.write"]
)
def test_what_a_log_command_imports_is_light(module: str) -> None:
    assert (loaded(f"import {module}") - loaded("")) & DEAR == set()


def test_a_log_command_itself_imports_nothing_dear() -> None:
    trk.start("a", shell_session=True)
    command = (
        "import os\nfrom trk_cli.__main__ import main\n"
        "assert main(['log-metric', 'f1', '-0.5', '--step', '3']) == 0\n"
        "assert main(['log-metrics', 'f1=1', 'val/loss=2']) == 0\n"
        "assert main(['log-param', 'lr', '1e-3']) == 0\n"
        "assert main(['log-params', 'a=b', 'c=d']) == 0\n"
        "assert main(['log-summary', 'best=0.5']) == 0\n"
        "assert main(['set-tag', 'stage', 'dev']) == 0\n"
        "assert main(['define-metric', 'speed', '--mode', 'max']) == 0"
    )
    # The C module of SQLite looks up `datetime` and `collections` by itself when it is first imported.
    own = loaded("import _sqlite3")
    assert (loaded(command) - own) & DEAR == set()


# ---- names


def test_every_exported_name_is_there() -> None:
    assert sorted(trk.__all__) == dir(trk)
    for name in trk.__all__:
        assert getattr(trk, name) is not None


def test_the_type_checker_is_told_the_same_names() -> None:
    tree = ast.parse((LIBRARY / "__init__.py").read_text(encoding="utf-8"))
    told = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trk.")
        for alias in node.names
    }
    assert told == set(trk.__all__) - {"__version__"}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        trk.nothing  # noqa: B018 - looking it up is the test


def test_errors_have_codes_of_their_own_and_the_exit_codes_of_the_contract() -> None:
    from trk import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TrkError)]
    own = {kind.code: kind.exit_code for kind in kinds if "code" in vars(kind)}
    assert own == {
        "failure": 1, "usage": 2, "configuration": 2, "no_active_run": 3, "not_found": 4, "not_delivered": 6,
        "conflict": 7, "journal_error": 1, "session_error": 1, "source_unavailable": 1, "backend_error": 1,
        "daemon_error": 1, "check_failed": 5, "command_not_found": 127, "command_not_executable": 126,
    }  # fmt: skip
    assert all(f"{kind.__name__} " in (errors.__doc__ or "") for kind in kinds)


def test_files_and_functions_stay_short() -> None:
    long = []
    for name, path, tree in modules(LIBRARY, COMMANDS):
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 450:
            long.append(f"{name}: {lines} lines")
        long += [
            f"{name}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
            for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (node.end_lineno or 0) - node.lineno >= 60
        ]
    assert long == []
