"""`resolver llm ...`: one file per family of commands, each loaded only when it is called."""

from __future__ import annotations

import click

from resolver.cli.lazy import Lazy

# Command -> where it is defined and its line in --help, which must not need an import. In the order of the work.
COMMANDS: dict[str, tuple[str, str]] = {}


@click.group(cls=Lazy, commands_at=COMMANDS)
def llm() -> None:
    """The language-model judge: its data set, training, promotion and serving.

    Needs the extra llm: pip install 'resolver[llm]'.
    """
