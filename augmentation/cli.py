"""resolver augment: a clean population in, a hard, labelled test bed out.

Knows nothing of how the steps work; each command reads settings, calls one function and shows what it counted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.cli.lazy import Group
from resolver.errors import UsageError

if TYPE_CHECKING:
    from augmentation.settings import AugmentSettings
    from augmentation.summary import Summary

Command = Callable[..., Any]


@click.group(cls=Group)
def augment() -> None:
    """Make a hard, labelled test bed from a population.

    CONFIG is a YAML file or the name of a preset: realistic, hard, clinfuse or starved.

    \b
    resolver augment all realistic --population POP --out BED
    resolver augment people --records 1000000 --out BED
    """


def _common(command: Command) -> Command:
    """Options that all commands share."""
    options = (
        click.option("--seed", type=int, help="Seed of everything that draws at random. Goes before the config."),
        click.option("--threads", type=click.IntRange(min=1), help="Threads to use. Default: all cores."),
        click.option(
            "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting: section.key=value."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON and nothing else."),
        click.option("--quiet", is_flag=True, help="No progress."),
    )
    for option in reversed(options):
        command = option(command)
    return command


_population = click.option(
    "--population", type=click.Path(file_okay=False, path_type=Path), help="Folder with the clean population."
)
_out = click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the test bed.")


def _presets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
    """For the shell's completion: presets, and files."""
    from click.shell_completion import CompletionItem

    from augmentation import presets

    found: list[Any] = [name for name in presets.names() if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def _settings(config: str, overrides: tuple[str, ...], given: dict[str, Any]) -> AugmentSettings:
    from augmentation.presets import load

    return load(config, (*overrides, *(f"{name}={value}" for name, value in given.items() if value is not None)))


def _folder(path: Path | None, option: str) -> Path:
    if path is None:
        raise UsageError(
            f"There is no folder to {'read' if option == '--population' else 'write'}.", do=f"Say {option} DIR."
        )
    return path


def _show(summary: Summary, as_json: bool) -> None:
    if as_json:
        import json

        click.echo(json.dumps(summary.as_dict(), indent=2))
        return
    from rich.console import Console

    Console().print(summary.table())


def _of_population(name: str, function: str, text: str) -> None:
    """Add a command that runs one function of the pipeline on a config."""

    @augment.command(name, help=text)
    @click.argument("config", shell_complete=_presets)
    @_population
    @_out
    @_common
    def command(
        config: str,
        population: Path | None,
        out: Path | None,
        seed: int | None,
        threads: int | None,
        overrides: tuple[str, ...],
        as_json: bool,
        quiet: bool,
    ) -> None:
        from augmentation import pipeline
        from resolver.progress import for_terminal

        settings = _settings(config, overrides, {"population.dir": population, "seed": seed, "threads": threads})
        folder, progress = _folder(out or settings.out, "--out"), for_terminal(quiet or as_json)
        if function != "corrupt":
            _folder(settings.population.dir, "--population")
        _show(getattr(pipeline, function)(settings, folder, progress), as_json)


_of_population(
    "all",
    "make",
    """All steps: look-alikes, facilities, errors, clinical noise, truth.

    \b
    resolver augment all realistic --population population --out bed
    resolver augment all realistic --population population --out bed --set errors.missing.SSN=0.2
    resolver augment all my-bed.yaml --json | jq .
    """,
)
_of_population(
    "segment",
    "split",
    """Give the population to facilities, without errors: the first half of `all`.

    \b
    resolver augment segment clinfuse --population population --out bed
    """,
)
_of_population(
    "corrupt",
    "corrupt",
    """Make errors and clinical noise on what `segment` made, in place: the second half.

    \b
    resolver augment corrupt clinfuse --out bed
    """,
)


@augment.command()
@click.option("--records", type=click.IntRange(min=1), required=True, help="How many records to make.")
@click.option(
    "--config",
    default="realistic",
    show_default=True,
    shell_complete=_presets,
    help="A YAML file or the name of a preset.",
)
@_out
@_common
def people(
    records: int,
    config: str,
    out: Path | None,
    seed: int | None,
    threads: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Make demographic records of people at any size, without Synthea.

    Writes OUT/facility_N/patients.parquet, OUT/truth/ and OUT/summary.json. For speed and scale: there are no clinical
    events, and names are real-looking rather than real.

    \b
    resolver augment people --records 1000000 --out people
    """
    from augmentation.people.write import people as write
    from resolver.progress import for_terminal

    settings = _settings(config, overrides, {"seed": seed, "threads": threads})
    _show(write(records, _folder(out or settings.out, "--out"), settings, for_terminal(quiet or as_json)), as_json)
