"""`resolver evaluate`: hold a finished run against the truth, and against the quality gates of its config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    help="CSV or Parquet with record_id and person_id, instead of evaluate.truth in the config.",
)
@click.option("--json", "as_json", is_flag=True, help="metrics.json on standard output, no progress.")
def evaluate(config: Path, truth: Path | None, as_json: bool) -> None:
    """Compare a finished run with the truth.

    Writes metrics.json into the run folder. Ends with exit code 3 where a quality gate of the config (evaluate.min_f1
    and the like) is not met.

    \b
    resolver evaluate my.yaml --truth truth.csv
    resolver evaluate my.yaml --json | jq .pairs.after_clustering
    """
    from resolver import pipeline, progress, runs, settings
    from resolver.evaluate import check_gates

    overrides = () if truth is None else (f"evaluate.truth={json.dumps(str(truth.absolute()))}",)
    loaded = settings.load(config, overrides)
    runs.execute(pipeline.STAGES, loaded, progress.for_terminal(quiet=as_json), only="evaluate", base=pipeline.base)
    metrics = json.loads((loaded.run.dir / "metrics.json").read_text(encoding="utf-8"))
    if as_json:
        click.echo(json.dumps(metrics, indent=2))
    else:
        show(metrics)
    check_gates(loaded, metrics)


def show(metrics: dict[str, Any]) -> None:
    """The figures that matter, on one screen."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=f"{metrics['records']:,} records, {metrics['persons']:,} persons", title_justify="left")
    for name in ("", "precision", "recall", "F1"):
        table.add_column(name, justify="left" if not name else "right")
    if "pairs" not in metrics:
        guess = metrics["estimated"]
        table.add_row("estimated, without truth", _figure(guess["precision"]), _figure(guess["recall"]), "")
        console.print(table)
        return
    rows = {
        "pairs before clustering": metrics["pairs"]["before_clustering"],
        "pairs after clustering": metrics["pairs"]["after_clustering"],
        "records (B-cubed)": metrics["clusters"]["bcubed"],
        "Splink alone at 0.99": metrics["baselines"]["splink_at_0.99"],
        "Splink alone, best threshold": metrics["baselines"]["splink_at_best"],
    }
    for name, figures in rows.items():
        table.add_row(name, *(_figure(figures[part]) for part in ("precision", "recall", "f1")))
    console.print(table)
    low_high = metrics["intervals"].get("pairs.after_clustering.f1")
    if low_high:
        console.print(f"F1 after clustering lies between {low_high[0]:.4f} and {low_high[1]:.4f} (95 %, over persons).")
    clusters, blocking = metrics["clusters"], metrics["blocking"]
    split, impure = f"{clusters['split']:,} of {clusters['true_persons']:,}", f"{clusters['impure']:,}"
    console.print(
        f"Split persons: {split}; impure clusters: {impure}; "
        f"candidates hold {_figure(blocking['recall'])} of the true pairs at {blocking['per_record']} per record."
    )
    if metrics.get("golden"):
        every = metrics["golden"]["all"]
        console.print(
            f"Golden fields right: {_figure(every['accuracy'])}; by most frequent value: "
            f"{_figure(every['most_frequent'])} (where some record has it right)."
        )
    lost = metrics["truth"]["records_not_in_run"]
    if lost:
        console.print(f"{lost:,} records of the truth file are not in this run.")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
