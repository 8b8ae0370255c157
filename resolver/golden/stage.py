"""The golden stage: reads records, events and clusters, writes one row per person and where each field comes from.

Calls the parts in order and moves tables; the judgement is in the other files of this folder.
First and last names that stand in each other's place in a record vote in the place where they belong, so a golden first
name may come from a record's last name; every other golden value stands in that field of one of the person's records.

Persons are handled in parts of at most about PART records, so that memory stays flat. Each part counts its own
population and fits its own error rates: half a million records are more than these need.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from resolver import tables
from resolver.database import quote
from resolver.errors import DamagedError, UsageError
from resolver.golden import address, ages, ballot, choose, names, recency, vote
from resolver.golden.choose import Choice
from resolver.golden.fields import BY_NAME, FIELDS, PLACE_FIELDS
from resolver.golden.sql import ask
from resolver.golden.trust import Trust
from resolver.settings.stages import GoldenRule, GoldenSettings
from resolver.stage import Facts, StageContext

PERSON_FIELDS = tuple(name for name, _, _ in tables.PERSON_FIELDS)
YEAR = 365.25 * 86400
PLACE = tuple(one.name for one in PLACE_FIELDS)  # town before ZIP, which is judged by it


PART = 500_000  # records whose persons are handled at once


def run(context: StageContext) -> Facts:
    con = context.connect()
    parts, persons = _parts(con, context)
    births = ages.Ages(con, context.inputs["events"], context.inputs["records"])
    facts: list[Facts] = []
    parts_folder = context.scratch / "golden_parts"
    shutil.rmtree(parts_folder, ignore_errors=True)
    parts_folder.mkdir(parents=True)
    with context.progress.step("golden records", persons, "persons") as step:
        for part in range(parts):
            work = _Work(con, context.settings.golden, _read(con, context, part, parts), births, parts_folder, part)
            work.run()
            facts.append(work.facts)
            step.advance(work.persons)
    filled = _write(con, context, parts_folder, tables.GOLDEN_FIELDS, "cluster, field")
    written = _write(con, context, parts_folder, tables.GOLDEN, "cluster")
    return {"persons": written, "fields": filled, **_together(facts)}


def _parts(con: duckdb.DuckDBPyConnection, context: StageContext) -> tuple[int, int]:
    """How many parts the persons are handled in, and how many persons there are."""
    records, clusters = quote(context.inputs["records"]), quote(context.inputs["clusters"])
    wanted = con.execute(f"SELECT count(*) FROM read_parquet({records})").fetchall()[0][0]
    named, persons = con.execute(
        f"""SELECT count(DISTINCT c.rid), count(DISTINCT c.cluster)
        FROM read_parquet({clusters}) c JOIN read_parquet({records}) r ON r.rid = c.rid"""
    ).fetchall()[0]
    if named != wanted:
        raise DamagedError(
            f"{context.inputs['clusters']} does not name each of the {wanted} records once.",
            do="Run again with --from cluster.",
        )
    return max(1, -(-wanted // PART)), persons


def _write(con: duckdb.DuckDBPyConnection, context: StageContext, folder: Path, table: tables.Table, order: str) -> int:
    """Put the parts together."""
    found = sorted(str(path) for path in folder.glob(f"{table.name}-*.parquet"))
    if not found:
        con.execute(f"CREATE OR REPLACE TEMP TABLE nothing ({table.ddl})")
        return context.write(con, "FROM nothing", table.name)
    source = f"read_parquet([{', '.join(quote(path) for path in found)}])"
    return context.write(con, f"{table.select(source)} ORDER BY {order}", table.name)


def _together(facts: list[Facts]) -> Facts:
    outdated: dict[str, list[float]] = {}
    for part in facts:
        for name, share in part["outdated_per_year"].items():
            outdated.setdefault(name, []).append(share)
    return {
        "contested": sum(part["contested"] for part in facts),
        "swapped_names": sum(part["swapped_names"] for part in facts),
        "outdated_per_year": {name: round(sum(of) / len(facts), 4) for name, of in outdated.items()},
    }


@dataclass
class _Input:
    records: pl.DataFrame  # by rid
    clusters: np.ndarray  # cluster of each person
    person_of: np.ndarray  # person of each record
    sources: list[str]
    source: np.ndarray  # source of each record
    updated: np.ndarray  # seconds, NaN where unknown


def _read(con: duckdb.DuckDBPyConnection, context: StageContext, part: int, parts: int) -> _Input:
    records, clusters = quote(context.inputs["records"]), quote(context.inputs["clusters"])
    values = ", ".join(f"CAST(r.{name} AS VARCHAR) AS {name}" for name in PERSON_FIELDS)
    frame = ask(
        con,
        f"""SELECT r.rid, c.cluster, r.source, epoch(r.updated_at) AS updated, {values}
        FROM read_parquet({records}) r JOIN read_parquet({clusters}) c USING (rid)
        WHERE c.cluster % {parts} = {part} ORDER BY r.rid""",
    )
    heads, person_of = np.unique(frame["cluster"].to_numpy(), return_inverse=True)
    sources = frame["source"].unique().sort()
    source = frame["source"].cast(pl.Enum(sources)).to_physical().to_numpy().astype(np.int64)
    updated = frame["updated"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return _Input(frame, heads, person_of, sources.to_list(), source, updated)


@dataclass
class _Work:
    con: duckdb.DuckDBPyConnection
    settings: GoldenSettings
    given: _Input
    births: ages.Ages
    folder: Path
    part: int
    votes: dict[str, vote.Vote] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    ballots: dict[str, ballot.Ballot] = field(default_factory=dict)
    texts: dict[str, pl.Series] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)

    def __post_init__(self) -> None:
        given, self.records = self.given, self.given.records
        self.persons, self.person_of = len(given.clusters), given.person_of
        self.rids = self.records["rid"].to_numpy()
        # Records that one source has of one person are copies of each other to a degree: n of them count as sqrt(n).
        key = given.person_of * max(len(given.sources), 1) + given.source
        _, back, count = np.unique(key, return_inverse=True, return_counts=True)
        self.weight = 1 / np.sqrt(count[back])
        newest = np.full(self.persons, -np.inf)
        np.fmax.at(newest, given.person_of, given.updated)
        self.age = (newest[given.person_of] - given.updated) / YEAR
        places = {name: place for place, name in enumerate(given.sources)}
        for name in (*self.settings.trusted_sources, *self.settings.source_trust):
            if name not in places:
                raise UsageError(
                    f"golden names the source {name}, and there is none.", do=f"Sources are {', '.join(places)}."
                )
        ranks = {name: place for place, name in enumerate(self.settings.trusted_sources)}
        rank = np.array([ranks.get(name, len(ranks)) for name in given.sources], dtype=np.int64)
        updated = np.where(np.isnan(given.updated), -np.inf, given.updated)
        self.asked = choose.Context(updated, rank[given.source] if len(rank) else np.zeros(0, np.int64))
        self.fixed = {places[name]: trust for name, trust in self.settings.source_trust.items()}

    def run(self) -> None:
        self.orient()
        for name in self.held():
            self.gather(name)
        self.vote()
        for name in list(self.votes):
            self.decide(name)
        self.place()
        self.keep()
        self.derive()
        self.finish()

    def orient(self) -> None:
        """Put swapped first and last names where they belong."""
        first, last = self.records["first_name"], self.records["last_name"]
        turned = names.swapped(self.con, first, last, self.person_of)
        mask = pl.Series(turned)
        self.records = self.records.with_columns(
            first_name=pl.when(mask).then(last).otherwise(first), last_name=pl.when(mask).then(first).otherwise(last)
        )
        self.facts["swapped_names"] = int(turned.sum())

    def held(self) -> list[str]:
        """Fields that any record has."""
        return [one.name for one in FIELDS if self.values(one.name).is_not_null().any()]

    def values(self, name: str) -> pl.Series:
        if name == "ssn":
            return self.records.select(pl.coalesce("ssn", "ssn_last4").alias("ssn"))["ssn"]
        return self.records[name]

    def gather(self, name: str) -> None:
        most = self.settings.max_values
        self.ballots[name] = ballot.gather(
            self.con, BY_NAME[name], self.values(name), self.person_of, self.weight, self.persons, most
        )

    def vote(self) -> None:
        """Hold the votes of all fields but those that follow from the street."""
        ballots = self.ballots
        if "last_name" in ballots and "maiden_name" in ballots:
            ballot.mark_maiden(self.con, ballots["last_name"], ballots["maiden_name"])
        for name, one in ballots.items():
            hint = barred = None
            if name == "birth_date":
                hint, barred = self._births(one)
            self.votes[name] = vote.Vote(self.con, one, self.weight, self.given.source, self.persons, hint, barred)
        asked = [*ballots, *PLACE]
        present = {name: self.values(name).is_not_null().to_numpy() for name in asked}
        self.trust = Trust(present, self.given.source, np.nan_to_num(self.age), self.fixed)
        for name, one in ballots.items():
            self.trust.hazard[name] = recency.hazard(one, self.person_of, self.age)
        vote.fit(self.votes, self.trust)
        self.facts["outdated_per_year"] = {
            name: round(float(share), 4) for name, share in self.trust.hazard.items() if name in ballots and share > 0
        }

    def _births(self, births: ballot.Ballot) -> tuple[np.ndarray, np.ndarray]:
        days = pl.col("text").str.to_date("%Y-%m-%d").cast(pl.Int32).cast(pl.Float64)
        dates = pl.DataFrame({"text": births.text}).select(days).to_series().to_numpy()
        return self.births.hints(self.rids, self.person_of, births.person, dates)

    def decide(self, name: str) -> None:
        """Choose by the field's rule."""
        one = self.votes[name]
        rule = self.settings.fields.get(name, GoldenRule())
        # The last four digits vote for a number; they are not one.
        allowed = (one.ballot.text.str.len_chars() == 9).to_numpy() if name == "ssn" else None
        self.choices[name] = choose.choose(one, rule, self.asked, allowed)

    def place(self) -> None:
        """Unit, town, state and ZIP, by the records of the chosen street."""
        nowhere = np.zeros(len(self.person_of), dtype=bool)
        where = address.Homes(nowhere, nowhere)
        if "street" in self.choices:
            where = address.homes(self.ballots["street"], self.choices["street"].chosen, self.person_of)
        shares = {name: self._share(name, where) for name in PLACE}
        for turn in range(2):
            for name in PLACE:
                if turn == 0:
                    self._gather_place(name, where, shares[name])
                if name not in self.votes:
                    continue
                error = self.trust.of(name)
                away = 1 - (1 - error) * max(shares[name], 0.01)
                self.votes[name].hold(np.clip(np.where(where.elsewhere, away, error), 0.001, 0.95))
                self.votes[name].learn()
                self.decide(name)
            self.trust.learn({name: one.right_by_record(len(self.person_of)) for name, one in self.votes.items()})

    def _share(self, name: str, where: address.Homes) -> float:
        """How far records of another street are heard on this part."""
        share = address.carried(self.records[name], where, self.person_of)
        return 0.0 if name == "unit" or share < address.CARRIED else share

    def _gather_place(self, name: str, where: address.Homes, share: float) -> None:
        heard = self.records[name]
        if share == 0.0:
            heard = pl.select(pl.when(pl.Series(~where.elsewhere)).then(heard).alias(name))[name]
        if not heard.is_not_null().any():
            return
        one = ballot.gather(
            self.con, BY_NAME[name], heard, self.person_of, self.weight, self.persons, self.settings.max_values
        )
        hint = None
        if name == "zip" and "city" in self.choices:
            town = self.choices["city"].text().gather(one.person)
            hint = address.known_zips(self.con, self.records["city"], self.records["zip"], one.text, town)
        self.votes[name] = vote.Vote(self.con, one, self.weight, self.given.source, self.persons, hint)

    def keep(self) -> None:
        """Empty what is less sure than wanted; write down the rest."""
        contested = 0
        for name, choice in self.choices.items():
            choice.chosen[choice.confidence < self.settings.min_confidence] = -1
            contested += int(((choice.chosen >= 0) & (choice.vote.ballot.distinct > 1)).sum())
            self._write(name, choice, choice.text())
        self.facts["contested"] = contested

    def derive(self) -> None:
        """What follows from another field: the last four digits and the house number."""
        if "ssn" in self.choices:
            choice = self.choices["ssn"]
            if (choice.chosen < 0).any():
                # Without a whole number, the last four digits stand for themselves.
                choice = choose.choose(self.votes["ssn"], self.settings.fields.get("ssn", GoldenRule()), self.asked)
                whole = self.choices["ssn"]
                choice.chosen = np.where(whole.chosen >= 0, whole.chosen, choice.chosen)
                choice.confidence = np.where(whole.chosen >= 0, whole.confidence, choice.confidence)
                choice.chosen[choice.confidence < self.settings.min_confidence] = -1
            self._write("ssn_last4", choice, choice.text().str.slice(-4))
        if "street" in self.choices:
            numbers = self.records.select("street", "street_number").drop_nulls().unique("street", keep="first")
            street = pl.DataFrame({"street": self.texts["street"]})
            number = street.join(numbers, on="street", how="left", maintain_order="left")["street_number"]
            self._write("street_number", self.choices["street"], number)

    def _write(self, name: str, choice: Choice, text: pl.Series) -> None:
        self.texts[name] = text
        rids = choose.sources(choice, self.trust.of(choice.vote.ballot.field.name), self.rids)
        rows = pl.DataFrame(
            {
                "person": np.arange(self.persons),
                "cluster": self.given.clusters,
                "value": text,
                "confidence": choice.confidence,
                "rivals": np.maximum(choice.vote.ballot.distinct - 1, 0),
            }
        )
        rows = rows.drop_nulls("value").join(rids, on="person", how="left", maintain_order="left")
        rows = rows.with_columns(field=pl.lit(name)).select(tables.GOLDEN_FIELDS.names)
        rows.write_parquet(self.folder / f"golden_fields-{self.part:05d}-{name}.parquet")

    def finish(self) -> None:
        records = np.bincount(self.person_of, minlength=self.persons) if self.persons else np.zeros(0, np.int64)
        empty = pl.Series([None] * self.persons, dtype=pl.String)
        rows = {
            "cluster": self.given.clusters,
            "records": records,
            **{name: self.texts.get(name, empty) for name in PERSON_FIELDS},
        }
        pl.DataFrame(rows).write_parquet(self.folder / f"golden-{self.part:05d}.parquet")
