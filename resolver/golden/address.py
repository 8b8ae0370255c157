"""The rest of the address, once the street is chosen: an address is one thing.

Records with the chosen street (or a slip of it), or with no street at all, vote on unit, town, state and ZIP. A record
with another street may be of another home: it has a voice only as far as records of one person with different streets
agree on that part in this data, and none on the unit; where they mostly differ, a part that only such records have
stays empty. Knows nothing of how the street was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl

from resolver.golden import likeness
from resolver.golden.ballot import Ballot
from resolver.golden.sql import ask

CARRIED = 0.5  # a part is taken from another street's record only if it agrees this often
AGREES = 1.5  # log-odds that a ZIP gains where it is known to lie in the chosen town


@dataclass
class Homes:
    """Per record."""

    here: np.ndarray  # has the chosen street, or a slip of it
    elsewhere: np.ndarray  # has another street


def homes(street: Ballot, chosen: np.ndarray, person_of: np.ndarray) -> Homes:
    """`chosen`: per person, the value of `street` that was chosen, or -1."""
    here_value = np.zeros(len(street.person), dtype=bool)
    here_value[chosen[chosen >= 0]] = True
    slips = (street.level == likeness.FORM_OF) | (street.level == 0)
    slips &= chosen[street.person[street.right]] == street.right
    here_value[street.seen[slips]] = True
    here, elsewhere = np.zeros(len(person_of), dtype=bool), np.zeros(len(person_of), dtype=bool)
    is_here = (street.value >= 0) & here_value[np.maximum(street.value, 0)] if len(street.person) else street.value >= 0
    here[street.record[is_here]] = True
    elsewhere[street.record[~is_here & (chosen[person_of[street.record]] >= 0)]] = True
    return Homes(here, elsewhere)


def carried(values: pl.Series, where: Homes, person_of: np.ndarray) -> float:
    """How often a record of another street agrees on this part with the records of the chosen one."""
    frame = pl.DataFrame({"person": person_of, "value": values, "here": where.here, "away": where.elsewhere})
    here = frame.filter("here").drop_nulls("value").unique(["person", "value"]).select("person", "value")
    away = frame.filter("away").drop_nulls("value").select("person", "value")
    asked = away.join(here.select("person").unique(), on="person", how="semi")
    same = asked.join(here, on=["person", "value"], how="semi").height
    return (same + 1.0) / (asked.height + 2.0)


def known_zips(
    con: duckdb.DuckDBPyConnection, cities: pl.Series, zips: pl.Series, zip_: pl.Series, city: pl.Series
) -> np.ndarray:
    """Log-odds for each ZIP, given the town chosen for its person: do records put the two together?"""
    records = pl.DataFrame({"city": cities, "zip": zips})
    asked = pl.DataFrame({"n": np.arange(len(zip_)), "zip": zip_, "city": city})
    found = ask(
        con,
        """WITH known AS (SELECT DISTINCT city, zip FROM records WHERE city IS NOT NULL AND zip IS NOT NULL)
        SELECT n FROM asked JOIN known USING (city, zip) ORDER BY n""",
        records=records,
        asked=asked,
    )
    hint = np.zeros(len(zip_))
    hint[found["n"].to_numpy()] = AGREES
    return hint
