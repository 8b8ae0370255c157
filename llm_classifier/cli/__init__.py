"""`resolver llm ...`: one file per family of commands, each loaded only when it is called."""

from __future__ import annotations

import click

from resolver.cli.lazy import Lazy

# Command -> where it is defined and its line in --help, which must not need an import. In the order of the work.
COMMANDS: dict[str, tuple[str, str]] = {
    "encoder": ("llm_classifier.cli.encoder:encoder", "The fusion encoder: train it, and show what it reads."),
    "promote": ("llm_classifier.cli.models:promote", "Put a model into production, behind a gate."),
    "rollback": ("llm_classifier.cli.models:rollback", "Put the version before back into production."),
    "models": ("llm_classifier.cli.models:models", "See the registry: all, the best, two side by side, decisions."),
}


@click.group(cls=Lazy, commands_at=COMMANDS)
def llm() -> None:
    """The language-model judge: its data set, training, promotion and serving.

    Needs the extra llm: pip install 'resolver[llm]'.
    """
