"""What an input is like, in a few figures, and whether a model that was trained elsewhere fits it.

Compares fields, coding systems, how much there is to go by, and how sure the model is of the input's pairs. Says in
words what does not fit. Holds shares and counts only, and knows nothing of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from resolver.database import quote
from resolver.fusion import probability
from resolver.judges.features.demographic import FIELDS
from resolver.judges.features.population import CODED
from resolver.judges.trees import Floats

NEEDED = ("first_name", "last_name")  # without them no candidate is anything like what the model has seen
LEAST_FIELDS = 0.6  # of the fields per record of the barest training population
KNOWN_CODES = 0.8  # share of a kind's events whose coding system the model must have seen
ENOUGH_EVENTS = 0.2  # per record, for a kind's coding systems to matter
UNSURE_TIMES, UNSURE_MORE = 2.0, 0.02  # against the training population that the model is least sure of
FEWEST_MATCHES = 100  # expected, for the model's doubts to be counted

Profile = dict[str, Any]


def of(con: duckdb.DuckDBPyConnection, records: Path, events: Path) -> Profile:
    """Shares of records that have each field, events per record, and shares of coding systems by kind of event."""
    shares = ", ".join(f"count({field}) / greatest(count(*), 1)" for field in FIELDS)
    ((count, *filled),) = con.execute(f"SELECT count(*), {shares} FROM read_parquet({quote(records)})").fetchall()
    rows = con.execute(
        f"SELECT kind, system, count(*) FROM read_parquet({quote(events)}) WHERE code IS NOT NULL GROUP BY ALL"
        " ORDER BY ALL"
    ).fetchall()
    totals: dict[str, int] = {}
    for kind, _, number in rows:
        totals[kind] = totals.get(kind, 0) + number
    return {
        "records": count,
        "fields": {field: round(share, 4) for field, share in zip(FIELDS, filled, strict=True)},
        "events_per_record": {kind: round(number / max(count, 1), 3) for kind, number in totals.items()},
        "systems": {f"{kind} {system}": round(number / totals[kind], 4) for kind, system, number in rows},
    }


def doubt(logit: Floats) -> Profile:
    """How sure a model is of an input's pairs: matches it expects, and the share of them that it is unsure of."""
    says = probability(logit)
    expected = float(says.sum())
    return {
        "expected_matches": round(expected, 1),
        "unsure": round(float((says * (1 - says)).sum()) / max(expected, 1e-9), 5),
    }


def misfits(found: Profile, seen: Sequence[Mapping[str, Any]]) -> list[str]:
    """In words, what of the input lies outside of what the model was trained on; empty where it fits."""
    return [*_fields(found, seen), *codes(found, seen), *_doubts(found, seen)]


def codes(found: Profile, seen: Sequence[Mapping[str, Any]]) -> list[str]:
    """Kinds of event whose codes the model has not seen."""
    result = []
    for kind in (*CODED, "measurement"):
        if found["events_per_record"].get(kind, 0.0) < ENOUGH_EVENTS:
            continue
        shares = {name: share for name, share in found["systems"].items() if name.startswith(f"{kind} ")}
        known = sum(share for name, share in shares.items() if any(name in one["systems"] for one in seen))
        if known < KNOWN_CODES:
            strange = max(
                (share, name) for name, share in shares.items() if not any(name in one["systems"] for one in seen)
            )
            system = strange[1].removeprefix(f"{kind} ")
            result.append(f"{1 - known:.0%} of the {kind}s are coded in ways it has not seen ({system})")
    return result


def _fields(found: Profile, seen: Sequence[Mapping[str, Any]]) -> list[str]:
    result = []
    for field in NEEDED:
        least = min(one["fields"][field] for one in seen)
        if found["fields"][field] < least / 2:
            result.append(
                f"{field} is filled in {found['fields'][field]:.0%} of the records, and in {least:.0%} or more"
            )
    mean = sum(found["fields"].values())
    least = min(sum(one["fields"].values()) for one in seen)
    if mean < LEAST_FIELDS * least:
        result.append(f"a record has {mean:.1f} fields, and {least:.1f} or more")
    return [f"{one} where it was trained" for one in result]


def _doubts(found: Profile, seen: Sequence[Mapping[str, Any]]) -> list[str]:
    if "unsure" not in found or found["expected_matches"] < FEWEST_MATCHES:
        return []
    most = max(one["unsure"] for one in seen)
    if found["unsure"] <= max(UNSURE_TIMES * most, most + UNSURE_MORE):
        return []
    return [f"it is unsure of {found['unsure']:.1%} of the matches, and of {most:.1%} at most where it was trained"]


def nearest(found: Profile, seen: Sequence[Mapping[str, Any]]) -> str:
    """The training population whose fields are filled most like those of the input."""

    def distance(one: Mapping[str, Any]) -> float:
        return float(np.mean([abs(found["fields"][field] - one["fields"][field]) for field in FIELDS]))

    name: str = min(seen, key=lambda one: (distance(one), one["name"]))["name"]
    return name
