"""The log verbs as Typer knows them: for help and for explaining mistakes. What they do is in `hot`."""

from __future__ import annotations

from typing import Annotated, Any

from trk_cli import hot
from trk_cli.commands import options
from trk_cli.declared import Argument, Option

Key = Annotated[str, Argument(metavar="KEY", help="Letters, digits and _ - . space : /, at most 250.")]
Text = Annotated[str, Argument(metavar="VALUE")]
Pairs = Annotated[list[str], Argument(metavar="KEY=VALUE", help="Pairs, @file (JSON, YAML, TOML), or - .")]
Step = Annotated[str | None, Option("--step", metavar="N", help="The step; left out: the next one.")]
Timestamp = Annotated[
    str | None, Option("--timestamp", metavar="TIME", help="ISO 8601, or seconds or ms since 1970; else now.")
]
IfExists = Annotated[str | None, Option("--if-exists", metavar="HOW", help="error (the default), keep or suffix.")]


def log_metric(
    key: Key,
    value: Annotated[str, Argument(metavar="VALUE", help="0.5, -1e-3, nan, inf.")],
    run: options.Run = None,
    step: Step = None,
    timestamp: Timestamp = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log one point of a metric: durable on this machine when it returns.

    Example: trk log-metric loss -0.5 --step 3
    """
    hot.acknowledged("log-metric", {"run": run, "step": step, "timestamp": timestamp, "json": json}, [key, value])


def log_metrics(
    pairs: Pairs,
    run: options.Run = None,
    step: Step = None,
    timestamp: Timestamp = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log several metrics at one step, all or none.

    Example: trk log-metrics loss=0.31 f1=0.93 --step 3
    """
    hot.acknowledged("log-metrics", {"run": run, "step": step, "timestamp": timestamp, "json": json}, pairs)


def log_param(
    key: Key,
    value: Text,
    run: options.Run = None,
    if_exists: IfExists = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log a param. The same value again is fine; another one is exit 7.

    Example: trk log-param lr 0.1
    """
    hot.acknowledged("log-param", {"run": run, "if_exists": if_exists, "json": json}, [key, value])


def log_params(
    pairs: Pairs,
    run: options.Run = None,
    if_exists: IfExists = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log several params, all or none.

    Example: trk log-params lr=0.1 model=rf
    """
    hot.acknowledged("log-params", {"run": run, "if_exists": if_exists, "json": json}, pairs)


def log_summary(
    pairs: Pairs, run: options.Run = None, json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Log what stands on the run's overview: numbers, text, JSON. Again: the latest counts.

    Example: trk log-summary best_f1=0.95 verdict="ready to ship"
    """
    hot.acknowledged("log-summary", {"run": run, "json": json}, pairs)


def set_tag(
    key: Key, value: Text, run: options.Run = None, json: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Set a tag. Another value replaces the first.

    Example: trk set-tag stage dev
    """
    hot.acknowledged("set-tag", {"run": run, "json": json}, [key, value])


def set_tags(pairs: Pairs, run: options.Run = None, json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Set several tags, all or none.

    Example: trk set-tags stage=dev owner=ada
    """
    hot.acknowledged("set-tags", {"run": run, "json": json}, pairs)


def delete_tag(key: Key, run: options.Run = None, json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Take a tag away; exit 4 when the run has none of that name.

    Example: trk delete-tag stage
    """
    hot.acknowledged("delete-tag", {"run": run, "json": json}, [key])


def define_metric(
    key: Key,
    run: options.Run = None,
    mode: Annotated[str | None, Option("--mode", metavar="max|min", help="Which direction is better.")] = None,
    step_metric: Annotated[
        str | None, Option("--step-metric", metavar="KEY", help="The metric that is its x-axis (W&B).")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Say which direction of a metric is better, for the run's experiment: trk best goes by it.

    Example: trk define-metric tokens_per_s --mode max
    """
    given: dict[str, Any] = {"run": run, "mode": mode, "step_metric": step_metric, "json": json}
    hot.acknowledged("define-metric", given, [key])


def log(
    source: Annotated[str | None, Argument(metavar="-", help="Standard input.", show_default=False)] = None,
    run: options.Run = None,
    strict: Annotated[bool, Option("--strict", help="Stop at the first bad line, with exit 2.")] = False,
    ack: Annotated[bool, Option("--ack", help="Answer each line on stdout once it is durable.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Log the lines of standard input: each a JSON object, or KEY=VALUE …; step and timestamp are special.

    Several metrics on a line are at one step. A bad line is told with its number, and the rest goes on.

    Example: printf '{"loss": 0.5, "step": 1}\\nloss=0.4 f1=0.9 step=2\\n' | trk log -
    """
    given: dict[str, Any] = {"run": run, "strict": strict, "ack": ack, "json": json, "quiet": quiet}
    hot.acknowledged("log", given, [] if source is None else [source])
