"""`resolver init`: look at data and write a config for it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from resolver.errors import UsageError

SCHEMA = "resolver.schema.json"


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The config to write.")
@click.option("--force", is_flag=True, help="Write over a config that is there.")
@click.option(
    "--schema", "with_schema", is_flag=True, help="Write a JSON Schema beside it, by which editors complete it."
)
@click.option("--json", "as_json", is_flag=True, help="What was found, as one JSON object on standard output.")
def init(data: Path, out: Path, force: bool, with_schema: bool, as_json: bool) -> None:
    """Look at data and write a config for it.

    DATA is a folder of Synthea's tables or of facility folders, a folder of FHIR NDJSON, or a CSV or Parquet file, or a
    folder of such files. Columns are recognised by their names, in several languages, and by what their values look
    like; delimiter, encoding and the order of dates are found out.

    \b
    resolver init export/ --out my.yaml
    resolver init patients.csv --out my.yaml && resolver check my.yaml
    resolver init patients.csv --out my.yaml --schema        an editor then completes it
    """
    from resolver import files, settings
    from resolver.init import look, text

    if out.exists() and not force:
        raise UsageError(f"{out} is there already.", do="Choose another name, or write over it with --force.")
    found = look(data)
    if with_schema:
        from resolver.cli import schema

        files.write_text(out.with_name(SCHEMA), schema.text())
    files.write_text(out, text(found, data, out, SCHEMA if with_schema else None))
    settings.load(out)
    if as_json:
        click.echo(json.dumps({"config": str(out), **vars(found)}, indent=2, default=str))
        return
    for position, source in enumerate(found.sources):
        click.echo(f"{source['kind']}: {source['path']}")
        for key, said in (("record_id", "id of a record"), ("source", "facility")):
            if key in source:
                click.echo(f"  {said:16}{source[key]}")
        for field, column in source.get("fields", {}).items():
            click.echo(f"  {field:16}{column or '(none)'}")
        for event in source.get("events", []):
            click.echo(f"  {event['event']:16}{event['path'].name}")
        if found.unread.get(position):
            click.echo(f"  not read: {', '.join(found.unread[position])}")
        for note in found.notes.get(position, []):
            click.echo(f"  Look at this: {note}")
    for path in found.not_used:
        click.echo(f"not recognised: {path}")
    if found.truth:
        click.echo(f"truth: {found.truth}")
    click.echo(f"\nWritten to {out}. Next: resolver check {shlex.quote(str(out))}")
