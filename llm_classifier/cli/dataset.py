"""`resolver llm dataset`: labelled pairs of histories from finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import UsageError

if TYPE_CHECKING:
    from llm_classifier.dataset.card import Dataset


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Say what would be in it and what is left out, and why; write nothing.")
@click.option("--push", is_flag=True, help="Upload it to dataset.hub, a private repository, and pin its commit.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting: dataset.key=value.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON and nothing else.")
def dataset(config: Path, check: bool, push: bool, overrides: tuple[str, ...], as_json: bool) -> None:
    """Make a data set of pairs from finished runs with a truth.

    CONFIG has a section dataset (configs/llm.yaml); its runs are configs of `resolver run`. At least half of the false
    pairs are the linker's own gray zone and look-alikes; nobody is in two splits; each pair comes in both orders.

    \b
    resolver llm dataset llm.yaml --check
    resolver llm dataset llm.yaml --set dataset.max_pairs=50000
    HF_TOKEN=... resolver llm dataset llm.yaml --push
    """
    import json

    from llm_classifier import settings
    from llm_classifier.dataset import make
    from resolver import progress

    loaded = settings.load(config, overrides).dataset
    if loaded is None:
        raise UsageError(f"{config} has no section dataset.", do="Start from configs/llm.yaml.")
    if push and (check or loaded.hub is None):
        raise UsageError(
            "--check writes nothing, so there is nothing to push." if check else f"{config} names no repository.",
            do="Leave one of them out." if check else "Set dataset.hub to owner/name.",
        )
    shown = progress.for_terminal(quiet=as_json)
    plan = make.plan(loaded, shown)
    made = None if check else make.write(plan, loaded, shown)
    pushed = _push(made, loaded.hub) if push and made and loaded.hub else None
    if as_json:
        told = plan.facts if made is None else json.loads((made.folder / "dataset.json").read_text(encoding="utf-8"))
        click.echo(json.dumps(told | ({"hub": pushed} if pushed else {}), indent=2))
    else:
        _show(plan.facts)
    if check:
        make.refuse(plan, loaded)
    elif made is not None and not as_json:
        click.echo(f"{made.folder}: pin {made.pin}")
    if pushed and not as_json:
        click.echo(f"{pushed['repository']}: commit {pushed['commit']}")


def _push(made: Dataset, repository: str) -> dict[str, Any]:
    from llm_classifier.dataset.hub import push

    return push(made, repository)


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from llm_classifier.dataset.card import ORIGINS

    console = Console()
    lost = Table(title="What is left out, and why", title_justify="left", box=None, pad_edge=False)
    for name in ("", "pairs", "true", "false"):
        lost.add_column(name, justify="right" if name else "left")
    for row in facts["attrition"]:
        counts = (f"{row[name]:,}" for name in ("pairs", "true", "false"))
        lost.add_row(f"{row['sign']} {row['what']}".strip(), *counts)
    console.print(lost)
    splits = Table(title="\nWhat is in it", title_justify="left", box=None, pad_edge=False)
    for name in ("split", "pairs", "true", "persons", "hard false", *ORIGINS):
        splits.add_column(name, justify="left" if name == "split" else "right")
    for name, row in facts["splits"].items():
        counts = (f"{row[what]:,}" for what in ("pairs", "true", "persons"))
        origins = (f"{row['origins'][origin]:,}" for origin in ORIGINS)
        splits.add_row(name, *counts, f"{row['hard_negatives']:.0%}", *origins)
    console.print(splits)
    priors = Table(title="\nShare of true pairs", title_justify="left", box=None, pad_edge=False, show_header=False)
    for what, prior in facts["priors"].items():
        priors.add_row(what, f"{prior:.2%}")
    console.print(priors)
