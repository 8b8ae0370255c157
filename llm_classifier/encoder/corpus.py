"""Labelled runs, mixed: their records as tokens, their candidate pairs with labels, and who is in which split.

Persons are split, never pairs: a pair is in a split if both of its persons are. A person of one population keeps their
split in all of its test beds. Reads run folders as `resolver run` left them; knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from llm_classifier.encoder import tokens as reading
from llm_classifier.encoder.tokens import Tokens
from llm_classifier.settings.encoder import EncoderSettings
from resolver import database, decide, fusion, runs, settings
from resolver.database import quote
from resolver.errors import TrainingError, UsageError
from resolver.evaluate import truth as truths
from resolver.judges.learned import Learned
from resolver.progress import Progress

SLOTS = 1000  # into which persons are hashed; splits are ranges of them

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Corpus:
    names: tuple[str, ...]
    tokens: Tokens
    # Per record:
    person: Ints  # -1 where the truth does not know it
    slot: Ints  # of the person, 0 to SLOTS - 1
    source: NDArray[np.str_]
    # Per candidate pair whose two records both have evidence:
    left: Ints
    right: Ints
    label: Ints  # 1 one person, 0 two, -1 unknown
    standing: Floats  # log-odds as the judges before the encoder left them
    taught: Floats  # what the teacher added; not a number where it said nothing

    def within(self, records: Flags) -> Flags:
        """Pairs of which both records are among these."""
        return records[self.left] & records[self.right]

    def open(self, asks: tuple[float, float]) -> Flags:
        """Pairs that the judge would be asked about."""
        return (self.standing > asks[0]) & (self.standing < asks[1])

    def labelled(self) -> Flags:
        return self.label >= 0


def load(configs: Sequence[Path], chosen: EncoderSettings, after: tuple[str, ...], progress: Progress) -> Corpus:
    """Read the runs of these configs, in order. `after`: judges whose verdicts make up where a pair stands."""
    parts = []
    for config in configs:
        progress.say(f"{config.stem}: records, pairs and truth")
        parts.append(_population(config, chosen, after))
    records = np.cumsum([0, *(len(one.person) for one in parts)])
    persons = np.cumsum([0, *(int(one.person.max()) + 1 for one in parts)])
    return Corpus(
        tuple(name for one in parts for name in one.names),
        reading.stack([one.tokens for one in parts]),
        np.concatenate([np.where(one.person < 0, -1, one.person + persons[at]) for at, one in enumerate(parts)]),
        np.concatenate([one.slot for one in parts]),
        np.concatenate([one.source for one in parts]),
        np.concatenate([one.left + records[at] for at, one in enumerate(parts)]),
        np.concatenate([one.right + records[at] for at, one in enumerate(parts)]),
        *(np.concatenate([getattr(one, name) for one in parts]) for name in ("label", "standing", "taught")),
    )


def _population(config: Path, chosen: EncoderSettings, after: tuple[str, ...]) -> Corpus:
    loaded = settings.load(config)
    if loaded.evaluate.truth is None:
        raise UsageError(f"{config} names no truth.", do="Set evaluate.truth to a file with record_id and person_id.")
    folder = runs.RunFolder(loaded.run.dir)
    records = f"read_parquet({quote(folder.require('records'))})"
    with database.connect(memory_gib=loaded.run.memory_gib, threads=loaded.run.threads) as con:
        truth = truths.read(con, loaded.evaluate.truth, records)
        source = con.sql(f"SELECT source FROM {records} ORDER BY rid").pl()["source"].to_numpy().astype(str)
        found = reading.read(
            con,
            folder.require("events"),
            np.arange(len(source)),
            buckets=chosen.shape.buckets,
            most=chosen.shape.most,
        )
        pairs = _pairs(con, config, loaded, folder, after, chosen.teacher)
        con.register("persons", pl.DataFrame({"id": truth.ids}, schema={"id": pl.String}))
        slots = con.sql(
            f"SELECT CAST(md5_number_lower('{chosen.seed} ' || id) % {SLOTS} AS BIGINT) AS slot FROM persons"
        ).fetchnumpy()["slot"]
    slots = np.append(np.asarray(slots, dtype=np.int64), 0)  # of those whom the truth does not know
    left, right = pairs["left_rid"].to_numpy().astype(np.int64), pairs["right_rid"].to_numpy().astype(np.int64)
    known = (truth.person[left] >= 0) & (truth.person[right] >= 0)
    rows = found.known[left] & found.known[right]
    return Corpus(
        (config.stem,),
        found,
        truth.person,
        slots[truth.person],
        source,
        left[rows],
        right[rows],
        np.where(known, truth.person[left] == truth.person[right], -1)[rows],
        pairs["standing"].to_numpy()[rows],
        pairs["taught"].cast(pl.Float64).fill_null(float("nan")).to_numpy()[rows],
    )


def _pairs(
    con: duckdb.DuckDBPyConnection,
    config: Path,
    loaded: settings.Settings,
    folder: runs.RunFolder,
    after: tuple[str, ...],
    teacher: str,
) -> pl.DataFrame:
    """left_rid, right_rid, standing, taught: one row per candidate pair."""
    con.execute(f"CREATE VIEW pairs AS FROM read_parquet({quote(folder.require('pairs'))})")
    if not after and teacher == "none":
        return con.sql("SELECT *, NULL AS taught FROM (SELECT left_rid, right_rid, logit AS standing FROM pairs)").pl()
    con.execute(f"CREATE VIEW verdicts AS FROM read_parquet({quote(folder.require('verdicts'))})")
    voices = {voice.name: voice for voice in decide.voices(loaded, fusion.lines(folder.file("judges.json")))}
    missing = [name for name in after if name not in voices]
    if missing:
        raise UsageError(
            f"{config} does not ask the judge {missing[0]}, which encoder.after names.",
            do="Add it to adjudicate.judges there and run it, or take it out of encoder.after.",
        )
    if "demographic" in after or "clinical" in after:
        _not_its_own(config, folder)
    prior = 0.0  # only sums and what single judges added are looked at
    before = fusion.parts_sql("pairs", "verdicts", [voices[name] for name in after], prior)
    every = fusion.parts_sql("pairs", "verdicts", list(voices.values()), prior)
    taught = "NULL" if teacher == "none" else f"everyone.{teacher}"
    return con.sql(
        f"SELECT left_rid, right_rid, before.logit AS standing, {taught} AS taught"
        f" FROM ({before}) before JOIN ({every}) everyone USING (left_rid, right_rid) ORDER BY left_rid, right_rid"
    ).pl()


def _not_its_own(config: Path, folder: runs.RunFolder) -> None:
    """Judges that were fitted to the truth of this very population are surer of it than of any other."""
    learned = Learned.load(folder.require("learned.json"))
    if config.stem in {one["name"] for one in learned.card.get("populations", ())}:
        raise TrainingError(
            f"The judges of {config} were trained on it, so their verdicts there say nothing about other data.",
            do="Set learn.way: unlabelled there and run it, or set encoder.after to [] (Splink's score).",
        )
