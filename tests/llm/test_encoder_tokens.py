"""Events as tokens of the fusion encoder."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_classifier.encoder import tokens
from llm_classifier.encoder.tokens import KINDS, Tokens
from resolver import database, tables
from resolver.ingest.forbidden import OBSERVATION_CODES

BUCKETS = 512


def event(rid: int, kind: str, words: str | None, start: str | None, **more: Any) -> dict[str, Any]:
    at = None if start is None else dt.datetime.fromisoformat(start)
    return {"rid": rid, "kind": kind, "system": "SNOMED", "code": "1", "description": words, "start": at, **more}


def read(folder: Path, rows: list[dict[str, Any]], rids: int = 2, most: int = 8) -> Tokens:
    columns = tables.EVENTS.names
    path = folder / "events.parquet"
    with database.connect(memory_gib=0.5, threads=1) as con:
        frame = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], infer_schema_length=None)
        con.register("rows", frame.sort("rid"))
        con.execute(f"COPY ({tables.EVENTS.select('rows')}) TO {database.quote(path)} (FORMAT parquet)")
        return tokens.read(con, path, np.arange(rids), buckets=BUCKETS, most=most)


def of(found: Tokens, record: int, kind: str) -> slice:
    number = KINDS.index(kind)
    return slice(found.start[record, number], found.start[record, number] + found.count[record, number])


def test_a_thing_is_one_token_with_its_times_and_values(tmp_path: Path) -> None:
    """Two measurements of one thing are one token: first and last month, first and last value, and on how many days."""
    found = read(
        tmp_path,
        [
            event(1, "measurement", "Body Height", "2012-05-01", value=171.0, unit="cm"),
            event(1, "measurement", "Body Height", "2010-03-09", value=170.0, unit="cm"),
            event(1, "measurement", "Body Height", "2010-03-09", value=float("nan"), unit="cm"),
            event(1, "measurement", "Body Weight", "2011-01-01", value=80.0, unit="kg"),
        ],
    )
    here = of(found, 1, "observations")

    assert found.months[here].tolist() == [[2010 * 12 + 2, 2012 * 12 + 4], [2011 * 12, 2011 * 12]]
    assert found.values[here].tolist() == [[170.0, 171.0], [80.0, 80.0]]
    assert found.days[here].tolist() == [2.0, 1.0]
    assert found.known.tolist() == [False, True]


def test_what_has_no_time_value_or_end(tmp_path: Path) -> None:
    """An undated event keeps its place with unknown times; what has no end is taken to last, where that can be."""
    found = read(
        tmp_path,
        [
            event(0, "condition", "Asthma", None),
            event(0, "condition", "Fracture", "2010-01-01", stop=dt.datetime(2010, 2, 1)),
            event(0, "procedure", "Suture", "2010-01-01"),
        ],
    )

    assert np.isnan(found.months[of(found, 0, "conditions")]).tolist() == [[True, True], [False, False]]
    assert found.lasts[of(found, 0, "conditions")].tolist() == [1.0, 0.0]
    assert found.lasts[of(found, 0, "procedures")].tolist() == [0.0]
    assert np.isnan(found.values).all()


def test_every_kind_of_event_has_its_encoder(tmp_path: Path) -> None:
    """Each kind of event in the tables goes to one of the six encoders, and none of these is left without."""
    found = read(tmp_path, [event(0, kind, "Some words", "2010-01-01") for kind in tables.EVENT_KINDS])

    assert set(tokens.OF_EVENTS) == set(tables.EVENT_KINDS)
    assert (found.count[0] > 0).all()


def test_what_must_not_be_used_makes_no_token(tmp_path: Path) -> None:
    """Survey answers that repeat registration data leave no token, even if a source let them through."""
    rows = [
        event(0, "measurement", "An address", "2010-01-01", value=1.0) | {"code": code} for code in OBSERVATION_CODES
    ]

    assert not read(tmp_path, rows).known.any()


def test_words_make_the_thing_not_codes(tmp_path: Path) -> None:
    """A facility that writes words alone, in capitals, means the same; and a thing never seen shares pieces."""
    found = read(
        tmp_path,
        [
            event(0, "condition", "Chronic kidney disease (disorder)", "2010-01-01"),
            event(1, "condition", None, "2010-01-01") | {"system": "TEXT", "code": "CHRONIC KIDNEY DISEASE - DISORDER"},
            event(2, "condition", "Chronic kidney disease stage 4", "2010-01-01"),
            event(3, "procedure", "Chronic kidney disease (disorder)", "2010-01-01"),
        ],
        rids=4,
    )
    coded, words, other, elsewhere = (found.pieces[found.thing[number]].tolist() for number in range(4))

    assert coded == words
    assert coded[1:4] == other[1:4] and coded[0] != other[0]
    assert coded[0] != elsewhere[0]  # the same words of another kind are another thing
    assert all(0 <= piece < BUCKETS for piece in coded)


def test_words_without_letters_say_nothing(tmp_path: Path) -> None:
    """Letters of any script count; a text of signs alone is no thing."""
    found = read(tmp_path, [event(0, "condition", "*** --", "2010-01-01"), event(1, "condition", "哮喘", "2010-01-01")])

    assert found.known.tolist() == [False, True]


def test_a_long_history_keeps_what_was_seen_last(tmp_path: Path) -> None:
    """With more things than are kept, the newest stay, in the order of time."""
    found = read(
        tmp_path, [event(0, "procedure", f"Thing {year}", f"{year}-01-01") for year in range(2000, 2020)], most=3
    )

    assert (found.months[of(found, 0, "procedures"), 0] // 12).tolist() == [2017, 2018, 2019]


def test_populations_are_stacked(tmp_path: Path) -> None:
    """Records read apart and stacked have the tokens that they had; things are listed once."""
    rows = [event(0, "condition", "Asthma", "2010-01-01"), event(1, "medication", "Salbutamol", "2011-01-01")]
    one = read(tmp_path, rows)
    both = tokens.stack([one, one])

    assert len(both) == 4 and len(both.pieces) == 2
    for record in range(4):
        here = one.start[record % 2], one.count[record % 2]
        there = both.start[record], both.count[record]
        assert (here[1] == there[1]).all()
        for name in ("months", "days", "lasts"):
            mine, theirs = getattr(one, name), getattr(both, name)
            assert mine[here[0][here[1] > 0]].tolist() == theirs[there[0][there[1] > 0]].tolist()
    assert both.pieces[both.thing].tolist() == one.pieces[one.thing].tolist() * 2


@settings(deadline=None, max_examples=3)
@given(days=st.tuples(*[st.integers(1, 28)] * 3), hours=st.tuples(*[st.integers(0, 23)] * 3))
def test_days_and_hours_are_not_read(
    tmp_path_factory: Any, days: tuple[int, int, int], hours: tuple[int, int, int]
) -> None:
    """A simulator's clock gives persons away: within its month, an event may lie anywhere."""
    folder: Path = tmp_path_factory.mktemp("days")

    def at(chosen: tuple[int, ...], clock: tuple[int, ...]) -> Tokens:
        rows = []
        for number, (day, hour) in enumerate(zip(chosen, clock, strict=True)):
            rows.append(event(0, "condition", f"Thing {number}", f"2010-0{number + 1}-{day:02}T{hour:02}:00:00"))
        return read(folder, rows)

    one, other = at(days, hours), at((1, 1, 1), (0, 0, 0))

    assert one.months.tolist() == other.months.tolist() and one.thing.tolist() == other.thing.tolist()
