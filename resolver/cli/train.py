"""`resolver train`: a model for the embedded judges from labelled populations."""

from __future__ import annotations

import json
from pathlib import Path

import click

from resolver import amounts
from resolver.errors import UsageError


@click.command()
@click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Model file; its card lies beside it (.md)."
)
@click.option(
    "--report",
    "reported",
    multiple=True,
    metavar="CONFIG",
    type=click.Path(path_type=Path),
    help="A labelled population to measure the model on, and nothing else. May be given several times.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of everything that draws at random.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to use. Default: all cores.")
@click.option("--json", "as_json", is_flag=True, help="The model's figures as JSON on standard output, no progress.")
def train(
    configs: tuple[Path, ...], out: Path, reported: tuple[Path, ...], seed: int, threads: int | None, as_json: bool
) -> None:
    """Fit the embedded judges to labelled populations, any number of them mixed.

    Each CONFIG is that of a run with evaluate.truth set; ingest and link are run where that is not done yet. A run uses
    the model if its config says learn.model, and learn.way is shipped or auto.

    \b
    resolver train realistic-101.yaml hard-101.yaml --report realistic-202.yaml --out model.json
    resolver run my.yaml --set learn.way=shipped --set learn.model=model.json
    """
    from dataclasses import replace

    from resolver import database, files, progress
    from resolver.learn import card, labelled, populations

    twice = sorted({one.stem for one in (*configs, *reported) if [*configs, *reported].count(one) > 1})
    if twice:
        raise UsageError(f"{', '.join(twice)} is given twice.", do="Measure on populations that were not trained on.")
    shown = progress.for_terminal(quiet=as_json)
    cores = threads or database.cores()
    learned = labelled.train([populations.load(config, shown) for config in configs], seed=seed, threads=cores)
    figures = []
    for config in reported:
        population = populations.load(config, shown)
        figures.append(labelled.figures(population, learned, unscored=labelled.UNSCORED, threads=cores))
    learned = replace(learned, card=learned.card | {"figures": figures})
    learned.save(out)
    files.write_text(out.with_suffix(".md"), card.markdown(learned, out.stat().st_size))
    if as_json:
        told = {"model": str(out), "card": str(out.with_suffix(".md")), "bytes": out.stat().st_size, "figures": figures}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"{out}: {amounts.size(out.stat().st_size)}, trained on {len(configs)} populations")
    for one in figures:
        click.echo(
            f"  {one['name']}: precision {one['precision']:.4f}, recall {one['recall']:.4f}, F1 {one['f1']:.4f}, "
            f"{one['split']} split, {one['impure']} impure, calibration error {one['calibration_error']:.4f}"
        )
    click.echo(f"  card: {out.with_suffix('.md')}")
