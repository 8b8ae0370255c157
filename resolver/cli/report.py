"""`resolver report`: write the report of a finished run anew."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
def report(config: Path) -> None:
    """Write the report of a run as one HTML file, and say where it is.

    It opens offline and holds text of patients: keep it where the records may be.
    """
    from resolver import pipeline, progress, runs, settings

    loaded = settings.load(config)
    runs.execute(pipeline.STAGES, loaded, progress.for_terminal(quiet=False), only="report", base=pipeline.base)
    click.echo(str(loaded.run.dir / "report.html"))
