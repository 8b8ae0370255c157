"""`resolver llm predeploy`: go or no-go before a model is served or paid for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llm_classifier.cli.models import at_registry, chosen, opened
from resolver.errors import QualityGateError, UsageError, instead

if TYPE_CHECKING:
    from llm_classifier.predeploy.outcome import Report


@click.command()
@at_registry
@click.option("--version", "number", type=int, help="A version of the registry. Default: the one in production.")
@click.option("--endpoint", help="Ask the server there, instead of loading the model here.")
@click.option("--without", multiple=True, metavar="CHECK", help="Leave a check out. May be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Every check as JSON on standard output, no progress.")
def predeploy(
    folder: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    number: int | None,
    endpoint: str | None,
    without: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say go or no-go before a model is served or paid for.

    Looks at the files, config, serving contract, registry state, data pin, price, memory, disk, keys (only whether they
    are set), network, golden logits, and at what the model remembers of its training data. What could not be looked at
    is said, and is neither. Ends with exit code 3 on a no-go.

    \b
    resolver llm predeploy --config llm.yaml
    resolver llm predeploy --registry registry --version 3 --without memorisation
    resolver llm predeploy --config llm.yaml --endpoint http://127.0.0.1:8000 --json
    """
    from llm_classifier import predeploy as looking
    from resolver import progress

    unknown = sorted(set(without) - set(looking.NAMES))
    if unknown:
        raise UsageError(f"There is no check {unknown[0]}; {instead(unknown[0], looking.NAMES)}")
    settings, where = chosen(folder, config, overrides)
    registry = opened(where)
    version = registry.require_production() if number is None else registry.version(number)
    report = looking.run(
        version.model,
        settings.predeploy,
        progress.for_terminal(quiet=as_json),
        registry=registry,
        version=version,
        endpoint=endpoint,
        only=[name for name in looking.NAMES if name not in without],
    )
    if as_json:
        click.echo(json.dumps({"version": version.number, "left_out": list(without), **report.facts()}, indent=2))
    else:
        show(report, without)
    bad = [one.name for one in report.checks if one.outcome == "no-go"]
    if bad:
        raise QualityGateError(f"No-go for {version.name}: {', '.join(bad)}.")


def show(report: Report, without: tuple[str, ...] = ()) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    colours = {"go": "green", "no-go": "red", "not checked": "yellow"}
    for one in report.checks:
        advice = f" {one.do}" if one.do else ""
        table.add_row(one.name, f"[{colours[one.outcome]}]{one.outcome}[/]", escape(f"{one.says}.{advice}"))
    for name in without:
        table.add_row(name, "left out", "")
    Console().print(table)
    if report.go:
        open_ = sum(one.outcome == "not checked" for one in report.checks) + len(without)
        click.echo("Go." if not open_ else f"Go, as far as was looked: {open_} checks are open.")
