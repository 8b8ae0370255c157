"""`resolver explain`: why two records are, or are not, one person. Shows what resolver/explain finds.

The one command that shows patient text on the screen: for the person who has to decide.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resolver.errors import RunError, UsageError

if TYPE_CHECKING:
    from resolver.explain.opened import Opened
    from resolver.explain.persons import Person
    from resolver.explain.waterfall import Explanation, Line

LINES = 8  # per group, the rest as one
PAIRS = 15  # of a person
DOUBTFUL = 10
SHOWN = ("first_name", "middle_name", "last_name", "birth_date", "sex", "ssn", "street", "city", "zip", "phone")


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("what", nargs=-1)
@click.option("--doubtful", is_flag=True, help=f"The {DOUBTFUL} most doubtful pairs, and why the first is as it is.")
@click.option("--all", "everything", is_flag=True, help="Every line, and every single feature below it.")
@click.option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False), help="Draw the pair's waterfall into this file."
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting the run was made with, such as run.dir."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, nothing left out.")
def explain(
    config: Path,
    what: tuple[str, ...],
    doubtful: bool,
    everything: bool,
    svg: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Why two records are, or are not, one person.

    WHAT is two records, or one person. A record is written as source:id (the id alone, where one source has it). A
    person is an enterprise id, one of its records, or cluster:N.

    The log-odds of two records begin with those of any two, and each piece of evidence adds to them or takes away:
    +2.3 makes it ten times likelier that they are one person, −2.3 ten times less likely. Pairs that no blocking rule
    proposed are scored now, by the same models.

    It shows text of patients: mind who sees the screen, and where --svg and --json go.

    \b
    resolver explain my.yaml north:17 south:4
    resolver explain my.yaml north:17 south:4 --all --svg pair.svg
    resolver explain my.yaml P0000001Y                the pairs that hold this person together, and the weakest bridge
    resolver explain my.yaml --doubtful
    resolver explain my.yaml north:17 south:4 --json | jq '.groups[].lines[] | [.about, .logit]'
    """
    from resolver import settings

    if doubtful and what:
        raise UsageError("Give two records, a person, or --doubtful, not several of these.")
    if not doubtful and len(what) not in (1, 2):
        raise UsageError("Say what to explain: two records, a person, or --doubtful.")
    if svg is not None and len(what) == 1:
        raise UsageError("--svg draws a pair.", do="Give two records, or --doubtful.")
    loaded = settings.load(config, overrides)

    from resolver.explain import words
    from resolver.explain.opened import Opened

    with Opened(loaded) as run:
        if len(what) == 1:
            from resolver.explain.persons import person

            found_person = person(run, what[0])
            if as_json:
                _json(asdict(found_person))
            else:
                _show_person(found_person, everything)
            return
        pairs = _doubtful(run) if doubtful else []
        if doubtful:
            left, right = pairs[0]["left_rid"], pairs[0]["right_rid"]
        else:
            left, right = run.rid(what[0], "The first record"), run.rid(what[1], "The second record")
        from resolver.explain.waterfall import pair

        found = pair(run, left, right)
    if svg is not None:
        _draw(found, svg, everything)
    if as_json:
        _json({**({"doubtful": pairs} if doubtful else {}), **asdict(found), "logit": found.logit})
        return
    if doubtful:
        _table(
            ["log-odds", "probability", "tier", "one person", "left", "right"],
            [
                [
                    words.signed(one["logit"]),
                    f"{one['probability']:.1%}",
                    one["tier"],
                    "yes" if one["together"] else "no",
                    one["left"],
                    one["right"],
                ]
                for one in pairs
            ],
        )
        click.echo("")
    _show_pair(found, everything)
    if svg is not None:
        click.echo(f"\nDrawn in {svg}")


def _doubtful(run: Opened) -> list[dict[str, Any]]:
    pairs = run.doubtful(DOUBTFUL)
    if not pairs:
        raise RunError("The run has no scored pair that no person has judged.", do="Look at resolver check CONFIG.")
    rids = [rid for one in pairs for rid in (one["left_rid"], one["right_rid"])]
    names, clusters = run.names(rids), run.clusters(rids)
    for one in pairs:
        one["left"], one["right"] = names[one["left_rid"]][0], names[one["right_rid"]][0]
        one["together"] = clusters[one["left_rid"]] == clusters[one["right_rid"]]
    return pairs


def _draw(found: Explanation, path: Path, everything: bool) -> None:
    from resolver import files
    from resolver.explain import svg

    try:
        files.write_text(path, svg.draw(found, 1_000 if everything else LINES))
    except OSError as error:
        raise RunError(f"{path} can't be written: {error.strerror}.", do="Choose another file for --svg.") from error


def _show_pair(found: Explanation, everything: bool) -> None:
    from resolver.explain import words

    page = _Page.fitting(found)
    left, right = words.plain(found.left["record_id"]), words.plain(found.right["record_id"])
    click.secho(f"{left} and {right}", bold=True)
    click.echo(found.proposed)
    click.echo("")
    page.head(left, right)
    page.row("prior", 0.0, found.prior, note="any two records", bold=True)
    standing = found.prior
    for group in found.groups:
        page.row(words.group_name(group.name), standing, standing + group.logit, bold=True)
        shown = group.lines if everything else group.lines[:LINES]
        for line in shown:
            page.line(line, standing)
            standing += line.logit
            for part in line.parts if everything else ():
                value = "" if part.value is None else f": {words.number(part.value)}"
                page.note(f"{words.signed(part.logit):>8}  {part.says}{value}")
        rest = group.lines[len(shown) :]
        if rest:
            total = sum(line.logit for line in rest)
            page.row(f"  the other {len(rest)}", standing, standing + total)
            standing += total
    page.row("sum", 0.0, found.logit, note=f"{words.percent(found.probability)}: {found.tier}", bold=True)
    click.echo("")
    tier = found.tier if found.tier == "gray" else f"a {found.tier}"
    if found.decided:
        click.echo(f"The run calls it {tier}: {found.reason}.")
    else:
        click.echo(f"The run holds no decision on it. With these log-odds it would have been {tier}.")
    click.echo(_with_persons(found))
    if found.outcome.way:
        click.echo("  " + " - ".join(words.plain(one) for one in found.outcome.way))
    for note in found.notes:
        click.echo(note)


def _with_persons(found: Explanation) -> str:
    ids = [one for one in dict.fromkeys(found.outcome.persons) if one]
    return found.outcome.why + (f" In the index: {' and '.join(ids)}." if ids else "")


class _Page:
    """Rows of one width: what it is about, log-odds, the bar, both sides, a note."""

    def __init__(self, low: float, high: float, width: int) -> None:
        self.low, self.high = low, high
        self.narrow = width < 120  # then there is no room for notes
        self.label, self.bar = (24, 8) if self.narrow else (31, 26)
        self.side = max(8, (width - self.label - self.bar - 14) // (2 if self.narrow else 3))

    @classmethod
    def fitting(cls, found: Explanation) -> _Page:
        ends = [0.0, found.prior, found.logit]
        standing = found.prior
        for group in found.groups:
            for line in group.lines:
                standing += line.logit
                ends.append(standing)
        return cls(min(ends), max(ends), shutil.get_terminal_size((150, 40)).columns)

    def head(self, left: str, right: str) -> None:
        gap = " " * (self.label + 10 + self.bar)
        click.echo(f"{gap}  {_fit(left, self.side)} {_fit(right, self.side)}".rstrip())

    def row(self, label: str, begin: float, end: float, *, note: str = "", bold: bool = False) -> None:
        self._echo(label, begin, end, f"  {note}" if note else "", bold, "blue" if bold else None)

    def line(self, line: Line, standing: float) -> None:
        beside = f"  {_fit(line.left, self.side)} {_fit(line.right, self.side)}"
        if not self.narrow:
            beside += f" {_cut(line.note, self.side)}"
        self._echo(f"  {line.about}", standing, standing + line.logit, beside, False, None)

    def note(self, text: str) -> None:
        click.secho(" " * (self.label + 2) + text, dim=True)

    def _echo(self, label: str, begin: float, end: float, beside: str, bold: bool, colour: str | None) -> None:
        from resolver.explain import words

        first, last = sorted((self._place(begin), self._place(end)))
        cells = [" "] * self.bar
        cells[self._place(0.0)] = "│"
        for place in range(first, last):
            cells[place] = "█"
        if first == last:
            cells[first] = "▌" if abs(end - begin) * 4 * self.bar > self.high - self.low else "▏"
        bar = click.style("".join(cells), fg=colour or ("green" if end >= begin else "red"))
        change = end - begin
        click.echo(
            f"{click.style(_fit(label, self.label), bold=bold)} {words.signed(change):>8} {bar}{beside}".rstrip()
        )

    def _place(self, log_odds: float) -> int:
        share = (log_odds - self.low) / ((self.high - self.low) or 1.0)
        return min(int(share * self.bar), self.bar - 1)


def _show_person(found: Person, everything: bool) -> None:
    from resolver.explain import words

    names = {rid: words.plain(row["record_id"]) for rid, row in found.records.items()}
    clusters = ", ".join(map(str, found.clusters))
    many = "s" if len(found.records) != 1 else ""
    click.secho(f"{found.person_id or 'cluster ' + clusters}: {len(found.records):,} record{many}", bold=True)
    for note in found.notes:
        click.echo(note)
    shown = list(found.records.values())[: None if everything else 2 * PAIRS]
    columns = [name for name in SHOWN if any(row[name] is not None for row in shown)]
    click.echo("")
    _table(
        ["record", *(words.field_name(name) for name in columns)],
        [[row["record_id"], *(row[name] for name in columns)] for row in shown],
    )
    _more(len(found.records) - len(shown), "records")
    if len(found.records) > 1:
        click.echo("\nPairs among them, the weakest first:")
        _table(
            ["log-odds", "tier", "left", "right", "why"],
            [
                [
                    words.signed(one["logit"]),
                    one["tier"],
                    names[one["left_rid"]],
                    names[one["right_rid"]],
                    one["reason"],
                ]
                for one in found.pairs[: None if everything else PAIRS]
            ],
        )
        _more(0 if everything else len(found.pairs) - PAIRS, "pairs")
        if found.unscored:
            click.echo(f"{found.unscored:,} pairs were never scored; each counts {words.signed(found.unscored_logit)}.")
        if found.total is not None:
            click.echo(f"All pairs add up to {words.signed(found.total)}.")
    if found.bridge is not None:
        side = [names[rid] for rid in found.bridge.side]
        apart = ", ".join(side[:5]) + (f" and {len(side) - 5:,} more" if len(side) > 5 else "")
        click.echo(
            f"The weakest bridge is {names[found.bridge.left]} - {names[found.bridge.right]}: what holds {apart} to the"
            f" rest comes to {words.signed(found.bridge.between)}."
        )
    if not found.neighbours:
        click.echo("\nNo record of another person was ever compared with these.")
        return
    click.echo("\nThe nearest other persons:")
    _table(
        ["person", "records", "best pair", "all pairs", "why apart"],
        [
            [
                one.person_id or f"cluster:{one.cluster}",
                one.records,
                words.signed(one.best),
                words.signed(one.between),
                one.reason or "no pair speaks for it",
            ]
            for one in found.neighbours
        ],
    )


def _more(number: int, what: str) -> None:
    if number > 0:
        click.echo(f"and {number:,} more {what}: add --all")


def _table(columns: list[str], lines: list[list[Any]]) -> None:
    from resolver.explain import words

    cells = [columns, *[["" if cell is None else words.plain(cell) for cell in line] for line in lines]]
    widths = [min(max(len(line[place]) for line in cells), 60) for place in range(len(columns))]
    for number, line in enumerate(cells):
        text = "  ".join(_fit(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
        click.secho(f"  {text}", dim=number == 0)


def _fit(text: str, width: int) -> str:
    return _cut(text, width).ljust(width)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))
