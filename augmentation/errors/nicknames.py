"""The nickname table: which short forms a given name has, and which full names a short form stands for.

The table, nicknames.csv, holds familiar short and pet forms of given names used in English- and Spanish-speaking
families. It was compiled by hand for this project from common knowledge of these names, not taken from a data set.
"""

from __future__ import annotations

import csv
import functools
from importlib.resources import files


@functools.cache
def table() -> dict[str, tuple[str, ...]]:
    """Upper-case name -> its other forms, full or short, sorted."""
    forms: dict[str, set[str]] = {}
    with (files("augmentation.errors") / "nicknames.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for nickname in row["nicknames"].split():
                forms.setdefault(row["name"], set()).add(nickname)
                forms.setdefault(nickname, set()).add(row["name"])
    return {name: tuple(sorted(others)) for name, others in sorted(forms.items())}
