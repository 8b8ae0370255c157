"""Records of made-up people at facilities, with errors, duplicates and truth, written as they are made.

A block of households at a time, in as many processes as there are threads; what is written depends on neither. Only a
few blocks are held at once, so memory does not grow with the number of records.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from augmentation import bed
from augmentation.contact import contact
from augmentation.errors import FIELDS
from augmentation.errors.choose import check
from augmentation.errors.corrupt import Changes, corrupt, styled
from augmentation.errors.record import World
from augmentation.people.names import surnames
from augmentation.people.persons import Block, Whole, block, persons
from augmentation.settings import AugmentSettings
from augmentation.streams import Words, key, mix, uniform
from augmentation.summary import Summary
from resolver.errors import RunError
from resolver.progress import Progress

ERRORS = pa.schema(
    [("record_id", pa.string()), ("step", pa.int32())]
    + [(name, pa.string()) for name in ("field", "kind", "before", "after")]
)
TRUTH = pa.schema([("record_id", pa.string()), ("facility", pa.int32()), ("person_id", pa.string())])


@dataclass(frozen=True)
class Visits:
    """Which person has a record where: positions in the block, the facilities, which registration there."""

    person: Whole
    facility: Whole
    keys: Words


@dataclass(frozen=True)
class Made:
    """One block, as tables."""

    patients: dict[int, pa.Table]
    truth: pa.Table
    errors: pa.Table


def visits(people: Block, settings: AugmentSettings) -> Visits:
    """Each person visits 1 to 5 facilities, any of them alike; some of their desks register the person twice."""
    facilities, shares = settings.segment.facilities, np.cumsum(settings.segment.visited)
    count = np.searchsorted(shares, people.draw("facilities")).clip(0, len(shares) - 1) + 1
    order = np.argsort(
        np.stack([uniform(people.keys, key("facility", number)) for number in range(1, facilities + 1)]), axis=0
    )
    chosen = np.argsort(order, axis=0) < count  # facility x person
    twice = np.stack(
        [
            uniform(people.keys, key("twice", number)) < duplicate_share(number, settings)
            for number in range(1, facilities + 1)
        ]
    )
    copies = chosen.astype(np.int64) + (chosen & twice)
    person, facility = np.nonzero(copies.T)
    times = copies.T[person, facility]
    person, facility = np.repeat(person, times), np.repeat(facility + 1, times)
    copy = np.arange(len(person)) - np.repeat(np.cumsum(times) - times, times)
    keys = mix(people.keys[person], key("record"), facility.astype(np.uint64), copy.astype(np.uint64))
    return Visits(person, facility, keys)


def duplicate_share(facility: int, settings: AugmentSettings) -> float:
    """Share of a facility's persons whom it has registered twice."""
    least, most = settings.duplicates.least, settings.duplicates.most
    return least + (most - least) * (key("duplicates", settings.seed, facility) / 2.0**64)


def make(number: int, most: int, settings: AugmentSettings) -> Made:
    """The first records of a block, `most` of them at the most."""
    people = block(number, settings.seed)
    visited = visits(people, settings)
    person, facility, keys = visited.person[:most], visited.facility[:most], visited.keys[:most]
    clean = persons(people, settings.seed)
    if settings.contact.enabled:
        clean |= contact(clean, people.keys, people.household, people.size > 1, settings.contact)

    rows = person.tolist()
    columns = styled({name: [clean[name][row] for row in rows] for name in FIELDS if name in clean}, facility, settings)
    changes = corrupt(columns, keys, facility, rows, _world(people, clean, settings), settings)

    ids, person_ids = _ids(keys, "record"), _ids(people.keys, "person")
    order = np.argsort(np.array(ids))
    table = pa.table(
        {"Id": ids}
        | {name: pa.array(columns[name], pa.string()) for name in columns}
        | {"STATE": pa.array([clean["STATE"][row] for row in rows], pa.string())}
    ).take(order)
    placed = facility[order]
    truth = pa.table(
        {"record_id": ids, "facility": facility.astype(np.int32), "person_id": [person_ids[row] for row in rows]},
        schema=TRUTH,
    ).take(order)
    return Made(
        {int(one): table.filter(pa.array(placed == one)) for one in range(1, settings.segment.facilities + 1)},
        truth,
        _errors(changes, ids, order),
    )


def _world(people: Block, clean: dict[str, list[str | None]], settings: AugmentSettings) -> World:
    heads = np.flatnonzero(people.member == 0).tolist()
    areas: dict[str, dict[str, None]] = {}
    for town, code in zip(clean["CITY"], clean["ZIP"], strict=True):
        areas.setdefault((code or "")[:3], {})[town or ""] = None
    return World(
        places=[tuple(clean[name][row] or "" for name in ("ADDRESS", "CITY", "ZIP")) for row in heads],  # type: ignore[misc]
        towns_of={area: tuple(sorted(found)) for area, found in areas.items()},
        family_names=surnames().draw(uniform(people.keys, key("other family name"))).tolist(),
        middle_names=[name for name in clean["MIDDLE"] if name],
        relatives=people.relatives.tolist(),
        persons=clean,
        truncate_at=settings.errors.truncate_at,
    )


def _ids(keys: Words, what: str) -> list[str]:
    """Ids in the form of UUIDs."""
    return [
        f"{(text := f'{one:016x}{two:016x}')[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
        for one, two in zip(mix(keys, key(what, 1)).tolist(), mix(keys, key(what, 2)).tolist(), strict=True)
    ]


def _errors(changes: Changes, ids: list[str], order: Whole) -> pa.Table:
    """The changes, each record's together and in their order. `order` sorts the records by their ids."""
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    rows = np.array(changes.row, dtype=np.int64)
    return pa.table(
        {
            "record_id": pa.array(ids, pa.string()).take(pa.array(rows)),
            "step": pa.array(changes.step, pa.int32()),
            "field": pa.array(changes.field, pa.string()),
            "kind": pa.array(changes.kind, pa.string()),
            "before": pa.array(changes.before, pa.string()),
            "after": pa.array(changes.after, pa.string()),
        },
        schema=ERRORS,
    ).take(np.lexsort((np.array(changes.step, dtype=np.int64), place[rows])))


def _plan(records: int, settings: AugmentSettings) -> Iterator[tuple[int, int]]:
    """Blocks with the number of records to take from each. What a block holds is known without making it."""
    number = 0
    while records > 0:
        held = len(visits(block(number, settings.seed), settings).person)
        if not held:
            raise RunError("These settings make no records.", do="Set segment.visited to 1 or more facilities.")
        yield number, min(held, records)
        records -= held
        number += 1


def people(records: int, out: Path, settings: AugmentSettings, progress: Progress) -> Summary:
    """Write so many records to OUT/facility_N/patients.parquet, with OUT/truth/{truth,errors}.parquet."""
    facilities = range(1, settings.segment.facilities + 1)
    check(settings.errors)
    summary = Summary()
    with bed.whole(out) as scratch:
        with _Tables(scratch) as tables, progress.step("records", records, "records") as step:
            for made in _made(_plan(records, settings), settings):
                for number in facilities:
                    tables.write(f"facility_{number}/patients", made.patients[number])
                    summary.add_patients(made.patients[number])
                tables.write("truth/truth", made.truth)
                tables.write("truth/errors", made.errors)
                summary.add_truth(made.truth)
                summary.add_errors(made.errors)
                step.advance(made.truth.num_rows)
        bed.note(scratch, settings, "people", {"records": summary.records})
        summary.write(scratch / bed.SUMMARY)
    return summary


def _made(plan: Iterable[tuple[int, int]], settings: AugmentSettings) -> Iterator[Made]:
    """The blocks in their order, a few ahead of the one that is wanted."""
    if settings.threads == 1:
        yield from (make(number, most, settings) for number, most in plan)
        return
    # Forked children would inherit locks of the libraries' threads.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(settings.threads, mp_context=context) as pool:
        waiting: deque[Future[Made]] = deque()
        for number, most in plan:
            waiting.append(pool.submit(make, number, most, settings))
            if len(waiting) > settings.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Tables(contextlib.AbstractContextManager["_Tables"]):
    """Parquet files that are written piece by piece."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, Any] = {}

    def write(self, name: str, table: pa.Table) -> None:
        if name not in self._open:
            path = self._folder / f"{name}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open[name] = pq.ParquetWriter(path, table.schema, compression="zstd")
        self._open[name].write_table(table)

    def __exit__(self, *_: object) -> None:
        for writer in self._open.values():
            writer.close()
