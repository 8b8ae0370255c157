"""`resolver llm encoder`: train the fusion encoder, and prove that it reads every kind of evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from llm_classifier.needs import need
from resolver.cli.lazy import Group
from resolver.errors import UsageError


@click.group(cls=Group)
def encoder() -> None:
    """A small transformer over coded histories: a judge of its own that needs no text, GPU or large model."""


@encoder.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting for this run, encoder.epochs=3."
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
def train(config: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Train on labelled runs, on the CPU in minutes.

    CONFIG has a section encoder; the runs that it names must be finished (resolver run) and have evaluate.truth set.
    Weights, card and the record of the training (every epoch, every figure) go to encoder.out.

    \b
    resolver llm encoder train configs/encoder.yaml
    resolver llm encoder train configs/encoder.yaml --set encoder.folds=facility
    resolver run my.yaml --set 'adjudicate.judges=[demographic, encoder, human]' --set encoder.model=models/encoder
    """
    need("torch")
    from llm_classifier import settings
    from llm_classifier.encoder import training
    from resolver import progress

    chosen = settings.load(config, overrides).encoder
    if chosen is None:
        raise UsageError(f"{config} has no section encoder.", do="Start from configs/encoder.yaml.")
    record = training.train(chosen, progress.for_terminal(quiet=as_json))
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    click.echo(f"{chosen.out}: fingerprint {record['fingerprint']}, best in epoch {record['best_epoch']}")
    folds = [(one["name"], one) for one in record["folds"] if "left_out" not in one]
    _say([("persons kept out", record["held_out"]), *folds, *record["report"].items()])
    for one in record["folds"]:
        if "left_out" in one:
            click.echo(f"  left out: {one['left_out']}")


@encoder.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the encoder with its new line.")
@click.option("--after", "after", multiple=True, metavar="JUDGE", help="A judge that is asked before it; in order.")
@click.option(
    "--report",
    "reported",
    multiple=True,
    metavar="CONFIG",
    type=click.Path(path_type=Path),
    help="A labelled run to measure it on, and nothing else.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
def calibrate(
    model: Path,
    configs: tuple[Path, ...],
    out: Path,
    after: tuple[str, ...],
    reported: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Fit an encoder to be asked after other judges, without training it again.

    Its weights stay; the line that makes log-odds of its score and of what stood before is fitted to labelled runs.

    \b
    resolver llm encoder calibrate models/encoder other.yaml --after demographic --after clinical --out models/after
    """
    need("torch")
    from llm_classifier.encoder import training
    from resolver import progress

    record = training.calibrate(model, out, configs, reported, after, progress.for_terminal(quiet=as_json))
    if as_json:
        click.echo(json.dumps(record, indent=2))
        return
    click.echo(f"{out}: fingerprint {record['fingerprint']}, after {', '.join(after) or 'none'}")
    _say(list(record["report"].items()))


@encoder.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Seed of what is exchanged.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to use. Default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def ablate(model: Path, configs: tuple[Path, ...], seed: int, threads: int | None, as_json: bool) -> None:
    """Show what each kind of evidence is worth to a trained encoder, on labelled runs.

    AUROC on the pairs that Splink leaves open: with the kind left out, with nothing else, and with it exchanged between
    records; and the length of the loss's gradient in the kind's encoder. A kind that changes nothing is not wired.

    \b
    resolver llm encoder ablate models/encoder my.yaml
    """
    need("torch")
    from llm_classifier.encoder import proving
    from resolver import database, progress

    found = proving.prove(
        model,
        configs,
        seed=seed,
        threads=threads or database.cores(),
        progress=progress.for_terminal(quiet=as_json),
    )
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(
        f"{found['pairs']:,} open pairs, {found['true_pairs']:,} of them true; AUROC {found['whole']['auroc']:.4f}"
    )
    click.echo(f"{'kind':<15}{'records':>9}{'without':>10}{'alone':>10}{'exchanged':>11}{'gradient':>11}")
    for row in found["kinds"]:
        click.echo(
            f"{row['kind']:<15}{row['records']:>9,}{row['without']['auroc']:>10.4f}{row['alone']['auroc']:>10.4f}"
            f"{row['exchanged']['auroc']:>11.4f}{row['gradient']:>11.4f}"
        )


def _say(measured: list[tuple[str, dict[str, Any]]]) -> None:
    for name, figures in measured:
        alone, before, both = (figures[one] for one in ("encoder", "before", "both"))
        click.echo(
            f"  {name}: AUROC {_figure(alone['auroc'])} alone, {_figure(before['auroc'])} before it, "
            f"{_figure(both['auroc'])} together; F1 {_figure(both['f1'])}; "
            f"{both['pairs']:,} open pairs, {both['true_pairs']:,} of them true"
        )


def _figure(value: Any) -> str:
    return "unknown" if value is None else f"{value:.4f}"
