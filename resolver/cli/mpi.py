"""`resolver mpi`: look into the index, correct it, export it. Shows what resolver/mpi answers; decides nothing."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from resolver import amounts
from resolver.cli.lazy import Group
from resolver.errors import UsageError

if TYPE_CHECKING:
    from resolver.mpi.store import Change

F = TypeVar("F", bound=Callable[..., Any])
SHOWN = ("first_name", "middle_name", "last_name", "birth_date", "sex", "ssn", "street", "city", "zip", "phone")


class OnIndex(click.Command):
    """A command whose first argument is the config, unless --index names the index itself."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[__name__] = any(one == "--index" or one.startswith("--index=") for one in args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [one for one in super().get_params(ctx) if one.name != "config" or not ctx.meta.get(__name__)]


def where(command: F) -> F:
    """CONFIG or --index, and --json, which every command has. To stand below the command's other arguments."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
        click.option("--index", type=click.Path(path_type=Path), help="The index itself, in place of CONFIG."),
    ):
        command = option(command)
    return command


config = click.argument("config", type=click.Path(path_type=Path))
as_of = click.option("--as-of", metavar="RUN", help="As it was right after this run (R3; see: resolver mpi runs).")
why = click.option("--why", metavar="TEXT", help="The reason, kept with the event.")


@click.group(cls=Group)
def mpi() -> None:
    """Look into the Master Patient Index, correct it, export it.

    Each command takes the config of the run, or the index itself with --index PATH in place of it.

    \b
    resolver mpi lookup my.yaml P0000001Y            who is this, and from which records
    resolver mpi lookup my.yaml --last Smith --birth-date 1980-02-03
    resolver mpi link my.yaml north:17 south:4 --why "seen both cards"
    resolver mpi undo my.yaml 4711                   take that back
    resolver mpi export --index mpi.duckdb --format fhir --out fhir/
    """


@mpi.command(cls=OnIndex)
@config
@click.argument("who", required=False)
@click.option("--first", metavar="NAME", help="First name.")
@click.option("--last", metavar="NAME", help="Last name.")
@click.option("--birth-date", metavar="YYYY-MM-DD", help="Date of birth.")
@click.option("--ssn", metavar="DIGITS", help="Social security number, or its last four digits.")
@click.option("--limit", default=20, show_default=True, help="Persons to show at most, where values are given.")
@as_of
@where
def lookup(
    who: str | None,
    first: str | None,
    last: str | None,
    birth_date: str | None,
    ssn: str | None,
    limit: int,
    as_of: str | None,
    index: Path | None,
    as_json: bool,
    config: Path | None = None,
) -> None:
    """Who is WHO: an enterprise id, or a record as source:id (the id alone, where one source has it).

    An id that was merged leads to the person that took its place. Without WHO, persons are found by their values: all
    that are given must agree, with the golden values or with one record.

    \b
    resolver mpi lookup my.yaml P0000001Y
    resolver mpi lookup my.yaml north:17 --as-of R3
    resolver mpi lookup --first Ana --last Smith --index mpi.duckdb
    """
    from resolver.mpi import queries, store

    if who is not None and any((first, last, birth_date, ssn)):
        raise UsageError("Give an id, or values to look for, not both.")
    with store.read(_index(config, index)) as con:
        moment = queries.as_of(con, as_of)
        if who is not None:
            found: Any = queries.person(con, who, moment)
        else:
            wanted = queries.fields(first=first, last=last, birth_date=birth_date, ssn=ssn)
            found = queries.search(con, wanted, moment, limit)
    if as_json:
        _json(found)
    elif who is not None:
        _show_person(found)
    elif not found:
        click.echo("Nobody in the index has these values.")
    else:
        columns = ("person_id", "found_in", "records", *SHOWN)
        _table(columns, [[one[name] for name in columns] for one in found])


@mpi.command(cls=OnIndex)
@config
@click.argument("who")
@as_of
@where
def history(who: str, as_of: str | None, index: Path | None, as_json: bool, config: Path | None = None) -> None:
    """What happened to WHO, an enterprise id or a record, in order.

    \b
    resolver mpi history my.yaml P0000001Y
    resolver mpi history north:17 --index mpi.duckdb --json
    """
    from resolver.mpi import queries, store

    with store.read(_index(config, index)) as con:
        found = queries.history(con, who, queries.as_of(con, as_of))
    _events(found, as_json)


@mpi.command(cls=OnIndex)
@config
@click.option(
    "--format",
    "kind",
    required=True,
    type=click.Choice(["parquet", "csv", "fhir", "crosswalk"]),
    help="parquet, csv: persons, crosswalk, links. crosswalk: only source, source_record_id, person_id, as CSV. "
    "fhir: Patient and Linkage resources (R4) as NDJSON.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@as_of
@where
def export(
    kind: str, out: Path, as_of: str | None, index: Path | None, as_json: bool, config: Path | None = None
) -> None:
    """Write the index to files.

    In CSV, text that a spreadsheet would run as a formula (it starts with = + - @, a tab or a carriage return) gets an
    apostrophe in front; take Parquet where every value must be as it is.

    \b
    resolver mpi export my.yaml --format crosswalk --out out/
    resolver mpi export my.yaml --format fhir --out fhir/ --as-of R3
    """
    from resolver.mpi import exports, queries, store

    with store.read(_index(config, index)) as con:
        result = exports.export(con, kind, out, queries.as_of(con, as_of))
    if as_json:
        _json(result)
        return
    prefixed = result.pop("values_prefixed", 0)
    for name, count in result.items():
        click.echo(f"{out / name}: {count:,} rows")
    if prefixed:
        click.echo(f"{prefixed:,} values got an apostrophe in front, so that no spreadsheet runs them as formulas.")


@mpi.command(cls=OnIndex)
@config
@click.argument("a")
@click.argument("b")
@why
@where
def link(a: str, b: str, why: str | None, index: Path | None, as_json: bool, config: Path | None = None) -> None:
    """Say that the records A and B are one person. It takes effect at once and binds every later run.

    \b
    resolver mpi link my.yaml north:17 south:4 --why "same insurance card"
    """
    from resolver.mpi import corrections

    def do(change: Change) -> None:
        one = corrections.find_record(change.con, a, "The first record")
        corrections.link(change, one, corrections.find_record(change.con, b, "The second record"))

    _correct(do, why, config, index, as_json)


@mpi.command(cls=OnIndex)
@config
@click.argument("a")
@click.argument("b")
@why
@where
def unlink(a: str, b: str, why: str | None, index: Path | None, as_json: bool, config: Path | None = None) -> None:
    """Say that the records A and B are two persons. It takes effect at once and binds every later run.

    If they are in one person, it is divided: each of its other records goes with the one that it has more evidence for.

    \b
    resolver mpi unlink my.yaml north:17 south:4 --why "father and son"
    """
    from resolver.mpi import corrections

    def do(change: Change) -> None:
        one = corrections.find_record(change.con, a, "The first record")
        corrections.unlink(change, one, corrections.find_record(change.con, b, "The second record"))

    _correct(do, why, config, index, as_json)


@mpi.command(cls=OnIndex)
@config
@click.argument("one")
@click.argument("other")
@why
@where
def merge(one: str, other: str, why: str | None, index: Path | None, as_json: bool, config: Path | None = None) -> None:
    """Make the persons ONE and OTHER one person: the elder id stays, the younger forwards to it.

    \b
    resolver mpi merge my.yaml P0000001Y P0000002W
    """
    from resolver.mpi import corrections

    def do(change: Change) -> None:
        elder = corrections.find_person(change.con, one)
        corrections.merge(change, elder, corrections.find_person(change.con, other))

    _correct(do, why, config, index, as_json)


@mpi.command(cls=OnIndex)
@config
@click.argument("person")
@click.option(
    "--record",
    "records",
    multiple=True,
    required=True,
    metavar="RECORD",
    help="A record that leaves; may be given again.",
)
@why
@where
def split(
    person: str,
    records: tuple[str, ...],
    why: str | None,
    index: Path | None,
    as_json: bool,
    config: Path | None = None,
) -> None:
    """Take records out of PERSON; they become a new person. None of them is matched with those that stay again.

    \b
    resolver mpi split my.yaml P0000001Y --record north:17 --record south:4
    """
    from resolver.mpi import corrections

    def do(change: Change) -> None:
        found = [corrections.find_record(change.con, text, f"Record {n}") for n, text in enumerate(records, 1)]
        corrections.split(change, corrections.find_person(change.con, person), found)

    _correct(do, why, config, index, as_json)


@mpi.command(cls=OnIndex)
@config
@click.argument("event")
@why
@where
def undo(event: str, why: str | None, index: Path | None, as_json: bool, config: Path | None = None) -> None:
    """Take EVENT back: a number from the history, or a whole run (R3).

    A correction and a run are taken back exactly, as long as nothing was built on them. A single merge, split, move or
    joining of a run is taken back by putting its records where they were, and later runs leave them there.

    \b
    resolver mpi undo my.yaml 4711
    resolver mpi undo my.yaml R3 --why "wrong extract"
    """
    from resolver.mpi import undo as undoing

    def do(change: Change) -> None:
        if event.isdigit():
            undoing.undo(change, int(event))
        elif event.upper().startswith("R"):
            undoing.undo_run(change, event.upper())
        else:
            raise UsageError("EVENT is the number of an event, or a run such as R3.", do="See: resolver mpi history")

    _correct(do, why, config, index, as_json)


@mpi.command(cls=OnIndex)
@config
@where
def runs(index: Path | None, as_json: bool, config: Path | None = None) -> None:
    """The runs that the index holds.

    \b
    resolver mpi runs my.yaml
    """
    from resolver.mpi import queries, store

    with store.read(_index(config, index)) as con:
        found = queries.runs(con)
    for one in found:
        one["counts"] = json.loads(one["counts"])
    if as_json:
        _json(found)
        return
    columns = ("run_id", "happened_at", "input", "records", "persons", "created", "merged", "split", "undone")
    _table(columns, [[{**one, **one["counts"]}[name] for name in columns] for one in found])


def _index(config: Path | None, index: Path | None) -> Path:
    if index is not None:
        return index
    from resolver import settings

    assert config is not None
    return settings.load(config).index_path


def _correct(
    do: Callable[[Change], None], why: str | None, config: Path | None, index: Path | None, as_json: bool
) -> None:
    """One change of the index, and what came of it."""
    from resolver.mpi import queries, store

    path = _index(config, index)
    with store.write(path, why=why) as change:
        do(change)
        events = queries.changes(change.con, change.event)
    _events(events, as_json)
    if not as_json:
        place = shlex.quote(str(config)) if config else f"--index {shlex.quote(str(path))}"
        click.echo(f"To take it back: resolver mpi undo {place} {change.event}")


def _events(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        _json(found)
        return
    for event in found:
        reason = f" ({event['why']})" if event["why"] else ""
        run = f" in {event['run_id']}" if event["run_id"] and event["kind"] != "published" else ""
        click.echo(f"{event['event']:>8}  {event['happened_at']}  {event['who']}: {event['what']}{run}{reason}")


def _show_person(found: dict[str, Any]) -> None:
    if found["forwarded_by"]:
        click.echo(f"{found['asked']} was merged: {' -> '.join([*found['forwarded_by'], found['person_id']])}")
    state = "" if found["status"] == "live" else f", {found['status']}"
    records = amounts.many(len(found["records"]), "record")
    click.echo(f"{found['person_id']}{state}: {records}, since {found['created'].get('happened_at')}")
    if found["provisional"]:
        click.echo("  Golden values are a plain vote since a correction; the next run chooses them anew.")
    sure = found["confidence"]
    for name, value in found["values"].items():
        click.echo(f"  {name:<14} {value}" + (f"  ({sure[name]:.0%} sure)" if name in sure else ""))
    if found["records"]:
        click.echo()
        columns = [name for name in SHOWN if any(name in record for record in found["records"])]
        _table(
            ["record", *columns], [[one["record_id"], *(one.get(name) for name in columns)] for one in found["records"]]
        )
    for one in found["verdicts"]:
        click.echo(
            f"  event {one['event']}: {one['who']} said {one['says']} of {one['left_record']} and {one['right_record']}"
        )
    if found["links"]:
        pairs = amounts.many(len(found["links"]), "scored pair")
        click.echo(f"  {pairs} hold{'s' if len(found['links']) == 1 else ''} it together; the parts: add --json")


def _table(columns: Any, lines: list[list[Any]]) -> None:
    cells = [[str(name) for name in columns], *[["" if cell is None else str(cell) for cell in line] for line in lines]]
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))
