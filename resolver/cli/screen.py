"""The one screen at the end of a run: records, persons, links, what waits for review, quality, cost, where to look.

Reads the manifest and metrics.json only. Holds counts, never values from records.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import click

from resolver import amounts
from resolver.runs import RunFolder, StageReport
from resolver.settings import Settings

# What publish counts of persons; of records where the second word says so.
CHANGES = {
    "created": ("created", ""),
    "joined": ("joined", "record"),
    "merged": ("merged", ""),
    "split": ("split", ""),
    "moved": ("moved", "record"),
    "retired": ("retired", ""),
}

ANOMALIES = 3  # on the screen


def gather(settings: Settings, reports: Sequence[StageReport]) -> dict[str, Any]:
    """What the screen and --json tell of a run."""
    folder = RunFolder(settings.run.dir)
    manifest = folder.manifest()
    stages = manifest["stages"]
    facts = {name: entry["facts"] for name, entry in stages.items()}
    metrics_file = folder.file("metrics.json")
    metrics = json.loads(metrics_file.read_text(encoding="utf-8")) if metrics_file.exists() else {}
    done = {report.name: report for report in reports}
    return {
        "run": str(settings.run.dir),
        "records": facts.get("ingest", {}).get("records"),
        "rejected": facts.get("ingest", {}).get("rejected"),
        "persons": facts.get("cluster", {}).get("persons"),
        "candidates": facts.get("link", {}).get("candidates"),
        "carried_over": facts.get("link", {}).get("pairs_carried_over"),
        "added_to": manifest["base"],
        "verdicts_carried_over": sum(
            judge["carried_over"] for judge in facts.get("adjudicate", {}).get("judges", {}).values()
        ),
        "hubs": facts.get("link", {}).get("hubs", []),
        "judges": facts.get("learn", {}).get("way"),
        "judges_why": facts.get("learn", {}).get("why"),
        "tiers": facts.get("decide", {}).get("tiers", {}),
        "cuts": sum(facts.get("cluster", {}).get("cuts", {}).values()),
        "index": facts.get("publish", {}),
        "estimated": metrics.get("estimated"),
        "truth": bool(metrics.get("truth")),
        "pairs": metrics.get("pairs"),
        "clusters": metrics.get("clusters"),
        "intervals": metrics.get("intervals"),
        "anomalies": metrics.get("anomalies", []),
        "stages": [
            {
                "stage": name,
                "done": name in done and not done[name].skipped,
                "seconds": entry["seconds"],
                "peak_mib": entry["peak_mib"],
            }
            for name, entry in stages.items()
        ],
        "report": str(folder.file("report.html")) if folder.file("report.html").exists() else None,
    }


def show(result: dict[str, Any], config: str) -> None:
    """Print it for a person, who would type `config` for the config of the run."""
    tiers, index = result["tiers"], result["index"]
    rows: list[tuple[str, str]] = []
    rejected = f", {result['rejected']:,} rows rejected" if result["rejected"] else ""
    rows.append(("records", f"{_count(result['records'])}{rejected}"))
    if result["persons"] is not None:
        changes = [
            f"{amounts.many(index[what], of) if of else format(index[what], ',')} {became}"
            for what, (became, of) in CHANGES.items()
            if index.get(what)
        ]
        rows.append(("persons", f"{result['persons']:,}" + (f"   ({', '.join(changes)})" if changes else "")))
    if result["candidates"] is not None:
        carried = f", {result['carried_over']:,} carried over" if result["carried_over"] else ""
        rows.append(("candidate pairs", f"{result['candidates']:,}{carried}"))
    if result["added_to"] and (result["carried_over"] or result["verdicts_carried_over"]):
        rows.append(
            (
                "added to",
                f"run {result['added_to']}: {result['carried_over'] or 0:,} scores and"
                f" {result['verdicts_carried_over']:,} verdicts stand, some of which might be slightly other today"
                " (--full does all anew)",
            )
        )
    elif result["added_to"] and result["candidates"] and not result["verdicts_carried_over"]:
        # A config that reads other columns changes every record, and the models stay those of what was read before.
        told = f"run {result['added_to']}, of which no record is as it was; its models were kept."
        rows.append(("added to", f"{told} To learn anew: resolver run {config} --full"))
    if tiers:
        rows.append(("links", f"{tiers.get('match', 0):,} sure, {result['cuts']:,} cut by clustering"))
        gray = tiers.get("gray", 0)
        ask = f"; the most doubtful: resolver explain {config} --doubtful" if gray else ""
        rows.append(("to review", f"{amounts.many(gray, 'gray pair')}{ask}"))
    if result["judges_why"]:
        rows.append(("judges", f"{result['judges']}: {result['judges_why']}"))
    rows.extend(_quality(result))
    for hub in result["hubs"][:3]:
        rows.append(("hub", _hub(hub)))
    rows.extend(_anomalies(result))
    width = max(len(name) for name, _ in rows) + 2
    click.echo("")
    for name, text in rows:
        click.echo(f"  {click.style(name.ljust(width), bold=True)}{text}")
    click.echo("")
    click.echo(f"  {'stage':<12}{'time':>9}{'memory':>10}")
    for stage in result["stages"]:
        if stage["done"]:
            took, peak = amounts.time(stage["seconds"]), amounts.size(stage["peak_mib"] * 2**20)
            click.echo(f"  {stage['stage']:<12}{took:>9}{peak:>10}")
        else:
            click.echo(f"  {stage['stage']:<12}{'unchanged':>9}")
    click.echo("")
    if result["report"]:
        click.echo(f"  report  {result['report']}")
    if index.get("index"):
        click.echo(f"  index   {index['index']}")


def _quality(result: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if result["truth"]:
        after = result["pairs"]["after_clustering"]
        rows.append(
            (
                "quality (truth)",
                f"precision {figure(after['precision'])}, recall {figure(after['recall'])}, F1 {figure(after['f1'])}"
                f"; {result['clusters']['split']:,} persons split, {result['clusters']['impure']:,} impure",
            )
        )
    if result["estimated"]:
        guess = result["estimated"]
        rows.append(
            (
                "quality (estimated)",
                f"precision {_guess(guess, 'precision')}, recall {_guess(guess, 'recall')} of scored pairs",
            )
        )
    return rows


def _anomalies(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The first few; the report has all, each with what to try next."""
    found = result["anomalies"]
    rows = [(one["kind"], one["says"]) for one in found[:ANOMALIES]]
    if found:
        more = f"{len(found) - ANOMALIES:,} more, and " if len(found) > ANOMALIES else ""
        rows.append(("", f"{more}what to try next: in the report"))
    return rows


def _guess(guess: dict[str, Any], name: str) -> str:
    interval = guess["intervals"].get(name)
    return figure(guess[name]) + (f" ({interval[0]:.4f} to {interval[1]:.4f})" if interval else "")


def figure(share: float | None) -> str:
    """As the report has it: four digits, never rounded up, so that 0.99996 is not 1."""
    return "none" if share is None else f"{math.floor(share * 1e4 + 1e-9) / 1e4:.4f}"


def _hub(hub: Any) -> str:
    if not isinstance(hub, dict):
        return str(hub)
    return ", ".join(f"{key} {value:,}" if isinstance(value, int) else f"{value}" for key, value in hub.items())


def _count(number: int | None) -> str:
    return "none" if number is None else f"{number:,}"
