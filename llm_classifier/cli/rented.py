"""What `resolver llm train` and `export` have in common on a rented machine: options, and what they allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import UsageError

if TYPE_CHECKING:
    from llm_classifier.pods.desk import Desk
    from llm_classifier.settings import LlmSettings


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--wait, --again, --cancel: as those of `resolver infer`."""
    for option in (
        click.option("--cancel", is_flag=True, help="rented: end the machines of this config's jobs."),
        click.option("--again", is_flag=True, help="rented: try a job that failed or was cancelled once more."),
        click.option("--wait", is_flag=True, help="rented: stay until it is done, instead of exit code 75."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Wanted:
    """What of these options was given."""

    wait: bool
    again: bool
    cancel: bool

    def check(self, *, rented: bool) -> None:
        given = [f"--{name}" for name in ("wait", "again", "cancel") if getattr(self, name)]
        if given and not rented:
            raise UsageError(f"{given[0]} is for a job on a rented machine.", do="Give --rented as well.")

    def cancelled(self, desk: Desk) -> bool:
        """Whether there is nothing more to do."""
        from llm_classifier.pods import cancelling

        if self.cancel:
            click.echo(cancelling.cancel(desk))
        return self.cancel

    @contextmanager
    def allowed(self) -> Iterator[None]:
        from llm_classifier.pods import asking

        with asking.allowing(asking.Leave(launch=True, wait=self.wait, again=self.again)):
            yield


def desk(config: Path, overrides: tuple[str, ...], command: str) -> Desk:
    """Where the jobs of a config are kept; `command` launches and collects."""
    from llm_classifier import settings
    from llm_classifier.pods.desk import Desk

    loaded: LlmSettings = settings.load(config, overrides)
    return Desk.of_models(loaded, config, command)
