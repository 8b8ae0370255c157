"""The card of a trained model as Markdown: what it was fitted to, how it does elsewhere, what it is not for.

Everything on it comes from the model file. Knows nothing of how figures are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resolver.judges.learned import Learned

LIMITS = (
    "Do not take its figures for those of your own data: compare with reviewed pairs of your own.",
    "It has only seen synthetic patients. Real names, shared addresses and errors differ from simulated ones.",
    "It is no basis for a decision on a single patient without a person who looks at the evidence.",
    "It has not seen coding systems other than those below. A run compares its input and falls back where it must.",
    "Twins, and persons with the same name and birth date, are its commonest mistake.",
)


def markdown(learned: Learned, size: int) -> str:
    card = learned.card
    lines = [
        "# Card of the embedded judges' model",
        "",
        "Written by `resolver train`; everything here comes from the model file.",
        "",
        f"- Version {learned.fingerprint('demographic')} (demographics), {learned.fingerprint('joint')} "
        "(demographics and histories)",
        f"- {size / 2**20:.1f} MB; {card['rounds']} trees each, calibrated on persons left out "
        f"(calibration error there {card['held_out_calibration_error']:.4f})",
        f"- Seed {card['seed']}; persons split into {card['folds']} folds",
        "",
        "## What it was trained on",
        "",
        *_table(
            ("population", "records", "persons", "pairs", "true pairs"),
            [
                (one["name"], *(f"{one[key]:,}" for key in ("records", "persons", "pairs", "true_pairs")))
                for one in card["populations"]
            ],
        ),
        "",
        f"Coding systems: {', '.join(sorted({name for one in card['seen'] for name in one['systems']}))}.",
        "",
    ]
    if card.get("figures"):
        lines += ["## How it does on populations that it was not trained on", "", *_figures(card["figures"])]
    lines += ["## What it must not be used for", "", *(f"- {line}" for line in LIMITS), ""]
    return "\n".join(lines)


def _figures(figures: Sequence[dict[str, Any]]) -> list[str]:
    rows = [
        (
            one["name"],
            f"{one['precision']:.4f}",
            f"{one['recall']:.4f}",
            f"{one['f1']:.4f}",
            f"{one['split']:,} of {one['true_persons']:,}",
            f"{one['impure']:,}",
            f"{one['calibration_error']:.4f}",
            f"{one['blocking_recall']:.4f} at {one['candidates_per_record']:.0f}",
        )
        for one in figures
    ]
    head = (
        "population",
        "precision",
        "recall",
        "F1",
        "split persons",
        "impure",
        "calibration error",
        "blocking recall",
    )
    lines = [
        *_table(head, rows),
        "",
        "Pairs after clustering. Recall counts pairs that blocking has lost as missed; the last column says how many",
        "it has kept of the true pairs, at how many kept candidates per record.",
        "",
    ]
    for one in figures:
        lines += [f"### {one['name']} by slice", ""]
        rows = [
            (name, value, f"{part['records']:,}", *(_figure(part[key]) for key in ("precision", "recall", "f1")))
            for name, parts in one["slices"].items()
            for value, part in parts.items()
        ]
        lines += [*_table(("by", "value", "records", "precision", "recall", "F1"), rows), ""]
    return lines


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(head)} |",
        f"|{'|'.join('---' for _ in head)}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
