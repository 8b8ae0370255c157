"""`resolver llm workflow`: from a config to a model in production, in one command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from resolver.errors import UsageError


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting: section.key=value.")
@click.option("--json", "as_json", is_flag=True, help="Every step and what came out, as JSON on standard output.")
def workflow(config: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Prepare, train, export, validate, check for bias, look over, promote, confirm.

    Needs the sections dataset, train, registry and workflow. Each step is done once: after a kill, or with another
    config, only what is missing or hangs on what changed is done again. Where the model in production does not answer
    as it should, the version before is put back. Ends with exit code 3 where a gate is not met; nothing is promoted
    then.

    \b
    resolver llm workflow llm.yaml
    resolver llm workflow llm.yaml --set workflow.model=models/given
    """
    from llm_classifier import settings
    from llm_classifier.train import sweep
    from llm_classifier.workflow import engine, steps
    from resolver import progress

    loaded = settings.load(config, overrides)
    given = loaded.workflow is not None and loaded.workflow.model is not None
    if loaded.train is not None and not given and len(sweep.runs(config, overrides)) > 1:
        raise UsageError(
            "The section train makes a sweep, and a workflow brings one model into production.",
            do="Run it with resolver llm train, and name the best as workflow.model.",
        )
    shown = progress.for_terminal(quiet=as_json)
    planned = steps.of(loaded, shown)
    assert loaded.workflow is not None
    reports = engine.execute(loaded.workflow.dir, planned, shown)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in reports], indent=2))
        return
    for one in reports:
        click.echo(f"{one.name:9} {'stands' if one.skipped else f'{one.seconds:,.1f} s'}")
    promoted = reports[-2].facts
    click.echo(f"Version {promoted['version']} is in production: {promoted['reason']}.")
