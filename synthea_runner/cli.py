"""The commands `resolver synthea` and `resolver data`: options in, one line out. What they do is in the other files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver import amounts
from resolver.cli.lazy import Group
from resolver.progress import for_terminal

if TYPE_CHECKING:
    from synthea_runner.population import TableFacts

_QUIET = click.option("--quiet", "-q", is_flag=True, help="No progress.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, no progress.")


@click.group(cls=Group)
def synthea() -> None:
    """Make synthetic populations."""


@synthea.command()
@click.option(
    "--population", type=click.IntRange(min=1), required=True, help="How many living persons; the dead come on top."
)
@click.option(
    "--seed", type=int, required=True, help="Seed for the people, and for the clinicians unless the config says."
)
@click.option("--state", help="US state where they live.  [default: the config's, Massachusetts]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new folder.")
@click.option("--fhir", is_flag=True, help="Write the same people as FHIR R4 NDJSON too.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML like configs/synthea.yaml.")
@click.option("--via", type=click.Choice(["jar", "maven", "docker"]), help="Only this way to reach Synthea.")
@click.option("--classpath", help="Jars of Synthea, as java -cp takes them.  [default: SYNTHEA_CLASSPATH]")
@click.option("--synthea-version", "version", help="Release of Synthea that must run.")
@click.option("--heap-gib", type=float, help="Memory for Java, in GiB.")
@click.option(
    "--threads", type=int, help="Threads of Synthea; 0 means all cores. Only 1 gives the same payers and claims."
)
@click.option(
    "--leave-out", multiple=True, metavar="TABLE", help="A table not to write, besides those of the config. Repeatable."
)
@click.option("--overwrite", is_flag=True, help="Replace another population in the folder.")
@_QUIET
@_JSON
def generate(
    population: int,
    seed: int,
    state: str | None,
    out: Path,
    fhir: bool,
    config: Path | None,
    via: str | None,
    classpath: str | None,
    version: str | None,
    heap_gib: float | None,
    threads: int | None,
    leave_out: tuple[str, ...],
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Simulate people with Synthea.

    \b
    resolver synthea generate --population 1000 --seed 7 --state Ohio --out raw
    resolver synthea convert raw --out population
    """
    from synthea_runner import generate as runner
    from synthea_runner import locate, settings, states

    options = {
        "via": via,
        "classpath": classpath,
        "version": version,
        "heap_gib": heap_gib,
        "threads": threads,
        "state": state,
    }
    chosen = settings.load(config, options, leave_out=leave_out)
    if "generate.demographics.default_file" not in chosen.properties:
        states.require(chosen.state)  # before Synthea is looked for, which may take a while
    found = locate.find(chosen)
    if not as_json:
        click.echo(found.describe())
    request = runner.Request(population, seed, chosen.state, fhir)
    outcome = runner.generate(chosen, request, found, out, for_terminal(quiet or as_json), overwrite=overwrite)
    if as_json:
        click.echo(json.dumps({"out": str(out), "synthea": found.describe(), **asdict(outcome)}, indent=2))
        return
    made = f"made in {amounts.time(outcome.seconds)}" if outcome.made else "were there already"
    click.echo(f"{outcome.persons:,} persons ({outcome.alive:,} alive, {outcome.dead:,} dead) {made}: {out}")


@synthea.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for the population."
)
@click.option("--fhir", is_flag=True, help="Keep the FHIR NDJSON beside the tables.")
@click.option("--leave-out", multiple=True, metavar="TABLE", help="A table not to convert. Repeatable.")
@click.option("--overwrite", is_flag=True, help="Replace another population in the folder.")
@click.option("--memory-gib", type=click.FloatRange(min=0.5), default=2.0, show_default=True, help="Memory to use.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to use.  [default: all cores]")
@_QUIET
@_JSON
def convert(
    folder: Path,
    out: Path,
    fhir: bool,
    leave_out: tuple[str, ...],
    overwrite: bool,
    memory_gib: float,
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Turn Synthea's CSV tables in FOLDER into typed Parquet.

    \b
    resolver synthea convert raw --out population
    resolver synthea convert raw --out population --leave-out claims --json | jq .content
    """
    from synthea_runner.convert import convert as run

    made = run(
        folder,
        out,
        for_terminal(quiet or as_json),
        fhir=fhir,
        leave_out=frozenset(leave_out),
        overwrite=overwrite,
        memory_gib=memory_gib,
        threads=threads,
    )
    if as_json:
        tables = {name: facts.rows for name, facts in made.tables.items()}
        click.echo(json.dumps({"out": str(out), "content": made.content, "rows": tables}, indent=2))
        return
    rows = sum(facts.rows for facts in made.tables.values())
    kept = f" and {len(made.fhir)} FHIR files" if made.fhir else ""
    persons = made.tables["patients"].rows
    click.echo(f"{persons:,} persons, {rows:,} rows in {len(made.tables)} tables{kept}: {out} ({made.content[:12]})")


@click.group(cls=Group)
def data() -> None:
    """Pin data sets and check that they did not change."""


_PINS = click.option(
    "--file",
    "pins",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("data-pins.json"),
    show_default=True,
    help="Where the pins are kept.",
)


@data.command()
@click.argument("name")
@click.argument("path", type=click.Path(path_type=Path))
@_PINS
@_QUIET
@_JSON
def pin(name: str, path: Path, pins: Path, quiet: bool, as_json: bool) -> None:
    """Note under NAME what is in the folder PATH.

    \b
    resolver data pin ohio population
    """
    from synthea_runner import pins as keeper

    facts = keeper.pin(name, path, pins, for_terminal(quiet or as_json))
    if as_json:
        click.echo(json.dumps({"name": name, "pins": str(pins), "tables": _facts(facts)}, indent=2))
        return
    click.echo(f"{name}: {len(facts)} tables, {sum(table.rows for table in facts.values()):,} rows pinned in {pins}")


@data.command()
@click.argument("name", required=False)
@_PINS
@_QUIET
@_JSON
def verify(name: str | None, pins: Path, quiet: bool, as_json: bool) -> None:
    """Check NAME, or all that is pinned. Ends with exit code 1 where anything changed.

    \b
    resolver data verify
    resolver data verify ohio
    """
    from resolver.errors import DamagedError
    from synthea_runner import pins as keeper

    faults: list[str] = []
    as_pinned: dict[str, int] = {}
    for each in [name] if name else list(keeper.read(pins)):
        try:
            tables = keeper.verify(each, pins, for_terminal(quiet or as_json))
        except DamagedError as error:
            faults.append(str(error))
        else:
            as_pinned[each] = tables
            if not as_json:
                click.echo(f"{each}: {tables} tables as pinned")
    if as_json:
        click.echo(json.dumps({"as_pinned": as_pinned, "faults": faults}, indent=2))
    if faults:
        raise DamagedError("\n".join(faults))


def _facts(facts: dict[str, TableFacts]) -> dict[str, Any]:
    return {table: asdict(one) for table, one in facts.items()}
