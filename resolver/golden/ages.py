"""What clinical events say of a date of birth: nothing happens before birth, and much of medicine has its age.

At which ages each code is first recorded is counted from the records themselves (their own dates of birth, of which
many may be wrong, so that the counts are blunt but fair). A first dose given to infants then pins a date of birth to
months, a screening offered from fifty on to years. Nothing about any code is written down here. Ages are binned by
month in the first two years and by years after, so that weekdays and times of day play no part.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from resolver.database import quote
from resolver.golden.sql import ask

SAMPLE = 200_000  # records that the ages are counted from
TELLING = 1.0  # nats by which a code's ages must differ from those of all events to be asked
SMOOTH = 20.0  # events of a code to see before its own ages outweigh everybody's
CAPPED = 8.0  # log-odds that the events can take from a date, next to the person's best
ASTRAY = np.log(0.002 / 40)  # log-density per year of an event before birth: its own date, or its owner, is wrong
SHARED = 0.5  # what an event counts: events of one person come together, not each for itself

# Lower bounds of the bins of age, in days.
BOUNDS = np.array(
    [
        *(30.4375 * month for month in range(24)),
        *(365.25 * year for year in range(2, 22)),
        *(365.25 * year for year in range(22, 112, 3)),
    ]
)
WIDTHS = np.diff([*BOUNDS, BOUNDS[-1] + 365.25 * 3])


def hints(
    con: duckdb.DuckDBPyConnection,
    events: Path,
    person_of: np.ndarray,
    recorded: np.ndarray,
    person: np.ndarray,
    dates: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """For each of `dates` (one per value of `person`): its log-odds next to the person's best one, given all events of
    the person; and whether something happened before it, which makes it impossible unless that is an error too.

    `recorded` is each record's own date of birth. Dates are days since 1970, NaN where there is none.
    """
    if len(dates) == 0:
        return np.zeros(0), np.zeros(0, dtype=bool)
    stride = max(1, -(-len(recorded) // SAMPLE))
    records = pl.DataFrame({"rid": np.arange(len(recorded), dtype=np.int32), "person": person_of, "born": recorded})
    firsts = f"""SELECT rid, kind || ' ' || code AS code,
        min(date_diff('day', DATE '1970-01-01', CAST(start AS DATE))) AS day
        FROM read_parquet({quote(events)}) WHERE start IS NOT NULL AND code IS NOT NULL"""
    # Ages can only choose between two dates; whether one alone is possible is asked below.
    rivals = np.bincount(person)[person] > 1
    counted = ask(
        con,
        f"""WITH firsts AS ({firsts} AND rid % {stride} = 0 GROUP BY ALL)
        SELECT code, CAST(day - born AS INTEGER) AS age, count(*) AS n FROM firsts JOIN records USING (rid)
        WHERE NOT isnan(born) AND day >= born GROUP BY ALL ORDER BY ALL""",
        records=records,
    )
    codes, gain = _profile(counted)
    told = pl.DataFrame({"code": codes, "place": np.arange(len(codes))}, schema={"code": pl.String, "place": pl.Int64})
    values = pl.DataFrame({"person": person, "value": np.arange(len(dates)), "born": dates})
    seen = ask(
        con,
        f"""WITH firsts AS ({firsts} AND kind || ' ' || code IN (SELECT code FROM told) GROUP BY ALL),
        one AS (SELECT person, place, min(day) AS day
            FROM firsts JOIN records USING (rid) JOIN told USING (code) GROUP BY ALL)
        SELECT value, place, day - born AS age FROM one JOIN open_values USING (person) ORDER BY value, place""",
        records=records.filter(pl.Series(np.isin(person_of, person[rivals]))),
        told=told,
        open_values=values.filter(pl.Series(rivals)),
    )
    age, place = seen["age"].to_numpy(), seen["place"].to_numpy()
    bins = np.maximum(np.searchsorted(BOUNDS, age, side="right") - 1, 0)
    points = np.where(age < 0, ASTRAY, gain[place, bins])
    total = SHARED * np.bincount(seen["value"].to_numpy(), weights=points, minlength=len(dates))
    best = np.full(int(person.max()) + 1, -np.inf)
    np.maximum.at(best, person, total)
    early = ask(
        con,
        f"""WITH firsts AS ({firsts} GROUP BY ALL),
        one AS (SELECT person, min(day) AS day FROM firsts JOIN records USING (rid) GROUP BY ALL)
        SELECT value FROM one JOIN values USING (person) WHERE day < born ORDER BY value""",
        records=records,
        values=values,
    )
    before = np.zeros(len(dates), dtype=bool)
    before[early["value"].to_numpy()] = True
    return np.maximum(total - best[person], -CAPPED), before


def _profile(counted: pl.DataFrame) -> tuple[list[str], np.ndarray]:
    """Codes that tell an age, and for each the log-odds of every bin of age against that of all events."""
    codes = counted["code"].unique().sort()
    if len(codes) == 0:
        return [], np.zeros((0, len(BOUNDS)))
    place = counted["code"].cast(pl.Enum(codes)).to_physical().to_numpy().astype(np.int64)
    bins = np.searchsorted(BOUNDS, counted["age"].to_numpy(), side="right") - 1
    amount = counted["n"].to_numpy().astype(float)
    table = np.bincount(place * len(BOUNDS) + bins, weights=amount, minlength=len(codes) * len(BOUNDS))
    table = table.reshape(len(codes), len(BOUNDS))
    all_ages = (table.sum(axis=0) + WIDTHS / WIDTHS.sum()) / (table.sum() + 1)
    share = (table + SMOOTH * all_ages) / (table.sum(axis=1, keepdims=True) + SMOOTH)
    telling = (share * np.log(share / all_ages)).sum(axis=1) > TELLING
    return codes.filter(pl.Series(telling)).to_list(), np.log(share[telling] / WIDTHS * 365.25)
