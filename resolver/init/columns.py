"""Says which column of a table holds what, by its name and by what a sample of its values looks like.

Knows nothing of files or configs. Values are looked at and never quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as empty

from resolver.ingest import vocabulary
from resolver.init import names

Sample = Mapping[str, Sequence[str]]  # column -> filled values of a sample of its rows

DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}|\d{8}|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4}")
PARTS = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?:[ T].*)?")
SHAPES = {
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    "ssn": re.compile(r"\d{3}-\d{2}-\d{4}"),
    "phone": re.compile(r"\+?1?[ .-]?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}"),
}
NAMES = {"first_name", "last_name", "full_name"}
COMMA = re.compile(r"[^\W\d_][^\d,;]*, ?[^\W\d_][^\d,;]*")  # Family, Given
WORDS = re.compile(r"\S+,? \S.*")
MOST = 0.8  # share of values that must have a shape before a column is taken for it


@dataclass(frozen=True)
class Persons:
    """The columns of a table of records."""

    record_id: str
    fields: dict[str, str]
    source: str | None = None
    updated_at: str | None = None
    race: str | None = None
    ethnicity: str | None = None
    date_formats: tuple[str, ...] = ()
    sexes: dict[str, str] = empty(default_factory=dict)  # word -> M or F, where the usual reading would be wrong
    notes: tuple[str, ...] = ()  # what a person should look at


@dataclass(frozen=True)
class Events:
    """The columns of a table of clinical events."""

    event: str
    record_id: str
    columns: dict[str, str]
    system: str | None
    source: str | None


def persons(sample: Sample, rows: Sequence[Mapping[str, str | None]]) -> Persons | None:
    """The columns of a table of records; None where it does not look like one."""
    taken: dict[str, str] = {}
    others = {name for name in sample if names.plain(name) in (*names.ID, *names.SOURCE, *names.UPDATED)}
    for spelt, not_these in ((names.plain, set[str]()), (names.bare, others)):
        for field, words in names.PERSON.items():
            column = _named(sample, words, not_these | set(taken.values()), spelt) if field not in taken else None
            if column:
                taken[field] = column
    for field, shape in SHAPES.items():
        if field not in taken:
            found = [
                name for name, values in sample.items() if name not in taken.values() and _share(values, shape) > MOST
            ]
            if len(found) == 1:
                taken[field] = found[0]
    if not NAMES & taken.keys() and {"birth_date", "ssn"} & taken.keys():
        found = [name for name, values in sample.items() if name not in taken.values() and _share(values, COMMA) > MOST]
        if len(found) == 1:
            taken["full_name"] = found[0]
    _compound(taken, sample)
    usual = {"first_name", "last_name", "full_name", "birth_date", "ssn"} & taken.keys()
    if len(taken) < 2 or not usual:
        return None
    others = set(taken.values())
    source = _named(sample, names.SOURCE, others)
    record_id, needs_source = _identifier(sample, rows, others | ({source} if source else set()), source)
    if record_id is None:
        return None
    if source and not needs_source and not _names_places(sample[source], len(rows)):
        source = None
    formats, notes = _formats(sample, taken)
    sexes, unknown = _sexes(sample.get(taken.get("sex", ""), ()))
    notes += unknown
    if not NAMES & taken.keys():
        notes += ("No column of names was recognised. Where one holds them, add it below: full_name: COLUMN",)
    extra = {
        name: _named(sample, words, others | {record_id})
        for name, words in (("updated_at", names.UPDATED), ("race", names.RACE), ("ethnicity", names.ETHNICITY))
    }
    return Persons(record_id, taken, source, date_formats=formats, sexes=sexes, notes=notes, **extra)


def events(file: str, sample: Sample, known: Mapping[str, set[str]], source: str | None) -> Events | None:
    """The columns of a table of events whose ids are among `known` (column of a sample -> values that are known)."""
    record_id = max(known, key=lambda name: (len(known[name]), name), default=None)
    if record_id is None or len(known[record_id]) < MOST * len(set(sample[record_id])):
        return None
    kind = _kind(file, sample)
    found: dict[str, str] = {}
    for field, words in names.EVENT.items():
        column = _named(sample, words, {record_id, *found.values()})
        if column:
            found[field] = column
    if kind is None or not {"code", "description"} & found.keys():
        return None
    if kind != "measurement":
        found = {name: column for name, column in found.items() if name not in ("value", "unit")}
    elif "value" not in found:
        return None
    same = next((name for name in sample if source and name.lower() == source.lower()), None)
    return Events(kind, record_id, found, _system(sample[found["code"]], kind) if "code" in found else None, same)


def day_first(values: Sequence[str]) -> bool | None:
    """Whether dates such as 3/4/1980 name the day first; None where none of them tells."""
    parts = [match for value in values if (match := PARTS.fullmatch(value.strip()))]
    first = any(int(match[1]) > 12 for match in parts)
    second = any(int(match[3]) > 12 for match in parts)
    return None if first == second else first


def _named(
    sample: Sample, words: Sequence[str], taken: set[str], spelt: Callable[[str], str] = names.plain
) -> str | None:
    """The free column whose name is the earliest of these words."""
    plain = {spelt(name): name for name in reversed(list(sample)) if name not in taken}
    return next((plain[word] for word in words if word in plain), None)


def _share(values: Sequence[str], shape: re.Pattern[str]) -> float:
    return sum(bool(shape.fullmatch(value.strip())) for value in values) / len(values) if values else 0.0


def _compound(taken: dict[str, str], sample: Sample) -> None:
    """Decides between a name in one column and in several, and the same for addresses."""
    if "full_name" in taken and "first_name" in taken:
        full = taken.pop("full_name")
        if "last_name" not in taken:
            taken["last_name"] = full
    elif "full_name" in taken and "last_name" in taken:
        taken.pop("full_name")
    elif "last_name" in taken and "first_name" not in taken and _share(sample[taken["last_name"]], WORDS) > MOST:
        taken["full_name"] = taken.pop("last_name")  # Nom, Nachname: here a column of whole names
    if "address" in taken and "street" not in taken and {"city", "zip"} & taken.keys():
        taken["street"] = taken.pop("address")
    elif "address" in taken and "street" in taken:
        taken.pop("address")
    elif (
        "street" in taken
        and not {"city", "zip"} & taken.keys()
        and _share(sample[taken["street"]], re.compile(".*,.*")) > MOST
    ):
        taken["address"] = taken.pop("street")


def _identifier(
    sample: Sample, rows: Sequence[Mapping[str, str | None]], taken: set[str], source: str | None
) -> tuple[str | None, bool]:
    """The column of the record's id, and whether it is only unique together with the source."""
    free = [name for name in sample if name not in taken]
    plain = {name: names.plain(name) for name in free}
    named = [name for word in names.ID for name in free if plain[name] == word]
    named += [name for name in free if name not in named and re.search("id$|nr$|number$|nummer$|key$|mrn", plain[name])]
    for column in named:
        if _unique([row[column] for row in rows]):
            return column, False
    if source:
        for column in named:
            if _unique([None if row[column] is None else f"{row[source]}\x1f{row[column]}" for row in rows]):
                return column, True
    others = [name for name in free if name not in named and _unique([row[name] for row in rows])]
    return (others[0], False) if others and len(rows) > 1 else (None, False)


def _unique(values: Sequence[str | None]) -> bool:
    """Each row has one of its own. A few repetitions are left to the run, which rejects or collapses them."""
    return bool(values) and None not in values and len(set(values)) >= 0.98 * len(values)


def _names_places(values: Sequence[str], rows: int) -> bool:
    return 1 < len(set(values)) <= max(2, rows // 4)


def _formats(sample: Sample, taken: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Date formats that differ from what is tried anyway, and what is not certain about them."""
    values = sample[taken["birth_date"]] if "birth_date" in taken else []
    parts = [match for value in values if (match := PARTS.fullmatch(value.strip()))]
    if not parts:
        return (), ()
    marks = sorted({match[2] for match in parts})
    first = day_first(values)
    formats = []
    for mark in marks:
        usual = mark == "."
        if first is not None and first != usual:
            order = ("%d", "%m") if first else ("%m", "%d")
            formats += [mark.join((*order, "%Y")), mark.join((*order, "%y"))]
    unsure = first is None and any(match[1] != match[3] for match in parts)
    said = "day first" if marks == ["."] else "month first"
    return tuple(formats), (
        (f"No date tells whether the day or the month comes first; taken as {said}.",) if unsure else ()
    )


def _sexes(values: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Words for a sex that mean another one here than usual, and what is not certain about them."""
    there = {plain for value in values if (plain := names.plain(value).upper())}
    if {"H", "M"} <= there and not {"F", "W"} & there:
        return {"H": "M", "M": "F"}, ("H and M are taken for hombre and mujer: see sexes.",)
    share = sum(names.plain(value).upper() in vocabulary.SEXES for value in values) / len(values) if values else 1
    if share < MOST:
        said = f"{1 - share:.0%} of the words for the sex are not understood; say what they mean: sexes: {{word: F}}"
        return {}, (said,)
    return {}, ()


def _kind(file: str, sample: Sample) -> str | None:
    for text in (names.plain(file), *(names.plain(name) for name in sample)):
        for kind, words in names.KINDS.items():
            if any(word in text for word in words):
                return kind
    return None


def _system(values: Sequence[str], kind: str) -> str | None:
    shapes = [
        ("LOINC", r"\d{1,5}-\d"),
        ("ICD10", r"[A-TV-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?"),
        ("SNOMED", r"\d{6,18}"),
    ]
    if kind == "immunization":
        shapes.insert(0, ("CVX", r"\d{1,3}"))
    if kind in ("medication", "allergy"):
        shapes.insert(0, ("RXNORM", r"\d{2,7}"))
    for system, shape in shapes:
        if _share(values, re.compile(shape)) > MOST:
            return system
    return None
