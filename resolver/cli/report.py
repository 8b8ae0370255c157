"""`resolver report`: write the report of a finished run anew."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Where it is, as JSON on standard output, no progress.")
def report(config: Path, as_json: bool) -> None:
    """Write the report of a run as one HTML file, and say where it is.

    It opens offline and holds text of patients: keep it where the records may be.

    \b
    resolver report my.yaml
    xdg-open "$(resolver report my.yaml --json | jq -r .report)"
    """
    from resolver import pipeline, progress, runs, settings

    loaded = settings.load(config)
    runs.execute(pipeline.STAGES, loaded, progress.for_terminal(quiet=as_json), only="report", base=pipeline.base)
    path = str(loaded.run.dir / "report.html")
    click.echo(json.dumps({"report": path}) if as_json else path)
