"""`resolver check`: look over data and config before a long run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver import amounts
from resolver.cli.run import typed

if TYPE_CHECKING:
    from rich.console import Console


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, such as link.max_block=500."
)
@click.option("--gpu-pairs", type=float, help="Pairs per second that a rented GPU judges, for the bill.")
@click.option("--gpu-price", type=float, help="Its price per hour, in dollars.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, no progress.")
@click.pass_context
def check(
    context: click.Context,
    config: Path,
    overrides: tuple[str, ...],
    gpu_pairs: float | None,
    gpu_price: float | None,
    as_json: bool,
) -> None:
    """Look over data and config before a long run.

    Reads the sources as a run would (the run then need not do it again) and shows how full and distinct each field is,
    what could not be used and why, which clinical evidence there is, how many pairs each blocking rule gives, and what
    a run will take. Ends with exit code 1 where a run can't succeed.

    \b
    resolver check my.yaml
    resolver check my.yaml --set link.max_block=500
    resolver check my.yaml --json | jq '.lost, .estimate.total_seconds'
    """
    from resolver import check as checks
    from resolver import progress, settings
    from resolver.check.estimate import Gpu

    usual = Gpu()
    gpu = Gpu(gpu_pairs or usual.pairs_per_second, gpu_price or usual.dollars_per_hour)
    found = checks.look(settings.load(config, overrides), progress.for_terminal(quiet=as_json), gpu)
    if as_json:
        click.echo(json.dumps(found, indent=2, default=str))
    else:
        _show(found, typed(config, overrides))
    if found["faults"]:
        context.exit(1)


def _show(found: dict[str, Any], config: str) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    _fields(console, found)
    _events(console, found)
    _lost(console, found)
    if found["blocking"]:
        _blocking(console, found["blocking"])
        _estimate(console, found["estimate"])
    for fault in found["faults"]:
        console.print(f"\nA run would fail: {fault}", markup=False, soft_wrap=True)
    if not found["faults"]:
        console.print(f"\nReady: resolver run {config}", markup=False, soft_wrap=True)


def _table(
    console: Console, title: str, names: tuple[str, ...], rows: Sequence[tuple[str, ...]], words: int = 1
) -> None:
    """The first `words` columns are words, the others numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for position, name in enumerate(names):
        table.add_column(name, justify="left" if position < words else "right")
    for row in rows:
        table.add_row(*row)
    console.print(f"\n{title}", markup=False, soft_wrap=True, style="bold")
    console.print(table)


def _fields(console: Console, found: dict[str, Any]) -> None:
    per_source = found["fields_per_source"]
    sources = len({row["source"] for row in per_source})
    rows = [
        (
            row["field"],
            f"{row['share']:.1%}",
            f"{row['distinct']:,}",
            f"{row['placeholders']:,}",
            f"{row['impossible']:,}",
            _span([one["share"] for one in per_source if one["field"] == row["field"]]) if sources > 1 else "",
        )
        for row in found["fields"]
        if row["given"]
    ]
    names = ("field", "filled", "distinct", "placeholders", "impossible", "filled, by source")
    _table(console, f"{found['records']:,} records, {sources} source{'s' if sources > 1 else ''}", names, rows)
    empty = [row["field"] for row in found["fields"] if not row["given"]]
    if empty:
        console.print(f"Nowhere given: {', '.join(empty)}.")
    odd = found["odd_records"]
    if odd["fewer_than_two_telling_fields"]:
        console.print(f"{odd['fewer_than_two_telling_fields']:,} records have fewer than two telling fields.")
    if odd["born_after_their_first_event"]:
        console.print(f"{odd['born_after_their_first_event']:,} records are born after their first event.")


def _events(console: Console, found: dict[str, Any]) -> None:
    clinical = found["clinical"]
    rows = [
        (kind, f"{one['events']:,}", f"{one['records']:,}", f"{one['share']:.1%}")
        for kind, one in clinical["kinds"].items()
    ]
    if not rows:
        console.print("\nClinical evidence: none; pairs are judged by demographics alone.", style="bold")
        return
    title = f"Clinical evidence: {clinical['share_with_any']:.1%} of the records have some"
    _table(console, title, ("kind", "events", "records", "of all"), rows)


def _lost(console: Console, found: dict[str, Any]) -> None:
    whys: dict[str, list[int]] = {}
    for one in found["lost"]:
        whys.setdefault(one["why"], []).append(one["rows"])
    rows = [(why, f"{sum(counts):,}", str(len(counts))) for why, counts in whys.items()]
    if rows:
        _table(console, "Lost on the way (rejected.parquet has the rows)", ("why", "rows", "sources"), rows)
    if found["files_not_read"]:
        console.print(f"Files not read: {', '.join(found['files_not_read'])}.", markup=False)


def _blocking(console: Console, blocking: dict[str, Any]) -> None:
    rows = [(str(rule["number"]), rule["name"], f"{rule['pairs']:,}") for rule in blocking["rules"]]
    title = (
        f"Blocking: about {blocking['candidates']:,} candidate pairs, {blocking['candidates_per_record']} per record"
    )
    _table(console, title, ("", "rule", "pairs"), rows, words=2)
    for hub in blocking["hubs"]:
        console.print(
            f"Hub: {hub['values']:,} values of {hub['field']} are shared by {hub['records']:,} records; not blocked on."
        )
    if blocking["records_no_rule_reaches"]:
        console.print(f"{blocking['records_no_rule_reaches']:,} records are reached by no rule.")


def _estimate(console: Console, estimate: dict[str, Any]) -> None:
    rows = [(stage, amounts.time(seconds)) for stage, seconds in estimate["seconds"].items()]
    _table(
        console,
        "A run will take, roughly",
        ("stage", "time"),
        [*rows, ("in all", amounts.time(estimate["total_seconds"]))],
    )
    low, high = estimate["gray_pairs"]["between"]
    gpu = estimate["gpu"]
    console.print(
        f"Memory: about {amounts.size(estimate['memory_gib'] * 2**30)}. "
        f"Disk: about {amounts.size(max(estimate['disk_gib'], 0.01) * 2**30)}."
    )
    console.print(f"Gray zone: about {estimate['gray_pairs']['about']:,} pairs ({low:,} to {high:,}).")
    console.print(
        f"GPU, if a language model is asked about them: {amounts.time(gpu['seconds'])}, ${gpu['dollars']:.2f} "
        f"at {gpu['pairs_per_second']:g} pairs/s and ${gpu['dollars_per_hour']:g} an hour (assumed, not measured here)."
    )


def _span(shares: list[float]) -> str:
    return f"{min(shares):.0%} to {max(shares):.0%}"
