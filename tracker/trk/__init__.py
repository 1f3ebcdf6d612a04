"""Log machine-learning experiments to a local journal, deliver them to MLflow, and ask which run was best.

    import trk

    with trk.start("baseline", experiment="digits", params={"lr": 0.1}) as run:
        run.log_metric("f1", 0.93)
    print(trk.best("f1").runs[0].run.name)

Names are loaded when they are first used, so that `import trk` costs milliseconds.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trk.api._failures import Failure as Failure
    from trk.api.experiment_tracker import ExperimentTracker as ExperimentTracker
    from trk.api.experiment_tracker import create_experiment_tracker as create_experiment_tracker
    from trk.attaching import attach as attach
    from trk.attaching import detach as detach
    from trk.attaching import resume as resume
    from trk.bundles.taking import (
        ImportedBundle as ImportedBundle,
    )
    from trk.bundles.taking import (
        ImportedRun as ImportedRun,
    )
    from trk.bundles.taking import (
        LeftOut as LeftOut,
    )
    from trk.bundles.taking import (
        import_bundle as import_bundle,
    )
    from trk.bundles.writing import (
        ExportedBundle as ExportedBundle,
    )
    from trk.bundles.writing import (
        ExportedRun as ExportedRun,
    )
    from trk.bundles.writing import (
        Missing as Missing,
    )
    from trk.bundles.writing import (
        export_bundle as export_bundle,
    )
    from trk.capture.autolog import CapturedAutolog as CapturedAutolog
    from trk.capture.autolog import capture_autolog as capture_autolog
    from trk.capture.hyperparameters import CapturedParams as CapturedParams
    from trk.capture.hyperparameters import capture_hyperparams as capture_hyperparams
    from trk.capture.writers import CapturedWriters as CapturedWriters
    from trk.capture.writers import capture_tensorboard as capture_tensorboard
    from trk.checkup import Check as Check
    from trk.checkup import doctor as doctor
    from trk.ci.model import Summary as Summary
    from trk.ci.summary import summary as summary
    from trk.cleaning import gc as gc
    from trk.deleting import delete as delete
    from trk.deleting import restore as restore
    from trk.ephemeral import Vanishing as Vanishing
    from trk.ephemeral import vanishing as vanishing
    from trk.errors import (
        BackendError as BackendError,
    )
    from trk.errors import (
        CheckFailed as CheckFailed,
    )
    from trk.errors import (
        CommandNotExecutable as CommandNotExecutable,
    )
    from trk.errors import (
        CommandNotFound as CommandNotFound,
    )
    from trk.errors import (
        ConfigurationError as ConfigurationError,
    )
    from trk.errors import (
        Conflict as Conflict,
    )
    from trk.errors import (
        JournalError as JournalError,
    )
    from trk.errors import (
        NoActiveRun as NoActiveRun,
    )
    from trk.errors import (
        NotDelivered as NotDelivered,
    )
    from trk.errors import (
        NotFound as NotFound,
    )
    from trk.errors import (
        SessionError as SessionError,
    )
    from trk.errors import (
        SourceUnavailable as SourceUnavailable,
    )
    from trk.errors import (
        TrkError as TrkError,
    )
    from trk.errors import (
        UsageError as UsageError,
    )
    from trk.growing.watch import watch_file as watch_file
    from trk.imports.following import follow_tensorboard as follow_tensorboard
    from trk.imports.from_mlflow import import_mlflow as import_mlflow
    from trk.imports.from_tensorboard import import_tensorboard as import_tensorboard
    from trk.imports.from_wandb import import_wandb as import_wandb
    from trk.imports.records import (
        ImportReport as ImportReport,
    )
    from trk.imports.records import (
        NotTaken as NotTaken,
    )
    from trk.imports.records import (
        TakenRun as TakenRun,
    )
    from trk.imports.tables import import_csv as import_csv
    from trk.lines import BadLine as BadLine
    from trk.lines import LoggedLines as LoggedLines
    from trk.listed import AlignedRow as AlignedRow
    from trk.listed import MetricSummary as MetricSummary
    from trk.listed import RunGroup as RunGroup
    from trk.listed import Series as Series
    from trk.owners import Owner as Owner
    from trk.pictures.plotting import plot as plot
    from trk.pictures.reporting import report as report
    from trk.query.artifacts import artifacts as artifacts
    from trk.query.artifacts import get_artifact as get_artifact
    from trk.query.ask import best as best
    from trk.query.ask import get_run as get_run
    from trk.query.check import check as check
    from trk.query.compare import compare as compare
    from trk.query.exports import ExportedTable as ExportedTable
    from trk.query.exports import export_history as export_history
    from trk.query.exports import export_runs as export_runs
    from trk.query.histories import history as history
    from trk.query.histories import series as series
    from trk.query.listing import groups as groups
    from trk.query.listing import search as search
    from trk.query.reports import CheckedCondition as CheckedCondition
    from trk.query.reports import CheckReport as CheckReport
    from trk.query.series import aligned as aligned
    from trk.query.watching import Watched as Watched
    from trk.query.watching import watch as watch
    from trk.records import (
        ArtifactRecord as ArtifactRecord,
    )
    from trk.records import (
        Best as Best,
    )
    from trk.records import (
        BestRun as BestRun,
    )
    from trk.records import (
        Comparison as Comparison,
    )
    from trk.records import (
        Delivery as Delivery,
    )
    from trk.records import (
        Difference as Difference,
    )
    from trk.records import (
        Freed as Freed,
    )
    from trk.records import (
        MetricComparison as MetricComparison,
    )
    from trk.records import (
        MetricPoint as MetricPoint,
    )
    from trk.records import (
        Ranking as Ranking,
    )
    from trk.records import (
        Rejection as Rejection,
    )
    from trk.records import (
        RunRecord as RunRecord,
    )
    from trk.records import (
        Status as Status,
    )
    from trk.records import (
        VerifiedBackend as VerifiedBackend,
    )
    from trk.records import (
        VerifiedRun as VerifiedRun,
    )
    from trk.run import Run as Run
    from trk.running.command import CommandResult as CommandResult
    from trk.running.command import run_command as run_command
    from trk.running.command import system_metrics as system_metrics
    from trk.running.sampling import Sampling as Sampling
    from trk.syncing import sync as sync
    from trk.tracker import (
        active_run as active_run,
    )
    from trk.tracker import (
        start as start,
    )
    from trk.verifying import verify as verify

__version__ = "0.1.0"

_HOMES = {
    "trk.api._failures": ("Failure",),
    "trk.api.experiment_tracker": ("ExperimentTracker", "create_experiment_tracker"),
    "trk.attaching": ("attach", "detach", "resume"),
    "trk.bundles.taking": ("ImportedBundle", "ImportedRun", "LeftOut", "import_bundle"),
    "trk.bundles.writing": ("ExportedBundle", "ExportedRun", "Missing", "export_bundle"),
    "trk.capture.autolog": ("CapturedAutolog", "capture_autolog"),
    "trk.capture.hyperparameters": ("CapturedParams", "capture_hyperparams"),
    "trk.capture.writers": ("CapturedWriters", "capture_tensorboard"),
    "trk.checkup": ("Check", "doctor"),
    "trk.ci.model": ("Summary",),
    "trk.ci.summary": ("summary",),
    "trk.cleaning": ("gc",),
    "trk.deleting": ("delete", "restore"),
    "trk.errors": (
        "BackendError", "CheckFailed", "CommandNotExecutable", "CommandNotFound", "ConfigurationError", "Conflict",
        "JournalError", "NoActiveRun", "NotDelivered", "NotFound", "SessionError", "SourceUnavailable", "TrkError",
        "UsageError",
    ),
    "trk.ephemeral": ("Vanishing", "vanishing"),
    "trk.growing.watch": ("watch_file",),
    "trk.imports.following": ("follow_tensorboard",),
    "trk.imports.from_mlflow": ("import_mlflow",),
    "trk.imports.from_tensorboard": ("import_tensorboard",),
    "trk.imports.from_wandb": ("import_wandb",),
    "trk.imports.records": ("ImportReport", "NotTaken", "TakenRun"),
    "trk.imports.tables": ("import_csv",),
    "trk.lines": ("BadLine", "LoggedLines"),
    "trk.listed": ("AlignedRow", "MetricSummary", "RunGroup", "Series"),
    "trk.owners": ("Owner",),
    "trk.pictures.plotting": ("plot",),
    "trk.pictures.reporting": ("report",),
    "trk.query.artifacts": ("artifacts", "get_artifact"),
    "trk.query.ask": ("best", "get_run"),
    "trk.query.check": ("check",),
    "trk.query.compare": ("compare",),
    "trk.query.reports": ("CheckedCondition", "CheckReport"),
    "trk.query.watching": ("Watched", "watch"),
    "trk.query.exports": ("ExportedTable", "export_history", "export_runs"),
    "trk.query.histories": ("history", "series"),
    "trk.query.listing": ("groups", "search"),
    "trk.query.series": ("aligned",),
    "trk.records": (
        "ArtifactRecord", "Best", "BestRun", "Comparison", "Delivery", "Difference", "Freed", "MetricComparison",
        "MetricPoint", "Ranking", "Rejection", "RunRecord", "Status", "VerifiedBackend", "VerifiedRun",
    ),
    "trk.run": ("Run",),
    "trk.running.command": ("CommandResult", "run_command", "system_metrics"),
    "trk.running.sampling": ("Sampling",),
    "trk.syncing": ("sync",),
    "trk.tracker": ("active_run", "start"),
    "trk.verifying": ("verify",),
}  # fmt: skip
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    *_HOME,
    "__version__",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'trk' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
