"""Two records side by side, as a person sees them who has to decide: fields, what differs in them, and the histories.

The run's own opinion is left out on purpose: it would sway the answer. Knows nothing of terminals.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from resolver.explain import histories, words
from resolver.explain.opened import Opened

# What follows from another field is not shown twice.
LEFT_OUT = {"ssn_last4": "ssn", "street_number": "street"}
NEAR = 0.7  # of the letters alike, from which on two values are variants of each other


@dataclass(frozen=True)
class Row:
    about: str
    left: str
    right: str
    state: str  # same, near, differs, missing
    differing: tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]] = ((), ())  # letters, per side


@dataclass(frozen=True)
class Sides:
    left: str  # record ids
    right: str
    rows: tuple[Row, ...]
    histories: tuple[tuple[str, str, str, str], ...]  # about, left, right, what both have


def lay(run: Opened, left: str, right: str) -> Sides:
    """Both records, by record id."""
    low, high = run.rid(left, "The first record"), run.rid(right, "The second record")
    records = run.records([low, high])
    one, other = records[low], records[high]
    rows = []
    for field in words.FIELDS:
        whole = LEFT_OUT.get(field)
        if whole and any(record.get(whole) is not None for record in (one, other)):
            continue
        if one.get(field) is None and other.get(field) is None:
            continue
        rows.append(compare(words.field_name(field), words.value(one, field), words.value(other, field)))
    found = histories.side_by_side(run, low, high)
    known = tuple(
        (about, left, right, note)
        for about, (left, right, note) in found.items()
        if {left, right} - {words.MISSING, ""}
    )
    return Sides(words.plain(one["record_id"]), words.plain(other["record_id"]), tuple(rows), known)


def compare(about: str, left: str, right: str) -> Row:
    if left.startswith(words.MISSING) or right.startswith(words.MISSING):
        return Row(about, left, right, "missing")
    if left == right:
        return Row(about, left, right, "same")
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    changes = [one for one in matcher.get_opcodes() if one[0] != "equal"]
    if matcher.ratio() < NEAR:
        return Row(about, left, right, "differs")
    return Row(
        about,
        left,
        right,
        "near",
        (
            tuple((begin, end) for _, begin, end, _, _ in changes if end > begin),
            tuple((begin, end) for _, _, _, begin, end in changes if end > begin),
        ),
    )
