"""`resolver schema`: what a config may hold, for editors."""

from __future__ import annotations

from pathlib import Path

import click

from resolver.errors import UsageError

TITLE = "Config of resolver run"


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write, instead of the screen.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def schema(out: Path | None, force: bool) -> None:
    """The JSON Schema of a config: sections, settings, ranges, what each means.

    An editor that knows JSON Schema for YAML (VS Code with the extension YAML, say) then completes a config, shows what
    each setting means and marks what does not exist. A config names its schema in its first line:

    \b
    # yaml-language-server: $schema=resolver.schema.json

    \b
    resolver schema --out resolver.schema.json
    resolver init DATA --out my.yaml --schema         writes both, with that line
    """
    if out is not None and out.exists() and not force:
        raise UsageError(f"{out} is there already.", do="Choose another name, or write over it with --force.")
    content = text()
    if out is None:
        click.echo(content, nl=False)
        return
    from resolver import files
    from resolver.settings.schema import FIRST_LINE

    files.write_text(out, content)
    click.echo(f"Written to {out}. First line of a config beside it: {FIRST_LINE}{out.name}")


def text() -> str:
    """The schema as a file holds it."""
    from resolver.settings import Settings
    from resolver.settings import schema as schemas

    return schemas.text(Settings, TITLE)
