"""Answers from a file: a CSV with the columns left, right and answer, as a script or a spreadsheet writes it.

All rows are read and understood before the first one counts. Knows nothing of how answers are stored.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from resolver.errors import InputError
from resolver.mpi.labels import Answer

COLUMNS = ("left", "right", "answer")
WORDS: dict[str, Answer] = {
    **dict.fromkeys(("y", "yes", "same"), "same"),
    **dict.fromkeys(("n", "no", "different"), "different"),
    **dict.fromkeys(("u", "unsure"), "unsure"),
}


@dataclass(frozen=True)
class Given:
    line: int  # in the file, from 1
    left: str
    right: str
    answer: Answer


def read(path: Path) -> tuple[list[Given], int]:
    """The answers of a file, and how many rows are left open."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = [name.strip().lower() for name in next(rows, [])]
            missing = [name for name in COLUMNS if name not in header]
            if missing:
                raise InputError(
                    f"{path} has no column {missing[0]}.", do="Its first row must name left, right and answer."
                )
            places = [header.index(name) for name in COLUMNS]
            return _given(path, rows, places)
    except OSError as error:
        raise InputError(f"{path} can't be read: {(error.strerror or 'unknown error').lower()}.") from None
    except (UnicodeDecodeError, csv.Error):
        raise InputError(f"{path} is not CSV in UTF-8.") from None


def _given(path: Path, rows: csv._reader, places: list[int]) -> tuple[list[Given], int]:  # type: ignore[name-defined]
    found: list[Given] = []
    left_open = 0
    for row in rows:
        line = rows.line_num
        if not any(cell.strip() for cell in row):
            continue
        if len(row) <= max(places):
            raise InputError(f"{path}, line {line}: it has fewer columns than the first row.")
        left, right, said = (row[place].strip() for place in places)
        if not said:
            left_open += 1
            continue
        answer = WORDS.get(said.lower())
        if answer is None:
            raise InputError(f"{path}, line {line}: the answer is none of {', '.join(WORDS)}.")
        found.append(Given(line, left, right, answer))
    return found, left_open
