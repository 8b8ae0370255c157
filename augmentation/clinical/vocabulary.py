"""What else an event may be called: coarser and sibling codes, and the words of a facility that has no codes.

    codes.csv   system, code, relation (coarser, sibling), variant, description
    drugs.csv   ingredient, RxNorm code of the ingredient, brand names
    words.csv   code, the words and abbreviations that staff write for it

Works on the distinct codes of a table, of which there are some hundreds. Knows nothing of rows or draws.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent
_TAG = re.compile(r"\s*\([^()]*\)\s*$")  # SNOMED's (disorder), (finding) ...
_STRENGTH = re.compile(r"([0-9.]+) (MG|MCG|UNT)\b")
_UNIT = {"MG": "mg", "MCG": "mcg", "UNT": "units"}
_FORM = re.compile(r"\b(tablet|capsule|injection|injector|inhaler|cream|gel|solution|suspension|patch|spray)\b", re.I)


class Variant(NamedTuple):
    code: str
    description: str


class _Drug(NamedTuple):
    ingredient: str
    rxnorm: str
    brands: tuple[str, ...]


def _rows(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def _codes() -> dict[str, list[Variant]]:
    found: dict[str, list[Variant]] = defaultdict(list)
    for row in _rows("codes.csv"):
        found[row["code"]].append(Variant(row["variant"], row["description"]))
    return found


@cache
def _words() -> dict[str, tuple[str, ...]]:
    return {row["code"]: tuple(row["words"].split("|")) for row in _rows("words.csv")}


@cache
def _drugs() -> tuple[_Drug, ...]:
    return tuple(_Drug(r["ingredient"], r["rxnorm"], tuple(r["brands"].split("|"))) for r in _rows("drugs.csv"))


def _drug(description: str) -> _Drug | None:
    """The first ingredient that is named; of a combination, the one that the table lists first."""
    lower = description.lower()
    return next((drug for drug in _drugs() if drug.ingredient in lower), None)


def variants(table: str, code: str, description: str) -> list[Variant]:
    """Other codes that another hospital may well use for the same thing. None for most."""
    if table == "medications":
        drug = _drug(description)
        return [Variant(drug.rxnorm, drug.ingredient)] if drug is not None else []
    return _codes().get(code, [])


def words(table: str, code: str, description: str) -> list[str]:
    """What staff write where there are no codes: at least one wording, the usual one first."""
    if table == "medications" and (drug := _drug(description)) is not None:
        found = _STRENGTH.search(description)
        strength = f" {float(found[1]):g} {_UNIT[found[2]]}" if found else ""
        return [*drug.brands, f"{drug.brands[0]}{strength}", f"{drug.ingredient}{strength}"]
    if code in _words():
        return list(_words()[code])
    plain = _TAG.sub("", description).strip() or description
    if table == "medications":
        # Staff leave the form out: "Loratadine 5 MG Chewable Tablet" becomes "Loratadine 5 MG".
        plain = _FORM.split(plain)[0].strip() or plain
    return [plain]
