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

DAY = "date_diff('day', DATE '1970-01-01', CAST(start AS DATE))"

# Lower bounds of the bins of age, in days.
BOUNDS = np.array(
    [
        *(30.4375 * month for month in range(24)),
        *(365.25 * year for year in range(2, 22)),
        *(365.25 * year for year in range(22, 112, 3)),
    ]
)
WIDTHS = np.diff([*BOUNDS, BOUNDS[-1] + 365.25 * 3])


class Ages:
    def __init__(self, con: duckdb.DuckDBPyConnection, events: Path, records: Path) -> None:
        self.con = con
        self.firsts = f"""SELECT rid, kind || ' ' || code AS code, min({DAY}) AS day
            FROM read_parquet({quote(events)}) WHERE start IS NOT NULL AND code IS NOT NULL"""
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE first_event AS SELECT rid, min({DAY}) AS day
            FROM read_parquet({quote(events)}) WHERE start IS NOT NULL GROUP BY rid"""
        )
        rows = con.execute(f"SELECT count(*) FROM read_parquet({quote(records)})").fetchall()[0][0]
        stride = max(1, -(-rows // SAMPLE))
        counted = ask(
            con,
            f"""WITH firsts AS ({self.firsts} AND rid % {stride} = 0 GROUP BY ALL),
            own AS (SELECT rid, birth_date - DATE '1970-01-01' AS born FROM read_parquet({quote(records)})
                WHERE birth_date IS NOT NULL)
            SELECT code, CAST(day - born AS INTEGER) AS age, count(*) AS n FROM firsts JOIN own USING (rid)
            WHERE day >= born GROUP BY ALL ORDER BY ALL""",
        )
        self.codes, self.gain = _profile(counted)

    def hints(
        self, rids: np.ndarray, person_of: np.ndarray, person: np.ndarray, dates: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """For each of `dates` (days since 1970, one per value of `person`): its log-odds next to the person's best one,
        given all events of the person; and whether something happened before it, which makes it impossible unless
        that is an error too. `person_of` is the person of each of `rids`."""
        if len(dates) == 0:
            return np.zeros(0), np.zeros(0, dtype=bool)
        records = pl.DataFrame({"rid": rids.astype(np.int32), "person": person_of})
        values = pl.DataFrame({"person": person, "value": np.arange(len(dates)), "born": dates})
        # Ages can only choose between two dates; whether one alone is possible is asked below.
        rivals = np.bincount(person)[person] > 1
        places = np.arange(len(self.codes))
        seen = ask(
            self.con,
            f"""WITH firsts AS ({self.firsts} AND rid IN (SELECT rid FROM open_records)
                AND kind || ' ' || code IN (SELECT code FROM told) GROUP BY ALL),
            one AS (SELECT person, place, min(day) AS day
                FROM firsts JOIN open_records USING (rid) JOIN told USING (code) GROUP BY ALL)
            SELECT value, place, day - born AS age FROM one JOIN open_values USING (person) ORDER BY value, place""",
            open_records=records.filter(pl.Series(np.isin(person_of, person[rivals]))),
            told=pl.DataFrame({"code": self.codes, "place": places}, schema={"code": pl.String, "place": pl.Int64}),
            open_values=values.filter(pl.Series(rivals)),
        )
        age, place = seen["age"].to_numpy(), seen["place"].to_numpy()
        bins = np.maximum(np.searchsorted(BOUNDS, age, side="right") - 1, 0)
        points = np.where(age < 0, ASTRAY, self.gain[place, bins])
        total = SHARED * np.bincount(seen["value"].to_numpy(), weights=points, minlength=len(dates))
        best = np.full(int(person.max()) + 1, -np.inf)
        np.maximum.at(best, person, total)
        early = ask(
            self.con,
            """WITH one AS (SELECT person, min(day) AS day FROM first_event JOIN records USING (rid) GROUP BY person)
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
