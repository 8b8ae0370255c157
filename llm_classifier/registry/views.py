"""What people and scripts are shown of a registry: an overview, the best version, two side by side, the decisions.

Reads; changes nothing.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from llm_classifier.registry.history import Entry
from llm_classifier.registry.metrics import BETTER, Metrics, short
from llm_classifier.registry.store import Registry, Version
from resolver.errors import UsageError, instead

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = ("auprc", "auroc", "f1")
MADE = ("kind", "weights", "dtype", "base", "prompt_version", "max_tokens", "tokens_per_side", "dataset_pin")


def facts(version: Version) -> dict[str, Any]:
    made = {name: getattr(version.artifact, name) for name in MADE}
    return {
        "version": version.number,
        "stage": version.stage,
        "model": str(version.model),
        "registered": version.registered,
        "source": version.source,
        "fingerprint": version.artifact.fingerprint,
        **made,
        "metrics": {pin: _values(found) for pin, found in version.metrics.items()},
    }


def best(registry: Registry, figure: str, pin: str | None) -> Version:
    """The version with the best figure on one test set; of equals the one that was registered first."""
    if figure not in BETTER:
        raise UsageError(f"{figure}: unknown figure; {instead(figure, BETTER)}")
    versions = registry.versions()
    pins = sorted({one for version in versions for one in version.metrics})
    pin = pin or registry.state().test_set or (pins[0] if len(pins) == 1 else None)
    if pin is None:
        raise UsageError(
            f"The versions were measured on {len(pins)} test sets, and nothing is in production.",
            do="Say which with --test-set PIN." if pins else "Measure one with: resolver llm validate",
        )
    found = [one for one in versions if pin in one.metrics and figure in one.metrics[pin].headline]
    if not found:
        raise UsageError(f"No version has {figure} on the test set {short(pin)}.")
    sign = 1 if BETTER[figure] == "lower" else -1
    return min(found, key=lambda one: (sign * one.metrics[pin].headline[figure].value, one.number))


def compare(left: Version, right: Version) -> list[dict[str, Any]]:
    """One row per property and figure, with both versions' values."""
    rows: list[dict[str, Any]] = [
        {"what": name, "values": [getattr(left.artifact, name), getattr(right.artifact, name)]} for name in MADE
    ]
    rows.insert(0, {"what": "stage", "values": [left.stage, right.stage]})
    for pin in sorted(left.metrics.keys() & right.metrics.keys()):
        one, other = _all(left.metrics[pin]), _all(right.metrics[pin])
        rows += [
            {"what": name, "test_set": pin, "values": [one.get(name), other.get(name)]}
            for name in dict.fromkeys((*one, *other))
        ]
    return rows


def decisions(entries: list[Entry]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(entry) for entry in entries]


def overview(versions: list[Version]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("version", "stage", "kind", "test set", *SHOWN, "registered"):
        table.add_column(name, no_wrap=True)
    for version in versions:
        measured: list[tuple[str, Metrics | None]] = [*version.metrics.items()] or [("", None)]
        for pin, found in measured:
            figures = ["-" if found is None else _shown(found, name) for name in SHOWN]
            card = (str(version.number), version.stage, version.artifact.kind)
            table.add_row(*card, short(pin) or "-", *figures, version.registered[:10])
    return table


def side_by_side(rows: list[dict[str, Any]], left: int, right: int) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("", f"version {left}", f"version {right}", "difference"):
        table.add_column(name)
    test_set = None
    for row in rows:
        if row.get("test_set") not in (None, test_set):
            test_set = row["test_set"]
            table.add_row(f"on the test set {short(test_set)}", style="bold")
        one, other = row["values"]
        numbers = isinstance(one, float) and isinstance(other, float)
        table.add_row(row["what"], _text(one), _text(other), f"{other - one:+.4f}" if numbers else "")
    return table


def told(entries: list[Entry]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("when", "who", "what", "version", "reason"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        table.add_row(entry.at, entry.by, entry.what, str(entry.version), entry.reason)
    return table


def _values(found: Metrics) -> dict[str, float]:
    return {name: figure.value for name, figure in found.headline.items()}


def _all(found: Metrics) -> dict[str, float]:
    slices = {f"{name}, {one.name}": figure.value for one in found.slices for name, figure in one.figures.items()}
    return _values(found) | slices


def _shown(found: Metrics, name: str) -> str:
    figure = found.headline.get(name)
    return "-" if figure is None else f"{figure.value:.4f}"


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
