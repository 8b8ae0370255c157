"""`resolver llm validate` and `explain`: how good a model is, for whom, what its answers hang on, and what is odd."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

PAGE = "report.html"
SENSITIVITY = "sensitivity.json"


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--most", default=400, show_default=True, help="Pairs that are asked again in every changed form.")
@click.option(
    "--trained-on",
    type=click.Path(path_type=Path),
    help="The data set that MODEL was trained on, if it is another: test pairs that stand in it are counted.",
)
@click.option("--no-sensitivity", is_flag=True, help="Figures and slices only.")
@click.option("--config", default="configs/llm.yaml", show_default=True, help="Named in the commands that are advised.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, no progress.")
def validate(
    model: Path,
    dataset: Path,
    most: int,
    trained_on: Path | None,
    no_sensitivity: bool,
    config: str,
    as_json: bool,
) -> None:
    """Measure MODEL on the test split of DATASET: figures with intervals, slices, sensitivity, and what is odd.

    Writes MODEL/validation: metrics.json, which the gate of `resolver llm promote` reads, sensitivity.json and
    report.html.

    \b
    resolver llm validate models/merged data/pairs
    resolver llm validate models/merged data/pairs --most 2000 --json
    """
    from llm_classifier.registry import metrics
    from llm_classifier.validate import findings, measuring, page, sensitivity
    from resolver import files
    from resolver.progress import for_terminal

    progress = for_terminal(quiet=as_json)
    scored = measuring.score(model, dataset, progress)
    found = measuring.record(scored.told, scored.pin, scored.pairs, scored.logits)
    found = measuring.with_seen(found, scored, trained_on)
    seen = None if no_sensitivity else sensitivity.measure(model, dataset, progress, most=most)
    odd = findings.find(found, seen, model=str(model), dataset=str(dataset), config=config)
    place = model / metrics.FILE
    metrics.write(place, found)
    if seen is not None:
        files.write_json(place.with_name(SENSITIVITY), seen.as_json())
    page.write(place.with_name(PAGE), found, scored, seen, odd)
    if as_json:
        told = {
            "metrics": found.model_dump(mode="json"),
            "sensitivity": None if seen is None else seen.as_json(),
            "findings": [dataclasses.asdict(one) for one in odd],
        }
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"{found.pairs:,} gray pairs of other persons, {found.positives:,} of them true")
    for name, figure in found.headline.items():
        click.echo(f"  {name.replace('_', ' '):<18} {figure.value:.4f}  ({figure.low:.4f} to {figure.high:.4f})")
    for one in odd:
        click.echo(f"! {one.says}\n  try: {one.next}")
    if not odd:
        click.echo(
            "Nothing odd: no slice far behind, no overconfidence, no section that carries all, no sign of a leak."
        )
    click.echo(f"Slices, plots and sensitivity: {place.with_name(PAGE)}")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--pair", type=int, help="Number of the pair (column pair_id).")
@click.option("--surest", is_flag=True, help="The test pair that the model is surest of.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, no progress.")
def explain(model: Path, dataset: Path, pair: int | None, surest: bool, as_json: bool) -> None:
    """What each section of two histories adds to the answer of MODEL about one pair of DATASET.

    A section's share is how far the log-odds fall when it is left out on both sides. Shares need not add up: what two
    sections say together can be more, or less, than what each says alone.

    \b
    resolver llm explain models/merged data/pairs --pair 17
    resolver llm explain models/merged data/pairs --surest
    """
    from llm_classifier.validate import measuring, sensitivity
    from resolver.errors import UsageError
    from resolver.progress import for_terminal

    if (pair is None) != surest:
        raise UsageError("Say which pair: --pair NUMBER or --surest.")
    progress = for_terminal(quiet=as_json)
    if pair is None:
        pair = measuring.surest(measuring.score(model, dataset, progress))
    found = sensitivity.explain(model, dataset, pair, progress)
    if as_json:
        click.echo(json.dumps({"pair": pair, **dataclasses.asdict(found)}, indent=2))
        return
    truth = "one person" if found.label else "two persons"
    click.echo(f"Pair {pair} ({truth} in truth): log-odds {found.believed:+.2f} calibrated, {found.logit:+.2f} raw")
    click.echo(f"  with the sides in each other's place {found.swapped:+.2f} raw")
    for one in found.sections:
        click.echo(f"  {one.adds:+6.2f}  {one.name}")
        click.echo(f"          1: {one.left or '–'}\n          2: {one.right or '–'}")
